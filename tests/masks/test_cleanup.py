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


def plain_refill(mask: np.ndarray, min_area_px: int, connectivity: int) -> np.ndarray:
    """The rule as its sentence says it, part by part."""
    structure = (
        np.ones((3, 3), bool) if connectivity == 8 else ndimage.generate_binary_structure(2, 1)
    )
    parts = []
    for value in np.unique(mask):
        labels, n = ndimage.label(mask == value, structure)
        parts += [labels == k for k in range(1, n + 1) if (labels == k).sum() < min_area_px]
    small = np.any(parts, axis=0) if parts else np.zeros(mask.shape, bool)
    out = mask.copy()
    for part in parts:
        ring = ndimage.binary_dilation(part, structure) & ~part & ~small
        if ring.any():
            out[part] = np.bincount(mask[ring]).argmax()
    return out


@given(
    npst.arrays(np.uint8, SHAPES, elements=st.integers(0, 3)),
    st.integers(2, 20),
    st.sampled_from([4, 8]),
)
def test_multiclass_equals_the_oracle(mask: np.ndarray, area: int, touch: int) -> None:
    expected = plain_refill(mask, area, touch)
    np.testing.assert_array_equal(remove_small(mask, "multiclass", area, touch), expected)


@pytest.mark.parametrize("touch", [4, 8])
def test_larger_masks_equal_the_oracle(touch: int) -> None:
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.random((90, 130)), 3) for _ in range(4)]
    mask = np.argmax(smooth, axis=0).astype(np.uint8)
    mask[rng.random(mask.shape) < 0.02] = 255
    expected = plain_refill(mask, 30, touch)
    np.testing.assert_array_equal(remove_small(mask, "multiclass", 30, touch), expected)
    binary = (mask > 1).astype(np.uint8)
    expected = plain_remove(binary, 30, touch)
    np.testing.assert_array_equal(remove_small(binary, "binary", 30, touch), expected)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_the_answer_goes_where_it_is_asked_to(task: str) -> None:
    rng = np.random.default_rng(1)
    mask = rng.integers(0, 2, (3, 20, 30) if task == "multilabel" else (20, 30)).astype(np.uint8)
    before = mask.copy()
    expected = remove_small(mask, task, 6)
    np.testing.assert_array_equal(mask, before)
    other = np.full_like(mask, 7)
    assert remove_small(mask, task, 6, out=other) is other
    np.testing.assert_array_equal(other, expected)
    turned = np.asfortranarray(mask)
    np.testing.assert_array_equal(remove_small(turned, task, 6), expected)
    with pytest.raises(ValueError, match="an array in C order"):
        remove_small(mask, task, 6, out=turned)
    assert remove_small(mask, task, 6, out=mask) is mask
    np.testing.assert_array_equal(mask, expected)


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
