"""What `comp tune` is worth beside the training: is its verdict to be trusted, what does it cost, do slots help.

(a) noise      studies of a simulated objective through Optuna's TPE, the best three run again with new seeds and
               judged: how often the verdict says "real" where nothing can be gained, and where something can
(b) overhead   seconds a trial outside the work, with trials that sleep through the executor of `comp tune`
(c) slots      trials a minute on two slots over one

Goals: (a) "not real" in 18 of 20 null studies, the planted optimum real in 18 of 20, false alarms at most
2.5 % of simulated judgements; (b) at most 5 % of a trial of 30 s; (c) at least 1.6. Fails where one is missed.

Usage: python benchmarks/tune.py [noise] [overhead] [slots] [--studies 20] [--trials 30] [--work 1.5]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp.data.samples.sampling import derive
from comp.tuning.confirm import Verdict, choose_candidates, confirm_seeds, judge
from comp.tuning.rows import COMPLETE, PRUNED, Row
from comp.tuning.sampling import draw_params

TUNED, HELD = (0, 1), (2, 3, 4)  # folds: searched on, confirmed on
UNTUNED = {"lr": 1e-3, "weight": 1.0, "strength": 0.3, "schedule": "cosine"}
ALARMS, ENOUGH = 0.025, 0.9
EPOCHS = 6
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "a config and a fold, 0.7": {"of_fold": 0.7},
    "a config and a fold, 2": {"of_fold": 2.0},
    "a config and a seed, 0.7": {"of_seed": 0.7},
    "both, 0.7": {"of_fold": 0.7, "of_seed": 0.7},
    "the untuned config twice as noisy": {"spread": (2.0, 1.0, 1.0, 1.0)},
    "one candidate thrice as noisy": {"spread": (1.0, 3.0, 1.0, 1.0)},
}


@dataclass(frozen=True)
class Noisy:
    """A simulated score of (params, seed, fold), higher is better; the same every time for the same three.

    Args:
        gain: of the best params over the untuned ones; 0: no params are better than others.
        noise: standard deviation of a training.
        of_fold: standard deviation of what suits a set of params on one fold and not on others.
    """

    gain: float = 0.0
    noise: float = 0.005
    of_fold: float = 0.002

    def score(self, params: Mapping[str, Any], seed: int, fold: int, study: int) -> float:
        """The score of a training."""
        key = sorted(params.items())
        run = np.random.default_rng(derive(study, key, seed, fold)).standard_normal()
        suits = np.random.default_rng(derive(study, key, fold)).standard_normal()
        return 0.7 + 0.03 * fold + self.truth(params) + self.noise * run + self.of_fold * suits

    def truth(self, params: Mapping[str, Any]) -> float:
        """Expected score above the untuned one's: a hill over lr and weight, its top 1.5 widths away."""
        if not self.gain:
            return 0.0
        x = math.log10(params["lr"] / 1e-3) / 0.6
        y = math.log10(params["weight"]) / 0.6
        far = (x - 1.2) ** 2 + (y + 0.9) ** 2
        foot = math.exp(-(1.5**2) / 2)
        return self.gain * (math.exp(-far / 2) - foot) / (1 - foot)


