"""Near duplicates: every flip and turn, re-encoding, resizing, noise; and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from comp.data.leaks import near
from comp.data.leaks.near import find_near_duplicates, turn_image
from comp.data.leaks.prints import make_print
from comp.data.leaks.unions import sets_of


def jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    "jpeg": jpeg,
    "smaller": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda image: np.clip(image * 0.7 + 40, 0, 255).astype(np.uint8),
    "noise": lambda image: np.clip(
        image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255
    ).astype(np.uint8),
    "float": lambda image: image.astype(np.float32) / 255 * 0.1,
}


@pytest.mark.parametrize("turn", range(8))
def test_every_turn_is_found_and_named(picture: Callable[..., np.ndarray], turn: int) -> None:
    images = [picture(seed, 80, 120) for seed in range(5)]
    images.append(turn_image(images[2], turn))
    (pair,) = find_near_duplicates([make_print(image) for image in images])
    assert (pair.i, pair.j) == (2, 5) and pair.alike > 0.99
    np.testing.assert_array_equal(turn_image(images[5], pair.turn), images[2])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(picture: Callable[..., np.ndarray], change: str) -> None:
    images = [picture(seed, 96, 96) for seed in range(6)]
    images.append(CHANGES[change](images[4]))
    found = find_near_duplicates([make_print(image) for image in images])
    assert [(pair.i, pair.j) for pair in found] == [(4, 6)]


def test_unlike_pictures_and_blank_ones_are_left_alone(picture: Callable[..., np.ndarray]) -> None:
    images = [picture(seed, 64, 64) for seed in range(60)]
    images += [np.full((64, 64, 3), 7, np.uint8)] * 3
    assert find_near_duplicates([make_print(image) for image in images]) == []
    assert find_near_duplicates([]) == []


def test_another_shape_is_no_copy(picture: Callable[..., np.ndarray]) -> None:
    image = picture(0, 60, 120)
    squeezed = cv2.resize(image, (60, 60), interpolation=cv2.INTER_AREA)
    assert find_near_duplicates([make_print(image), make_print(squeezed)]) == []


def test_many_copies_make_one_set_of_few_pairs(
    picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "ROWS", 16)
    monkeypatch.setattr(near, "PAIRS", 32)
    prints = [make_print(picture(0, 64, 64))] * 70 + [make_print(picture(1, 64, 64))] * 2
    found = find_near_duplicates(prints)
    sets = sets_of(len(prints), [(pair.i, pair.j) for pair in found])
    assert [len(members) for members in sets] == [70, 2] and len(found) == 70
