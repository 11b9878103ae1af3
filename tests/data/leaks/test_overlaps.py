"""Overlaps: every tile that shares pixels is found, at any shift and after JPEG; what looks alike is not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import cv2
import numpy as np
import pytest

from comp.data.leaks.overlaps import NO_OVERLAPS, Overlap, Overlaps, find_overlaps, lay_out
from comp.data.leaks.prints import make_print
from comp.data.leaks.unions import Unions

Place = tuple[int, int, int]


def jpeg(image: np.ndarray, quality: int = 90) -> np.ndarray:
    code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(code, cv2.IMREAD_COLOR)


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(int(image.sum())).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def tiles(
    picture: Callable[..., np.ndarray], stride: int, n: int = 3
) -> tuple[list[np.ndarray], list[Place]]:
    """Tiles of 128 px of n pictures, and where each lies."""
    places = [(p, y, x) for p in range(n) for y, x in product(range(0, 193, stride), repeat=2)]
    pictures = [picture(p, 320, 320) for p in range(n)]
    return [pictures[p][y : y + 128, x : x + 128] for p, y, x in places], places


def sharing(places: list[Place]) -> set[tuple[int, int]]:
    return {
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(places), 2)
        if a[0] == b[0] and abs(a[1] - b[1]) < 128 and abs(a[2] - b[2]) < 128
    }


def groups(n: int, found: Overlaps) -> np.ndarray:
    unions = Unions(n)
    for link in found.links:
        unions.join(link.i, link.j)
    return unions.labels()


@pytest.mark.parametrize("change", [np.copy, jpeg, noisy], ids=["exact", "jpeg", "noise"])
@pytest.mark.parametrize("stride", [32, 64, 96])
def test_all_tiles_that_share_pixels_and_no_others(
    picture: Callable[..., np.ndarray], stride: int, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    images, places = tiles(picture, stride)
    found = find_overlaps([make_print(change(image)) for image in images])
    assert found.believed and found.n_null == 0
    root = groups(len(images), found)
    assert all(root[i] == root[j] for i, j in sharing(places))
    for o in found.links:
        a, b = places[o.i], places[o.j]
        assert a[0] == b[0]
        assert abs(b[1] - a[1] - o.down) <= 1 and abs(b[2] - a[2] - o.right) <= 1
        shown = (128 - abs(o.down)) * (128 - abs(o.right)) / 128**2
        assert o.share == pytest.approx(shown)


@pytest.mark.parametrize("change", [np.copy, jpeg], ids=["exact", "jpeg"])
def test_random_crops_of_other_sizes_and_diagonal_ones(
    picture: Callable[..., np.ndarray], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    image = picture(7, 500, 500)
    boxes = [(0, 0, 170, 150), (91, 67, 150, 190), (153, 170, 177, 163), (241, 254, 190, 220)]
    crops = [change(image[y : y + h, x : x + w]) for y, x, h, w in boxes]
    others = [picture(k, 140, 140) for k in range(20, 30)]
    found = find_overlaps([make_print(crop) for crop in (*crops, *others)])
    assert {(o.i, o.j) for o in found.links} == {(0, 1), (1, 2), (2, 3)}
    placed = lay_out(found.links)
    for i, (y, x, _, _) in enumerate(boxes):
        first, row, column = placed[i]
        assert first == 0 and abs(row - y) <= 2 and abs(column - x) <= 2


def overlay(image: np.ndarray) -> np.ndarray:
    """A scale bar and words, as microscopes write them on all pictures."""
    image = cv2.rectangle(image.copy(), (180, 235), (245, 240), (255, 255, 255), -1)
    cv2.putText(image, "20 um", (185, 230), 0, 0.5, (255, 255, 255), 1)
    return cv2.putText(image, "10x lab 7", (5, 20), 0, 0.5, (255, 255, 255), 1)


def framed(image: np.ndarray) -> np.ndarray:
    """Black outside of an octagon, as endoscopes show it."""
    mask = np.zeros(image.shape[:2], np.uint8)
    corners = [(60, 10), (196, 10), (246, 60), (246, 196), (196, 246), (60, 246), (10, 196)]
    cv2.fillPoly(mask, [np.array([*corners, (10, 60)])], 1)
    return image * mask[..., None]


def smooth(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 8)


def discs(image: np.ndarray) -> np.ndarray:
    """Equal discs on one colour, elsewhere in each picture."""
    rng = np.random.default_rng(int(image.sum()))
    drawn = np.full_like(image, 20)
    for x, y in rng.integers(8, 248, (40, 2)).tolist():
        cv2.circle(drawn, (x, y), 6, (200, 180, 160), -1, cv2.LINE_AA)
    return drawn


@pytest.mark.parametrize(
    "change",
    [
        np.copy,
        lambda image: np.full_like(image, image[0, 0]),
        lambda image: np.where(image > 140, 255, 0).astype(np.uint8),
        overlay,
        lambda image: overlay(smooth(image)),
        framed,
        lambda image: overlay(framed(smooth(image))),
        discs,
        lambda image: jpeg(smooth(image) // 8, 30),
    ],
    ids=["unlike", "flat", "saturated", "scale bar", "smooth, scale bar", "frame", "smooth, frame",
         "discs", "dark blocks"],
)  # fmt: skip
def test_what_only_looks_alike_is_not_linked(
    picture: Callable[..., np.ndarray], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    images = [change(picture(seed, 256, 256)) for seed in range(24)]
    found = find_overlaps([make_print(image) for image in images])
    assert found.links == () and found.n_found == 0


def test_mirrored_neighbours_speak_against_it(picture: Callable[..., np.ndarray]) -> None:
    images, _ = tiles(picture, 96)
    both = [*images, *(image[:, ::-1] for image in images)]
    found = find_overlaps([make_print(image) for image in both])
    assert found.n_null > 0 and not found.believed and found.links == ()
    assert f"null test with mirrored images: {found.n_null}" in found.told
    kept = find_overlaps([make_print(image) for image in both], range(len(images)))
    assert kept.believed and len(kept.links) == len(images) - 3


def test_none_where_there_is_nothing() -> None:
    assert find_overlaps([]) == NO_OVERLAPS
    one = make_print(np.zeros((64, 64, 3), np.uint8))
    assert find_overlaps([one]) == find_overlaps([one, one]) == NO_OVERLAPS


def test_layout_begins_at_the_corner_of_each_picture() -> None:
    links = [Overlap(3, 1, -5, 4, 1, 9), Overlap(3, 7, 2, -1, 1, 9), Overlap(8, 9, 0, 6, 1, 9)]
    assert lay_out(links) == {
        1: (1, 0, 5), 3: (1, 5, 1), 7: (1, 7, 0), 8: (8, 0, 0), 9: (8, 0, 6),
    }  # fmt: skip
