"""Who runs which trial: leases, stale ones ended, the next attempt given out. One process at a time."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comp.tuning.attempts import by_index, that_counts
from comp.tuning.lease import Watch, make_lease
from comp.tuning.pruning import Judge
from comp.tuning.rows import RUNNING, STALE, Asked, Row
from comp.tuning.sampling import draw_params
from comp.tuning.table import Table

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Claims:
    """Gives attempts out to this process."""

    def __init__(self, table: Table, judge: Judge | None) -> None:
        self._table, self._judge = table, judge
        self._lease, self._watch = make_lease(), Watch(one_machine=table.place.is_sqlite)

    def claim(self, n_trials: int) -> Asked | None:
        """Lease the next attempt: what was cut short first, else the next index below `n_trials`."""
        token = uuid.uuid4().hex

        def claim() -> Asked | None:
            with self._table.place.alone(self._table.name):
                trials = self._table.trials()
                for trial in trials:  # made by a try of this call whose answer was lost
                    if trial.user_attrs.get("token") == token and trial.state.name == RUNNING:
                        return self._asked(trial)
                if self._reap(trials):
                    trials = self._table.trials()
                return self._make(trials, token, n_trials)

        return self._table.place.again(claim)

    def some_are_stale(self, rows: Sequence[Row]) -> bool:
        """Whether the lease of one of these trials is known to be a dead process's by now."""
        # each is looked at, so that every beat is remembered
        told = [(r.attrs["token"], r.attrs.get("lease"), r.attrs.get("beat", 0)) for r in rows]
        stale = [self._watch.why_stale(*each) for each in told]
        return any(why is not None for why in stale)

    def _reap(self, trials: Sequence[FrozenTrial]) -> int:
        """End the attempts whose process is gone; return how many."""
        attempts = by_index(trials)
        counting = {that_counts(each).number for each in attempts.values()}
        running = [t for each in attempts.values() for t in each if t.state.name == RUNNING]
        n = 0
        for trial in running:
            attrs = trial.user_attrs
            why = self._watch.why_stale(attrs["token"], attrs.get("lease"), attrs.get("beat", 0))
            if trial.number not in counting:
                why = "another attempt at the same index counts"
            if why is not None:
                self._table.end_stale(trial._trial_id, why)
                n += 1
        return n

    def _make(self, trials: Sequence[FrozenTrial], token: str, n_trials: int) -> Asked | None:
        """Make the next attempt RUNNING, with its lease, in one transaction. The lock is held."""
        from optuna.trial import TrialState, create_trial

        rows = self._table.rows(trials)
        retry = next((r for r in rows if r.state == STALE and r.index < n_trials), None)
        attrs: dict[str, Any] = {"token": token, "lease": self._lease, "beat": 0}
        values: dict[int, float] = {}
        if retry is not None:
            attrs |= {"index": retry.index, "attempt": retry.attempts + 1}
            params = retry.params
            values = {self._table.steps.step(*place): v for place, v in retry.reported.items()}
        elif len(rows) < n_trials:
            attrs |= {"index": len(rows), "attempt": 1}
            params = self._params(len(rows))
        else:
            return None
        trial = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={key: self._table.distributions[key] for key in params},
            user_attrs=attrs,
            intermediate_values=values,
        )
        return self._asked(self._table.add(trial))

    def _params(self, index: int) -> dict[str, Any]:
        """What trial `index` tries."""
        meta = self._table.meta
        if index == 0 and meta["untuned"] is not None:
            return dict(meta["untuned"])
        return draw_params(
            self._table.known(),
            self._table.distributions,
            meta["directions"],
            seed=meta["seed"],
            index=index,
            sampler=meta["sampler"],
            n_startup=meta["n_startup"],
        )

    def _asked(self, trial: FrozenTrial) -> Asked:
        attrs = trial.user_attrs
        reported = self._table.steps.reported(trial.intermediate_values)
        stop = None
        if reported and self._judge is not None:  # what it said last may have been its end
            stop = self._judge.why_prune(self._table.rows(), attrs["index"])
        return Asked(
            index=attrs["index"],
            number=trial.number,
            trial_id=trial._trial_id,
            token=attrs["token"],
            params=dict(trial.params),
            attempt=attrs["attempt"],
            reported=reported,
            stop=stop,
        )
