"""Iterative stratification: rare labels spread first, groups whole, no fold empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.data.cache.stats import ImageStats
from comp.data.folds.iterative import SWAPPED, deal, even_out, make_labels


def stats_of(counts: np.ndarray) -> ImageStats:
    n = len(counts)
    ids = tuple(f"i{i:04d}" for i in range(n))
    return ImageStats(ids, np.full((n, 2), 10), counts, np.full(counts.shape, 100), ids)


def spread(labels: np.ndarray, fold: np.ndarray, n_folds: int) -> np.ndarray:
    """(F, L) images with each label in each fold."""
    return np.array([labels[fold == f].sum(axis=0) for f in range(n_folds)])


@given(st.integers(2, 6), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=60)
def test_every_unit_has_a_fold_and_no_fold_is_empty(n_folds: int, n_labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(n_folds, 60))
    labels = rng.random((n, n_labels)) < rng.random(n_labels)
    units = np.unique(
        np.concatenate([np.arange(n_folds), rng.integers(0, n, n - n_folds)]), return_inverse=True
    )[1]
    fold = deal(labels, units, n_folds, np.random.default_rng(seed))
    assert fold.shape == (units.max() + 1,)
    assert set(fold.tolist()) == set(range(n_folds))
    assert (fold == deal(labels, units, n_folds, np.random.default_rng(seed))).all()
    evened = even_out(fold, np.bincount(units)[:, None].astype(float), n_folds)
    assert set(evened.tolist()) == set(range(n_folds))


@given(st.integers(0, 200))
@settings(max_examples=25)
def test_single_images_are_spread_to_one_or_two(seed: int) -> None:
    """What plain random folds do not do: every label, rare ones too, in each fold as often as in another."""
    rng = np.random.default_rng(seed)
    labels = rng.random((200, 5)) < np.array([0.03, 0.1, 0.2, 0.5, 0.9])
    fold = deal(labels, np.arange(200), 5, rng)
    found = spread(labels, fold, 5)
    assert (found.max(axis=0) - found.min(axis=0))[:3].max() <= 2
    assert (found.max(axis=0) - found.min(axis=0)).max() <= 6
    assert np.ptp(np.bincount(fold)) <= 8


def test_the_rarest_label_is_dealt_first() -> None:
    labels = np.zeros((50, 2), bool)
    labels[:, 0] = True
    labels[[3, 14, 15, 26, 35], 1] = True
    for seed in range(10):
        fold = deal(labels, np.arange(50), 5, np.random.default_rng(seed))
        assert sorted(fold[labels[:, 1]]) == [0, 1, 2, 3, 4]
        assert set(np.bincount(fold)) == {10}


def test_units_without_labels_fill_what_is_left() -> None:
    fold = deal(np.zeros((11, 0), bool), np.arange(11), 3, np.random.default_rng(0))
    assert sorted(np.bincount(fold)) == [3, 4, 4]


def test_seeds_differ() -> None:
    labels = np.random.default_rng(0).random((60, 3)) < 0.4
    folds = {deal(labels, np.arange(60), 4, np.random.default_rng(s)).tobytes() for s in range(5)}
    assert len(folds) == 5


def cost(fold: np.ndarray, held: np.ndarray, n_folds: int) -> float:
    have = np.array([held[fold == f].sum(axis=0) for f in range(n_folds)])
    return float(((have / held.sum(axis=0) * n_folds - 1) ** 2).sum())


@given(st.integers(3, 40), st.integers(2, 3), st.integers(0, 500))
@settings(max_examples=40)
def test_evening_out_ends_where_no_move_and_no_swap_helps(
    n_units: int, n_folds: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    held = rng.random((n_units, 4)) ** 3
    start = np.concatenate([np.arange(n_folds), rng.integers(0, n_folds, n_units - n_folds)])
    fold = even_out(start, held, n_folds)
    best = cost(fold, held, n_folds)
    assert best <= cost(start, held, n_folds) + 1e-9
    for unit in range(n_units):
        for to in range(n_folds):
            moved = fold.copy()
            moved[unit] = to
            if len(set(moved)) == n_folds:
                assert cost(moved, held, n_folds) > best - 2e-5
        for other in range(unit):
            swapped = fold.copy()
            swapped[[unit, other]] = fold[[other, unit]]
            assert cost(swapped, held, n_folds) > best - 2e-5


def test_many_units_are_moved_without_pairs() -> None:
    n = SWAPPED + 100
    held = np.random.default_rng(0).random((n, 3))
    fold = even_out(np.minimum(np.arange(n) // 300, 1), held, 2)
    assert cost(fold, held, 2) < 1e-3


def test_what_labels_are_made_of() -> None:
    counts = np.array([[0, 0, 9], [5, 0, 9], [8, 0, 9], [0, 0, 0]])
    labels, names = make_labels("multilabel", stats_of(counts), 2, None)
    assert names == ["none", "class 0", "much of class 0", "class 2"]
    assert labels.T.astype(int).tolist() == [[0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 1, 0], [1, 1, 1, 0]]
    with_column, names = make_labels("multilabel", stats_of(counts), 2, ["a", "a", "b", "b"])
    assert names[-2:] == ["a", "b"] and with_column.shape == (4, 6)
    assert make_labels("multilabel", stats_of(np.ones((3, 1), int)), 2, None)[1] == []


def test_labels_of_one_class_are_bins_of_coverage() -> None:
    labels, names = make_labels("binary", stats_of(np.arange(40)[:, None] % 20), 2, None)
    assert "empty" in names and len(names) > 5
    assert (labels.sum(axis=1) == 1).all()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_without_masks_only_the_column_counts(task: str) -> None:
    stats = stats_of(np.full((4, 2), -1))
    assert make_labels(task, stats, 2, ["a", "b", "a", "b"])[1] == ["a", "b"]
