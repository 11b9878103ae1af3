"""Minimum area of an object, chosen with one labelling of each image for all candidate areas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comp.blending.blend import Source, bands_of, blend_image
from comp.blending.search import GAIN, Thresholds, Weights, signed_score
from comp.config import IGNORE
from comp.masks.components import find_parts

CONNECTIVITY = 8
SHARE = 0.01  # of the median image: a larger minimum area would be a rule about the picture, not about noise


def areas(source: Source, images: np.ndarray) -> tuple[int, ...]:
    """Candidate minimum areas in pixels: 0 (no clean-up), then powers of two from 8 to 1 % of the median image."""
    sizes = [source.planes(int(i), 0)[0].size for i in images]
    largest = SHARE * float(np.median(sizes))
    return (0, *(2**p for p in range(3, 20) if 2**p <= largest))


def area_counts(
    source: Source,
    images: np.ndarray,
    weights: Weights,
    thresholds: Thresholds,
    candidates: Sequence[int],
) -> np.ndarray:
    """Count a blend cleaned with each candidate minimum area.

    Returns:
        (len(candidates), n, K, 4) int64: tp, fp, fn, tn.
    """
    counts = np.zeros((len(candidates), len(images), source.n_classes, 4), np.int64)
    for row, image in enumerate(images):
        mask = blend_image(source, int(image), weights, thresholds)
        labels = source.labels(int(image))
        height, width = mask.shape[-2:]
        for k, (plane, truth) in enumerate(
            zip(mask.reshape(-1, height, width), labels.reshape(-1, height, width), strict=True)
        ):
            counts[:, row, k] = _plane_counts(plane, truth, candidates)
        del mask, plane, labels, truth  # before the next: one large image at a time
    return counts


def _plane_counts(plane: np.ndarray, truth: np.ndarray, candidates: Sequence[int]) -> np.ndarray:
    """(len(candidates), 4) int64 counts of one plane (H, W) with objects below each area removed."""
    parts = find_parts(plane, CONNECTIVITY)
    below = parts.counts(truth)
    parted = [truth[rows] for rows in bands_of(truth.shape)]
    ignored = sum(int(np.count_nonzero(part == IGNORE)) for part in parted)
    marked = sum(int(np.count_nonzero(part)) for part in parted)
    positive, negative = marked - ignored, truth.size - marked
    rows = []
    for area in candidates:
        wrong, hit = below[parts.areas >= area].sum(axis=0).tolist()
        rows.append((hit, wrong, positive - hit, negative - wrong))
    return np.asarray(rows, np.int64)


def fit_min_area(
    source: Source,
    images: np.ndarray,
    weights: Weights,
    thresholds: Thresholds,
    metric: str,
) -> int:
    """Choose the minimum area that scores best on `images`; the smallest of equals, 0 unless one gains.

    Multiclass masks are not cleaned (what would take an object's place is a question of its own): 0.
    """
    if source.task == "multiclass":
        return 0
    candidates = areas(source, images)
    counts = area_counts(source, images, weights, thresholds, candidates)
    chosen, best = 0, signed_score(metric, counts[0])
    for area, count in zip(candidates[1:], counts[1:], strict=True):
        score = signed_score(metric, count)
        if score > best + GAIN:
            chosen, best = area, score
    return chosen
