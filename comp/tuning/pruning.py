"""Whether a trial is worth going on with: Optuna's pruners, asked in memory about the same (fold, epoch) only.

The views are built from what the storage holds, in the order of the logical index, and Optuna's number of a
trial there is its index: so what is pruned does not depend on how often the study was started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from comp.tuning.rows import COMPLETE, Row, Steps
from comp.tuning.sampling import memory_study

STARTUP_TRIALS = 5  # complete before the median of them is one


class Judge:
    """Compares the trials of a study with one objective.

    Args:
        pruner: a name of `PRUNERS`.
        name: of the study; Hyperband's brackets are drawn from it.
        direction: "maximize" | "minimize".
    """

    def __init__(self, pruner: str, name: str, direction: str, steps: Steps) -> None:
        self.pruner, self._steps = pruner, steps
        make = PRUNERS[pruner]
        assert make is not None
        # The first look at the best value so far, which is of one fold; Hyperband halves the whole of a trial.
        self._per_fold = pruner in PER_FOLD
        keys: Sequence[int | None] = list(steps.folds) if self._per_fold else [None]
        self._views = {key: _View(make, name, direction, steps, key) for key in keys}

    def why_prune(self, rows: Sequence[Row], index: int) -> str | None:
        """Why trial `index` is to be pruned after the last value that it reported, or None.

        Args:
            rows: all of the study, row i of index i.
        """
        row = rows[index]
        if index == 0 or not row.reported:
            return None
        fold, epoch = list(row.reported)[-1]
        value = row.reported[fold, epoch]
        last = (self._steps.folds[-1], self._steps.epochs)
        if (
            math.isnan(value) or (fold, epoch) == last
        ):  # the caller's to fail; nothing is left to spare
            return None
        view = self._views.get(fold if self._per_fold else None)
        if view is None:
            return None
        view.hear(rows)
        if not view.prunes(index, self._steps.step(fold, epoch)):
            return None
        return f"pruned by {self.pruner}: {value:.4g} at fold {fold}, epoch {epoch}"


class _View:
    """An Optuna study in memory: the values of one fold, or of all (fold None), trial number = index."""

    def __init__(
        self,
        make: Callable[[Steps], Any],
        name: str,
        direction: str,
        steps: Steps,
        fold: int | None,
    ) -> None:
        self._fold, self._steps = fold, steps
        self._first = 0 if fold is None else steps.step(fold, 1) - 1
        self._end = self._first + steps.epochs * (len(steps.folds) if fold is None else 1)
        self._pruner = make(steps)
        self._study = memory_study([direction], (), study_name=name, pruner=self._pruner)
        self._told: list[int] = []  # by index: the last step told
        self._ended: set[int] = set()
        self._said: dict[int, bool] = {}  # by index: what the pruner said at that step

    def hear(self, rows: Sequence[Row]) -> None:
        """Take what is new, each value in its turn: Hyperband notes the rungs that a trial passes."""
        from optuna.trial import TrialState, create_trial

        for index in range(len(self._told), len(rows)):
            self._study.add_trial(create_trial(state=TrialState.RUNNING))
            self._told.append(0)
            assert len(self._study.get_trials(deepcopy=False)) == index + 1
        for index, row in enumerate(rows):
            if index in self._ended:
                continue
            steps = {self._steps.step(*place): value for place, value in row.reported.items()}
            self._push(index, {s: v for s, v in steps.items() if self._first < s <= self._end})
            over = row.state == COMPLETE or any(step > self._end for step in steps)
            if over and self._told[index]:
                self._study.tell(index, steps[self._told[index]])
                self._ended.add(index)

    def _push(self, index: int, values: dict[int, float]) -> None:
        storage = self._study._storage  # in memory, and ours alone
        new = [s for s in sorted(values) if s > self._told[index] and not math.isnan(values[s])]
        trial_id = self._trial(index)._trial_id
        for step in new:
            storage.set_trial_intermediate_value(trial_id, step - self._first, values[step])
            self._told[index] = step
            if self._fold is None:
                self._said[index] = self._pruner.prune(self._study, self._trial(index))

    def prunes(self, index: int, step: int) -> bool:
        """Whether the pruner ends trial `index` after its last value, which is that of `step`."""
        if self._told[index] != step or index in self._ended:
            return False
        if self._fold is None:
            return self._said[index]
        return bool(self._pruner.prune(self._study, self._trial(index)))

    def _trial(self, index: int) -> Any:
        return self._study.get_trials(deepcopy=False)[index]


def make_median(steps: Steps) -> Any:
    """Below the median of the others at the same epoch of the same fold; not in the first quarter of a fold."""
    import optuna

    return optuna.pruners.MedianPruner(
        n_startup_trials=STARTUP_TRIALS, n_warmup_steps=steps.epochs // 4 + 1
    )


def make_quartile(steps: Steps) -> Any:
    """As the median, but only below three quarters of the others: half-trained scores are noisy."""
    import optuna

    return optuna.pruners.PercentilePruner(
        75.0, n_startup_trials=STARTUP_TRIALS, n_warmup_steps=steps.epochs // 4 + 1
    )


def make_hyperband(steps: Steps) -> Any:
    """Rungs over all epochs of all folds; the first one not before a ninth of a fold."""
    import optuna

    return optuna.pruners.HyperbandPruner(
        min_resource=max(1, steps.epochs // 9), max_resource=steps.epochs * len(steps.folds)
    )


PER_FOLD = ("quartile", "median")  # these compare the values of one fold with each other
PRUNERS: dict[str, Callable[[Steps], Any] | None] = {
    "quartile": make_quartile,
    "median": make_median,
    "hyperband": make_hyperband,
    "none": None,
}
