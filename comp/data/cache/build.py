"""Decode every file once, in threads, into the flat files of a cache; all unreadable files reported together."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from comp import files
from comp.config import Competition
from comp.data.cache.bands import (
    LargeImage,
    large_cached,
    large_image,
    on_disk,
    stretched,
    survey,
    write_image,
)
from comp.data.cache.cache import VERSION, Cache, Recipe
from comp.data.cache.label_bands import (
    cached_labels,
    labels_to_come,
    resized_labels,
    write_labels,
)
from comp.data.cache.stats import count_labels, hash_pixels
from comp.data.images.read import read_image
from comp.data.images.resize import resize_image, resize_labels, soft_planes, stretch_image
from comp.data.sources.label_rows import LargeLabels
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record
from comp.errors import CompError, DataError

ALIGN = 64  # bytes; every array starts on a cache line
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Entry:
    """One image as it will be stored.

    Args:
        image: (h, w, C) uint8 or float32; or a large one that is yet to be read.
        labels: (h, w) or planes-last (h, w, P) uint8; None without a mask; or large ones, yet to be read.
        original: (H, W) of the file; counts, valid, hashes: of the files as decoded.
        pixel_hash, counts, valid, labels_hash: None where they are found out as the image or the labels
            are written.
    """

    image: np.ndarray | LargeImage
    labels: np.ndarray | LargeLabels | None
    original: tuple[int, int]
    counts: list[int] | None
    valid: list[int] | None
    pixel_hash: str | None
    labels_hash: str | None


def build_cache(
    path: Path,
    competition: Competition,
    records: Sequence[Record],
    recipe: Recipe,
    native: Cache | None,
    n_threads: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the three files of a cache, the index last. The caller holds the lock of `path`.

    Args:
        native: the native cache of the same records, to take pixels from instead of decoding.

    Raises:
        DataError: the unreadable files, first 20 named; nothing is left under a final name.
        DiskError: the disk refused; the same.
    """
    finals = [path.with_suffix(".images"), path.with_suffix(".labels")]
    for final in finals:  # what a killed builder left; the lock says that nobody is writing them
        for stale in final.parent.glob(f".{final.name}.*.tmp"):
            stale.unlink(missing_ok=True)
    make = (
        partial(_decode, competition)
        if native is None
        else partial(_from_native, competition, native)
    )
    made = [files.temporary_or_disk_error(final) for final in finals]
    problems: list[str] = []
    rows: list[dict[str, object]] = []
    try:
        with ExitStack() as stack:
            image_file, label_file = (stack.enter_context(open(m, "wb")) for m in made)
            for number, result in enumerate(
                _in_order(partial(_finish, make, recipe, competition, path), records, n_threads)
            ):
                row: dict[str, object] | DataError | None = None
                if isinstance(result, DataError):
                    row = result
                elif not problems or isinstance(result.image, LargeImage):  # not yet read
                    row = _append(records[number], result, image_file, label_file, competition)
                if isinstance(row, DataError):
                    problems.append(str(row))
                elif row is not None:
                    rows.append(row)
                if progress is not None:
                    progress(number + 1, len(records))
            sizes = [image_file.tell(), label_file.tell()]
        if problems:
            raise DataError(_say(problems, len(records)))
        for temporary, final in zip(made, finals, strict=True):
            files.commit_file(temporary, final)
    except OSError as error:
        raise files.disk_error(
            path, sum(m.stat().st_size for m in made if m.is_file()), error
        ) from error
    finally:
        for temporary in made:
            temporary.unlink(missing_ok=True)
    index = {
        "version": VERSION, "size": recipe.size, "soft": recipe.soft, "stretch": recipe.stretch,
        "task": competition.task, "n_classes": competition.n_classes, "decodes": len(rows) if native is None else 0,
        "images_bytes": sizes[0], "labels_bytes": sizes[1], "images": rows,
    }  # fmt: skip
    files.commit(path, json.dumps(index, allow_nan=False))


def _say(problems: list[str], n_records: int) -> str:
    listed = "\n  ".join(problems[:MOST_PROBLEMS])
    more = f"\n  and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
    return (
        f"{len(problems)} of {n_records} images cannot be read:\n  {listed}{more}\nmend them, or leave"
        " training images out by their ids: data.exclude"
    )


