"""Which clean-up is worth having: chosen on some images, and only where it gains on others.

A round looks at every setting of every rule in one pass over the images. The one that is taken has the best
mean over its neighbours, so that a plateau is preferred to a peak, of the rules whose setting, chosen so,
gains one standard error on images that it was not chosen on. Then the next round, among the others of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comp.blending.blend import Source, mean_presence
from comp.blending.parts import make_parts, paired_error
from comp.blending.search import GAIN, Thresholds, Weights, signed_score
from comp.blending.setting_counts import setting_counts
from comp.blending.settings import Grid, Setting, areas, grids

ROUNDS = 3  # rules at most: each further one is fitted to less
PIXELS = 1 << 26  # that all rules are looked at on; of more, images drawn by a seed
LEAST = 16  # images, though they hold more, up to `MOST` pixels
MOST = (
    8 * PIXELS
)  # with fewer than a quarter of `LEAST` images in that, only the smallest object is looked for


@dataclass(frozen=True)
class Table:
    """Counts of every setting of every rule on some images: (S, n, K, 4) a grid, and (n, K, 4) as it is now."""

    metric: str
    grids: list[Grid]
    counts: list[np.ndarray]
    now: np.ndarray

    def pick(self, rows: np.ndarray, among: Sequence[int]) -> tuple[int, int] | None:
        """The grid and setting that score best on `rows` (n,) bool with their neighbours; None: as it is now.

        The first of equals, which is the mildest.
        """
        best, found = signed_score(self.metric, self.now[rows]) + GAIN, None
        for g in among:
            scores = [signed_score(self.metric, counts[rows]) for counts in self.counts[g]]
            level = plateau(np.reshape(scores, self.grids[g].shape)).reshape(-1)
            top = int(level.argmax())
            if level[top] > best:
                best, found = float(level[top]), (g, top)
        return found

    def gains(self, parts: np.ndarray, grid: int, groups: Sequence[str] | None) -> bool:
        """True when a rule gains one standard error, on each of `parts` (n,) by a setting picked without it."""
        held = self.now.copy()
        for part in np.unique(parts):
            picked = self.pick(parts != part, [grid])
            if picked is not None:
                held[parts == part] = self.counts[picked[0]][picked[1]][parts == part]
        gain = signed_score(self.metric, held) - signed_score(self.metric, self.now)
        error = paired_error(self.metric, held, self.now, groups)
        return bool(np.isfinite(error)) and gain > GAIN and gain >= error


def plateau(scores: np.ndarray) -> np.ndarray:
    """The mean of each score (any shape) and its neighbours: weights 1, 2, 1 along each axis; at an end 2, 1."""
    found = scores
    for axis, n in enumerate(scores.shape):
        if n == 1:
            continue
        along = np.moveaxis(found, axis, 0)
        summed, weight = 2 * along, np.full((n,) + (1,) * (scores.ndim - 1), 2.0)
        summed[1:] += along[:-1]
        summed[:-1] += along[1:]
        weight[1:] += 1
        weight[:-1] += 1
        found = np.moveaxis(summed / weight, 0, axis)
    return found


def fit_clean_up(
    source: Source,
    images: np.ndarray,
    weights: Weights,
    thresholds: Thresholds,
    metric: str,
    parts: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    rules: bool = True,
) -> Setting:
    """Choose thresholds, minimum area and rules on `images`, and on no others; no clean-up unless it gains.

    Args:
        thresholds: as fitted without clean-up; hysteresis lowers them.
        parts: (N,) of all images of the source: those held out together; default: five by `groups`.
        groups: (N,) as in `paired_error`.
        rules: look at more than the smallest object.
    """
    now = Setting(thresholds)
    if rules:
        few = some_images(source, images)
        rules = len(few) >= min(len(images), LEAST // 4)
        images = few if rules else images
    names = None if groups is None else [groups[int(i)] for i in images]
    where = np.zeros(len(images), np.int64) if parts is None else parts[images]
    inner = make_parts(where, names)
    if len(np.unique(inner)) < 2:
        return now
    sizes = areas(source, images)
    heard = source.presence is not None and all(
        mean_presence((w, source.presence(int(i), c)) for c, w in enumerate(weights) if w)
        is not None
        for i in images
    )
    left: set[str] | None = None  # rules that gain by themselves; None: not known yet
    for _ in range(ROUNDS):
        looked = [
            grid
            for grid in grids(now, thresholds, source.task, sizes, heard, rules)
            if left is None or grid.rule in left
        ]
        every = [now, *(setting for grid in looked for setting in grid.settings)]
        counts = setting_counts(source, images, weights, every)
        cuts = np.cumsum([1, *(len(grid.settings) for grid in looked)])
        table = Table(metric, looked, np.split(counts, cuts)[1:-1], counts[0])
        gaining = {g for g in range(len(looked)) if table.gains(inner, g, names)}
        picked = table.pick(np.ones(len(images), bool), sorted(gaining))
        if picked is None:
            break
        now = looked[picked[0]].settings[picked[1]]
        left = {looked[g].rule for g in gaining - {picked[0]}}
        if not left:
            break
    return now


def some_images(source: Source, images: np.ndarray) -> np.ndarray:
    """All of `images`, or as many as hold `PIXELS` pixels, or `LEAST` in `MOST`; drawn by a seed, ascending."""
    sizes = np.array([source.labels(int(i)).size for i in images], np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    n_taken = int(np.searchsorted(np.cumsum(sizes[order]), PIXELS, side="right"))
    most = int(np.searchsorted(np.cumsum(sizes[order]), MOST, side="right"))
    return np.sort(images[order[: max(min(LEAST, most), n_taken)]])
