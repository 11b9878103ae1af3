"""What is known of each image without reading it again: size, pixels of each class, hash of its pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from comp.config import IGNORE

FEW_CLASSES = 8  # up to here a comparison a class is faster than a table of all values
BLANK = "blank-"  # before the hash of an image of one colour


@dataclass(frozen=True)
class ImageStats:
    """Statistics of N images, in the order of `ids`.

    Args:
        ids: image_id of each.
        sizes: (N, 2) int64, height and width of the file's image.
        counts: (N, K) int64, pixels of each class (binary: K = 1, the foreground); -1 without a mask.
        valid: (N, K) int64, pixels that are not ignored; -1 without a mask.
        hashes: hash of size, dtype and pixels; equal for exact duplicates; ``blank-...`` for one colour.
    """

    ids: tuple[str, ...]
    sizes: np.ndarray
    counts: np.ndarray
    valid: np.ndarray
    hashes: tuple[str, ...]

    def coverage(self) -> np.ndarray:
        """(N, K) float64: share of the valid pixels that is of the class; 0 where none is valid."""
        return np.where(self.valid > 0, self.counts / np.maximum(self.valid, 1), 0.0)

    def presence(self) -> np.ndarray:
        """(N, K) bool: the class occurs in the image."""
        return self.counts > 0

    def duplicates(self) -> list[list[int]]:
        """Positions of images with the same pixels, a list a set. Blank tiles give nothing away: left out."""
        same: dict[str, list[int]] = {}
        for i, pixel_hash in enumerate(self.hashes):
            if not pixel_hash.startswith(BLANK):
                same.setdefault(pixel_hash, []).append(i)
        return [members for members in same.values() if len(members) > 1]


def hash_pixels(image: np.ndarray) -> str:
    """Hash size, dtype and pixels of an image (H, W, C), and mark one that is all of one colour."""
    seen = hashlib.sha256(f"{image.shape} {image.dtype}".encode())
    seen.update(np.ascontiguousarray(image).data)
    one_colour = (image[-1, -1] == image[0, 0]).all() and (image == image[0, 0]).all()
    return (BLANK if one_colour else "") + seen.hexdigest()[:32]


def count_labels(labels: np.ndarray, task: str, n_classes: int) -> tuple[list[int], list[int]]:
    """Count the pixels of each class and the valid pixels.

    Args:
        labels: (H, W), or (K, H, W) for multilabel, uint8; 255 is ignored.

    Returns:
        counts and valid, K ints each.
    """
    if task == "multilabel":
        ignored = [int(np.count_nonzero(plane == IGNORE)) for plane in labels]
        counts = [int(np.count_nonzero(plane == 1)) for plane in labels]
        return counts, [labels[0].size - n for n in ignored]
    first = 1 if task == "binary" else 0
    if n_classes <= FEW_CLASSES:
        counts = [int(np.count_nonzero(labels == first + k)) for k in range(n_classes)]
        n_ignored = int(np.count_nonzero(labels == IGNORE))
    else:
        table = np.bincount(labels.ravel(), minlength=256)
        counts = [int(n) for n in table[:n_classes]]
        n_ignored = int(table[IGNORE])
    return counts, [labels.size - n_ignored] * n_classes
