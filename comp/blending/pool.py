"""The disputed pixels of a set of images: all that a search over weights and thresholds has to look at.

A pixel on which all columns agree is decided alike by every convex blend, so it is counted once and
dropped. What is left gives exact counts for any weights. Refuses thresholds outside `LEVELS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from comp.blending.blend import Source
from comp.config import IGNORE
from comp.masks.decide import level

# Half-way between two stored uint8 values, so that no rounding can move a threshold; 0.5 is one of them.
LEVELS: tuple[float, ...] = tuple((k - 0.5) / 255 for k in range(14, 243))
HALF = LEVELS.index(0.5)
MAX_ENTRIES = (
    200_000_000  # stored values kept in memory; images beyond that are left out of the search
)


@dataclass
class _Pixels:
    """The disputed pixels of one plane (or of all planes, multiclass) over all images of the pool."""

    q: np.ndarray  # (C, D) or (C, D, K), uint8 or uint16
    truth: np.ndarray  # (D,) uint8
    bounds: np.ndarray  # (n + 1,) int64: image i owns [bounds[i], bounds[i + 1])
    memo: tuple[tuple[int, ...], np.ndarray] | None = field(default=None)

    def sums(self, weights: tuple[int, ...]) -> np.ndarray:
        """The blend (D,) or (D, K) int32; the last one is remembered."""
        if self.memo is not None and self.memo[0] == weights:
            return self.memo[1]
        summed = np.zeros(self.q.shape[1:], np.int32)
        for q, weight in zip(self.q, weights, strict=True):
            if weight:
                summed += np.multiply(q, np.int32(weight), dtype=np.int32)
        self.memo = (weights, summed)
        return summed

    def slopes(self, direction: Sequence[int]) -> np.ndarray:
        """What one step along `direction` adds; as `sums`, not remembered."""
        summed = np.zeros(self.q.shape[1:], np.int32)
        for q, weight in zip(self.q, direction, strict=True):
            if weight:
                summed += np.multiply(q, np.int32(weight), dtype=np.int32)
        return summed


class Pool:
    """Disputed pixels of `images`, and exact counts for any blend of the columns on any of them.

    Args:
        source: where pixels come from; read once, here.
        images: indices into the source that may be used; default all.
        max_entries: stored values kept at most. When more are disputed, images drawn by a seeded order
            are kept until it is full; `images` says which.
    """

    def __init__(
        self,
        source: Source,
        images: Sequence[int] | np.ndarray | None = None,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        wanted = np.arange(source.n_images) if images is None else np.asarray(images)
        self.task, self.full = source.task, source.full
        self.n_classes, self.n_columns = source.n_classes, source.n_columns
        order = np.random.default_rng(0).permutation(wanted)
        kept: list[int] = []
        parts: list[list[tuple[np.ndarray, np.ndarray]]] = []
        bases: list[tuple[np.ndarray, np.ndarray]] = []
        entries = 0
        for image in order:
            pixels, decided, support = _disputed(source, int(image))
            entries += sum(q.size for q, _ in pixels)
            if entries > max_entries and len(kept) >= 2:
                break
            kept.append(int(image))
            parts.append(pixels)
            bases.append((decided, support))
        by_index = np.argsort(np.asarray(kept, np.int64))
        self.images = np.asarray(kept, np.int64)[by_index]
        self.n_left_out = len(wanted) - len(kept)
        parts = [parts[i] for i in by_index]
        self._decided = np.stack([bases[i][0] for i in by_index])  # (n, K, 2)
        self._support = np.stack([bases[i][1] for i in by_index])  # (n, K, 2)
        self._pixels = [_joined([part[k] for part in parts]) for k in range(len(parts[0]))]

    @property
    def n_disputed(self) -> int:
        """Disputed pixels over all images (and planes)."""
        return sum(pixels.truth.size for pixels in self._pixels)

    def line(
        self,
        rows: np.ndarray,
        base: Sequence[int],
        direction: Sequence[int],
        grid: tuple[int, int, int],
        thresholds: Sequence[float] | None,
    ) -> np.ndarray:
        """Count every blend ``base + delta * direction`` of a grid of deltas.

        Args:
            rows: (n,) indices into `images`.
            base, direction: one integer a column; `direction` sums to 0 unless the grid has one value.
            grid: low, step, number of values.
            thresholds: one a plane; None for multiclass.

        Returns:
            (n_values, n, K, 4) int64: tp, fp, fn, tn.
        """
        from comp.blending import kernels

        low, step, n_values = grid
        if thresholds is not None and not all(LEVELS[0] <= t <= LEVELS[-1] for t in thresholds):
            raise ValueError(f"thresholds must lie in {LEVELS[0]:.3f}..{LEVELS[-1]:.3f}")
        total = sum(base) + low * sum(direction)
        tables = []
        for k, pixels in enumerate(self._pixels):
            starts, ends = pixels.bounds[:-1][rows], pixels.bounds[1:][rows]
            sums, slopes = pixels.sums(tuple(base)), pixels.slopes(direction)
            if thresholds is None:
                table = kernels.line_argmax(
                    sums, slopes, pixels.truth, starts, ends, low, step, n_values
                )
                tables.append(table[..., ::-1])
            else:
                cut = level(thresholds[k], self.full * total)
                table = kernels.line_planes(
                    sums, slopes, pixels.truth, starts, ends, cut, low, step, n_values
                )
                tables.append(table[:, :, None, :])
        return self._counts(rows, np.concatenate(tables, axis=2))

    def count(
        self, rows: np.ndarray, weights: Sequence[int], thresholds: Sequence[float] | None
    ) -> np.ndarray:
        """Count one blend. Returns (n, K, 4) int64."""
        return self.line(rows, weights, [0] * self.n_columns, (0, 1, 1), thresholds)[0]

    def levels(self, rows: np.ndarray, weights: Sequence[int]) -> np.ndarray:
        """Count one blend at every threshold of `LEVELS`.

        Returns:
            (len(LEVELS), n, K, 4) int64; each plane is cut at the same level.
        """
        from comp.blending import kernels

        cuts = np.asarray([level(t, self.full * sum(weights)) for t in LEVELS], np.int64)
        tables = []
        for pixels in self._pixels:
            starts, ends = pixels.bounds[:-1][rows], pixels.bounds[1:][rows]
            table = kernels.level_planes(
                pixels.sums(tuple(weights)), pixels.truth, starts, ends, cuts
            )
            tables.append(table[:, :, None, :])
        return self._counts(rows, np.concatenate(tables, axis=2))

    def _counts(self, rows: np.ndarray, on: np.ndarray) -> np.ndarray:
        """(V, n, K, 2) foreground on false, true disputed pixels -> (V, n, K, 4) over all pixels."""
        on = on + self._decided[rows]
        fp, tp = on[..., 0], on[..., 1]
        support = self._support[rows]
        return np.stack([tp, fp, support[..., 1] - tp, support[..., 0] - fp], axis=-1)


def _disputed(
    source: Source, image: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    """Split one image into decided and disputed pixels.

    Returns:
        pixels: for each plane (multiclass: once) the disputed q (C, D) or (C, D, K), truth (D,) uint8.
        decided: (K, 2) int64, pixels that every blend calls foreground, on false and on true pixels.
        support: (K, 2) int64, all scored pixels that are false, true.
    """
    n_classes = source.n_classes
    stack = np.stack([source.planes(image, c) for c in range(source.n_columns)])
    stack = stack.reshape(source.n_columns, n_classes, -1)
    labels = source.labels(image)
    if source.task == "multiclass":
        flat = labels.reshape(-1)
        scored = flat != IGNORE
        flat, stack = flat[scored], stack[:, :, scored]
        choice = stack.argmax(axis=1).astype(np.uint8)
        differ = (choice != choice[0]).any(axis=0)
        agreed, truth = choice[0][~differ], flat[~differ]
        chosen = np.bincount(agreed, minlength=n_classes)
        right = np.bincount(agreed[agreed == truth], minlength=n_classes)
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
        pixels.append((np.ascontiguousarray(stack[:, k, keep]), flat[keep]))
        decided[k] = np.bincount(flat[sure], minlength=2)[:2]
        support[k] = np.bincount(flat[scored], minlength=2)[:2]
    return pixels, decided, support


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> _Pixels:
    sizes = [truth.size for _, truth in parts]
    return _Pixels(
        q=np.concatenate([q for q, _ in parts], axis=1),
        truth=np.concatenate([truth for _, truth in parts]),
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )
