"""A decode-once cache as it stands: images and labels of one recipe, read through a map of its flat files.

One file of image bytes, one of label bytes, and an index written last. Refuses to guess: a file of
another length than the index says is damaged.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp import files
from comp.config import Train
from comp.data.cache.stats import ImageStats
from comp.data.images.tif_rows import LARGE_PIXELS
from comp.errors import DataError

VERSION = 3
GLANCE = 1024  # rows or columns of a large image that a small picture of it is made from, at least


@dataclass(frozen=True)
class Recipe:
    """How images and labels are stored.

    Args:
        size: (h, w) of everything; None: each at its own size.
        stretch: contrast of each image stretched by `resize.stretch_image`, before any resizing.
        soft: labels as area-averaged planes (see `resize.soft_planes`) instead of nearest labels.
    """

    size: tuple[int, int] | None = None
    soft: bool = False
    stretch: bool = False

    def __post_init__(self) -> None:
        if self.soft and self.size is None:
            raise ValueError("soft labels need a size: at native size nothing is averaged")

    @property
    def kind(self) -> str:
        """A readable name: native, 256x256, 256x256-soft."""
        size = "native" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return size + ("-soft" if self.soft else "") + ("-stretch" if self.stretch else "")


NATIVE = Recipe()  # everything at its own size, as decoded


def train_recipe(train: Train) -> Recipe:
    """The cache that training in this way reads."""
    if train.mode == "crop":
        return Recipe(stretch=train.stretch)
    return Recipe(train.size, train.soft_masks, train.stretch)


class Cache:
    """Images and labels of one recipe, read through a map of the files; cheap to pickle (its path only).

    Args:
        path: the index, ``<kind>-<key>.json``.
    """

    def __init__(self, path: Path) -> None:
        index = files.read_json(path)
        self.path = path
        self.recipe = Recipe(
            None if index["size"] is None else tuple(index["size"]), index["soft"], index["stretch"]
        )
        self.task: str = index["task"]
        self.n_classes: int = index["n_classes"]
        self.decodes: int = index["decodes"]
        self._images: list[dict[str, Any]] = index["images"]
        self.ids: tuple[str, ...] = tuple(entry["id"] for entry in self._images)
        self.image_dtype = np.dtype(
            np.float32 if any(e["dtype"] == "float32" for e in self._images) else np.uint8
        )
        self._number = {image_id: i for i, image_id in enumerate(self.ids)}
        self._image_bytes = _map(path.with_suffix(".images"), index["images_bytes"])
        self._label_bytes = _map(path.with_suffix(".labels"), index["labels_bytes"])

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type[Cache], tuple[Path]]:
        return Cache, (self.path,)

    def number(self, image_id: str) -> int:
        """Position of an image_id."""
        return self._number[image_id]

    def image(self, i: int) -> np.ndarray:
        """(h, w, C) uint8, or float32 in [0, 1]; a read-only view, rows first, RGB order.

        A large image is a map of its own each time: what was touched of it goes when the array goes.
        """
        entry = self._images[i]
        if _is_large(entry["shape"]):
            path = self.path.with_suffix(".images")
            return _own_map(path, entry["offset"], entry["shape"], entry["dtype"])
        return _view(self._image_bytes, entry["offset"], entry["shape"], entry["dtype"])

    def rows(self, i: int, start: int, stop: int) -> np.ndarray:
        """Rows start..stop of image `i`, (rows, w, C), read from the file into memory of their own.

        What a map of a large image has touched counts as memory of the process; this does not stay.
        """
        entry = self._images[i]
        _, width, bands = entry["shape"]
        dtype = np.dtype(entry["dtype"])
        return np.fromfile(
            self.path.with_suffix(".images"),
            dtype,
            (stop - start) * width * bands,
            offset=entry["offset"] + start * width * bands * dtype.itemsize,
        ).reshape(stop - start, width, bands)

    def labels(self, i: int) -> np.ndarray | None:
        """Labels of image `i`, a read-only view; None where the record has no mask.

        Hard: (h, w), or (K, h, w) for multilabel, uint8, 255 is ignored. Soft: (K + V, h, w) uint8 as
        `resize.soft_planes` makes them. What has planes is stored planes-last: (K, h, w) is not contiguous.
        """
        entry = self._images[i]
        shape, offset = entry["labels_shape"], entry["labels_offset"]
        if shape is None:
            return None
        if _is_large(shape):
            stored = _own_map(self.path.with_suffix(".labels"), offset, shape, "uint8")
        else:
            stored = _view(self._label_bytes, offset, shape, "uint8")
        return stored if stored.ndim == 2 else np.moveaxis(stored, -1, 0)

    def label_rows(self, i: int, start: int, stop: int) -> np.ndarray:
        """Rows start..stop of the labels of image `i`, as stored: (rows, w), or planes last (rows, w, P).

        As `rows`, in memory of their own; the image must have labels.
        """
        entry = self._images[i]
        shape = entry["labels_shape"]
        row = int(np.prod(shape[1:]))
        return np.fromfile(
            self.path.with_suffix(".labels"),
            np.uint8,
            (stop - start) * row,
            offset=entry["labels_offset"] + start * row,
        ).reshape(stop - start, *shape[1:])

    def glance(self, i: int) -> tuple[np.ndarray, np.ndarray | None, int]:
        """Image and labels of `i`, as `image` and `labels` give them, to be looked at in small.

        Returns:
            image, labels, step: of a large image every step-th row and column, in memory of their own;
            of others all of it, and 1.
        """
        height, width = self._images[i]["shape"][:2]
        if not _is_large((height, width)):
            return self.image(i), self.labels(i), 1
        step = max(1, min(height, width) // GLANCE)
        chunk = step * max(1, GLANCE // 16)
        tops = range(0, height, chunk)
        parts = [self.rows(i, t, min(height, t + chunk))[::step, ::step].copy() for t in tops]
        if self._images[i]["labels_shape"] is None:
            return np.concatenate(parts), None, step
        drawn = [self.label_rows(i, t, min(height, t + chunk))[::step, ::step].copy() for t in tops]
        labels = np.concatenate(drawn)
        return (
            np.concatenate(parts),
            labels if labels.ndim == 2 else np.moveaxis(labels, -1, 0),
            step,
        )

    def original_size(self, i: int) -> tuple[int, int]:
        """(H, W) of the image's file."""
        height, width = self._images[i]["original"]
        return height, width

    def entry(self, i: int) -> dict[str, Any]:
        """The index's row of image `i`: counts, valid and hash among it."""
        return self._images[i]

    @property
    def content_hash(self) -> str:
        """A hash of every id and of the pixels and labels as decoded: what a run was made of."""
        return files.digest([[e["id"], e["hash"], e["labels_hash"]] for e in self._images])

    @property
    def stats(self) -> ImageStats:
        """Sizes, pixels of each class and hashes, taken from the files as they were decoded."""
        nothing = [-1] * self.n_classes
        counts = [entry["counts"] or nothing for entry in self._images]
        valid = [entry["valid"] or nothing for entry in self._images]
        shape = (len(self), self.n_classes)
        return ImageStats(
            self.ids,
            np.array([entry["original"] for entry in self._images], np.int64).reshape(-1, 2),
            np.array(counts, np.int64).reshape(shape),
            np.array(valid, np.int64).reshape(shape),
            tuple(entry["hash"] for entry in self._images),
        )


