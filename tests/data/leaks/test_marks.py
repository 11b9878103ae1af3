"""Marks: found again wherever a picture is cut, and nowhere where there is nothing to see."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.data.leaks.marks import HALF, MOST, NO_MARKS, Marks, find_marks
from tests.data.leaks.conftest import draw_picture


def table(marks: Marks, down: int = 0, right: int = 0) -> dict[tuple[int, int], int]:
    places = (marks.at + np.array([down, right])).tolist()
    return {(y, x): int(c) for (y, x), c in zip(places, marks.codes, strict=True)}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_a_crop_bears_the_marks_of_the_whole(down: int, right: int) -> None:
    image = draw_picture(0, 160, 160)
    whole = table(find_marks(image))
    crop = table(find_marks(image[down : down + 100, right : right + 100]), down, right)
    inner = {
        place: code
        for place, code in crop.items()
        if down + 16 <= place[0] < down + 84 and right + 16 <= place[1] < right + 84
    }
    same = [place for place in inner if place in whole]
    assert len(inner) > 20 and len(same) >= 0.95 * len(inner)
    assert np.mean([(whole[p] ^ inner[p]).bit_count() for p in same]) < 1


def test_mirrored_marks_are_those_of_the_mirrored_image(
    picture: Callable[..., np.ndarray],
) -> None:
    image = picture(1, 120, 90)
    turned, ours = table(find_marks(image[:, ::-1])), table(find_marks(image).mirrored(90))
    both = turned.keys() & ours.keys()
    assert len(both) >= 0.95 * len(turned)
    assert np.mean([(turned[p] ^ ours[p]).bit_count() for p in both]) < 1
    at = find_marks(image).mirrored(90).at.tolist()
    assert at == sorted(at)


@pytest.mark.parametrize(
    "image",
    [
        np.full((64, 64, 3), 200, np.uint8),
        np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 3, 64, axis=0),
        np.where(np.arange(64)[None, :, None] < 32, np.uint8(0), np.uint8(255)).repeat(64, axis=0),
        np.zeros((10, 300, 1), np.float32),
    ],
    ids=["flat", "gradient", "edge", "narrow"],
)
def test_nothing_to_see_bears_no_marks(image: np.ndarray) -> None:
    assert len(find_marks(image).codes) == 0


def test_corners_of_a_black_border_are_none(picture: Callable[..., np.ndarray]) -> None:
    image = picture(2, 128, 128) // 2 + 60
    framed = image.copy()
    framed[:40] = framed[:, :40] = 0
    corner = np.abs(find_marks(framed).at - 40).max(axis=1)
    assert len(corner) > 10 and corner.min() > 3


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_any_bands_and_floats_of_little_contrast(
    picture: Callable[..., np.ndarray], bands: int
) -> None:
    image = picture(3, 96, 96, bands)
    whole = find_marks(image)
    faint = find_marks(image.astype(np.float32) / 255 * 1e-3)
    assert len(table(whole).keys() & table(faint).keys()) >= 0.9 * len(whole.codes) > 20
    assert whole.codes.dtype == np.uint64 and whole.clear.any()


def test_marks_are_bounded_and_away_from_the_edge() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 500, 3), dtype=np.uint8)
    at = find_marks(cv2.GaussianBlur(noise, (0, 0), 1)).at
    assert 50 < len(at) <= MOST
    assert (at >= HALF).all() and (at < np.array([700, 500]) - HALF).all()
    assert len(NO_MARKS.codes) == len(NO_MARKS.at) == 0
