"""Counts of labels and hashes of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from comp.data.cache.stats import BLANK, ImageStats, count_labels, hash_pixels


@pytest.mark.parametrize("n_classes", [2, 8, 9, 255])
def test_counts_of_few_and_of_many_classes(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    labels = rng.integers(0, n_classes, (30, 40)).astype(np.uint8)
    labels[:2] = 255
    counts, valid = count_labels(labels, "multiclass", n_classes)
    assert counts == [int((labels == k).sum()) for k in range(n_classes)]
    assert valid == [28 * 40] * n_classes and sum(counts) == 28 * 40


def test_counts_of_binary_and_multilabel() -> None:
    labels = np.array([[0, 1, 1], [255, 255, 0]], np.uint8)
    assert count_labels(labels, "binary", 1) == ([2], [4])
    planes = np.stack([labels, np.ones_like(labels)])
    assert count_labels(planes, "multilabel", 2) == ([2, 6], [4, 6])


def test_hash_sees_pixels_size_and_type() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    others = [image.reshape(4, 1, 3), image.astype(np.float32), image[::-1]]
    assert hash_pixels(image) == hash_pixels(image.copy())
    assert len({hash_pixels(image), *(hash_pixels(other) for other in others)}) == 4
    assert not hash_pixels(image).startswith(BLANK)
    assert hash_pixels(np.full((2, 3, 3), (1, 2, 3), np.uint8)).startswith(BLANK)


def test_coverage_of_nothing_valid_is_zero() -> None:
    zeros = np.zeros((1, 1), np.int64)
    stats = ImageStats(("a",), np.ones((1, 2), np.int64), zeros, zeros, ("h",))
    assert stats.coverage().tolist() == [[0.0]] and stats.presence().tolist() == [[False]]
