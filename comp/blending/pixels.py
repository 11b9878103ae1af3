"""One image -> the pixels on which its columns disagree, and the count of those on which they agree.

A pixel that all columns call alike is called so by every convex blend of them: it is counted and dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from comp.blending.blend import Source, add_planes
from comp.config import IGNORE
from comp.masks.decide import level

# Half-way between two stored uint8 values, so that no rounding can move a threshold; 0.5 is one of them.
LEVELS: tuple[float, ...] = tuple((k - 0.5) / 255 for k in range(14, 243))
HALF = LEVELS.index(0.5)
WHOLE_PIXELS, SAMPLE_PIXELS = 1 << 26, 1 << 24


@dataclass
class Pixels:
    """The disputed pixels of one plane (multiclass: of all planes at once) over the images of a pool."""

    q: np.ndarray  # (C, D) or (C, D, K), uint8 or uint16
    truth: np.ndarray  # (D,) uint8; of a plane 0 before 1 in each image
    bounds: np.ndarray  # (n + 1,) int64: image i owns [bounds[i], bounds[i + 1])
    memo: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict)

    @cached_property
    def segments(self) -> np.ndarray:
        """(2 n + 1,) int64: the false pixels of image i are segment 2 i, its true ones 2 i + 1."""
        middles = self.bounds[1:] - self.add_up(self.truth)
        inner = np.stack([middles, self.bounds[1:]], axis=1).reshape(-1)
        return np.concatenate([self.bounds[:1], inner])

    def sums(self, weights: tuple[int, ...], dtype: type = np.int32) -> np.ndarray:
        """The blend (D,) or (D, K); the last two are remembered. Weights may be below 0; uint16 wraps."""
        found = self.memo.pop(weights, None)
        if found is None or found.dtype != dtype:
            found = add_planes(list(self.q), weights, dtype)
        while len(self.memo) > 1:
            self.memo.pop(next(iter(self.memo)))
        self.memo[weights] = found
        return found

    def take(self, rows: np.ndarray, keep: np.ndarray) -> Pixels:
        """Only the images `rows` (ascending), and of them only the pixels that `keep` (D,) marks."""
        mine = np.zeros(len(self.bounds) - 1, bool)
        mine[rows] = True
        sizes = np.diff(self.bounds)
        kept = np.flatnonzero(keep & np.repeat(mine, sizes))
        image = np.repeat(np.arange(len(sizes)), sizes)[kept]
        counts = np.bincount(image, minlength=len(sizes))[rows]
        return Pixels(
            q=np.ascontiguousarray(self.q[:, kept]),
            truth=self.truth[kept],
            bounds=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    def add_up(self, value: np.ndarray) -> np.ndarray:
        """Sum a (D,) array over the pixels of each image: (n,) int64."""
        running = np.concatenate([[0], np.cumsum(value, dtype=np.int64)])
        return running[self.bounds[1:]] - running[self.bounds[:-1]]


def agreed(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where all columns of q (C, D, K) choose one class (D,) bool, and the first column's choice (D,)."""
    first = q[0].argmax(axis=-1)
    same = np.ones(first.shape, bool)
    for one in q[1:]:
        same &= one.argmax(axis=-1) == first
    return same, first


def extremes(q: np.ndarray, columns: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Least and most (D,) of some columns of q (C, D)."""
    least = most = q[columns[0]]
    for c in columns[1:]:
        least, most = np.minimum(least, q[c]), np.maximum(most, q[c])
    return least, most


def disputed(
    source: Source, image: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    """Split one image into decided and disputed pixels.

    Of an image of more than `WHOLE_PIXELS` every so many rows stand for it, about `SAMPLE_PIXELS` in all:
    a search asks no more, and what it finds is counted on whole images.

    Returns:
        pixels: for each plane (multiclass: once) the disputed q (C, D) or (C, D, K), truth (D,) uint8.
        decided: (K, 2) int64, pixels that every blend calls foreground, on false and on true pixels.
        support: (K, 2) int64, all scored pixels that are false, true.
    """
    n_classes = source.n_classes
    labels = source.labels(image)
    n_pixels = labels.shape[-2] * labels.shape[-1]
    rows = slice(None, None, 1 if n_pixels <= WHOLE_PIXELS else -(-n_pixels // SAMPLE_PIXELS))
    stack = np.stack([source.planes(image, c)[:, rows] for c in range(source.n_columns)])
    stack = stack.reshape(source.n_columns, n_classes, -1)
    labels = np.array(labels[..., rows, :])
    if source.task == "multiclass":
        flat = labels.reshape(-1)
        scored = flat != IGNORE
        flat, stack = flat[scored], stack[:, :, scored]
        choice = stack.argmax(axis=1).astype(np.uint8)
        differ = (choice != choice[0]).any(axis=0)
        same, truth = choice[0][~differ], flat[~differ]
        chosen = np.bincount(same, minlength=n_classes)
        right = np.bincount(same[same == truth], minlength=n_classes)
        true = np.bincount(flat, minlength=n_classes)
        decided = np.stack([chosen - right, right], axis=-1)
        support = np.stack([flat.size - true, true], axis=-1)
        q = np.ascontiguousarray(stack[:, :, differ].transpose(0, 2, 1))
        return [(q, flat[differ])], decided.astype(np.int64), support.astype(np.int64)
    low, high = level(LEVELS[0], source.full), level(LEVELS[-1], source.full)
    pixels = []
    decided, support = np.zeros((n_classes, 2), np.int64), np.zeros((n_classes, 2), np.int64)
    for k, flat in enumerate(labels.reshape(n_classes, -1)):
        scored = flat != IGNORE
        least, most = stack[:, k].min(axis=0), stack[:, k].max(axis=0)
        sure = (least >= high) & scored
        keep = (most >= low) & (least < high) & scored
        kept = np.concatenate([np.flatnonzero(keep & (flat == label)) for label in (0, 1)])
        pixels.append((np.ascontiguousarray(stack[:, k, kept]), flat[kept]))
        decided[k] = np.bincount(flat[sure], minlength=2)[:2]
        support[k] = np.bincount(flat[scored], minlength=2)[:2]
    return pixels, decided, support


def joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> Pixels:
    """The pixels of several images, one after the other."""
    sizes = [truth.size for _, truth in parts]
    return Pixels(
        q=np.concatenate([q for q, _ in parts], axis=1),
        truth=np.concatenate([truth for _, truth in parts]),
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )
