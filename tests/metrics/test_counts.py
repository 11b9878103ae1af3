"""Counts against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from comp.errors import DataError
from comp.masks.rle import runs_of
from comp.metrics import kernels
from comp.metrics.counts import count_image, count_levels, count_runs

SHAPE = (7, 9)
BINARY = npst.arrays(np.uint8, SHAPE, elements=st.integers(0, 1))
TRUTH = npst.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 255]))


def plain_count(decided: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> list[int]:
    return [
        int((decided & truth & valid).sum()),
        int((decided & ~truth & valid).sum()),
        int((~decided & truth & valid).sum()),
        int((~decided & ~truth & valid).sum()),
    ]


@given(BINARY, TRUTH)
def test_binary(mask: np.ndarray, labels: np.ndarray) -> None:
    counts = count_image(mask, labels, "binary", 1)
    assert counts.shape == (1, 4) and counts.dtype == np.int64
    assert counts[0].tolist() == plain_count(mask == 1, labels == 1, labels != 255)


@given(
    npst.arrays(np.uint8, SHAPE, elements=st.integers(0, 3)),
    npst.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 3, 255])),
)
def test_multiclass(mask: np.ndarray, labels: np.ndarray) -> None:
    counts = count_image(mask, labels, "multiclass", 4)
    assert counts.shape == (4, 4) and counts.dtype == np.int64
    for k in range(4):
        assert counts[k].tolist() == plain_count(mask == k, labels == k, labels != 255)


@given(
    npst.arrays(np.uint8, (3, *SHAPE), elements=st.integers(0, 1)),
    npst.arrays(np.uint8, (3, *SHAPE), elements=st.sampled_from([0, 1, 255])),
)
def test_multilabel(mask: np.ndarray, labels: np.ndarray) -> None:
    counts = count_image(mask, labels, "multilabel", 3)
    for k in range(3):
        assert counts[k].tolist() == plain_count(mask[k] == 1, labels[k] == 1, labels[k] != 255)


ZERO = np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("mask", "labels", "task", "n", "said"),
    [
        (
            ZERO,
            np.zeros((2, 3), np.uint8),
            "binary",
            1,
            r"\(2, 2\) against labels of shape \(2, 3\)",
        ),
        (ZERO, ZERO + 7, "binary", 1, r"labels hold \[7\]; expected 0, 1 and 255"),
        (ZERO, ZERO + 7, "multiclass", 3, r"the classes \[7\]; expected 0 to 2"),
        (ZERO + 4, ZERO, "multiclass", 3, "a mask holds the class 4; expected 0 to 2"),
        (ZERO[None], ZERO[None], "multilabel", 2, "expected 2 planes of a multilabel mask, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    mask: np.ndarray, labels: np.ndarray, task: str, n: int, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        count_image(mask, labels, task, n)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_equals_a_threshold(dtype: type) -> None:
    rng = np.random.default_rng(0)
    full = int(np.iinfo(dtype).max)
    q = rng.integers(0, full, (23, 31), dtype=dtype, endpoint=True)
    labels = rng.choice(np.array([0, 1, 255], np.uint8), q.shape)
    levels = count_levels(q, labels)
    assert levels.shape == (full + 1, 4) and levels.dtype == np.int64
    for level in (0, 1, full // 3, full // 2, full - 1, full):
        plain = plain_count(q >= level, labels == 1, labels != 255)
        assert levels[level].tolist() == plain


@given(
    npst.arrays(np.uint8, SHAPE, elements=st.integers(0, 255)),
    npst.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 255])),
    st.integers(0, 255),
)
def test_levels_of_one_class_against_the_rest(
    q: np.ndarray, labels: np.ndarray, level: int
) -> None:
    levels = count_levels(q, labels, positive=2)
    assert levels[level].tolist() == plain_count(q >= level, labels == 2, labels != 255)


def test_levels_take_memory_maps_and_refuse_floats(tmp_path: object) -> None:
    q = np.full((4, 6), 200, np.uint8)
    q.setflags(write=False)
    np.testing.assert_array_equal(count_levels(q, np.ones((4, 6), np.uint8))[200], [24, 0, 0, 0])
    with pytest.raises(DataError, match="expected uint8 or uint16 probabilities"):
        count_levels(q.astype(np.float32), np.ones((4, 6), np.uint8))
    with pytest.raises(DataError, match=r"labels' shape \(6, 4\), got uint8 \(4, 6\)"):
        count_levels(q, np.ones((6, 4), np.uint8))


def test_the_kernel_uncompiled_equals_bincount() -> None:
    rng = np.random.default_rng(4)
    q = rng.integers(0, 256, 300).astype(np.uint8)
    labels = rng.choice(np.array([0, 1, 255], np.uint8), 300)
    plain = np.stack([np.bincount(q[labels == k], minlength=256) for k in (0, 1)])
    for kernel in (kernels.joint_histogram, kernels.joint_histogram.py_func):
        np.testing.assert_array_equal(kernel(q, labels, 1, 255, 256), plain)


@given(BINARY, BINARY)
def test_runs_count_as_masks_do(mask: np.ndarray, truth: np.ndarray) -> None:
    counts = count_runs(runs_of(mask), runs_of(truth), mask.size)
    np.testing.assert_array_equal(counts, count_image(mask, truth, "binary", 1)[0])
