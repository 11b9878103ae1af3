"""Decode-once cache: every image and mask of a competition in flat files that all processes map.

One file of image bytes, one of label bytes, and an index written last; made whole under a lock or not
at all. Here stand reading and finding; `cache_build` writes. Refuses to guess: damaged means made again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp import files
from comp.config import Competition
from comp.data.intake import Record
from comp.data.label_sources import truth_key
from comp.data.stats import ImageStats
from comp.errors import DataError, some

VERSION = 2
KEEP = 4  # caches of one kind that stay, whatever their age
KEEP_SECONDS = 86_400.0  # a cache used within the last day stays: somebody may be mapping it
WAIT_SECONDS = 86_400.0  # for another process that is building the same cache


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
        """(h, w, C) uint8, or float32 in [0, 1]; a read-only view, rows first, RGB order."""
        entry = self._images[i]
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
        if entry["labels_shape"] is None:
            return None
        stored = _view(self._label_bytes, entry["labels_offset"], entry["labels_shape"], "uint8")
        return stored if stored.ndim == 2 else np.moveaxis(stored, -1, 0)

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


def open_cache(
    cache_dir: Path,
    competition: Competition,
    records: Sequence[Record],
    recipe: Recipe = Recipe(),
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Cache:
    """Open the cache of `records`, building it first where it is missing or damaged.

    Other processes that want the same cache wait for the one that builds it. Any other recipe is made
    from the native one, without decoding, when that is there.

    Args:
        cache_dir: `Workspace.cache`.
        n_threads: default: one a core, at most 8.
        progress: called as progress(done, total) while building.

    Raises:
        DataError: every file that cannot be read (the first 20 named).
        DiskError: the disk is full; nothing is left behind.
    """
    if not records:
        raise DataError("no images to cache; run `comp verify`")
    path = index_path(cache_dir, competition, records, recipe)
    cache = _existing(path)
    if cache is None:
        with files.lock(path.with_suffix(".lock"), wait_seconds=WAIT_SECONDS):
            cache = _existing(path)
            if cache is None:
                from comp.data.cache_build import build_cache

                native = None
                if recipe != Recipe():
                    native = _existing(index_path(cache_dir, competition, records, Recipe()))
                build_cache(
                    path,
                    competition,
                    records,
                    recipe,
                    native,
                    n_threads or min(8, os.cpu_count() or 1),
                    progress,
                )
                cache = Cache(path)
                _remove_old(path, recipe)
    return cache


def _existing(path: Path) -> Cache | None:
    """The cache at `path`, marked as used now; None where it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        cache = Cache(path)
        os.utime(path)
    except (DataError, KeyError, TypeError, ValueError, OSError):
        return None
    return cache


def index_path(
    cache_dir: Path, competition: Competition, records: Sequence[Record], recipe: Recipe
) -> Path:
    """Where the cache of these records stands: its name changes with anything that changes its content.

    Raises:
        DataError: files that are not there (the first five named).
    """
    paths = list(dict.fromkeys(path for record in records for path in record.files))
    common = os.path.commonpath([path.parent for path in paths])
    stamps = []
    missing = []
    for path in paths:
        try:
            stat = path.stat()
            stamps.append((os.path.relpath(path, common), stat.st_size, stat.st_mtime_ns))
        except OSError:
            missing.append(path)
    if missing:
        raise DataError(f"{len(missing)} files are missing: {some(missing)}")
    data = competition.data
    rule = [
        competition.task,
        competition.n_classes,
        competition.ignore_index,
        data.channels,
        data.mask_threshold,
        *data.reading,
    ]
    values = None if data.mask_values is None else sorted(data.mask_values.items())
    pairs: list[object] = [(record.image_id, len(record.masks)) for record in records]
    if len(paths) < sum(len(record.files) for record in records):  # images that share a mask file
        number = {path: n for n, path in enumerate(paths)}
        pairs.append([[number[path] for path in record.files] for record in records])
    pairs += [*truth_key(competition, records), *data.reading]
    key = files.digest(
        [VERSION, recipe.size, recipe.soft, recipe.stretch, rule, values, pairs, stamps]
    )
    return cache_dir / f"{recipe.kind}-{key}.json"


def count_decodes(cache_dir: Path) -> int:
    """Images decoded for all caches that stand in `cache_dir`."""
    return sum(
        json.loads(path.read_text(encoding="utf-8"))["decodes"]
        for path in cache_dir.glob("*-*.json")
    )


def _remove_old(path: Path, recipe: Recipe) -> None:
    """Remove caches of this kind beyond the `KEEP` last used, if nobody opened them for a day."""
    same_kind = [
        p
        for p in path.parent.glob(f"{recipe.kind}-*.json")
        if p.stem.rpartition("-")[0] == recipe.kind
    ]
    try:
        aged = sorted(((p.stat().st_mtime, p) for p in same_kind), reverse=True)
        for used, old in aged[KEEP:]:
            if time.time() - used > KEEP_SECONDS:
                for suffix in (".json", ".images", ".labels", ".lock"):
                    old.with_suffix(suffix).unlink(missing_ok=True)
    except OSError:
        return  # tidying is no reason to fail; another process may be doing the same
