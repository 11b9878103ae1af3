"""The labels of a large image on their way into a cache, band by band: counted, hashed, written.

What comes out is what whole labels give; `cache.bands` does the same for images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from comp import files
from comp.config import IGNORE, Competition
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.stats import BLANK, count_labels
from comp.data.images.resize import resize_image, resize_labels
from comp.data.images.tif_rows import LARGE_PIXELS
from comp.data.sources.label_rows import BAND_PIXELS, LargeLabels, large_labels
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record


@dataclass(frozen=True)
class LabelFacts:
    """What `stats.count_labels` and `stats.hash_pixels` say of whole labels."""

    counts: list[int]
    valid: list[int]
    labels_hash: str


def labels_to_come(record: Record, competition: Competition, size: tuple[int, int]) -> LargeLabels:
    """The labels of a record with a large image, drawn or decoded when they are asked for: band by band
    where the masks allow it, else whole, so that one image's labels are in memory at once.

    Raises:
        DataError: as `large_labels`; or, from `bands`, as `read_labels`.
    """
    if (found := large_labels(record, competition, size)) is not None:
        return found

    def bands() -> Iterator[np.ndarray]:
        labels = read_labels(record, competition, size)
        stored = np.moveaxis(labels, 0, -1) if labels.ndim == 3 else labels
        step = max(1, BAND_PIXELS // size[1])
        for top in range(0, size[0], step):
            yield stored[top : top + step]

    planes = competition.n_classes if competition.task == "multilabel" else None
    return LargeLabels(size, planes, bands)


def cached_labels(cache: Cache, number: int) -> LargeLabels | None:
    """Labels of the native cache; None where there are none, or they are small enough to be taken whole."""
    shape = cache.entry(number)["labels_shape"]
    if shape is None or shape[0] * shape[1] <= LARGE_PIXELS:
        return None
    height, width = shape[:2]
    step = max(1, BAND_PIXELS // width)

    def bands() -> Iterator[np.ndarray]:
        for top in range(0, height, step):
            yield cache.label_rows(number, top, min(height, top + step))

    return LargeLabels((height, width), shape[2] if len(shape) == 3 else None, bands)


def count_bands(labels: LargeLabels, task: str, n_classes: int) -> tuple[list[int], list[int]]:
    """`stats.count_labels` of the whole."""
    seen = _Counts(task, n_classes)
    for band in labels.bands():
        seen.add(band)
    return seen.counts, seen.valid


def write_labels(file: BinaryIO, labels: LargeLabels, task: str, n_classes: int) -> LabelFacts:
    """Append labels to an open file, planes last, and say what they hold."""
    seen, start = _Counts(task, n_classes), file.tell()
    hasher = _Hasher(labels, labels.planes is not None)
    for band in labels.bands():
        seen.add(band)
        file.write(np.ascontiguousarray(band).data)
        if labels.planes is None:
            hasher.add(band)
    if labels.planes is not None:  # the hash is of whole planes, one after the other
        file.flush()
        for k in range(labels.planes):
            for band in _rows_of(Path(file.name), start, labels.shape):
                hasher.add(band[..., k])
    return LabelFacts(seen.counts, seen.valid, hasher.hexdigest())


def resized_labels(
    labels: LargeLabels, recipe: Recipe, folder: Path, task: str, n_classes: int
) -> tuple[np.ndarray, LabelFacts]:
    """Labels as a recipe with a size stores them, planes first, and what the large ones hold.

    Args:
        folder: where the whole of them lies for a while, as a file.
    """
    assert recipe.size is not None
    made = files.temporary_or_disk_error(folder / "labels")
    try:
        with open(made, "wb") as file:
            facts = write_labels(file, labels, task, n_classes)
        whole = np.asarray(np.memmap(made, np.uint8, "r", shape=labels.shape))
        whole = whole if whole.ndim == 2 else np.moveaxis(whole, -1, 0)
        if not recipe.soft:
            return resize_labels(whole, recipe.size), facts
        return _soft_planes(whole, task, n_classes, recipe.size), facts
    except OSError as error:
        raise files.disk_error(made, 0, error) from error
    finally:
        made.unlink(missing_ok=True)


def _soft_planes(
    labels: np.ndarray, task: str, n_classes: int, size: tuple[int, int]
) -> np.ndarray:
    """`resize.soft_planes`, one plane at a time."""
    if task == "multilabel":
        wanted = [(plane, 1, True) for plane in labels]
        wanted += [(plane, IGNORE, False) for plane in labels]
    else:
        first = 1 if task == "binary" else 0
        wanted = [(labels, first + k, True) for k in range(n_classes)]
        wanted += [(labels, IGNORE, False)]
    small = []
    for plane, value, equal in wanted:
        drawn = np.empty((*plane.shape, 1), np.uint8)
        step = max(1, BAND_PIXELS // plane.shape[1])
        for top in range(0, len(plane), step):
            rows = slice(top, top + step)
            drawn[rows, :, 0] = ((plane[rows] == value) == equal) * np.uint8(255)
        small.append(resize_image(drawn, size)[..., 0])
    return np.moveaxis(np.stack(small, axis=-1), -1, 0)


def _rows_of(path: Path, start: int, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Stored labels (h, W, K) again, from the file; memory of their own."""
    row = int(np.prod(shape[1:]))
    step = max(1, BAND_PIXELS // row)
    for top in range(0, shape[0], step):
        n = min(step, shape[0] - top)
        flat = np.fromfile(path, np.uint8, n * row, offset=start + top * row)
        yield flat.reshape(n, *shape[1:])


class _Counts:
    """`stats.count_labels`, band by band."""

    def __init__(self, task: str, n_classes: int) -> None:
        self.task, self.n_classes = task, n_classes
        self.counts, self.valid = [0] * n_classes, [0] * n_classes

    def add(self, band: np.ndarray) -> None:
        labels = np.moveaxis(band, -1, 0) if band.ndim == 3 else band
        counts, valid = count_labels(labels, self.task, self.n_classes)
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.valid = [a + b for a, b in zip(self.valid, valid, strict=True)]


class _Hasher:
    """`stats.hash_pixels` of labels (H, W) or (K, H, W), by rows of one plane after the other."""

    def __init__(self, labels: LargeLabels, planes: bool) -> None:
        shape = (labels.planes, *labels.size) if planes else labels.size
        self._seen = hashlib.sha256(f"{shape} uint8".encode())
        self._planes = planes
        self._first: np.ndarray | None = None
        self._blank = True

    def add(self, rows: np.ndarray) -> None:
        rows = np.ascontiguousarray(rows)
        if self._first is None:
            self._first = rows[0].copy() if self._planes else rows[0, 0]
        self._seen.update(rows.data)
        self._blank = self._blank and bool((rows == self._first).all())

    def hexdigest(self) -> str:
        return (BLANK if self._blank else "") + self._seen.hexdigest()[:32]
