"""Statistics of bands: equal to numpy's over all pixels at once, of the named images only, kept on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.cache.channel_stats import channel_stats, stats_of
from comp.data.cache.open import open_cache
from comp.errors import DataError


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.lists(st.booleans(), min_size=1, max_size=5)
)
def test_equal_to_numpy_over_everything(seed: int, bands: int, as_bytes: list[bool]) -> None:
    rng = np.random.default_rng(seed)
    images, flat = [], []
    for is_byte in as_bytes:
        image = rng.integers(0, 256, (*rng.integers(1, 9, 2), bands)).astype(np.uint8)
        images.append(image if is_byte else (image / np.float32(255)).astype(np.float32))
        flat.append(image.reshape(-1, bands) / 255)
    pixels = np.concatenate(flat)
    found = stats_of(images)
    assert np.allclose(found.mean, pixels.mean(0), atol=1e-6)
    std = pixels.std(0)
    assert np.allclose(found.std, np.where(std < 1e-6, 1, std), atol=1e-6)
    assert (found.n_pixels, found.n_images) == (len(pixels), len(images))
    if all(as_bytes):
        assert stats_of(images[::-1]) == found  # exact in any order


def test_only_the_training_images_count(make_toy: Any) -> None:
    toy = make_toy("binary", n=6)
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    found = channel_stats(cache, [4, 1, 1])
    pixels = np.concatenate([cache.image(i).reshape(-1, 3) for i in (1, 4)]) / 255
    assert np.allclose(found.mean, pixels.mean(0)) and np.allclose(found.std, pixels.std(0))
    assert found.n_images == 2 and found == channel_stats(cache, [1, 4])
    assert found != channel_stats(cache, [0, 1, 4])


def test_a_constant_band_keeps_its_scale() -> None:
    image = np.dstack([np.full((3, 3), 7, np.uint8), np.arange(9, dtype=np.uint8).reshape(3, 3)])
    assert stats_of([image]).std[0] == 1.0 and stats_of([image]).std[1] < 0.1


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(DataError, match="no images to take means of"):
        stats_of([])
    with pytest.raises(DataError, match="images of 3 and of 1 bands"):
        stats_of([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 1), np.uint8)])
    with pytest.raises(DataError, match="hold NaN or infinity"):
        stats_of([np.full((2, 2, 1), np.nan, np.float32)])
