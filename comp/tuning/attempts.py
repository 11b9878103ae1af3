"""Attempts at trials as Optuna keeps them, read as rows: which attempt of a logical index counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from comp.tuning.rows import COMPLETE, FAIL, PRUNED, RUNNING, STALE, Row, Steps

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

EARLIER = "earlier"  # role of a trial that another study ran


def by_index(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """The attempts at each logical index, by number."""
    found: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        if "index" in trial.user_attrs:
            found.setdefault(trial.user_attrs["index"], []).append(trial)
    return found


def is_stale(trial: FrozenTrial) -> bool:
    attrs = trial.user_attrs
    return trial.state.name == FAIL and "stale" in attrs and "error" not in attrs


def that_counts(attempts: Sequence[FrozenTrial]) -> FrozenTrial:
    """The first one that was told its end, else the latest."""
    told = (t for t in attempts if t.state.name != RUNNING and not is_stale(t))
    return next(told, attempts[-1])


def rows_of(trials: Sequence[FrozenTrial], steps: Steps) -> list[Row]:
    """One row a logical index, in order."""
    attempts = by_index(trials)
    return [_row(index, attempts[index], steps) for index in sorted(attempts)]


def _row(index: int, attempts: Sequence[FrozenTrial], steps: Steps) -> Row:
    trial = that_counts(attempts)
    return Row(
        index=index,
        number=trial.number,
        state=STALE if is_stale(trial) else trial.state.name,
        params=dict(trial.params),
        values=None if trial.values is None else list(trial.values),
        attempts=len(attempts),
        reported=steps.reported(trial.intermediate_values),
        attrs=trial.user_attrs,
        over=dict(trial.user_attrs.get("over", {})),
    )


def known_trials(trials: Sequence[FrozenTrial], names: Collection[str]) -> list[FrozenTrial]:
    """What a sampler may know: earlier studies' trials, then the rows in order; with all of `names` only."""
    earlier = [t for t in trials if t.user_attrs.get("role") == EARLIER]
    attempts = by_index(trials)
    rows = [that_counts(attempts[index]) for index in sorted(attempts)]
    states = (COMPLETE, PRUNED, RUNNING)
    return [t for t in (*earlier, *rows) if t.state.name in states and set(t.params) == set(names)]


def as_history(trial: FrozenTrial, origin: str) -> FrozenTrial:
    from optuna.trial import create_trial

    return create_trial(
        state=trial.state,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={"role": EARLIER, "origin": f"{origin}/{trial.number}"},
        system_attrs=trial.system_attrs,
    )
