"""Seams: crops of one picture whose edges go on in each other, found by matching their outermost lines.

Every right edge looks for its left edge, every bottom for its top, among all images with edges of that
length. The same search with one edge turned end for end finds what chance finds: the null test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from comp.data.leaks.prints import BOTTOM, LEFT, RIGHT, TOP, ImagePrint

ROWS = 512  # edges matched at once
MAX_FALSE = 0.01  # links by chance, of those found, up to which a rule is believed


@dataclass(frozen=True)
class Rule:
    """What makes two edges one line of a picture.

    Args:
        step: difference across the seam, at most so many times that of neighbours inside the images.
        correlation: of the two edges, at least.
        margin: the next best match is at least so many times further away, from either side.
    """

    step: float
    correlation: float
    margin: float


# The first is used where chance cannot meet it (counted, not assumed), else the second.
RULES = (Rule(1.5, 0.6, 1.5), Rule(1.1, 0.9, 1.5))
# Crops that were each enlarged end smoother than the picture went on: a wide step, where that finds
# at least 20 seams, twice those of the others, and chance none.
RESIZED = Rule(6.0, 0.8, 1.5)
MANY = 20


@dataclass(frozen=True)
class Seam:
    """Image `j` goes on where image `i` ends: to its right, or below it."""

    i: int
    j: int
    side: str
    step: float
    correlation: float
    margin: float


@dataclass(frozen=True)
class Seams:
    """The seams found.

    Args:
        links: what `rule` accepts; none where chance finds too many.
        n_found: seams of the rule before that check; n_null: the same with one edge reversed.
    """

    links: tuple[Seam, ...]
    rule: Rule
    n_found: int
    n_null: int

    @property
    def believed(self) -> bool:
        return self.n_null <= MAX_FALSE * self.n_found

    @property
    def told(self) -> str:
        rule = self.rule
        return (
            f"{self.n_found} seams (step < {rule.step:g}, correlation > {rule.correlation:g}, "
            f"margin > {rule.margin:g}); null test with reversed edges: {self.n_null}"
        )


def find_seams(prints: Sequence[ImagePrint], kept: Sequence[int] | None = None) -> Seams:
    """Match edges by the loosest rule that chance does not meet.

    Args:
        kept: positions to look at; default all. One of each set of near duplicates: two copies of
            a neighbour would each deny the other its margin.
    """
    chosen = list(range(len(prints))) if kept is None else list(kept)
    true: list[Seam] = []
    null: list[Seam] = []
    for first, second, side in ((RIGHT, LEFT, "right"), (BOTTOM, TOP, "below")):
        for members in _same_length(prints, chosen, first):
            matched, reversed_ones = _match(prints, members, first, second, side)
            true += matched
            null += reversed_ones
    by_rule = [_by(rule, true, null) for rule in (*RULES, RESIZED)]
    wide = by_rule.pop()
    found = next((seams for seams in by_rule if seams.believed), by_rule[-1])
    if wide.n_null == 0 and wide.n_found >= max(MANY, 2 * found.n_found):
        return wide
    return found if found.believed else replace(found, links=())


def _by(rule: Rule, true: Sequence[Seam], null: Sequence[Seam]) -> Seams:
    """What a rule accepts, and what it would accept by chance."""
    found = tuple(seam for seam in true if accepts(rule, seam))
    return Seams(found, rule, len(found), sum(accepts(rule, seam) for seam in null))


def accepts(rule: Rule, seam: Seam) -> bool:
    """True where a match is as good as the rule asks."""
    return (
        seam.step < rule.step and seam.correlation > rule.correlation and seam.margin > rule.margin
    )


def _same_length(
    prints: Sequence[ImagePrint], chosen: Sequence[int], side: int
) -> Iterator[list[int]]:
    """Images whose edges can be compared: of one length, type and number of bands."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for i in chosen:
        lines = prints[i].lines[side]
        length = prints[i].size[0 if side == RIGHT else 1]
        alike.setdefault((length, lines.shape, str(lines.dtype)), []).append(i)
    yield from (members for members in alike.values() if len(members) > 1)


