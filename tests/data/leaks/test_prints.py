"""Prints: what is kept of an image, and how pairs are compared by their looks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from comp.data.leaks import prints
from comp.data.leaks.prints import (
    LEFT,
    LINE,
    RIGHT,
    TOP,
    alike,
    chance_of_nearer,
    make_print,
    print_bands,
)


def test_lines_are_the_outermost_ones(picture: Callable[..., np.ndarray]) -> None:
    image = picture(0, 40, 60)
    found = make_print(image)
    assert found.size == (40, 60)
    np.testing.assert_array_equal(found.lines[LEFT], image[:, :2].transpose(1, 0, 2))
    np.testing.assert_array_equal(found.lines[RIGHT], image[:, :-3:-1].transpose(1, 0, 2))
    np.testing.assert_array_equal(found.lines[TOP], image[:2])
    assert found.thumb.astype(np.float32).mean() == pytest.approx(0, abs=1e-2)
    assert found.thumb.astype(np.float32).std() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (2, 2, 5), (3 * LINE, 2, 1)])
def test_any_shape_and_long_lines_are_bounded(shape: tuple[int, int, int]) -> None:
    found = make_print(np.zeros(shape, np.uint8))
    assert all(1 <= line.shape[1] <= LINE and line.shape[2] <= 3 for line in found.lines)
    assert found.contrast == 0 and not found.thumb.any() and np.isfinite(found.look).all()


def test_a_large_image_in_bands_is_the_same(
    picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(3, 130, 90)
    monkeypatch.setattr(prints, "SAMPLE", 30)
    monkeypatch.setattr(prints, "LARGE_PIXELS", 100)
    whole = make_print(image)
    parts, sample = print_bands((130, 90), np.split(image, [1, 8, 60, 129]))
    np.testing.assert_array_equal(sample, image[::3, ::3])
    np.testing.assert_array_equal(parts.thumb, whole.thumb)
    for mine, other in zip(parts.lines, whole.lines, strict=True):
        np.testing.assert_array_equal(mine, other)
    monkeypatch.undo()
    full = make_print(image)
    for mine, other in zip(parts.lines, full.lines, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert np.corrcoef(full.thumb.ravel(), whole.thumb.ravel())[0, 1] > 0.9


def test_floats_keep_faint_contrast(picture: Callable[..., np.ndarray]) -> None:
    faint = picture(1, 50, 50).astype(np.float32) / 255 * 0.02
    a, b = make_print(faint), make_print(picture(1, 50, 50))
    assert np.corrcoef(a.thumb.ravel(), b.thumb.ravel())[0, 1] > 0.999
    assert a.lines[LEFT].shape == (2, 50, 1) and a.lines[LEFT].dtype == np.float32


def test_nearer_is_an_auc() -> None:
    assert chance_of_nearer(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0
    assert chance_of_nearer(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 0.0
    assert chance_of_nearer(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert chance_of_nearer(np.array([]), np.array([1.0])) == 0.5


def test_alike_counts_every_trait_in_its_own_spread() -> None:
    looks = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1000.0], [1.0, 1000.0]])
    near = alike(looks, np.array([0, 0]), np.array([1, 2]))
    assert near[0] == pytest.approx(near[1])
