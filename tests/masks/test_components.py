"""Connected parts from runs, against scipy's and OpenCV's labelling of pixels."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from comp.masks import part_kernels
from comp.masks.components import (
    cut_runs,
    find_class_parts,
    find_parts,
    objects,
    parts_of_runs,
)
from comp.masks.rle import fill, runs_of
from comp.masks.stream import RunStream

SHAPES = npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16)
MASKS = npst.arrays(np.uint8, SHAPES, elements=st.integers(0, 1))
TOUCH = st.sampled_from([4, 8])
ORDERS = st.sampled_from(["column", "row"])


def plain_label(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    labels, n = ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
    return labels, int(n)


def by_first_pixel(labels: np.ndarray, order: str) -> np.ndarray:
    """Number labels anew, from 1, by their first pixel in `order`."""
    flat = labels.ravel("F" if order == "column" else "C")
    seen = list(dict.fromkeys(flat[flat > 0].tolist()))
    table = np.zeros(labels.max() + 1, int)
    table[seen] = np.arange(1, len(seen) + 1)
    return table[labels]


def painted(parts: object, shape: tuple[int, int], order: str) -> np.ndarray:
    """The parts as labels (H, W) from 1."""
    flat = np.zeros(shape[0] * shape[1], int)
    for (start, length), number in zip(parts.runs, parts.numbers, strict=True):
        flat[start : start + length] = number + 1
    return flat.reshape(shape, order="F" if order == "column" else "C")


@given(MASKS, TOUCH, ORDERS)
def test_parts_are_those_of_the_oracle_numbered_by_first_pixel(
    mask: np.ndarray, connectivity: int, order: str
) -> None:
    labels, n = plain_label(mask, connectivity)
    parts = find_parts(mask, connectivity, order)
    assert parts.n == n
    expected = by_first_pixel(labels, order)
    np.testing.assert_array_equal(painted(parts, mask.shape, order), expected)
    np.testing.assert_array_equal(parts.areas, np.bincount(expected.ravel(), minlength=n + 1)[1:])


@given(MASKS, TOUCH, st.data())
def test_counts_below_parts(mask: np.ndarray, connectivity: int, data: st.DataObject) -> None:
    truth = data.draw(npst.arrays(np.uint8, mask.shape, elements=st.sampled_from([0, 1, 2, 255])))
    labels, n = plain_label(mask, connectivity)
    labels = by_first_pixel(labels, "row")
    expected = [
        [int(((labels == k) & (truth == value)).sum()) for value in (0, 1)] for k in range(1, n + 1)
    ]
    found = find_parts(mask, connectivity).counts(truth)
    np.testing.assert_array_equal(found, np.array(expected, int).reshape(n, 2))


@given(npst.arrays(np.uint8, SHAPES, elements=st.integers(0, 3)), TOUCH)
def test_parts_of_every_class(mask: np.ndarray, connectivity: int) -> None:
    parts, values = find_class_parts(mask, connectivity)
    labels = painted(parts, mask.shape, "row")
    assert labels.min() == 1, "together they are all pixels"
    drawn = np.zeros(mask.size, np.uint8)
    for (start, length), value in zip(parts.runs, values, strict=True):
        assert (
            len(set(range(start // mask.shape[1], (start + length - 1) // mask.shape[1] + 1))) == 1
        )
        drawn[start : start + length] = value
    np.testing.assert_array_equal(drawn.reshape(mask.shape), mask)
    assert parts.n == sum(plain_label(mask == v, connectivity)[1] for v in range(4))
    for value in range(4):
        expected, _ = plain_label(mask == value, connectivity)
        here = np.where(mask == value, labels, 0)
        np.testing.assert_array_equal(by_first_pixel(here, "row"), by_first_pixel(expected, "row"))


@given(MASKS, TOUCH, st.integers(1, 5))
def test_a_mask_in_bands_has_the_same_parts(mask: np.ndarray, touch: int, high: int) -> None:
    stream = RunStream(*mask.shape, "row")
    for top in range(0, len(mask), high):
        stream.add(mask[top : top + high])
    banded, whole = parts_of_runs(stream.runs(), mask.shape[1], touch), find_parts(mask, touch)
    np.testing.assert_array_equal(banded.runs, whole.runs)
    np.testing.assert_array_equal(banded.numbers, whole.numbers)


@given(MASKS, TOUCH, ORDERS)
def test_objects_are_the_connected_parts(mask: np.ndarray, connectivity: int, order: str) -> None:
    expected, n = plain_label(mask, connectivity)
    found = objects(mask, connectivity, order)
    assert len(found) == n
    drawn = [fill(runs, *mask.shape, order) for runs in found]
    wanted = {(expected == k).tobytes() for k in range(1, n + 1)}
    assert {plane.astype(bool).tobytes() for plane in drawn} == wanted
    for runs, plane in zip(found, drawn, strict=True):
        np.testing.assert_array_equal(runs, runs_of(plane, order))
    starts = [int(runs[0, 0]) for runs in found]
    assert starts == sorted(starts), "objects come by their first pixel"


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("kind", ["noise", "blobs", "stripes", "comb", "spiral", "full"])
def test_larger_masks_equal_opencv(kind: str, connectivity: int) -> None:
    rng = np.random.default_rng(2)
    side = 203
    y, x = np.mgrid[:side, :side]
    mask = {
        "noise": rng.random((side, side)) < 0.5,
        "blobs": ndimage.gaussian_filter(rng.random((side, side)), 4) > 0.5,
        "stripes": (x + y) % 3 == 0,
        "comb": (x % 2 == 0) | (y == side - 1),  # parts that meet in the last row only
        "spiral": np.maximum(abs(x - 100), abs(y - 100)) % 4 < 2,
        "full": np.ones((side, side)),
    }[kind].astype(np.uint8)
    n, labels = cv2.connectedComponents(mask, connectivity=connectivity)
    parts = find_parts(mask, connectivity)
    assert parts.n == n - 1
    np.testing.assert_array_equal(painted(parts, mask.shape, "row"), by_first_pixel(labels, "row"))


def test_memory_goes_with_the_runs() -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    mask[::7, 5:2000] = 1
    find_parts(mask[:9])  # numba compiles
    tracemalloc.start()
    try:
        assert find_parts(mask).n == 429
        assert tracemalloc.get_traced_memory()[1] < 1 << 20, "the mask has 9 MB"
    finally:
        tracemalloc.stop()


def test_corners_touch_with_8_and_not_with_4() -> None:
    mask = np.eye(3, dtype=np.uint8)
    assert len(objects(mask, 8)) == 1
    assert len(objects(mask, 4)) == 3


def test_the_end_of_a_line_does_not_touch_the_next_one() -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[0, 4] = mask[1, 0] = 1  # neighbours in the code, not in the picture
    assert find_parts(mask, 8).n == 2
    mask[:, 2] = 1
    assert find_parts(mask, 8, "row").n == find_parts(mask, 8, "column").n == 3


def test_an_empty_mask_has_no_objects() -> None:
    assert objects(np.zeros((3, 4), np.uint8)) == []
    for shape in ((3, 4), (0, 4), (4, 0)):
        parts = find_parts(np.zeros(shape, np.uint8))
        assert parts.n == len(parts.areas) == len(parts.tables()) == 0
        assert parts.counts(np.zeros(shape, np.uint8)).shape == (0, 2)


def test_another_connectivity_or_value_is_refused() -> None:
    for call in (find_parts, find_class_parts, objects):
        with pytest.raises(ValueError, match="connectivity is 4 or 8, got 6"):
            call(np.zeros((3, 4), np.uint8), 6)
    with pytest.raises(ValueError, match="a mask holds 0 and 1 only, got 255"):
        find_parts(np.full((3, 4), 255, np.uint8))


@given(npst.arrays(np.uint8, SHAPES, elements=st.integers(0, 2)), st.booleans(), st.integers(1, 6))
def test_kernels_as_plain_python(mask: np.ndarray, corners: bool, area: int) -> None:
    """The same lines, not compiled: what numba leaves unchecked (a place beyond an array) shows."""
    kernels, width = part_kernels, mask.shape[1]
    flat = mask.reshape(-1)
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    runs, values = kernels.find_value_runs.py_func(flat, words, width)
    numbers, n = kernels.number_runs.py_func(runs, values, width, corners)
    parts, found = find_class_parts(mask, 8 if corners else 4)
    np.testing.assert_array_equal(runs, parts.runs)
    np.testing.assert_array_equal(values, found)
    np.testing.assert_array_equal(numbers, parts.numbers)
    areas = kernels.part_areas.py_func(runs, numbers, n)
    np.testing.assert_array_equal(areas, parts.areas)
    small = areas < area
    around = kernels.classes_around.py_func(runs, values, numbers, small, width, corners)
    compiled = kernels.classes_around(runs, values, numbers, small, width, corners)
    np.testing.assert_array_equal(around, compiled)
    some = mask.copy()
    kernels.paint_runs.py_func(some.reshape(-1), runs, np.where(small, 9, -1)[numbers])
    np.testing.assert_array_equal(
        some == 9, np.isin(painted(parts, mask.shape, "row"), np.flatnonzero(small) + 1)
    )
    binary = runs_of((mask > 0).astype(np.uint8), "row")
    np.testing.assert_array_equal(
        kernels.split_runs.py_func(binary, width), cut_runs(binary, width)
    )
    ones = find_parts((mask > 0).astype(np.uint8))
    grouped, first = kernels.group_runs.py_func(ones.runs, ones.numbers, ones.n)
    assert [table.tolist() for table in ones.tables()] == [
        grouped[a:b].tolist() for a, b in pairwise(first)
    ]
    below = kernels.count_below.py_func(ones.runs, ones.numbers, ones.n, flat)
    np.testing.assert_array_equal(below, ones.counts(mask))
