"""The trials of a study as plain values: what was asked for, and one row a logical index.

A logical index (0, 1, 2, ...) is what a person means by a trial: one set of parameters. It may take several
attempts, each a trial of Optuna's with a number of its own; the row tells of the latest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RUNNING, COMPLETE, PRUNED, FAIL = "RUNNING", "COMPLETE", "PRUNED", "FAIL"  # as Optuna names them
STALE = "STALE"  # its process ended before the trial did: it waits to be tried again
Reported = dict[tuple[int, int], float]  # (fold, epoch from 1) -> the metric in its own direction


@dataclass(frozen=True)
class Asked:
    """One attempt at a trial, given to this process to run.

    Args:
        index: the logical index; trial 0 is the untuned config.
        number: of the trial in Optuna's table, unique in the study.
        trial_id, token: by which the storage knows the attempt; of no use to others.
        params: name -> value, only of the search space; of trial 0 perhaps not all of them.
        attempt: 1, or more where earlier ones were cut short.
        reported: what earlier attempts reported.
        stop: why it need not be run: what was reported last already meant pruning. `tell` it PRUNED.
    """

    index: int
    number: int
    trial_id: int
    token: str
    params: dict[str, Any]
    attempt: int = 1
    reported: Reported = field(default_factory=dict)
    stop: str | None = None


@dataclass(frozen=True)
class Row:
    """The latest attempt at one logical index.

    Args:
        state: RUNNING, COMPLETE, PRUNED, FAIL (it has an `error`), or STALE (it waits to be tried again).
        values: of a complete trial, one an objective, in the metric's own direction; else None.
        reported: (fold, epoch from 1) -> value, in the order of the folds.
        attrs: what `Study.tell` was given (seconds, peak_bytes, scores, error, ...), and lease and beat.
        over: limit -> by how much it was passed; empty where the trial kept within its limits.
    """

    index: int
    number: int
    state: str
    params: dict[str, Any]
    values: list[float] | None
    attempts: int
    reported: Reported
    attrs: dict[str, Any]
    over: dict[str, float]

    @property
    def value(self) -> float | None:
        """The first objective's value."""
        return self.values[0] if self.values else None

    @property
    def feasible(self) -> bool:
        """Whether it kept within every limit."""
        return not self.over

    @property
    def pruned_at(self) -> tuple[int, int] | None:
        """(fold, epoch) after which it was pruned."""
        return list(self.reported)[-1] if self.state == PRUNED and self.reported else None

    @property
    def seconds(self) -> float | None:
        return self.attrs.get("seconds")

    @property
    def peak_bytes(self) -> int | None:
        return self.attrs.get("peak_bytes")

    @property
    def error(self) -> str | None:
        return self.attrs.get("error")


@dataclass(frozen=True)
class Steps:
    """How (fold, epoch) is one integer in Optuna's table: folds follow each other, so a plot reads as time.

    Args:
        folds: in the order in which every trial trains them.
        epochs: of each fold; epochs count from 1.
    """

    folds: Sequence[int]
    epochs: int

    def step(self, fold: int, epoch: int) -> int:
        return list(self.folds).index(fold) * self.epochs + epoch

    def place(self, step: int) -> tuple[int, int]:
        position, epoch = divmod(step - 1, self.epochs)
        return self.folds[position], epoch + 1

    def reported(self, intermediate: Mapping[int, float]) -> Reported:
        """Optuna's intermediate values by (fold, epoch), in order."""
        return {self.place(step): intermediate[step] for step in sorted(intermediate)}
