"""The best trials and the untuned config once more, with other seeds: their jobs, and what they scored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comp.errors import LockedError, UsageError, some
from comp.files import lock
from comp.jobs.watch import Watch
from comp.tuning.confirm import Verdict, choose_candidates, confirm_seeds, judge
from comp.tuning.making import Maker
from comp.tuning.rows import Row
from comp.tuning.wanted import Wanted

LOCK = ".confirm.lock"  # in the study's folder


@dataclass(frozen=True)
class Confirmed:
    """What confirming found.

    Args:
        params: of each trial that was run again, as it was: with few digits.
        scores: trial -> (S, F), seeds first; NaN where a run failed. Trial 0 is the untuned config.
    """

    verdict: Verdict
    seeds: list[int]
    folds: list[int]
    params: dict[int, dict[str, Any]]
    scores: dict[int, np.ndarray]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for study.json."""
        found = self.verdict
        return {
            "seeds": self.seeds,
            "folds": self.folds,
            "scores": {
                str(i): [[None if x != x else x for x in row] for row in each.tolist()]
                for i, each in self.scores.items()
            },
            "candidate": found.candidate,
            "gain": found.gain if found.gain == found.gain else None,
            "error": found.error if found.error == found.error else None,
            "p": found.p,
            "real": found.real,
            "sentence": found.sentence,
        }


def choose_confirm_folds(maker: Maker, wanted: Wanted, n_folds: int) -> list[int]:
    """The folds asked for; else those that no trial was scored on; else those of the trials.

    Raises:
        UsageError: a fold that is not there.
    """
    asked = wanted.confirm_folds
    if asked is None:
        return [fold for fold in range(n_folds) if fold not in maker.folds] or list(maker.folds)
    if unknown := sorted(set(asked) - set(range(n_folds))):
        raise UsageError(f"--confirm-folds: no fold {some(unknown)}; there are 0 to {n_folds - 1}")
    return sorted(set(asked))


def confirm(
    maker: Maker,
    wanted: Wanted,
    rows: Sequence[Row],
    folds: Sequence[int],
    seed: int,
    greater_is_better: bool,
    execute: Callable[[list[Any], Any], Sequence[Mapping[str, Any]]],
    n_slots: int,
) -> Confirmed | None:
    """Run the best trials and the untuned config again, and judge them; None: there is nothing to confirm.

    Args:
        seed: that the trials were trained with.
        execute: jobs and who hears their events -> their ends.

    Another process that confirms this study is left to it: None.
    """
    chosen = choose_candidates(rows, wanted.confirm_top, greater_is_better)
    if not chosen:
        return None
    by_index = {row.index: row for row in rows}
    params: dict[int, dict[str, Any]] = {0: {}}
    params |= {index: maker.space.rounded(by_index[index].params) for index in chosen}
    seeds = confirm_seeds(seed, wanted.confirm)
    metric = maker.competition.metric_name
    whose = some([f"trial {index}" for index in chosen])
    print(
        f"confirming {whose} and the untuned config on fold{'s' * (len(folds) != 1)} {some(folds)} "
        f"with {len(seeds)} other seed{'s' * (len(seeds) != 1)}"
    )
    assert maker.workspace.study is not None
    held = contextlib.ExitStack()
    try:
        held.enter_context(lock(maker.workspace.study_folder(maker.workspace.study) / LOCK))
    except LockedError as error:
        print(f"another process confirms this study: {error}")
        return None
    with held:
        which = [(place, index) for place in range(len(seeds)) for index in params]
        jobs = [maker.confirm(i, params[i], seeds[place], place + 1, folds) for place, i in which]
        watch = Watch(metric, len(jobs), jobs=jobs, slots=n_slots)
        with watch.running():
            ends = execute(jobs, _Hears(watch))
    scores = {index: np.full((len(seeds), len(folds)), np.nan) for index in params}
    for (place, index), end in zip(which, ends, strict=True):
        found = (end.get("result") or {}).get("scores", {})
        scores[index][place] = [found.get(fold, np.nan) for fold in folds]
    verdict = judge(
        scores[0],
        {index: scores[index] for index in chosen},
        folds=folds,
        greater_is_better=greater_is_better,
        n_tried=len(chosen),
        tuned_folds=maker.folds,
    )
    return Confirmed(verdict, seeds, list(folds), params, scores)


@dataclass(frozen=True)
class _Hears:
    """Hands on what a trial says to people, and not what it says to a study."""

    watch: Watch

    def __call__(self, job: Any, event: dict[str, Any]) -> None:
        if job is not None and event["type"] != "value":
            self.watch(job, event)
