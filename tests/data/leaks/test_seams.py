"""Seams: all crops of a cut picture are found, reversed edges none; the blocks change nothing."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.data.leaks import seams
from comp.data.leaks.prints import ImagePrint, make_print
from comp.data.leaks.seams import RESIZED, RULES, Rule, Seam, Seams, accepts, find_seams


def cut(image: np.ndarray, side: int) -> list[np.ndarray]:
    """Crops in reading order."""
    height, width = image.shape[:2]
    return [
        image[y : y + side, x : x + side]
        for y in range(0, height - side + 1, side)
        for x in range(0, width - side + 1, side)
    ]


def mosaic(picture: Callable[..., np.ndarray], n: int = 6, bands: int = 3) -> list[np.ndarray]:
    """Crops of 64 x 64, six of each picture: two rows of three, 7 seams."""
    return [crop for seed in range(n) for crop in cut(picture(seed, 128, 192, bands), 64)]


EXPECTED = {(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)}


@pytest.mark.parametrize("bands", [1, 3])
def test_all_seams_and_no_others(picture: Callable[..., np.ndarray], bands: int) -> None:
    found = find_seams([make_print(crop) for crop in mosaic(picture, bands=bands)])
    pairs = {(s.i, s.j) for s in found.links}
    assert pairs == {(6 * k + i, 6 * k + j) for k in range(6) for i, j in EXPECTED}
    assert {s.side for s in found.links if s.j == s.i + 1} == {"right"}
    assert found.rule == RULES[0] and found.n_null == 0 and found.believed
    assert "42 seams" in found.told and "null test with reversed edges: 0" in found.told


def test_pictures_that_are_not_cut_have_none(picture: Callable[..., np.ndarray]) -> None:
    found = find_seams([make_print(picture(seed, 64, 64)) for seed in range(40)])
    assert found.links == () and found.n_found == 0


def test_floats_and_other_lengths(picture: Callable[..., np.ndarray]) -> None:
    crops = mosaic(picture, 3)
    crops = [crop.astype(np.float32) / 255 for crop in crops] + [picture(9, 50, 64)]
    found = find_seams([make_print(crop) for crop in crops])
    assert len(found.links) == 21


def test_crops_that_were_enlarged_each_by_itself(picture: Callable[..., np.ndarray]) -> None:
    crops = [cv2.resize(crop, (128, 128)) for crop in mosaic(picture)]
    found = find_seams([make_print(crop) for crop in crops])
    assert found.rule == RESIZED and found.n_null == 0
    assert len(found.links) > 30 and {s.i // 6 - s.j // 6 for s in found.links} == {0}


def test_one_of_two_copies_is_kept(picture: Callable[..., np.ndarray]) -> None:
    crops = mosaic(picture, 3)
    prints = [make_print(crop) for crop in [*crops, crops[1]]]
    both = find_seams(prints)
    assert not any(18 in (s.i, s.j) or 1 in (s.i, s.j) for s in both.links)
    kept = find_seams(prints, range(18))
    assert len(kept.links) == 21


def test_flat_edges_and_tiny_images_say_nothing() -> None:
    flat = [np.full((8, 8, 3), value, np.uint8) for value in (0, 0, 9, 200)]
    tiny = [np.zeros((1, 1, 1), np.uint8)] * 3
    for images in (flat, tiny, []):
        assert find_seams([make_print(image) for image in images]).links == ()


def test_too_many_by_chance_are_not_believed(
    picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seams, "accepts", lambda rule, seam: True)
    found = find_seams([make_print(picture(seed, 64, 64)) for seed in range(20)])
    assert found.links == () and found.n_found > 0 and not found.believed


def test_the_rule_is_strict_in_each_of_its_numbers() -> None:
    rule = Rule(1.5, 0.6, 1.5)
    assert accepts(rule, Seam(0, 1, "right", 1.4, 0.7, 1.6))
    for step, correlation, margin in ((1.5, 0.7, 1.6), (1.4, 0.6, 1.6), (1.4, 0.7, 1.5)):
        assert not accepts(rule, Seam(0, 1, "right", step, correlation, margin))
    assert Seams((), rule, 0, 0).believed and not Seams((), rule, 50, 1).believed


@settings(max_examples=25)
@given(st.integers(2, 40), st.integers(1, 17), st.integers(0, 2**32 - 1))
def test_blocks_give_the_nearest_as_a_plain_loop(n: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, (2, n, 12)).astype(np.float32)
    before = seams.ROWS
    seams.ROWS = rows
    try:
        found = seams._nearest(a, b)
    finally:
        seams.ROWS = before
    d = ((a[:, None, :].astype(float) - b[None]) ** 2).mean(axis=2)
    d[np.arange(n), np.arange(n)] = np.inf
    np.testing.assert_array_equal(found.best, d.argmin(axis=1))
    np.testing.assert_array_equal(found.back, d.argmin(axis=0))
    for ours, plain in (
        (found.distance, d.min(axis=1)),
        (found.next, np.sort(d, axis=1)[:, 1]),
        (found.back_distance, d.min(axis=0)),
        (found.back_next, np.sort(d, axis=0)[1]),
    ):
        np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-4)


def test_prints_of_other_kinds_are_not_compared(picture: Callable[..., np.ndarray]) -> None:
    image = picture(0, 64, 128)
    left: list[ImagePrint] = [make_print(image[:, :64])]
    right = make_print(image[:, 64:].astype(np.float32) / 255)
    assert find_seams([*left, right]).n_found == 0
