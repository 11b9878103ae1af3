"""Small parts removed, for each task."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from comp.masks.cleanup import remove_small

SHAPES = npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)


def plain_remove(mask: np.ndarray, min_area_px: int, connectivity: int) -> np.ndarray:
    labels, n = ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
    out = mask.copy()
    for k in range(1, n + 1):
        if (labels == k).sum() < min_area_px:
            out[labels == k] = 0
    return out


@given(
    npst.arrays(np.uint8, SHAPES, elements=st.integers(0, 1)),
    st.integers(0, 9),
    st.sampled_from([4, 8]),
)
def test_binary_and_multilabel_equal_the_oracle(mask: np.ndarray, area: int, touch: int) -> None:
    expected = plain_remove(mask, area, touch)
    np.testing.assert_array_equal(remove_small(mask, "binary", area, touch), expected)
    both = remove_small(np.stack([mask, 1 - mask]), "multilabel", area, touch)
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both[0], expected)
    np.testing.assert_array_equal(both[1], plain_remove(1 - mask, area, touch))


def test_a_small_part_of_a_class_takes_the_class_around_it() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[:, 5:] = 2
    mask[2, 2] = 1  # an island in class 0
    mask[6, 7] = 0  # and one in class 2
    cleaned = remove_small(mask, "multiclass", 4)
    assert cleaned[2, 2] == 0 and cleaned[6, 7] == 2
    mask[2, 2], mask[6, 7] = 0, 2
    np.testing.assert_array_equal(cleaned, mask)


def test_small_parts_that_touch_only_small_parts_stay() -> None:
    checks = np.indices((4, 4)).sum(axis=0).astype(np.uint8) % 2
    np.testing.assert_array_equal(remove_small(checks, "multiclass", 5, connectivity=4), checks)


def test_the_lower_class_wins_a_tie() -> None:
    mask = np.array([[3, 3, 3, 0, 1, 1, 1]], np.uint8)
    assert remove_small(mask, "multiclass", 2)[0, 3] == 1


@given(npst.arrays(np.uint8, SHAPES, elements=st.integers(0, 3)), st.integers(2, 9))
def test_flipping_the_picture_flips_the_answer(mask: np.ndarray, area: int) -> None:
    """The order in which parts are met must not matter."""
    cleaned = remove_small(mask, "multiclass", area)
    flipped = remove_small(np.ascontiguousarray(mask[::-1, ::-1]), "multiclass", area)
    np.testing.assert_array_equal(cleaned, flipped[::-1, ::-1])
    assert set(np.unique(cleaned)) <= set(np.unique(mask))


@pytest.mark.parametrize("area", [0, 1])
def test_nothing_asked_nothing_done(area: int) -> None:
    mask = np.eye(3, dtype=np.uint8)
    assert remove_small(mask, "binary", area) is mask


def test_the_given_mask_is_left_alone() -> None:
    mask = np.eye(5, dtype=np.uint8)
    mask.setflags(write=False)
    assert remove_small(mask, "binary", 6).sum() == 0
    assert remove_small(mask, "multiclass", 6).sum() == 0
    assert mask.sum() == 5
