"""Marks: points of a picture that are found again wherever it is cut, with a code of what lies around them.

A mark is where the difference of two blurs (Lowe 2004, at one scale) is largest within some reach; its code
holds the signs of the low cosine frequencies around it. Two crops that overlap bear the same marks there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

HALF = 8  # a code tells of 17 x 17 pixels
FINE, COARSE = 1.2, 3.0  # blurs whose difference marks are sought in
REACHES = (4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128)  # pixels within which a mark is the largest
MOST = 384  # marks of an image: the least reach that leaves no more is taken
# What a mark stands out by, at least: grey levels where images have 8 bits, and so many times what the
# points of the image do on average (root of squares). Clear ones survive JPEG; faint ones copies without loss.
FAINT, CLEAR = (0.25, 0.1), (1.0, 0.25)
EDGE = 10.0  # curvature along over across, from which a point lies on an edge and slides along it
SMOOTH = 32  # bits at the head of a code that noise seldom changes
DEAD = 0.5  # share of the pixels around a mark that may be the darkest or brightest of the image


@dataclass(frozen=True)
class Marks:
    """The marks of one image.

    Args:
        at: (K, 2) int32, row and column, in order of both; K <= MOST.
        codes: (K,) uint64; two codes of one thing differ in few bits.
        clear: (K,) bool: marks that noise does not wash away.
    """

    at: np.ndarray
    codes: np.ndarray
    clear: np.ndarray

    def mirrored(self, width: int) -> Marks:
        """The marks of the image with left and right exchanged."""
        at = self.at.copy()
        at[:, 1] = width - 1 - at[:, 1]
        order = np.lexsort((at[:, 1], at[:, 0]))
        return Marks(at[order], (self.codes ^ _basis()[2])[order], self.clear[order])


NO_MARKS = Marks(np.zeros((0, 2), np.int32), np.zeros(0, np.uint64), np.zeros(0, bool))


def find_marks(image: np.ndarray) -> Marks:
    """Find the marks of an image.

    Args:
        image: (H, W, C) uint8, or float32.

    Returns:
        at least HALF pixels from every edge; none in flat or saturated parts, nor along straight edges.
    """
    import cv2

    if min(image.shape[:2]) < 4 * HALF:
        return NO_MARKS
    grey = _grey(image)
    fine = cv2.GaussianBlur(grey, (0, 0), FINE)
    apart = fine - cv2.GaussianBlur(fine, (0, 0), COARSE)
    strong = np.abs(apart)
    average = float(cv2.norm(apart) / np.sqrt(apart.size))
    faint, clear = (
        max(share * average, least if image.dtype == np.uint8 else 0.0)
        for least, share in (FAINT, CLEAR)
    )
    inside = np.zeros(strong.shape, bool)
    inside[HALF:-HALF, HALF:-HALF] = True
    largest, before = strong, 0
    at = np.zeros((0, 2), np.int64)
    for reach in REACHES:
        side = 2 * (reach - before) + 1
        largest, before = cv2.dilate(largest, np.ones((side, side), np.uint8)), reach
        if reach == REACHES[0]:
            found = (strong >= largest) & (strong > faint) & inside
            at = np.argwhere(found)
            at = at[_stands_alone(apart, at)]
        else:
            at = at[strong[at[:, 0], at[:, 1]] >= largest[at[:, 0], at[:, 1]]]
        if len(at) <= MOST:
            break
    at = at[_alive(grey, at)][:MOST]
    if len(at) == 0:
        return NO_MARKS
    return Marks(at.astype(np.int32), _codes(fine, apart, at), strong[at[:, 0], at[:, 1]] > clear)


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W) float32, the mean of at most three bands."""
    import cv2

    if image.shape[2] == 1:
        return np.ascontiguousarray(image[:, :, 0], dtype=np.float32)
    bands = min(3, image.shape[2])
    weights = np.zeros((1, image.shape[2]), np.float32)
    weights[:, :bands] = 1 / bands
    return cv2.transform(np.ascontiguousarray(image).astype(np.float32), weights)


def _stands_alone(apart: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(K,) bool: the point is a blob or a corner, not a place along an edge (Lowe 2004, section 4.1)."""
    y, x = at.T
    v = apart[y, x]
    yy = apart[y + 1, x] + apart[y - 1, x] - 2 * v
    xx = apart[y, x + 1] + apart[y, x - 1] - 2 * v
    xy = (apart[y + 1, x + 1] + apart[y - 1, x - 1] - apart[y + 1, x - 1] - apart[y - 1, x + 1]) / 4
    whole = yy * xx - xy * xy
    return np.asarray((whole > 0) & ((yy + xx) ** 2 * EDGE < (EDGE + 1) ** 2 * whole))


def _around(plane: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(K, 17, 17): what lies around each point."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (2 * HALF + 1, 2 * HALF + 1))
    return windows[at[:, 0] - HALF, at[:, 1] - HALF]


def _alive(grey: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(K,) bool: at most half of the pixels around are the image's darkest, or its brightest."""
    around = _around(grey, at)
    low, high = grey.min(), grey.max()
    return np.asarray(
        ((around <= low).mean(axis=(1, 2)) <= DEAD) & ((around >= high).mean(axis=(1, 2)) <= DEAD)
    )


def _codes(fine: np.ndarray, apart: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(K,) uint64: a bit for dark or bright and the signs of 63 low frequencies.

    The first half tells of the smooth ones, in SMOOTH // 8 parts that each begin with the smoothest.
    """
    vertical, horizontal, _, order = _basis()
    around = _around(fine, at)
    low = np.matmul(np.matmul(vertical, around), horizontal).reshape(len(at), -1)[:, order]
    low[:, 0] = apart[at[:, 0], at[:, 1]]
    packed = np.packbits(low > 0, axis=1)
    return np.ascontiguousarray(packed).view(">u8")[:, 0].astype(np.uint64)


@cache
def _basis() -> tuple[np.ndarray, np.ndarray, np.uint64, np.ndarray]:
    """Cosines (8, 17) and (17, 8), the bits that change when left and right are exchanged, the order."""
    n = 2 * HALF + 1
    cosines = np.cos(np.arange(8)[:, None] * (np.arange(n) + 0.5) * np.pi / n).astype(np.float32)
    fy, fx = np.divmod(np.arange(64), 8)
    rising = np.argsort(fy + fx, kind="stable")
    parts = SMOOTH // 8
    order = np.concatenate([*(rising[:SMOOTH][k::parts] for k in range(parts)), rising[SMOOTH:]])
    odd = np.packbits((fx % 2 == 1)[order])
    return cosines, cosines.T.copy(), odd.view(">u8")[0].astype(np.uint64), order
