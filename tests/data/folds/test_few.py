"""The few images that stand for a fold."""

from __future__ import annotations

from pathlib import Path

import pytest

from comp.config import Competition, check
from comp.data.folds.few import N_TRAIN, N_VAL, choose_few, spread
from comp.data.folds.table import FoldTable
from comp.data.sources.records import Record, Records


def make(n: int, **folds: object) -> tuple[Competition, Records]:
    data = {"root": "data", "train": [{"images": "{id}.png", "masks": "m/{id}.png"}]}
    values = {"name": "toy", "task": "binary", "classes": ["a"], "data": data, "folds": folds}
    records = tuple(Record(f"{i:03d}", Path(f"{i:03d}.png")) for i in range(n))
    return check(Competition, values, "test"), Records(records)


def test_images_of_fold_0_at_even_distances() -> None:
    competition, records = make(100, scheme="kfold", n_splits=4)
    fold = tuple(i % 4 for i in range(100))
    ids = tuple(r.image_id for r in records.train)
    table = FoldTable(ids, fold, ("",) * 100, ("",) * 100, "kfold", 0, 4)
    few = choose_few(competition, records, table)
    assert (few.n_train, few.n_val_all, few.n_folds, few.n_val) == (75, 25, 4, N_VAL)
    numbers = [int(r.image_id) for r in few.records]
    assert len(numbers) == N_TRAIN + N_VAL and len(set(numbers)) == len(numbers)
    assert all(i % 4 == 0 for i in numbers[-N_VAL:]) and all(i % 4 for i in numbers[:-N_VAL])


@pytest.mark.parametrize(("n", "train", "val"), [(100, 80, 20), (2, 1, 1), (1, 1, 1)])
def test_without_folds_as_if_there_were(n: int, train: int, val: int) -> None:
    few = choose_few(*make(n, scheme="kfold", n_splits=5), None)
    assert (few.n_train, few.n_val_all, few.n_folds) == (train, val, 5)


def test_schemes_of_one_fold_train_one_model() -> None:
    assert choose_few(*make(40, scheme="split"), None).n_folds == 1


def test_spread_keeps_order_and_repeats_nothing() -> None:
    assert spread([4, 5, 6], 5) == [4, 5, 6]
    assert spread(list(range(10)), 3) == [0, 3, 6]
    assert spread([], 3) == []
