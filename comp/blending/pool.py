"""The disputed pixels of a set of images: all that a search over weights and thresholds has to look at.

What is left after dropping the agreed ones gives exact counts for any weights. Refuses questions that the
pixels kept cannot answer exactly: thresholds outside `LEVELS`, columns that were narrowed away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from comp.blending.blend import Source
from comp.blending.pixels import LEVELS, Pixels, agreed, disputed, extremes, joined
from comp.masks.decide import level

BLOCK = 1024  # pixels that are blended at once: with the columns they stay in the first cache
MAX_ENTRIES = (
    200_000_000  # stored values kept in memory; images beyond that are left out of the search
)


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
                sure, chosen = agreed(pixels.q[list(columns)])
                for c in range(self.n_classes):
                    for label, truth in enumerate((pixels.truth != c, pixels.truth == c)):
                        decided[:, c, label] += pixels.add_up(sure & (chosen == c) & truth)
                parts.append(pixels.take(rows, ~sure))
            else:
                low, high = level(lowest[k], self.full), level(highest[k], self.full)
                least, most = extremes(pixels.q, columns)
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

    def along(
        self,
        base: Sequence[int],
        direction: Sequence[int],
        deltas: Sequence[int],
        thresholds: Sequence[float] | None,
    ) -> np.ndarray:
        """Count every blend ``base + delta * direction``.

        Args:
            base, direction: one integer a column; `direction` sums to 0 unless there is one delta.
            deltas: integers; no blend may have a weight below 0.
            thresholds: one a plane; None for multiclass.

        Returns:
            (len(deltas), n, K, 4) int64: tp, fp, fn, tn.
        """
        from comp.blending import kernels

        self._check(np.abs(base) + np.abs(direction), thresholds)
        shared = int(np.gcd.reduce([*base, *deltas]))  # the same blends in smaller numbers
        base, deltas = [b // shared for b in base], [d // shared for d in deltas]
        total = sum(base) + deltas[0] * sum(direction)
        dtype = narrowest(total * self.full) if thresholds is not None else np.int32
        steps = np.asarray(deltas).astype(dtype)
        tables = []
        for k, pixels in enumerate(self.pixels):
            sums, slopes = (pixels.sums(tuple(one), dtype) for one in (base, direction))
            if thresholds is None:
                starts, ends = pixels.bounds[:-1], pixels.bounds[1:]
                table = kernels.line_argmax(sums, slopes, pixels.truth, starts, ends, steps)
                tables.append(table[..., ::-1])
            else:
                cut, room = level(thresholds[k], self.full * total), np.empty(BLOCK, dtype)
                on = kernels.line_planes(sums, slopes, steps, cut, pixels.segments, room)
                tables.append(on.reshape(len(steps), -1, 1, 2))
        return self._counts(np.concatenate(tables, axis=2))

    def count(self, weights: Sequence[int], thresholds: Sequence[float] | None) -> np.ndarray:
        """Count one blend. Returns (n, K, 4) int64."""
        return self.along(weights, [0] * self.n_columns, [0], thresholds)[0]

    def counts_of(self, weights: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
        """Count many blends.

        Args:
            weights: (V, C) integers >= 0.

        Returns:
            (V, n, K, 4) int64: tp, fp, fn, tn.
        """
        from comp.blending.kernels import many_planes

        weights = np.asarray(weights, np.int64)
        if thresholds is None:
            return np.concatenate([self.count(tuple(w.tolist()), None)[None] for w in weights])
        self._check(weights.sum(axis=0), thresholds)
        weights = weights // np.gcd.reduce(weights, axis=1)[:, None]
        totals = weights.sum(axis=1)
        dtype = narrowest(int(totals.max()) * self.full)
        used = [*self.columns, *self.columns[:1] * (-len(self.columns) % 4)]
        taken = weights[:, used]
        taken[:, len(self.columns) :] = 0
        tables = []  # of the columns that may have weight only, filled up to a multiple of four
        for pixels, threshold in zip(self.pixels, thresholds, strict=True):
            cuts = np.array([level(threshold, self.full * int(t)) for t in totals], dtype)
            q = pixels.q if len(used) == len(pixels.q) else pixels.q[used]
            room = np.empty(BLOCK, dtype)
            on = many_planes(q, taken.astype(dtype), cuts, pixels.segments, room)
            tables.append(on.reshape(len(weights), -1, 1, 2))
        return self._counts(np.concatenate(tables, axis=2))

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


def narrowest(largest: int) -> type[np.unsignedinteger[Any] | np.signedinteger[Any]]:
    """The dtype of sums up to `largest`: twice as many uint16 as int32 fit into a vector."""
    if largest <= np.iinfo(np.uint16).max:
        return np.uint16
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


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
        one = disputed(source, int(image))
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
        pixels=tuple(joined([pixels[k] for pixels, _, _ in found]) for k in range(n_planes)),
        lowest=() if source.task == "multiclass" else (LEVELS[0],) * source.n_classes,
        highest=() if source.task == "multiclass" else (LEVELS[-1],) * source.n_classes,
        n_left_out=source.n_images - len(kept),
    )