def _map(path: Path, n_bytes: int) -> np.ndarray:
    """The file's bytes as a plain read-only array.

    Raises:
        DataError: missing, or of another length than the index says.
    """
    found = path.stat().st_size if path.is_file() else -1
    if found != n_bytes:
        raise DataError(
            f"{path}: expected {n_bytes} bytes, got {'no file' if found < 0 else found}; delete it and run again"
        )
    if n_bytes == 0:
        return np.empty(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, mode="r"))


def _view(flat: np.ndarray, offset: int, shape: Sequence[int], dtype: str) -> np.ndarray:
    n_bytes = int(np.prod(shape)) * (4 if dtype == "float32" else 1)
    return flat[offset : offset + n_bytes].view(dtype).reshape(shape)


def _is_large(shape: Sequence[int]) -> bool:
    return shape[0] * shape[1] > LARGE_PIXELS


def _own_map(path: Path, offset: int, shape: Sequence[int], dtype: str) -> np.ndarray:
    return np.asarray(np.memmap(path, dtype, "r", offset, tuple(shape)))


def existing(path: Path) -> Cache | None:
    """The cache at `path`, marked as used now; None where it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        cache = Cache(path)
        os.utime(path)
    except (DataError, KeyError, TypeError, ValueError, OSError):
        return None
    return cache
