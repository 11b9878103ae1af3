"""Overlaps: images cut from one picture that share pixels, at any shift, found by the marks they share.

Marks of like codes vote for how two images lie to each other; the whole rectangle that they would share
is then checked. The same search among mirrored images finds what chance finds: the null test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comp.data.leaks.marks import HALF, SMOOTH, Marks
from comp.data.leaks.prints import THUMB, ImagePrint
from comp.data.leaks.unions import Unions

BITS = 12  # of 64 in which the codes of one mark may differ, to be found
# Codes in order that each is compared with, in each of SMOOTH // 8 orders; what the first join need not
# be looked for again.
STEPS = (range(1, 4), range(4, 13))
VOTES = 3  # marks that must agree on a shift, to the pixel, before it is checked
MARKS = 4  # marks that must lie where they should in the shared rectangle,
# at least so many of those that either image has there, with codes that differ in at most so many bits:
# of clear marks, which survive noise and JPEG, or of all, where nothing was lost,
LOSSY, EXACT = (0.5, 18), (0.8, 4)
BLOCK_SIDE, BLOCK_MARKS = (
    8,
    10,
)  # blocks of JPEG look alike: a shift by whole blocks needs more marks
SPREAD = 0.3  # over at least so much of its height and width,
ALIKE = 0.6  # and the small pictures correlate there
SLACK = 2  # pixels by which noise may move a mark
MAX_FALSE = 0.01  # links by chance, of those found, up to which they are believed
FAR = 1 << 30  # beyond any shift
MIX = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)


@dataclass(frozen=True)
class Overlap:
    """The first pixel of image `j` lies at row `down`, column `right` of image `i`; either may be negative.

    Args:
        share: of the smaller image that the other shows too.
        marks: that agree there.
    """

    i: int
    j: int
    down: int
    right: int
    share: float
    marks: int


@dataclass(frozen=True)
class Overlaps:
    """The overlaps found: as many pairs as link all images that overlap.

    Args:
        links: none where chance finds too many.
        n_found: before that check; n_null: the same with one image of each pair mirrored.
    """

    links: tuple[Overlap, ...]
    n_found: int
    n_null: int

    @property
    def believed(self) -> bool:
        return self.n_null <= MAX_FALSE * self.n_found

    @property
    def told(self) -> str:
        return (
            f"{self.n_found} overlaps ({MARKS} marks or more, {LOSSY[0]:.0%} of those there, where they"
            f" should lie); null test with mirrored images: {self.n_null}"
        )


NO_OVERLAPS = Overlaps((), 0, 0)


def find_overlaps(prints: Sequence[ImagePrint], kept: Sequence[int] | None = None) -> Overlaps:
    """Find pairs that link all images that share pixels; pairs that other pairs already link are left out.

    Time and memory grow with the number of marks, not with its square.

    Args:
        kept: positions to look at; default all. One of each set of near duplicates is enough.
    """
    chosen = list(range(len(prints))) if kept is None else list(kept)
    views = [_View(prints[i].size, prints[i].thumb, prints[i].marks) for i in chosen]
    found = _search(views)
    null = _search(views, [view.mirrored() for view in views])
    links = tuple(
        Overlap(chosen[o.i], chosen[o.j], o.down, o.right, o.share, o.marks) for o in found
    )
    made = Overlaps(links, len(links), len(null))
    return made if made.believed else Overlaps((), len(links), len(null))


def lay_out(links: Sequence[Overlap]) -> dict[int, tuple[int, int, int]]:
    """Where each image of `links` lies: (first image of its picture, rows, columns from that picture's corner).

    Args:
        links: as `find_overlaps` gives them, one way from each image to any other.
    """
    beside: dict[int, list[tuple[int, int, int]]] = {}
    for o in links:
        beside.setdefault(o.i, []).append((o.j, o.down, o.right))
        beside.setdefault(o.j, []).append((o.i, -o.down, -o.right))
    placed: dict[int, tuple[int, int, int]] = {}
    for first in sorted(beside):
        if first in placed:
            continue
        at = {first: (0, 0)}
        waiting = [first]
        while waiting:
            i = waiting.pop()
            for j, down, right in beside[i]:
                if j not in at:
                    at[j] = (at[i][0] + down, at[i][1] + right)
                    waiting.append(j)
        top, left = (min(place[k] for place in at.values()) for k in (0, 1))
        placed |= {i: (first, y - top, x - left) for i, (y, x) in at.items()}
    return placed


@dataclass(frozen=True)
class _View:
    size: tuple[int, int]
    thumb: np.ndarray
    marks: Marks

    def mirrored(self) -> _View:
        return _View(self.size, self.thumb[:, ::-1], self.marks.mirrored(self.size[1]))


@dataclass(frozen=True)
class _Pile:
    """All marks in one pile, M; `mirrored` of them at its end are of mirrored images.

    Args:
        codes: (M,) uint64; owner: (M,) the image of each; at: (M, 2) where it lies there.
    """

    codes: np.ndarray
    owner: np.ndarray
    at: np.ndarray
    mirrored: int

    def ordered(self, part: int) -> np.ndarray:
        """(M,) positions in the order of the codes, the smooth bits from part number `part` on first."""
        half = np.uint64(64 - SMOOTH)
        low = np.uint64((1 << (64 - SMOOTH)) - 1)
        smooth = self.codes >> half
        turn = np.uint64(8 * part)
        if part:
            smooth = (smooth << turn | smooth >> (np.uint64(SMOOTH) - turn)) & low
        return np.argsort(smooth << half | self.codes & low, kind="stable")

    def votes(self, order: np.ndarray, step: int) -> np.ndarray:
        """(V,) int64: pairs of marks `step` apart in an order whose codes are alike, see `_pair`."""
        codes, owner = self.codes[order], self.owner[order]
        like = np.bitwise_count(codes[:-step] ^ codes[step:]) <= BITS
        a = np.flatnonzero(like & (owner[:-step] != owner[step:]))
        a, b = order[a], order[a + step]
        a, b = np.minimum(a, b), np.maximum(a, b)  # images in order; mirrored ones come second
        if self.mirrored:
            across = (a < len(self.codes) - self.mirrored) & (b >= len(self.codes) - self.mirrored)
            a, b = a[across], b[across]
        return a << 32 | b

    def agreed(self, votes: np.ndarray) -> list[tuple[int, int, int, int]]:
        """(image, image, how far down, and right, of it) that VOTES votes or more speak for, most first."""
        if len(votes) < VOTES:
            return []
        a, b = votes >> 32, votes & 0xFFFFFFFF
        said = np.column_stack([self.owner[a], self.owner[b], self.at[a] - self.at[b]])
        # One number for each pair and shift; chance would have to mix up two of 2**64.
        mixed = (said.astype(np.uint64) * MIX).sum(axis=1, dtype=np.uint64)
        ordered = np.sort(mixed)
        often = ordered[VOTES - 1 :][ordered[VOTES - 1 :] == ordered[: 1 - VOTES]]
        chosen, counts = np.unique(said[np.isin(mixed, often)], axis=0, return_counts=True)
        chosen = chosen[np.argsort(-counts, kind="stable")]
        return [(i, j, down, right) for i, j, down, right in chosen.tolist()]


def _pile(views: Sequence[_View], mirrored: Sequence[_View]) -> _Pile:
    both = [*views, *mirrored]
    counts = [len(view.marks.codes) for view in both]
    owner = [*range(len(views)), *range(len(mirrored))]
    return _Pile(
        np.concatenate([view.marks.codes for view in both]),
        np.repeat(np.array(owner, np.int64), counts),
        np.concatenate([view.marks.at for view in both]),
        sum(counts[len(views) :]),
    )


def _search(views: Sequence[_View], mirrored: Sequence[_View] = ()) -> list[Overlap]:
    """Overlaps of images with others, or with mirrored others; those of most votes first in each round."""
    if len(views) < 2:
        return []
    others = mirrored or views
    pile = _pile(views, mirrored)
    unions = Unions(len(views))
    refused: set[tuple[int, int, int, int]] = set()
    found: list[Overlap] = []
    votes = np.zeros(0, np.int64)
    for part in range(SMOOTH // 8):
        order = pile.ordered(part)
        for steps in STEPS:
            more = [pile.votes(order, step) for step in steps]
            votes = np.sort(np.concatenate([votes, *more]))
            votes = votes[
                np.flatnonzero(np.diff(votes, prepend=-1))
            ]  # found in two orders: one vote
            root = unions.labels()
            owner = root[pile.owner]
            votes = votes[owner[votes >> 32] != owner[votes & 0xFFFFFFFF]]
            for said in pile.agreed(votes):
                i, j = said[:2]
                if said in refused or unions.find(i) == unions.find(j):
                    continue
                if (overlap := _check(views[i], others[j], *said)) is None:
                    refused.add(said)
                else:
                    unions.join(i, j)
                    found.append(overlap)
    return found


def _check(a: _View, b: _View, i: int, j: int, down: int, right: int) -> Overlap | None:
    """The overlap, if marks and small pictures agree over all of the rectangle."""
    shift = np.array([down, right])
    low = np.maximum(shift, 0)
    high = np.minimum(np.array(a.size), shift + np.array(b.size))
    extent = high - low
    if extent.min() <= 2 * HALF or (a.size == b.size and np.abs(shift).max() <= SLACK):
        return None  # in one place in both: near duplicates, or a frame, text or scale bar on all
    here = _inside(a.marks, np.zeros(2, int), low, high)
    there = _inside(b.marks, shift, low, high)
    spread = SPREAD * (extent - 2 * HALF)
    n = _agreeing(_clear(here), _clear(there), spread, *LOSSY)
    if n < (MARKS if (shift % BLOCK_SIDE).any() else BLOCK_MARKS):
        n = _agreeing(here, there, spread, *EXACT)
    if n == 0:
        return None
    if _correlation(a, b, shift, low, high) < ALIKE:
        return None
    smaller = min(a.size[0] * a.size[1], b.size[0] * b.size[1])
    return Overlap(i, j, down, right, float(extent.prod() / smaller), n)


def _inside(marks: Marks, shift: np.ndarray, low: np.ndarray, high: np.ndarray) -> Marks:
    """Marks that both images could bear: as far from every edge of the rectangle as from those of an image."""
    at = marks.at + shift
    inside = ((at >= low + HALF) & (at < high - HALF)).all(axis=1)
    return Marks(at[inside], marks.codes[inside], marks.clear[inside])


def _clear(marks: Marks) -> Marks:
    return Marks(marks.at[marks.clear], marks.codes[marks.clear], marks.clear[marks.clear])


def _agreeing(a: Marks, b: Marks, spread: np.ndarray, share: float, bits: int) -> int:
    """How many marks of `a` lie in `b` too; 0 where they are too few, or all in one corner."""
    few = min(len(a.codes), len(b.codes))
    if few < MARKS:
        return 0
    width = 4 * FAR
    keys = b.at[:, 0] * width + b.at[:, 1]  # in order, as marks are
    same = np.zeros(len(a.at), bool)
    for row in range(-SLACK, SLACK + 1):
        begin = (a.at[:, 0] + row) * width + a.at[:, 1] - SLACK
        k = np.minimum(np.searchsorted(keys, begin), len(keys) - 1)
        near = (keys[k] >= begin) & (keys[k] <= begin + 2 * SLACK)
        same |= near & (np.bitwise_count(a.codes ^ b.codes[k]) <= bits)
    n = int(same.sum())
    if n < max(MARKS, share * few) or (np.ptp(a.at[same], axis=0) < spread).any():
        return 0
    return n


def _correlation(a: _View, b: _View, shift: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Of the two small pictures over the rectangle."""
    import cv2

    larger = np.maximum(a.size, b.size)
    shape = np.maximum(np.ceil(THUMB * (high - low) / larger).astype(int), 2)
    cut = []
    for view, start in ((a, low), (b, low - shift)):
        # The centre of cell k of the rectangle, in pixels of the small picture.
        scale = THUMB / np.array(view.size)
        step = (high - low) / shape * scale
        begin = (start + 0.5 * (high - low) / shape) * scale - 0.5
        matrix = np.array([[step[1], 0, begin[1]], [0, step[0], begin[0]]])
        cut.append(
            cv2.warpAffine(
                np.ascontiguousarray(view.thumb, dtype=np.float32),
                matrix,
                (int(shape[1]), int(shape[0])),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
    x, y = (c - c.mean() for c in cut)
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x * y).sum()) / length if length > 1e-6 else 0.0
