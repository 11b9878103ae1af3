"""Crops that hold a pixel for certain: every pixel alike, every place of the window alike."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.cache.open import open_cache
from comp.data.samples.positive import Pixels, crop_around

sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@given(sizes, sizes, st.integers(0, 10_000), st.sampled_from([None, (0.5, 2.0)]))
def test_the_pixel_is_in_the_crop_with_its_label(old, size, seed, jitter) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(old).astype(np.uint8)
    image = np.stack([rows, columns], axis=-1)
    pixel = (int(rng.integers(old[0])), int(rng.integers(old[1])))
    labels = np.zeros(old, np.uint8)
    labels[pixel] = 1
    crop, cropped = crop_around(image, labels, size, jitter, pixel, rng)
    assert crop.shape == (*size, 2) and cropped.shape == size
    if jitter is None:
        assert (cropped == 1).any()
        np.testing.assert_array_equal(labels[crop[..., 0], crop[..., 1]], cropped)


def test_the_pixel_is_not_drawn_to_the_middle() -> None:
    """Each of the 8 x 8 places in the window is as likely as another, but for the borders of the image."""
    image = np.zeros((40, 40, 1), np.uint8)
    labels = np.zeros((40, 40), np.uint8)
    labels[20, 20] = 1
    rng = np.random.default_rng(0)
    seen = np.zeros((8, 8))
    for _ in range(6400):
        seen += crop_around(image, labels, (8, 8), None, (20, 20), rng)[1]
    assert seen.sum() == 6400 and seen.min() > 55 and seen.max() < 145  # 100 and 4.5 sigma


def test_windows_stay_inside_the_image() -> None:
    image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1)
    labels = np.zeros((10, 10), np.uint8)
    rng = np.random.default_rng(0)
    for pixel in ((0, 0), (9, 9), (0, 5)):
        crops = [crop_around(image, labels, (4, 4), None, pixel, rng)[0] for _ in range(60)]
        corners = {int(crop[0, 0, 0]) for crop in crops}
        assert len(corners) == (1 if pixel != (0, 5) else 4)
        assert all((np.diff(crop[..., 0].astype(int), axis=1) == 1).all() for crop in crops)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_pixel_of_a_class_alike(make_toy, task: str) -> None:
    toy = make_toy(task)
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    pixels, rng = Pixels(cache, task), np.random.default_rng(0)
    klass = 0 if task == "binary" else 1
    number = 1 if task != "multiclass" else 2
    labels = cache.labels(number)
    plane = labels[klass] == 1 if task == "multilabel" else labels == 1
    drawn = np.zeros(plane.shape)
    n = 40 * int(plane.sum())
    for _ in range(n):
        drawn[pixels.draw(number, klass, rng)] += 1
    assert drawn[~plane].sum() == 0
    assert drawn[plane].min() > 12 and drawn[plane].max() < 75  # 40 and 4.5 to 5.5 sigma


def test_a_class_that_is_not_there_has_no_pixel(make_toy) -> None:
    toy = make_toy()  # every fifth mask is empty
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    pixels = Pixels(cache, "binary")
    assert pixels.draw(0, 0, np.random.default_rng(0)) is None
    assert pixels.draw(1, 0, np.random.default_rng(0)) is not None
    assert len(pickle.dumps(pixels)) == len(pickle.dumps(Pixels(cache, "binary")))