def _append(
    record: Record,
    entry: Entry,
    image_file: BinaryIO,
    label_file: BinaryIO,
    competition: Competition,
) -> dict[str, object] | DataError:
    """Write one entry's bytes and return its row of the index, or what is wrong with a large image."""
    labels, image = entry.labels, entry.image
    offset, labels_offset = _align(image_file), None if labels is None else _align(label_file)
    facts = entry.counts, entry.valid, entry.labels_hash
    try:
        if isinstance(image, LargeImage):
            dtype, pixel_hash = write_image(image_file, image)
        else:
            _write(image_file, image)
            dtype, pixel_hash = str(image.dtype), ""
        if isinstance(labels, LargeLabels):
            seen = write_labels(label_file, labels, competition.task, competition.n_classes)
            facts = seen.counts, seen.valid, seen.labels_hash
        elif labels is not None:
            _write(label_file, labels)
    except DataError as error:
        return error
    return {
        "id": record.image_id,
        "offset": offset,
        "shape": list(image.shape),
        "dtype": dtype,
        "labels_offset": labels_offset,
        "labels_shape": None if labels is None else list(labels.shape),
        "original": list(entry.original),
        "counts": facts[0],
        "valid": facts[1],
        "hash": entry.pixel_hash or pixel_hash,
        "labels_hash": facts[2],
    }


def _align(file: BinaryIO) -> int:
    """Go on to where an array may start, and return that place."""
    file.write(b"\0" * (-file.tell() % ALIGN))
    return file.tell()


def _write(file: BinaryIO, array: np.ndarray) -> None:
    """Append an array's bytes (C order)."""
    file.write(np.ascontiguousarray(array).data)


def _decode(competition: Competition, record: Record, number: int) -> Entry:
    """Read one record's files; a large image is only opened, and of its masks is seen what they hold."""
    large = large_image(record.image, competition.data)
    if large is not None:
        to_come = labels_to_come(record, competition, large.size) if record.labelled else None
        return Entry(large, to_come, large.size, None, None, None, None)
    image = read_image(record.image, competition.data)
    size = (image.shape[0], image.shape[1])
    labels, counts, valid = None, None, None
    if record.labelled:
        labels = read_labels(record, competition, size)
        counts, valid = count_labels(labels, competition.task, competition.n_classes)
    labels_hash = None if labels is None else hash_pixels(labels)
    return Entry(image, labels, size, counts, valid, hash_pixels(image), labels_hash)


def _from_native(competition: Competition, native: Cache, record: Record, number: int) -> Entry:
    """Take one record from the native cache."""
    stats = native.entry(number)
    return Entry(
        large_cached(native, number) or native.image(number),
        cached_labels(native, number) or native.labels(number),
        native.original_size(number),
        stats["counts"],
        stats["valid"],
        stats["hash"],
        stats["labels_hash"],
    )


def _shown(entry: Entry, recipe: Recipe, path: Path) -> Entry:
    """Stretch and resize an entry's image as the recipe says; the large are looked at band by band."""
    image = entry.image
    if isinstance(image, np.ndarray):
        image = stretch_image(image) if recipe.stretch else image
        return replace(entry, image=image if recipe.size is None else resize_image(image, recipe.size))  # fmt: skip
    if not recipe.stretch and recipe.size is None:
        return entry
    seen = survey(image)
    image = stretched(image, seen) if recipe.stretch else image
    small = None if recipe.size is None else resize_image(on_disk(image, path.parent), recipe.size)
    pixel_hash = entry.pixel_hash or seen.pixel_hash
    return replace(entry, image=image if small is None else small, pixel_hash=pixel_hash)


def _finish(
    make: Callable[[Record, int], Entry],
    recipe: Recipe,
    competition: Competition,
    path: Path,
    record: Record,
    number: int,
) -> Entry | DataError:
    """Read and resize one record; a file the user must cure is returned, not raised."""
    try:
        entry = _shown(make(record, number), recipe, path)
    except DataError as error:
        return error
    except CompError:
        raise
    except OSError as error:
        return DataError(f"{record.image_id}: {error}")
    labels = entry.labels
    if isinstance(labels, LargeLabels):
        if recipe.size is None:
            return entry
        rule = competition.task, competition.n_classes
        try:
            labels, facts = resized_labels(labels, recipe, path.parent, *rule)
        except DataError as error:
            return error
        entry = replace(
            entry, counts=facts.counts, valid=facts.valid, labels_hash=facts.labels_hash
        )
    elif labels is not None and recipe.soft and recipe.size is not None:
        labels = soft_planes(labels, competition.task, competition.n_classes, recipe.size)
    elif labels is not None and recipe.size is not None:
        labels = resize_labels(labels, recipe.size)
    if labels is not None and labels.ndim == 3:
        labels = np.moveaxis(labels, 0, -1)  # planes last: what cv2 and albumentations take
    return replace(entry, labels=labels)


def _in_order(
    work: Callable[[Record, int], Entry | DataError], records: Sequence[Record], n_threads: int
) -> Iterator[Entry | DataError]:
    """Yield work(record, number) in order, a few records ahead in threads (decoding releases the GIL)."""
    with ThreadPoolExecutor(n_threads, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Entry | DataError]] = deque()
        try:
            for number, record in enumerate(records):
                waiting.append(pool.submit(work, record, number))
                if len(waiting) >= 2 * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