def space() -> dict[str, Any]:
    """What is searched: two parameters that may matter and two that never do."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        "lr": FloatDistribution(1e-4, 1e-2, log=True),
        "weight": FloatDistribution(0.1, 10, log=True),
        "strength": FloatDistribution(0, 1),
        "schedule": CategoricalDistribution(["cosine", "poly", "flat"]),
    }


def search(objective: Noisy, study_seed: int, n_trials: int) -> list[Row]:
    """Rows of a study on the tuned folds, the untuned config first, by the sampler as `comp tune` asks it."""
    from optuna.trial import TrialState, create_trial

    how = {"seed": study_seed, "sampler": "tpe", "n_startup": 10}
    known: list[Any] = []
    rows: list[Row] = []
    for index in range(n_trials):
        drawn = draw_params(known, space(), ["maximize"], index=index, **how)
        params = drawn if index else UNTUNED
        value = float(np.mean([objective.score(params, 0, fold, study_seed) for fold in TUNED]))
        trial = create_trial(
            state=TrialState.COMPLETE, params=params, distributions=space(), value=value
        )
        known.append(trial)
        rows.append(Row(index, index, COMPLETE, params, [value], 1, {}, {}, {}))
    return rows


def confirm(
    objective: Noisy, rows: list[Row], study_seed: int, n_seeds: int, n_candidates: int
) -> Verdict:
    """Run the best again with new seeds on the held folds, and judge."""
    chosen = choose_candidates(rows, n_candidates)
    seeds = confirm_seeds(0, n_seeds)

    def again(params: Mapping[str, Any]) -> np.ndarray:
        return np.array([[objective.score(params, s, f, study_seed) for f in HELD] for s in seeds])

    scores = {index: again(rows[index].params) for index in chosen}
    return judge(again(UNTUNED), scores, folds=HELD, tuned_folds=TUNED)


def whole_study(
    objective: Noisy, study_seed: int, n_trials: int = 30, n_seeds: int = 3, n_candidates: int = 3
) -> tuple[list[Row], Verdict]:
    """Search and confirm."""
    rows = search(objective, study_seed, n_trials)
    return rows, confirm(objective, rows, study_seed, n_seeds, n_candidates)


def draw_scores(
    rng: np.random.Generator,
    n_candidates: int,
    n_seeds: int,
    n_folds: int,
    of_seed: float = 0.0,
    of_fold: float = 0.0,
    spread: tuple[float, ...] = (1.0,),
    gain: float = 0.0,
) -> np.ndarray:
    """New scores of the untuned config and candidates in units of a training's noise: (1 + n, S, F) float64.

    Args:
        of_seed, of_fold: standard deviation of what a config has with a seed on all folds, on a fold with all seeds.
        spread: the noise of each config, the untuned one first; repeated where too short.
        gain: of the first candidate.
    """
    c = n_candidates + 1
    scores = rng.standard_normal((c, n_seeds, n_folds))
    scores += of_seed * rng.standard_normal((c, n_seeds, 1))
    scores += of_fold * rng.standard_normal((c, 1, n_folds))
    scores *= np.resize(spread, c)[:, None, None]
    scores[1] += gain
    return scores


def how_often_real(n: int, n_candidates: int, n_seeds: int, n_folds: int, **how: Any) -> float:
    """Share of `n` simulated confirmations that `judge` calls real."""
    rng = np.random.default_rng(0)
    real = 0
    for _ in range(n):
        scores = draw_scores(rng, n_candidates, n_seeds, n_folds, **how)
        candidates = dict(enumerate(scores[1:], start=1))
        real += judge(scores[0], candidates, folds=range(n_folds)).real
    return real / n


@dataclass(frozen=True)
class SleepingTrial:
    """A trial of two folds that sleeps instead of training, and says a value an epoch."""

    folder: Path
    index: int
    seconds: float

    run = "sleeping"

    @property
    def label(self) -> str:
        return f"trial-{self.index}"

    def work(self, device: str, emit: Any) -> dict[str, Any]:
        """Sleep, epoch by epoch, and return what a trial returns."""
        began = time.monotonic()
        n = len(TUNED) * EPOCHS
        for step in range(n):
            time.sleep(max(0.0, began + (step + 1) * self.seconds / n - time.monotonic()))
            position, epoch = divmod(step, EPOCHS)
            value = 0.5 + 0.01 * (self.index % 7) + 0.001 * epoch
            place = {"fold": TUNED[position], "position": position, "epoch": epoch + 1}
            emit({"type": "value", **place, "value": value})
        said = {"seconds": self.seconds, "peak_bytes": None, "n_parameters": None, "text": ""}
        scores = dict.fromkeys(TUNED, value)
        return {
            "state": "complete",
            "score": value,
            "scores": scores,
            "why": None,
            "over": {},
        } | said

    def stop(self, why: str) -> None:
        """Nothing is pruned here."""


def run_sleeping(n_trials: int, work: float, n_slots: int) -> tuple[float, float]:
    """Run a study of sleeping trials through the executor, on an SQLite file in a temporary folder.

    Returns:
        seconds from the first trial's start to the last one's end; seconds before the first start.
    """
    from comp.jobs.executors import run_local
    from comp.jobs.slots import Slot
    from comp.tuning.storage import sqlite_url
    from comp.tuning.study import Study
    from comp.tuning.trials import Trials

    times: list[float] = []

    def note(job: Any, event: dict[str, Any]) -> None:
        if event["type"] in ("start", "done"):
            times.append(time.monotonic())
        if event["type"] == "failed":
            raise SystemExit(event["error"])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = Study.open(
            sqlite_url(folder / "study.db"),
            "sleeping",
            distributions=space(),
            directions=["maximize"],
            seed=0,
            meta={"folds": list(TUNED), "epochs": EPOCHS},
            untuned=UNTUNED,
            pruner="median",
        )
        trials = Trials(
            study, lambda asked: SleepingTrial(folder, asked.index, work), note, n_trials
        )
        began = time.monotonic()
        slots = [Slot(n, "cpu") for n in range(n_slots)]
        run_local(trials.waiting(), slots, trials, ticks=True)
        rows = study.rows()
        study.close()
    ended = [row.index for row in rows if row.state in (COMPLETE, PRUNED)]
    if ended != list(range(n_trials)):
        raise SystemExit(f"of {n_trials} trials these ended: {ended}")
    return times[-1] - times[0], times[0] - began


def noise(args: argparse.Namespace) -> bool:
    """(a): print both tables; True where every goal is met."""
    print(f"{args.studies} studies of {args.trials} trials, simulated; searched on folds {TUNED};")
    print(f"the best 3 and the untuned config again with 3 new seeds on folds {HELD}")
    print("| best params gain, in noise of one training | called real | their true gain | goal |")
    print("|---|---|---|---|")
    met = True
    for times in (0, 1, 2, 3, 4, 6):
        objective = Noisy(gain=0.005 * times)
        found = [whole_study(objective, seed, args.trials) for seed in range(args.studies)]
        real = sum(verdict.real for _, verdict in found)
        truth = [
            objective.truth(rows[verdict.candidate].params) / objective.noise
            for rows, verdict in found
            if verdict.candidate is not None
        ]
        goal = {0: real <= (1 - ENOUGH) * args.studies, 4: real >= ENOUGH * args.studies}.get(times)
        met &= goal is not False
        word = {None: "", True: "met", False: "MISSED"}[goal]
        print(f"| {times} | {real} of {args.studies} | {np.mean(truth):.2f} | {word} |")
    print(
        f"\n{args.draws} simulated confirmations each, 3 candidates, 3 seeds, 3 folds: called real"
    )
    print(
        "| noise besides that of a training | nothing to gain | goal | a gain of 4 | of 3 | of 2 |"
    )
    print("|---|---|---|---|---|---|")
    for name, how in KINDS.items():
        alarms = how_often_real(args.draws, 3, 3, 3, **how)
        power = [how_often_real(args.draws, 3, 3, 3, gain=gain, **how) for gain in (4.0, 3.0, 2.0)]
        met &= alarms <= ALARMS
        word = "met" if alarms <= ALARMS else "MISSED"
        cells = " | ".join(f"{100 * share:.0f} %" for share in power)
        print(f"| {name} | {100 * alarms:.1f} % | {word} | {cells} |")
    return met


def overhead(args: argparse.Namespace) -> bool:
    """(b): print seconds a trial outside its work; True where the goal is met."""
    n = 20
    wall, start = run_sleeping(n, args.work, 1)
    outside = (wall - n * args.work) / n
    share = outside / 30
    print(
        f"\n{n} trials that sleep {args.work:g} s, one slot, SQLite: {outside:.3f} s a trial outside"
    )
    print("the work, of which the worker's start is a part:", end=" ")
    print(f"{100 * share:.2f} % of a trial of 30 s (goal 5 %);")
    print(f"making the study: {start:.1f} s, once")
    return share <= 0.05


def two_slots(args: argparse.Namespace) -> bool:
    """(c): print trials a minute on one and two slots; True where the goal is met."""
    n = 20
    walls = {slots: run_sleeping(n, args.work, slots)[0] for slots in (1, 2)}
    rates = {slots: 60 * n / wall for slots, wall in walls.items()}
    ratio = rates[2] / rates[1]
    long = {slots: n * 30 / slots + wall - n * args.work / slots for slots, wall in walls.items()}
    print(f"\n{n} trials that sleep {args.work:g} s: {rates[1]:.1f} a minute on one slot,")
    print(
        f"{rates[2]:.1f} on two: {ratio:.2f} times as many (goal 1.6); with trials of 30 s and what"
    )
    print(f"each costs beside: {long[1] / long[2]:.2f} times")
    return ratio >= 1.6


def main() -> None:
    parts = {"noise": noise, "overhead": overhead, "slots": two_slots}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--work", type=float, default=1.5, help="seconds that a trial sleeps")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(parts):
        parser.error(f"unknown part {sorted(unknown)[0]!r}; expected {', '.join(parts)}")
    met = [parts[name](args) for name in args.parts or parts]
    if not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