def _match(
    prints: Sequence[ImagePrint], members: list[int], first: int, second: int, side: str
) -> tuple[list[Seam], list[Seam]]:
    """The mutual best matches of edges as they are, and of edges with the second reversed."""
    a = _edges(prints, members, first)
    b = _edges(prints, members, second)
    # Grey level 0 wherever it stands: distances of large numbers would cancel in float32.
    middle = a.outer.mean()
    plain = b.outer - middle
    turned = np.ascontiguousarray(
        plain.reshape(len(members), -1, a.bands)[:, ::-1].reshape(plain.shape)
    )
    near = _nearest(a.outer - middle, plain)
    far = _nearest(a.outer - middle, turned)
    found = _mutual(members, a, b, b.outer, near, far, side)
    reversed_outer = turned + middle
    return found, _mutual(members, a, b, reversed_outer, far, near, side)


@dataclass(frozen=True)
class _Edges:
    outer: np.ndarray  # (n, l * b) float32
    inside: np.ndarray  # (n,) mean step between the outermost line and the next
    bands: int


def _edges(prints: Sequence[ImagePrint], members: list[int], side: int) -> _Edges:
    lines = np.stack([prints[i].lines[side] for i in members])
    values = lines.astype(np.float32) / np.float32(255 if lines.dtype == np.uint8 else 1)
    outer, inner = values[:, 0].reshape(len(members), -1), values[:, 1].reshape(len(members), -1)
    return _Edges(outer, np.abs(outer - inner).mean(axis=1), lines.shape[3])


@dataclass(frozen=True)
class _Nearest:
    """Squared mean distances of rows a to rows b, never of an image to itself."""

    best: np.ndarray  # (n,) position in b nearest to each a
    distance: np.ndarray  # (n,) to it
    next: np.ndarray  # (n,) the second smallest
    back: np.ndarray  # (n,) position in a nearest to each b
    back_distance: np.ndarray
    back_next: np.ndarray


def _nearest(a: np.ndarray, b: np.ndarray) -> _Nearest:
    """Nearest and second nearest, both ways, in blocks of ROWS x n."""
    n, width = a.shape
    square_a, square_b = (a * a).mean(axis=1), (b * b).mean(axis=1)
    best, back = np.zeros(n, np.int64), np.zeros(n, np.int64)
    distance, second = np.empty(n, np.float32), np.empty(n, np.float32)
    back_distance, back_next = np.full(n, np.inf, np.float32), np.full(n, np.inf, np.float32)
    for start in range(0, n, ROWS):
        rows = slice(start, min(start + ROWS, n))
        d = square_a[rows, None] + square_b[None, :] - (2.0 / width) * (a[rows] @ b.T)
        np.maximum(d, 0.0, out=d)
        here = np.arange(d.shape[0])
        d[here, here + start] = np.inf
        best[rows] = d.argmin(axis=1)
        column = d.argmin(axis=0)
        low = d[column, np.arange(n)]
        distance[rows] = d[here, best[rows]]
        low_next = np.partition(d, 1, axis=0)[1] if d.shape[0] > 1 else np.full(n, np.inf)
        back_next = np.minimum(np.minimum(back_next, low_next), np.maximum(back_distance, low))
        back = np.where(low < back_distance, column + start, back)
        back_distance = np.minimum(back_distance, low)
        d[here, best[rows]] = np.inf
        second[rows] = d.min(axis=1)
    return _Nearest(best, distance, second, back, back_distance, back_next)


def _mutual(
    members: list[int],
    a: _Edges,
    b: _Edges,
    outer_b: np.ndarray,
    near: _Nearest,
    other: _Nearest,
    side: str,
) -> list[Seam]:
    """Pairs that are each other's best match, judged; the other way round counts among the rivals."""
    k = np.flatnonzero(near.back[near.best] == np.arange(len(members)))
    k = k[np.isfinite(near.distance[k])]
    j = near.best[k]
    rival = np.minimum.reduce(
        [near.next[k], near.back_next[j], other.distance[k], other.back_distance[j]]
    )
    x, y = a.outer[k], outer_b[j]
    apart = np.sqrt(((x - y) ** 2).mean(axis=1))
    margin = np.sqrt(rival) / np.maximum(apart, 1e-6)
    inside = 0.5 * (a.inside[k] + b.inside[j])
    step = np.abs(x - y).mean(axis=1) / np.maximum(inside, 1e-4)
    xc, yc = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    length = np.linalg.norm(xc, axis=1) * np.linalg.norm(yc, axis=1)
    correlation = (xc * yc).sum(axis=1) / np.where(length > 1e-9, length, np.inf)
    return [
        Seam(members[int(p)], members[int(q)], side, float(s), float(c), float(m))
        for p, q, s, c, m in zip(k, j, step, correlation, margin, strict=True)
    ]
