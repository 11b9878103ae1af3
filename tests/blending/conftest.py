"""Small members with known truth: blobs, and noisy copies of them as stored probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from comp.blending.blend import Source

Make = Callable[..., Source]


def draw_labels(rng: np.random.Generator, task: str, n_classes: int, size: int) -> np.ndarray:
    """Labels with a few ignored pixels; some planes stay empty."""
    planes = np.zeros((n_classes, size, size), np.uint8)
    for plane in planes:
        for _ in range(int(rng.integers(0, 4))):
            r, c, h, w = (
                rng.integers(0, size - 4),
                rng.integers(0, size - 4),
                *rng.integers(3, 9, 2),
            )
            plane[r : r + h, c : c + w] = 1
    ignored = rng.random((size, size)) < 0.02
    if task == "multiclass":
        labels = np.where(planes.any(axis=0), planes.argmax(axis=0), 0).astype(np.uint8)
        labels[ignored] = 255
        return labels
    planes[:, ignored] = 255
    return planes[0] if task == "binary" else planes


def predict(
    rng: np.random.Generator, labels: np.ndarray, task: str, n_classes: int, noise: float, full: int
) -> np.ndarray:
    """(K, H, W) stored probabilities around the truth."""
    if task == "multiclass":
        truth = np.stack([labels == k for k in range(n_classes)]).astype(np.float64)
        p = np.exp(3 * truth + noise * rng.normal(size=truth.shape) * 3)
        p /= p.sum(axis=0)
    else:
        truth = (labels.reshape(n_classes, *labels.shape[-2:]) == 1) * 2.0 - 1
        p = 1 / (1 + np.exp(-(2 * truth + 3 * noise * rng.normal(size=truth.shape))))
    return np.rint(p * full).astype(np.uint8 if full == 255 else np.uint16)


@pytest.fixture
def make_source() -> Make:
    """A factory of sources held in memory."""

    def make(
        task: str = "binary",
        n_classes: int = 1,
        n_images: int = 6,
        noises: tuple[float, ...] = (0.5, 0.7, 1.0),
        full: int = 255,
        size: int = 20,
        seed: int = 0,
    ) -> Source:
        rng = np.random.default_rng(seed)
        labels = [draw_labels(rng, task, n_classes, size + i % 3) for i in range(n_images)]
        planes = [[predict(rng, lab, task, n_classes, s, full) for s in noises] for lab in labels]
        return Source(
            task=task,
            n_classes=n_classes,
            full=full,
            n_images=n_images,
            n_columns=len(noises),
            planes=lambda image, column: planes[image][column],
            labels=lambda image: labels[image],
        )

    return make
