"""The disputed pixels of a set of images: all that a search over weights and thresholds has to look at.

A pixel on which all columns agree is decided alike by every convex blend, so it is counted once and
dropped. What is left gives exact counts for any weights. Refuses thresholds outside `LEVELS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

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
class Pixels:
    """The disputed pixels of one plane (multiclass: of all planes at once) over the images of a pool."""

    q: np.ndarray  # (C, D) or (C, D, K), uint8 or uint16
    truth: np.ndarray  # (D,) uint8
    bounds: np.ndarray  # (n + 1,) int64: image i owns [bounds[i], bounds[i + 1])
    memo: tuple[tuple[int, ...], np.ndarray] | None = field(default=None)

    def sums(self, weights: tuple[int, ...]) -> np.ndarray:
        """The blend (D,) or (D, K) int32; the last one is remembered."""
        if self.memo is None or self.memo[0] != weights:
            self.memo = (weights, self.slopes(weights))
        return self.memo[1]

    def slopes(self, direction: Sequence[int]) -> np.ndarray:
        """What one step along `direction` adds; as `sums`, not remembered."""
        summed = np.zeros(self.q.shape[1:], np.int32)
        for q, weight in zip(self.q, direction, strict=True):
            if weight:
                summed += np.multiply(q, np.int32(weight), dtype=np.int32)
        return summed

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


@dataclass(frozen=True)
class Pool:
    """Disputed pixels of some images, and exact counts for any blend of the columns.

    Args:
        images: (n,) ascending indices into the source.
        columns: those that may have weight; the pixels on which they agree are not here.
        decided: (n, K, 2) int64, pixels that every blend calls foreground, on false and on true pixels.
        support: (n, K, 2) int64, all scored pixels that are false, true.
        pixels: one a plane; one in all for multiclass.
        lowest, highest: the thresholds of each plane that may be asked for.
        n_left_out: images that did not fit into memory.
    """

    task: str
    full: int
    n_classes: int
    n_columns: int
    images: np.ndarray
    columns: tuple[int, ...]
    decided: np.ndarray
    support: np.ndarray
    pixels: tuple[Pixels, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    n_left_out: int = 0

    @property
    def n_disputed(self) -> int:
        """Disputed pixels over all images (and planes)."""
        return sum(pixels.truth.size for pixels in self.pixels)

    def narrow(
        self,
        rows: np.ndarray | None = None,
        columns: Sequence[int] | None = None,
        thresholds: Sequence[float] | None = None,
    ) -> Pool:
        """A smaller pool that answers fewer questions, each as exactly as this one.

        Args:
            rows: ascending positions in `images`; default all.
            columns: the only ones that will have weight; default as now.
            thresholds: the only ones that will be asked for; default as now.
        """
        rows = np.arange(len(self.images)) if rows is None else rows
        columns = self.columns if columns is None else tuple(columns)
        lowest, highest = self.lowest, self.highest
        if thresholds is not None:
            lowest = highest = tuple(thresholds)
        decided, parts = self.decided.copy(), []
        for k, pixels in enumerate(self.pixels):
            if self.task == "multiclass":
                sure, chosen = _agreed(pixels.q[list(columns)])
                for c in range(self.n_classes):
                    for label, truth in enumerate((pixels.truth != c, pixels.truth == c)):
                        decided[:, c, label] += pixels.add_up(sure & (chosen == c) & truth)
                parts.append(pixels.take(rows, ~sure))
            else:
                low, high = level(lowest[k], self.full), level(highest[k], self.full)
                least, most = _extremes(pixels.q, columns)
                for label in (0, 1):
                    decided[:, k, label] += pixels.add_up((least >= high) & (pixels.truth == label))
                parts.append(pixels.take(rows, (most >= low) & (least < high)))
        return replace(
            self,
            images=self.images[rows],
            columns=columns,
            decided=decided[rows],
            support=self.support[rows],
            pixels=tuple(parts),
            lowest=lowest,
            highest=highest,
        )

    def line(
        self,
        base: Sequence[int],
        direction: Sequence[int],
        grid: tuple[int, int, int],
        thresholds: Sequence[float] | None,
    ) -> np.ndarray:
        """Count every blend ``base + delta * direction`` of a grid of deltas.

        Args:
            base, direction: one integer a column; `direction` sums to 0 unless the grid has one value.
            grid: low, step, number of values.
            thresholds: one a plane; None for multiclass.

        Returns:
            (n_values, n, K, 4) int64: tp, fp, fn, tn.
        """
        from comp.blending import kernels

        low, step, n_values = grid
        self._check(np.abs(base) + np.abs(direction), thresholds)
        total = sum(base) + low * sum(direction)
        tables = []
        for k, pixels in enumerate(self.pixels):
            starts, ends = pixels.bounds[:-1], pixels.bounds[1:]
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
        return self._counts(np.concatenate(tables, axis=2))

    def count(self, weights: Sequence[int], thresholds: Sequence[float] | None) -> np.ndarray:
        """Count one blend. Returns (n, K, 4) int64."""
        return self.line(weights, [0] * self.n_columns, (0, 1, 1), thresholds)[0]

    def levels(self, weights: Sequence[int]) -> np.ndarray:
        """Count one blend at every threshold of `LEVELS`.

        Returns:
            (len(LEVELS), n, K, 4) int64; each plane is cut at the same level.
        """
        from comp.blending import kernels

        for t in (LEVELS[0], LEVELS[-1]):
            self._check(np.asarray(weights), (t,) * self.n_classes)
        cuts = np.asarray([level(t, self.full * sum(weights)) for t in LEVELS], np.int64)
        tables = []
        for pixels in self.pixels:
            starts, ends = pixels.bounds[:-1], pixels.bounds[1:]
            table = kernels.level_planes(
                pixels.sums(tuple(weights)), pixels.truth, starts, ends, cuts
            )
            tables.append(table[:, :, None, :])
        return self._counts(np.concatenate(tables, axis=2))

    def _check(self, used: np.ndarray, thresholds: Sequence[float] | None) -> None:
        """Refuse a question that the pixels left here cannot answer exactly."""
        other = [int(c) for c in np.flatnonzero(used) if c not in self.columns]
        if other:
            raise ValueError(
                f"columns {other} have weight, but the pool was narrowed to {self.columns}"
            )
        limits = zip(self.lowest, thresholds or (), self.highest, strict=False)
        if any(not low <= t <= high for low, t, high in limits):
            raise ValueError(
                f"thresholds {thresholds} must lie between {self.lowest} and {self.highest}"
            )

    def _counts(self, on: np.ndarray) -> np.ndarray:
        """(V, n, K, 2) foreground on false, true disputed pixels -> (V, n, K, 4) over all pixels."""
        on = on + self.decided
        fp, tp = on[..., 0], on[..., 1]
        return np.stack([tp, fp, self.support[..., 1] - tp, self.support[..., 0] - fp], axis=-1)


def make_pool(source: Source, max_entries: int = MAX_ENTRIES) -> Pool:
    """Gather the disputed pixels of a source, reading each image once.

    Args:
        max_entries: stored values kept at most. When more are disputed, images drawn by a seeded order
            are kept until it is full; `Pool.images` says which.
    """
    order = np.random.default_rng(0).permutation(source.n_images)
    kept: list[int] = []
    found: list[tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]] = []
    entries = 0
    for image in order:
        one = _disputed(source, int(image))
        entries += sum(q.size for q, _ in one[0])
        if entries > max_entries and len(kept) >= 2:
            break
        kept.append(int(image))
        found.append(one)
    found = [found[i] for i in np.argsort(kept)]
    n_planes = len(found[0][0])
    return Pool(
        task=source.task,
        full=source.full,
        n_classes=source.n_classes,
        n_columns=source.n_columns,
        images=np.sort(np.asarray(kept, np.int64)),
        columns=tuple(range(source.n_columns)),
        decided=np.stack([decided for _, decided, _ in found]),
        support=np.stack([support for _, _, support in found]),
        pixels=tuple(_joined([pixels[k] for pixels, _, _ in found]) for k in range(n_planes)),
        lowest=() if source.task == "multiclass" else (LEVELS[0],) * source.n_classes,
        highest=() if source.task == "multiclass" else (LEVELS[-1],) * source.n_classes,
        n_left_out=source.n_images - len(kept),
    )


def _agreed(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where all columns of q (C, D, K) choose one class (D,) bool, and the first column's choice (D,)."""
    first = q[0].argmax(axis=-1)
    same = np.ones(first.shape, bool)
    for one in q[1:]:
        same &= one.argmax(axis=-1) == first
    return same, first


def _extremes(q: np.ndarray, columns: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Least and most (D,) of some columns of q (C, D)."""
    least = most = q[columns[0]]
    for c in columns[1:]:
        least, most = np.minimum(least, q[c]), np.maximum(most, q[c])
    return least, most


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


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> Pixels:
    sizes = [truth.size for _, truth in parts]
    return Pixels(
        q=np.concatenate([q for q, _ in parts], axis=1),
        truth=np.concatenate([truth for _, truth in parts]),
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )
