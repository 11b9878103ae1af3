"""Near duplicates: the same picture re-encoded, resized, brightened, flipped or turned.

A perceptual hash (signs of the low cosine frequencies, after Zauner 2010) finds candidates among all
pairs and all 8 orientations; the pixels of the small pictures then decide, smooth and fine detail apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comp.data.leaks.prints import THUMB, ImagePrint
from comp.data.leaks.unions import Unions

MAX_BITS = 14  # of 63 that may differ; one pair in 10 000 of unlike pictures comes as near
MIN_ALIKE = 0.90  # correlation of the small pictures,
MIN_DETAIL = 0.60  # and of what is left without their blurred part; unlike pairs reach 0.62 at most
MIN_CONTRAST = 2 / 255  # below this a picture shows nothing that could be recognised
MAX_STRETCH = 0.03  # by which the shapes (H / W) of two copies may differ
ROWS = 256  # hashes compared at once
PAIRS = 4096  # candidates checked at once
FREQUENCIES = 8
TURNS = (
    "the same way up", "mirrored left to right", "turned by 90 degrees", "mirrored and turned",
    "turned by 180 degrees", "mirrored top to bottom", "turned by 90 degrees", "mirrored and turned",
)  # fmt: skip


@dataclass(frozen=True)
class NearPair:
    """Two images that show the same; `i` < `j`.

    Args:
        turn: 0..7; odd: mirrored left to right first, then turned by 90 degrees `turn // 2` times.
        alike: correlation of the two, after turning.
    """

    i: int
    j: int
    turn: int
    alike: float

    @property
    def how(self) -> str:
        """What was done to one of the two, in words."""
        return TURNS[self.turn]


def turn_image(image: np.ndarray, turn: int) -> np.ndarray:
    """One of the 8 flips and quarter turns of (H, W, ...): `turn` as in `NearPair`."""
    flipped = image[:, ::-1] if turn % 2 else image
    return np.rot90(flipped, turn // 2)


def find_near_duplicates(prints: Sequence[ImagePrint]) -> list[NearPair]:
    """Find pairs that link all near duplicates; pairs that other pairs already link are left out.

    Memory is bounded by blocks; 5000 images are 200 million comparisons of hashes, a second or two.
    """
    n = len(prints)
    if n < 2:
        return []
    thumbs = np.stack([p.thumb for p in prints])
    fine = _unit(thumbs - _blurred(thumbs))
    flat = _unit(thumbs)
    clear = np.array([p.contrast >= MIN_CONTRAST for p in prints])
    shape = np.log([p.size[0] / p.size[1] for p in prints])
    hashes = _hashes(thumbs)
    order = [
        turn_image(np.arange(THUMB * THUMB).reshape(THUMB, THUMB), t).ravel() for t in range(8)
    ]
    unions = Unions(n)
    found: list[NearPair] = []
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        for turn in range(8):
            differ = np.bitwise_count(hashes[0, rows, None] ^ hashes[turn, None, :])
            a, b = np.nonzero(differ <= MAX_BITS)
            a = rows[a]
            turned = -shape[b] if turn // 2 % 2 else shape[b]
            good = (a < b) & clear[a] & clear[b] & (np.abs(shape[a] - turned) < MAX_STRETCH)
            a, b = a[good], b[good]
            for at in range(0, len(a), PAIRS):
                root = unions.labels() if found else np.arange(n)
                i, j = a[at : at + PAIRS], b[at : at + PAIRS]
                apart = root[i] != root[j]
                i, j = i[apart], j[apart]
                whole = (flat[i].astype(np.float32) * flat[j][:, order[turn]]).sum(axis=1)
                detail = (fine[i].astype(np.float32) * fine[j][:, order[turn]]).sum(axis=1)
                for k in np.flatnonzero((whole >= MIN_ALIKE) & (detail >= MIN_DETAIL)).tolist():
                    first, second = int(i[k]), int(j[k])
                    if unions.find(first) != unions.find(second):
                        unions.join(first, second)
                        found.append(NearPair(first, second, turn, min(1.0, float(whole[k]))))
    return found


def _blurred(thumbs: np.ndarray) -> np.ndarray:
    """(N, THUMB, THUMB) float32: each blurred by a Gaussian of 4 pixels."""
    import cv2

    return np.stack([cv2.GaussianBlur(t.astype(np.float32), (0, 0), 4) for t in thumbs])


def _unit(thumbs: np.ndarray) -> np.ndarray:
    """(N, pixels) float16 with mean 0 and length 1 a row: a sum of products is a correlation."""
    flat = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(length > 0, length, 1.0)).astype(np.float16)


def _hashes(thumbs: np.ndarray) -> np.ndarray:
    """(8, N) uint64: the hash of every picture in each of its 8 orientations.

    Turning a picture only transposes its cosine coefficients and changes their signs.
    """
    at = (np.arange(THUMB) + 0.5) * np.pi / THUMB
    basis = np.cos(np.arange(FREQUENCIES)[:, None] * at[None, :]).astype(np.float32)
    low = np.einsum("fy,nyx,gx->nfg", basis, thumbs.astype(np.float32), basis, optimize=True)
    sign = (-1.0) ** np.arange(FREQUENCIES)
    hashes = np.empty((8, len(thumbs)), np.uint64)
    for turn in range(8):
        seen = low * sign[None, None, :] if turn % 2 else low
        for _ in range(turn // 2):  # a quarter turn to the left: transpose, then top for bottom
            seen = seen.transpose(0, 2, 1) * sign[None, :, None]
        bits = seen.reshape(len(seen), -1)[:, 1:]
        bits = bits > np.median(bits, axis=1, keepdims=True)
        packed = np.packbits(np.pad(bits, ((0, 0), (1, 0))), axis=1)
        hashes[turn] = np.ascontiguousarray(packed).view(np.uint64)[:, 0]
    return hashes
