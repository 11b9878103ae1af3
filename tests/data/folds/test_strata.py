"""Strata: balanced bins, presence patterns, columns; never a stratum too small for the folds."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comp.data.cache.stats import ImageStats
from comp.data.folds.strata import make_strata, merge_rare, quantile_bins, strata_of_column


def stats_of(counts: np.ndarray, valid: int = 1000) -> ImageStats:
    n = len(counts)
    ids = tuple(f"{i:04d}" for i in range(n))
    return ImageStats(
        ids,
        np.full((n, 2), 10),
        counts,
        np.full(counts.shape, valid),
        tuple(f"h{i}" for i in range(n)),
    )


def test_binary_bins_are_even_and_empties_apart() -> None:
    counts = np.concatenate([np.zeros(20, int), np.arange(1, 101)])[:, None]
    strata = Counter(make_strata("binary", stats_of(counts), 5))
    assert strata.pop("empty") == 20
    assert len(strata) == 10 and set(strata.values()) == {10}


def test_ignored_everywhere_counts_as_empty() -> None:
    strata = make_strata("binary", stats_of(np.zeros((10, 1), int), valid=0), 2)
    assert set(strata) == {"empty"}


def test_patterns_then_rarest_class_then_other() -> None:
    rows = (
        [[1, 1, 0, 0]] * 10
        + [[1, 0, 1, 0]] * 3
        + [[1, 1, 1, 0]] * 3
        + [[1, 0, 0, 1]] * 2
        + [[0, 0, 0, 0]] * 4
    )
    strata = make_strata("multiclass", stats_of(np.array(rows)), 4)
    assert strata[:10] == ["0 1"] * 10
    assert strata[10:16] == ["rarest 2"] * 6
    assert set(strata[16:18]) == {"none"}  # two alone are too few: they join the smallest
    assert strata[18:] == ["none"] * 4


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(1, 8))
def test_no_stratum_is_too_small(strata: list[str], n_splits: int) -> None:
    merged = merge_rare(strata, n_splits)
    assert len(merged) == len(strata)
    if len(strata) >= n_splits:
        assert min(Counter(merged).values()) >= n_splits
    for a, b, c, d in zip(strata, merged, strata[1:], merged[1:], strict=False):
        assert a != c or b == d  # what was together stays together


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(1, 10))
def test_quantile_bins_keep_order(values: list[float], n_splits: int) -> None:
    bins = quantile_bins(np.array(values), n_splits)
    assert len(bins) == len(values)
    order = np.argsort(values, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()


def test_columns_of_words_and_of_numbers() -> None:
    assert strata_of_column(["a"] * 5 + ["b"] * 5, 5) == ["a"] * 5 + ["b"] * 5
    numbers = strata_of_column([str(i / 7) for i in range(100)], 5)
    assert Counter(numbers) == {f"bin {b}": 10 for b in range(10)}
    words = strata_of_column([f"w{i}" for i in range(100)], 5)
    assert set(words) == {"other"}
