"""A study that several processes share: who runs which trial, what it reported, what becomes of it.

Only parents write it. Optuna keeps the tables (its dashboard opens them); who runs what is ours: Optuna's own
heartbeat works inside `optimize` only. A trial is never RUNNING without a lease, a lease never outlives its
process by much, and what a trial cut short had tried is tried again under the same logical index.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from comp.errors import RunMismatchError, UsageError
from comp.registry import lookup
from comp.tuning.attempts import as_history
from comp.tuning.claims import Claims
from comp.tuning.lease import BEAT_SECONDS
from comp.tuning.opening import differences, find_or_make, find_study, full_meta, other_versions
from comp.tuning.pruning import PRUNERS, Judge
from comp.tuning.rows import COMPLETE, FAIL, RUNNING, Asked, Row
from comp.tuning.sampling import SAMPLERS, memory_study
from comp.tuning.storage import Place
from comp.tuning.table import Table

TAKEN = "another process runs this trial now: this one was thought dead"


class Study:
    """One study in one storage, opened by a parent process. `Study.open` makes it.

    Attributes:
        name: in the storage.
        shown: the storage's URL, for people.
        distributions: parameter -> Optuna's distribution.
        meta: all that the study was made of.
        notes: words for the user: other versions than it was made with.
    """

    def __init__(self, table: Table) -> None:
        self.name, self.meta, self.notes = table.name, table.meta, list[str]()
        self.shown, self.distributions = table.place.shown, table.distributions
        self._table = table
        directions, pruner = self.meta["directions"], self.meta["pruner"]
        prunes = len(directions) == 1 and PRUNERS[pruner] is not None
        self._judge = Judge(pruner, self.name, directions[0], table.steps) if prunes else None
        self._claims = Claims(table, self._judge)
        self._mine: dict[str, Asked] = {}  # by token
        self._beat, self._beaten = 0, time.monotonic()

    @classmethod
    def open(
        cls,
        url: str,
        name: str,
        *,
        distributions: Mapping[str, Any],
        directions: Sequence[str],
        seed: int,
        meta: Mapping[str, Any],
        untuned: Mapping[str, Any] | None = None,
        sampler: str = "tpe",
        pruner: str = "median",
        n_startup: int = 10,
    ) -> Study:
        """Open a study, made now or before. All that its results depend on belongs to it for good.

        Args:
            url: `sqlite:///FILE` or `postgresql://...`.
            distributions: parameter -> Optuna's distribution.
            directions: "maximize" | "minimize", one an objective.
            meta: JSON. `folds` (list, in the order of training) and `epochs` (of a fold) are used here. All but the
                versions (`comp`) must be the same on every start.
            untuned: parameters of trial 0; those outside the space are left out. Default: drawn as others.
            sampler: a name of `SAMPLERS`: tpe, random.
            pruner: a name of `PRUNERS`: median, hyperband, none. Several objectives: none.
            n_startup: trials drawn at random before the sampler models them.

        Raises:
            RunMismatchError: made with another space or meta: every difference is named.
            UsageError: unknown scheme, unreachable storage, a study that is none of ours.
        """
        lookup(SAMPLERS, sampler, "sampler")
        lookup(PRUNERS, pruner, "pruner")
        now = full_meta(
            meta,
            distributions,
            untuned,
            directions=list(directions),
            seed=seed,
            sampler=sampler,
            pruner=pruner,
            n_startup=n_startup,
        )
        place = Place(url)
        try:
            with place.alone(name):
                made = place.again(lambda: find_or_make(place, name, now), seconds=5)
        except BaseException:
            place.close()
            raise
        study_id, then = made
        if problems := differences(then, now):
            place.close()
            raise RunMismatchError(
                f"study {name!r} in {place.shown} was made otherwise: {'; '.join(problems)}. "
                "Name another one with --study NAME"
            )
        study = cls(Table(place, name, study_id, then, distributions))
        study.notes = other_versions(name, then, now)
        return study

    @classmethod
    def load(cls, url: str, name: str) -> Study:
        """Open a study that was made before, as it was made.

        Raises:
            UsageError: the storage holds no study of this name; those that it holds are named.
        """
        from optuna.distributions import json_to_distribution

        place = Place(url)
        try:
            study_id, meta = place.again(lambda: find_study(place, name), seconds=5)
        except BaseException:
            place.close()
            raise
        space = {key: json_to_distribution(text) for key, text in meta["space"].items()}
        return cls(Table(place, name, study_id, meta, space))

    def next(self, n_trials: int) -> Asked | None:
        """Lease the next attempt to this process: what was cut short first, else the next index.

        Returns:
            None when `n_trials` indices are done or running.
        """
        asked = self._claims.claim(n_trials)
        if asked is not None:
            self._mine[asked.token] = asked
        return asked

    def report(self, asked: Asked, fold: int, epoch: int, value: float) -> str | None:
        """Store a value, once, and judge the trial by it.

        Args:
            epoch: from 1.
            value: in the metric's own direction; NaN is stored, and judged by the caller.

        Returns:
            Why the trial is to be stopped and told PRUNED (or why it is no longer ours), else None.
        """
        rows = self._table.store(asked, fold, epoch, float(value))
        if rows is None:
            return TAKEN
        if self._judge is None or list(rows[asked.index].reported)[-1] != (fold, epoch):
            return None  # said again by a trial that was resumed: it was judged then
        return self._judge.why_prune(rows, asked.index)

    def tell(
        self,
        asked: Asked,
        values: Sequence[float] | None,
        state: str,
        *,
        over: Mapping[str, float] | None = None,
        **attrs: Any,
    ) -> str | None:
        """End an attempt.

        Args:
            values: one an objective, of a COMPLETE trial. One that is not finite makes it FAIL.
            state: COMPLETE, PRUNED or FAIL (with error=...).
            over: limit -> by how much it was passed (above 0): the sampler keeps away from there.
            attrs: JSON: seconds, peak_bytes, scores, error, ...

        Returns:
            None, or why it was refused: the trial is another process's by now, and counts there.
        """
        if state == COMPLETE and not all(math.isfinite(v) for v in values or [math.nan]):
            attrs["error"] = f"the value is not finite: {list(values or [])}"
            state = FAIL
        if state == FAIL:
            attrs.setdefault("error", "failed")
        if over:
            attrs["over"] = dict(over)
        told = self._table.end(asked, values, state, over or {}, attrs)
        self._mine.pop(asked.token, None)
        return None if told else f"trial {asked.index}: {TAKEN}; what it found is left out"

    def release(self, asked: Asked, why: str) -> None:
        """Give an attempt back, to be tried again: this process is asked to stop."""
        self._mine.pop(asked.token, None)
        self._table.end_stale(asked.trial_id, why)

    def beat(self) -> None:
        """Say that this process lives: a write a running trial, every `BEAT_SECONDS` at most. Call it often."""
        if time.monotonic() - self._beaten < BEAT_SECONDS:
            return
        self._beat, self._beaten = self._beat + 1, time.monotonic()
        for asked in list(self._mine.values()):
            if not self._table.write_beat(asked, self._beat):
                return  # the next beat, or the next report, tells

    def rows(self) -> list[Row]:
        """One row a logical index: row i is of index i."""
        return self._table.place.again(self._table.rows)

    def others(self) -> list[Row]:
        """The trials that run elsewhere, also those whose process may be dead without our knowing yet."""
        return [r for r in self.rows() if r.state == RUNNING and r.attrs["token"] not in self._mine]

    def some_are_gone(self, rows: Sequence[Row]) -> bool:
        """Whether a process that runs one of these trials is dead, as far as is known by now."""
        return self._claims.some_are_stale(rows)

    def add_history(self, other: Study) -> int:
        """Let the sampler know another study's complete trials, once; they are no trials of this one.

        Returns:
            How many were new.

        Raises:
            RunMismatchError: it has another space, metric or directions.
        """
        if (other.shown, other.name) == (self.shown, self.name):
            raise UsageError(f"study {other.name!r} cannot learn from itself: name an earlier one")
        kept = ("space", "metric", "directions")
        then, now = ({k: s.meta.get(k) for k in kept} for s in (other, self))
        if problems := differences(then, now):
            raise RunMismatchError(
                f"study {other.name!r} in {other.shown} cannot be added to {self.name!r}: "
                f"{'; '.join(problems)}"
            )
        known = other._table.place.again(other._table.known)
        whole = [t for t in known if t.state.name == COMPLETE]
        with self._table.place.alone(self.name):
            there = {t.user_attrs.get("origin") for t in self._table.trials()}
            new = [as_history(trial, other.name) for trial in whole]
            new = [trial for trial in new if trial.user_attrs["origin"] not in there]
            for trial in new:
                self._table.add(trial)
        return len(new)

    def view(self) -> Any:
        """The study in memory, for Optuna's importances and plots: whole parameters only, in order."""
        known = self._table.place.again(self._table.known)
        return memory_study(self.meta["directions"], known, study_name=self.name)

    def close(self) -> None:
        """Close the connections."""
        self._table.place.close()
