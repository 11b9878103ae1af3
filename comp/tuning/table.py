"""One study's table in a storage: attempts read as rows, and the few writes that change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from comp.tuning.attempts import is_stale, known_trials, rows_of
from comp.tuning.rows import COMPLETE, RUNNING, Asked, Row, Steps
from comp.tuning.sampling import infeasible_attrs
from comp.tuning.storage import Place

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

T = TypeVar("T")


class Table:
    """The trials of one study.

    Args:
        study_id: of the study in the storage.
        distributions: parameter -> Optuna's distribution.
    """

    def __init__(
        self,
        place: Place,
        name: str,
        study_id: int,
        meta: dict[str, Any],
        distributions: Mapping[str, Any],
    ) -> None:
        self.place, self.name, self.meta = place, name, meta
        self.distributions = dict(distributions)
        self.steps = Steps(tuple(meta["folds"]), int(meta["epochs"]))
        self._storage, self._id = place.storage, study_id

    def trials(self) -> list[FrozenTrial]:
        """Every attempt, by number."""
        return list(self._storage.get_all_trials(self._id, deepcopy=False))

    def rows(self, trials: Sequence[FrozenTrial] | None = None) -> list[Row]:
        """One row a logical index: row i is of index i."""
        return rows_of(self.trials() if trials is None else trials, self.steps)

    def known(self) -> list[FrozenTrial]:
        """What the sampler may know, in order."""
        return known_trials(self.trials(), self.distributions.keys())

    def add(self, trial: FrozenTrial) -> FrozenTrial:
        """Write a whole trial in one transaction; return it with its number."""
        return self._storage.get_trial(self._storage.create_new_trial(self._id, trial))

    def unless_ended(self, call: Callable[[], T]) -> T | None:
        """Return what `call` returns, once the storage answers; None when somebody else ended the trial."""
        from optuna.exceptions import UpdateFinishedTrialError

        def guarded() -> T | None:
            try:
                return call()
            except UpdateFinishedTrialError:
                return None

        return self.place.again(guarded)

    def store(self, asked: Asked, fold: int, epoch: int, value: float) -> list[Row] | None:
        """Store a value, once; return the rows with it, or None where the attempt is no longer ours."""

        def write() -> list[Row] | None:
            rows = self.rows()
            row = rows[asked.index]
            if row.state != RUNNING or row.attrs.get("token") != asked.token:
                return None
            if (fold, epoch) not in row.reported:
                step = self.steps.step(fold, epoch)
                self._storage.set_trial_intermediate_value(asked.trial_id, step, value)
                row.reported[fold, epoch] = value
            return rows

        return self.unless_ended(write)

    def end(
        self,
        asked: Asked,
        values: Sequence[float] | None,
        state: str,
        over: Mapping[str, float],
        attrs: Mapping[str, Any],
    ) -> bool:
        """End an attempt; False: it was ended by another process, and is that one's now."""
        from optuna.trial import TrialState

        def write() -> bool:
            trial = self._storage.get_trial(asked.trial_id)
            if trial.state.is_finished():  # by us, and the answer was lost; or by another
                return trial.state.name == state and not is_stale(trial)
            for key, value in attrs.items():
                self._storage.set_trial_user_attr(asked.trial_id, key, value)
            for key, value in infeasible_attrs(over).items():
                self._storage.set_trial_system_attr(asked.trial_id, key, value)
            given = [float(v) for v in values or ()] if state == COMPLETE else None
            self._storage.set_trial_state_values(asked.trial_id, TrialState[state], given)
            return True

        return bool(self.unless_ended(write))

    def end_stale(self, trial_id: int, why: str) -> None:
        """End an attempt that is to be made again."""
        from optuna.trial import TrialState

        def write() -> None:
            self._storage.set_trial_user_attr(trial_id, "stale", why)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

        self.unless_ended(write)

    def write_beat(self, asked: Asked, beat: int) -> bool:
        """Write a beat if the storage answers now; False: it does not."""
        from optuna.exceptions import OptunaError, UpdateFinishedTrialError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            self._storage.set_trial_user_attr(asked.trial_id, "beat", beat)
        except UpdateFinishedTrialError:
            pass  # taken by another; the next report says so
        except (OptunaError, SQLAlchemyError):
            return False
        return True
