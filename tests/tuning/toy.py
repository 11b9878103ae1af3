"""A parent process that tunes a formula: `python -m tests.tuning.toy URL FOLDER N [PRUNER] [KILL] [SECONDS]`.

It trains nothing, but keeps a checkpoint a trial as real ones do, and can kill itself at the k-th statement
that reaches the database, with no warning and no clean-up.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from comp.tuning.rows import Asked
from comp.tuning.study import Study

NOBODY = 2**22 + 1  # a pid above the largest that Linux gives
FOLDS, EPOCHS = (1, 0), 4
META = {"folds": list(FOLDS), "epochs": EPOCHS, "metric": "iou", "config": "abc", "comp": "1.0"}
UNTUNED = {"optim.lr": 1e-3, "loss.1.weight": 0.5, "arch": "a", "elsewhere": 3}


def toy_space() -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    return {
        "optim.lr": FloatDistribution(1e-5, 1e-1, log=True),
        "loss.1.weight": FloatDistribution(0.0, 1.0),
        "depth": IntDistribution(1, 5),
        "arch": CategoricalDistribution(["a", "b"]),
    }


def toy_score(params: Mapping[str, Any], fold: int, epoch: int) -> float:
    """What an epoch of a fold scores: a function of its arguments; params may lack `depth`."""
    lr = math.log10(params["optim.lr"]) + 3
    quality = 1 - 0.1 * lr**2 - (params["loss.1.weight"] - 0.3) ** 2
    quality -= 0.05 * (params["arch"] == "b") + 0.02 * abs(params.get("depth", 3) - 4)
    wobble = 0.02 * math.sin(1e4 * quality + 7 * epoch + fold)
    return quality * (1 - 0.5**epoch) + wobble + 0.1 * fold


def open_toy(url: str, name: str = "toy", **changes: Any) -> Study:
    """The toy's study; changes: other arguments of `Study.open`."""
    settings = {
        "distributions": toy_space(),
        "directions": ["maximize"],
        "seed": 3,
        "meta": META,
        "untuned": UNTUNED,
        "n_startup": 4,
    }
    return Study.open(url, name, **{**settings, **changes})


def run_trial(study: Study, asked: Any, folder: Path, seconds: float = 0.0) -> None:
    """Run one attempt from its checkpoint on, as a real one: what was done is said again."""
    checkpoint = folder / f"trial{asked.index}.json"
    done = json.loads(checkpoint.read_text()) if checkpoint.exists() else []
    why = asked.stop
    scores: dict[str, float] = {}
    for fold in FOLDS:
        for epoch in range(1, EPOCHS + 1):
            if why is not None:
                break
            if [fold, epoch] not in done:
                time.sleep(seconds)
                done.append([fold, epoch])
                checkpoint.with_suffix(".new").write_text(json.dumps(done))
                os.replace(checkpoint.with_suffix(".new"), checkpoint)
            scores[str(fold)] = toy_score(asked.params, fold, epoch)
            why = study.report(asked, fold, epoch, scores[str(fold)])
        study.beat()
    if why is None:
        value = sum(scores.values()) / len(scores)
        refused = study.tell(asked, [value], "COMPLETE", seconds=1.0, scores=scores)
    else:
        refused = study.tell(asked, None, "PRUNED", seconds=0.5)
    if refused:
        print(refused, flush=True)


def table(study: Study) -> list[tuple[Any, ...]]:
    """What must not depend on how often a study was started."""
    return [(r.index, r.params, r.state, r.values, r.pruned_at, r.reported) for r in study.rows()]


def ask(study: Study, n: int = 50) -> Asked:
    asked = study.next(n)
    assert asked is not None
    return asked


def finish(study: Study, n: int, value: Callable[[Asked], float] = lambda _: 0.5) -> None:
    while (asked := study.next(n)) is not None:
        assert study.tell(asked, [value(asked)], "COMPLETE") is None


def kill_at(count: int) -> None:
    """Kill this process, as power loss would, before the `count`-th statement that reaches a database."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    left = [count]

    @event.listens_for(Engine, "before_cursor_execute")
    @event.listens_for(Engine, "commit")
    def count_down(*_: Any, **__: Any) -> None:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(
    url: str, folder: str, n: str, pruner: str = "median", kill: str = "0", wait: str = "0"
) -> None:
    study = open_toy(url, pruner=pruner)
    if int(kill):
        kill_at(int(kill))
    n_told = 0
    while (asked := study.next(int(n))) is not None:
        run_trial(study, asked, Path(folder), float(wait))
        n_told += 1
    print(f"told {n_told}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
