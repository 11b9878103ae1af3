"""A few images that stand for a fold: what a trial of a config reads instead of all the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comp.config import Competition
from comp.data.folds.schemes import ONE_FOLD
from comp.data.folds.table import FoldTable
from comp.data.sources.records import Record, Records

N_TRAIN, N_VAL = 16, 4  # pictures that are read


@dataclass(frozen=True)
class Few:
    """What of the data the trials see.

    Args:
        records: a few training images, the last `n_val` of them for validation.
        n_train, n_val_all: images of a fold; n_folds: models that a cross-validation trains.
    """

    records: tuple[Record, ...] = ()
    n_val: int = 0
    n_train: int = 0
    n_val_all: int = 0
    n_folds: int = 1


def choose_few(competition: Competition, records: Records, table: FoldTable | None) -> Few:
    """Some images of fold 0, at even distances; without folds, as if there were."""
    n = len(records.train)
    if table is not None:
        first = min(f for f in table.fold if f >= 0)
        train, val = table.training(first), table.validation(first)
        n_folds = table.n_folds
    else:
        folds = competition.folds
        n_folds = 1 if folds.scheme in ONE_FOLD else folds.n_splits * folds.n_repeats
        val = list(range(0, n, max(2, folds.n_splits)))
        train = sorted(set(range(n)) - set(val)) or val
    rest = spread(val, N_VAL)
    chosen = tuple(records.train[i] for i in [*spread(train, N_TRAIN), *rest])
    return Few(chosen, len(rest), len(train), len(val), n_folds)


def spread(numbers: Sequence[int], n: int) -> list[int]:
    """At most `n` of the numbers, at even distances."""
    step = max(1.0, len(numbers) / n)
    return [numbers[int(k * step)] for k in range(min(n, len(numbers)))]
