"""Windows at random places: right size, image and labels together, nothing invented."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comp.data.samples.crop import random_crop

sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


def numbered(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An image whose two bands are row and column, and labels made of them."""
    rows, columns = np.indices(size).astype(np.uint8)
    return np.stack([rows, columns], axis=-1), (rows * 7 + columns) % 251


@given(sizes, sizes, st.integers(0, 10_000))
def test_every_pixel_keeps_its_label(old, size, seed) -> None:
    image, labels = numbered(old)
    crop, cropped = random_crop(image, labels, size, None, np.random.default_rng(seed))
    assert crop.shape == (*size, 2) and cropped.shape == size
    np.testing.assert_array_equal(labels[crop[..., 0], crop[..., 1]], cropped)
    for axis in (0, 1):  # neighbours stay neighbours, also across a reflection
        step = np.abs(np.diff(crop[..., axis].astype(int), axis=axis))
        assert step.size == 0 or step.max() <= 1


@given(sizes, sizes)
def test_planes_are_cut_alike(old, size) -> None:
    image, labels = numbered(old)
    stack = np.stack([labels, labels[::-1]])
    _, one = random_crop(image, labels, size, (0.5, 2.0), np.random.default_rng(3))
    _, two = random_crop(image, stack, size, (0.5, 2.0), np.random.default_rng(3))
    assert two.shape == (2, *size)
    np.testing.assert_array_equal(two[0], one)


def test_a_small_image_is_all_there_and_reflected() -> None:
    image, labels = numbered((3, 4))
    crop, _ = random_crop(image, labels, (9, 11), None, np.random.default_rng(0))
    assert {tuple(p) for p in crop.reshape(-1, 2)} == {(r, c) for r in range(3) for c in range(4)}
    assert (
        abs(int(crop[0, 0, 0]) - int(crop[1, 0, 0])) == 1
    )  # about the edge pixel, not doubling it


def test_every_place_is_drawn() -> None:
    image, labels = numbered((6, 5))
    rng = np.random.default_rng(0)
    corners = {tuple(random_crop(image, labels, (4, 4), None, rng)[0][0, 0]) for _ in range(200)}
    assert corners == {(r, c) for r in range(3) for c in range(2)}


def test_zoom_spans_its_range_evenly_in_log() -> None:
    image = np.broadcast_to(np.arange(256, dtype=np.float32)[:, None, None], (256, 256, 1))
    labels = np.zeros((256, 256), np.uint8)
    rng = np.random.default_rng(0)
    spans = []
    for _ in range(300):
        crop, _ = random_crop(image, labels, (64, 64), (0.5, 2.0), rng)
        spans.append(64 / (crop[-1, 0, 0] - crop[0, 0, 0] + 1))
    logs = np.log2(spans)
    assert -1.05 < logs.min() < -0.9 and 0.9 < logs.max() < 1.1
    assert abs(np.median(logs)) < 0.15
