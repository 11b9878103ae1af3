"""Counts from disputed pixels equal counts of whole masks, for any weights and thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.blending import kernels
from comp.blending.blend import blend_counts
from comp.blending.pixels import HALF, LEVELS
from comp.blending.pool import make_pool

TASKS = [("binary", 1, 255), ("binary", 1, 65535), ("multilabel", 3, 255), ("multiclass", 4, 255)]


def thresholds_of(task, n_classes, value):
    return None if task == "multiclass" else (value,) * n_classes


def n_disputed(pool):
    """Disputed pixels over all images (and planes)."""
    return sum(pixels.truth.size for pixels in pool.pixels)


@pytest.mark.parametrize(("task", "n_classes", "full"), TASKS)
def test_counts_equal_whole_masks(make_source, task, n_classes, full):
    source = make_source(task, n_classes, full=full)
    pool = make_pool(source)
    rng = np.random.default_rng(1)
    rows = np.array([0, 2, 5])
    for t in (LEVELS[0], 0.5, LEVELS[-1]):
        for _ in range(4):
            weights = tuple(int(w) for w in rng.multinomial(1000, [1 / 3] * 3))
            cut = thresholds_of(task, n_classes, t)
            expected = blend_counts(source, rows, weights, cut)
            assert (pool.narrow(rows).count(weights, cut) == expected).all()


@pytest.mark.parametrize(("task", "n_classes", "full"), TASKS)
def test_line_equals_each_blend(make_source, task, n_classes, full):
    source = make_source(task, n_classes, full=full)
    pool = make_pool(source)
    rows = np.arange(6)
    base, direction, cut = (400, 500, 100), (1, -1, 0), thresholds_of(task, n_classes, 0.5)
    counts = pool.along(base, direction, range(-400, 501, 50), cut)
    for v in range(19):
        delta = -400 + 50 * v
        weights = tuple(b + delta * d for b, d in zip(base, direction, strict=True))
        assert (counts[v] == blend_counts(source, rows, weights, cut)).all()


@pytest.mark.parametrize(("task", "n_classes", "full"), TASKS[:3])
def test_levels_equal_each_threshold(make_source, task, n_classes, full):
    source = make_source(task, n_classes, full=full)
    pool, rows = make_pool(source), np.arange(6)
    counts = pool.levels((300, 600, 100))
    for v in (0, 3, HALF, 200, len(LEVELS) - 1):
        expected = blend_counts(source, rows, (300, 600, 100), (LEVELS[v],) * n_classes)
        assert (counts[v] == expected).all()


def test_columns_that_agree_leave_nothing_disputed(make_source):
    source = make_source("multiclass", 3, noises=(0.5,))
    assert n_disputed(make_pool(source)) == 0


def test_half_is_a_level():
    assert LEVELS[HALF] == 0.5
    assert list(LEVELS) == sorted(LEVELS)


def test_thresholds_outside_the_levels_are_refused(make_source):
    pool = make_pool(make_source())
    with pytest.raises(ValueError, match=r"thresholds .* must lie between"):
        pool.count((1, 1, 1), (0.01,))


def test_a_full_pool_keeps_some_images_and_says_which(make_source):
    source = make_source(n_images=12)
    whole = make_pool(source)
    small = make_pool(source, max_entries=3 * n_disputed(whole) // 2)
    assert 2 <= len(small.images) < 12
    assert small.n_left_out == 12 - len(small.images)
    assert list(small.images) == sorted(small.images)
    expected = whole.narrow(small.images).count((1, 2, 3), (0.5,))
    assert (small.count((1, 2, 3), (0.5,)) == expected).all()
    again = make_pool(source, max_entries=3 * n_disputed(whole) // 2)
    assert (again.images == small.images).all()


@pytest.mark.parametrize(("task", "n_classes", "full"), TASKS)
def test_a_narrowed_pool_is_smaller_and_says_the_same(make_source, task, n_classes, full):
    source = make_source(task, n_classes, full=full)
    pool, rows, columns = make_pool(source), np.array([1, 2, 4]), (0, 2)
    cut = thresholds_of(task, n_classes, 0.5)
    small = pool.narrow(rows, columns, cut)
    assert n_disputed(small) < n_disputed(pool.narrow(rows)) < n_disputed(pool)
    assert list(small.images) == [1, 2, 4]
    for weights in ((1, 0, 0), (300, 0, 700), (0, 0, 5)):
        expected = blend_counts(source, rows, weights, cut)
        assert (small.count(weights, cut) == expected).all()
        assert (pool.narrow(rows).count(weights, cut) == expected).all()


def test_a_narrowed_pool_refuses_what_it_cannot_answer(make_source):
    pool = make_pool(make_source()).narrow(columns=(0, 2), thresholds=(0.5,))
    with pytest.raises(ValueError, match=r"columns \[1\] have weight.*narrowed to \(0, 2\)"):
        pool.count((1, 1, 1), (0.5,))
    with pytest.raises(ValueError, match="must lie between"):
        pool.count((1, 0, 1), (0.6,))
    with pytest.raises(ValueError, match="must lie between"):
        pool.levels((1, 0, 1))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_kernels_equal_their_numpy_twins(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    d, n_values = int(rng.integers(0, 60)), int(rng.integers(1, 30))
    sums = rng.integers(-50, 300, d).astype(np.int32)
    slopes = rng.integers(-9, 10, d).astype(np.int32)
    truth = rng.integers(0, 2, d).astype(np.uint8)
    bounds = np.sort(np.concatenate([[0, d], rng.integers(0, d + 1, 2)])).astype(np.int64)
    starts, ends = bounds[:-1], bounds[1:]
    low, step = int(rng.integers(-20, 3)), int(rng.integers(1, 5))
    deltas = (low + step * np.arange(n_values)).astype(np.int32)
    room = np.empty(int(rng.integers(1, 20)), np.int32)
    got = kernels.line_planes(sums, slopes, deltas, 100, bounds, room)
    cuts = np.unique(rng.integers(-60, 310, 12)).astype(np.int64)
    levels = kernels.level_planes(sums, truth, starts, ends, cuts)
    for i, (a, b) in enumerate(zip(starts, ends, strict=True)):
        for v, delta in enumerate(deltas):
            assert got[v, i] == np.count_nonzero(sums[a:b] + delta * slopes[a:b] >= 100)
        for label in (0, 1):
            mine = truth[a:b] == label
            for v, cut in enumerate(cuts):
                assert levels[v, i, label] == np.count_nonzero((sums[a:b] >= cut) & mine)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint16, np.int32]))
def test_many_blends_equal_their_numpy_twin(seed, dtype):
    rng = np.random.default_rng(seed)
    d, n_blends, columns = (
        int(rng.integers(0, 60)),
        int(rng.integers(1, 9)),
        4 * int(rng.integers(1, 4)),
    )
    q = rng.integers(0, 256, (columns, d)).astype(np.uint8)
    total = 256 if dtype is np.uint16 else 1000
    weights = rng.multinomial(total, [1 / columns] * columns, n_blends)
    cuts = rng.integers(0, 255 * total, n_blends)
    bounds = np.sort(np.concatenate([[0, d], rng.integers(0, d + 1, 2)])).astype(np.int64)
    room = np.empty(int(rng.integers(1, 20)), dtype)
    got = kernels.many_planes(q, weights.astype(dtype), cuts.astype(dtype), bounds, room)
    exact = weights @ q.astype(np.int64) >= cuts[:, None]
    for i in range(len(bounds) - 1):
        assert (got[:, i] == exact[:, bounds[i] : bounds[i + 1]].sum(axis=1)).all()
    one = np.empty(d, dtype)
    four = [q[c].view() for c in range(4)]
    kernels.add_four(one, tuple(four), weights[0, :4].astype(dtype), True)
    assert (one == weights[0, :4] @ q[:4].astype(np.int64)).all()
    kernels.add_four(one, tuple(four), weights[0, :4].astype(dtype), False)
    assert (one == (2 * (weights[0, :4] @ q[:4].astype(np.int64))).astype(dtype)).all()


@pytest.mark.parametrize(("task", "n_classes", "full"), TASKS)
def test_many_blends_equal_each_blend(make_source, task, n_classes, full):
    source = make_source(task, n_classes, full=full, noises=(0.5, 0.7, 1.0, 0.6, 0.8))
    columns = (0, 2, 3, 4)
    cut = thresholds_of(task, n_classes, 0.5)
    pool = make_pool(source).narrow(columns=columns)
    rng = np.random.default_rng(3)
    weights = np.zeros((5, 5), int)
    weights[:4, columns] = rng.multinomial(1000, [0.25] * 4, 4)
    weights[4, 2] = 7
    counts = pool.counts_of(weights, cut)
    for blend, got in zip(weights, counts, strict=True):
        assert (got == blend_counts(source, range(6), blend.tolist(), cut)).all()
    with pytest.raises(ValueError, match=r"columns \[1\] have weight"):
        pool.counts_of(np.eye(5, dtype=int)[1:2], cut) if cut else pool.count((0, 1, 0, 0, 0), cut)
