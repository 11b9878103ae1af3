"""Drawn pictures with structure at all scales, to be cut into crops."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest


def draw_picture(seed: int, height: int, width: int, bands: int = 3) -> np.ndarray:
    """(height, width, bands) uint8: blobs of two sizes and a little noise."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, bands), np.float32)
    for sigma, weight in ((12, 60.0), (3, 25.0)):
        noise = rng.normal(0, 1, (height, width, bands)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), sigma).reshape(height, width, bands)
        picture += weight * smooth / smooth.std()
    picture += rng.normal(0, 1.5, picture.shape).astype(np.float32)
    return np.clip(picture + 128, 0, 255).astype(np.uint8)


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """`picture(seed, height, width, bands=3)`."""
    return draw_picture
