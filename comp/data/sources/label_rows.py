"""The masks of a large image as labels, in bands of rows: by the rules and with the errors of labels.py.

Every mask is read twice: once for what it holds, which decides how it is read or refused, once for its
labels. Truth that stands in a table is drawn whole by truth.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from comp.config import Competition
from comp.data.images.decode import Stored
from comp.data.images.rows import Rows, evenly, large_file
from comp.data.sources.labels import (
    Tally,
    apply_table,
    check_size,
    class_bands,
    label_table,
    labels_by_color,
    mask_values,
    read_plane,
    say_colors,
    union,
)
from comp.data.sources.records import Record
from comp.errors import DataError

BAND_PIXELS = 1 << 23  # of one plane of labels
_COUNTED = 1 << 22  # numbers that are counted at once: numpy makes them 8 bytes each

Bands = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class LargeLabels:
    """Labels that are read from the top as often as wanted.

    Args:
        size: (H, W).
        planes: K of a multilabel record, else None.
        bands: yields (h, W) uint8, or (h, W, K) where there are planes: what `read_labels` gives of
            these rows, planes last.
    """

    size: tuple[int, int]
    planes: int | None
    bands: Bands

    @property
    def shape(self) -> tuple[int, ...]:
        """As it is stored: planes last."""
        return self.size if self.planes is None else (*self.size, self.planes)


def large_labels(
    record: Record, competition: Competition, size: tuple[int, int]
) -> LargeLabels | None:
    """The labels of a record with large masks, by the rules of `read_labels`; None where that should read them.

    Args:
        size: (H, W) of the image.

    Raises:
        DataError: as `read_labels`; but that two masks give one pixel different classes is raised by
            `bands`.
    """
    if not record.masks or record.truth is not None:
        return None  # drawn
    limit = competition.data.max_pixels
    for path in record.masks:
        with large_file(path, limit) as found:
            if found is None:
                return None
            check_size(path, found.size, record, size)
    multilabel = competition.task == "multilabel"
    if multilabel and len(record.masks) == 1 and competition.n_classes > 1:
        one = record.masks[0]
        planes = partial(_class_planes, one, competition, _class_tables(one, competition))
        return LargeLabels(size, competition.n_classes, planes)
    plain = [_plane(path, competition) for path in record.masks]
    n_rows = max(1, BAND_PIXELS // size[1])

    def bands() -> Iterator[np.ndarray]:
        top = 0
        for parts in zip(*(evenly(plane(), n_rows) for plane in plain), strict=True):
            if multilabel:
                yield np.stack(parts, axis=-1)
            else:
                yield parts[0] if len(parts) == 1 else union(list(parts), record, top)
            top += len(parts[0])

    return LargeLabels(size, len(plain) if multilabel else None, bands)


def check_mask(path: Path, competition: Competition) -> None:
    """Look for what is wrong with one mask file by itself.

    Raises:
        DataError: unreadable, or holding a value or a colour that no rule names.
    """
    with large_file(path, competition.data.max_pixels) as found:
        is_large = found is not None
    if is_large:
        _plane(path, competition)
    else:
        read_plane(path, competition)


def stored_rows(path: Path, max_pixels: int) -> Iterator[Stored]:
    """A large mask's rows as stored, from the top.

    Raises:
        DataError: what `large_file` refuses, or a part that cannot be decoded.
    """
    with ExitStack() as stack:
        found: Rows | None = stack.enter_context(large_file(path, max_pixels))
        if found is None:
            raise DataError(f"{path}: changed while it was read; run again")
        yield from found.bands(indices=True)


def count_values(values: np.ndarray) -> Counter[int]:
    """How often each number occurs in values (h, W), integers or bool."""
    flat = values.reshape(-1)
    seen: Counter[int] = Counter()
    for start in range(0, flat.size, _COUNTED):
        part = flat[start : start + _COUNTED]
        if part.dtype.kind in "ub" and part.dtype.itemsize <= 2:
            table = np.bincount(part)
            found = np.flatnonzero(table)
            seen.update(dict(zip(found.tolist(), table[found].tolist(), strict=True)))
        else:
            found, n = np.unique(part, return_counts=True)
            seen.update(dict(zip(found.tolist(), n.tolist(), strict=True)))
    return seen


def _plane(path: Path, competition: Competition) -> Bands:
    """One mask file as labels (h, W) uint8 from the top, by its colours or its numbers; see `read_plane`."""
    limit = competition.data.max_pixels
    if competition.data.mask_colors is not None:
        _check_colors(path, competition)
        return lambda: (
            labels_by_color(path, stored, competition)[0] for stored in stored_rows(path, limit)
        )
    seen: Counter[int] = Counter()
    dtype = np.dtype(bool)
    for stored in stored_rows(path, limit):
        values = mask_values(path, stored)
        dtype = values.dtype
        if dtype.kind != "b":
            seen.update(count_values(values))
    table = _table(seen, dtype, competition, path)
    return lambda: (
        _labels(mask_values(path, stored), table, competition)
        for stored in stored_rows(path, limit)
    )


def _table(
    seen: Counter[int], dtype: np.dtype, competition: Competition, path: Path
) -> dict[int, int]:
    """How the numbers of one plane are read; of 1-bit masks nothing need be known."""
    if dtype.kind == "b":
        return {}
    tally = Tally(sorted(seen), dtype, seen.total(), seen.__getitem__)
    return label_table(tally, competition, path)


def _labels(values: np.ndarray, table: dict[int, int], competition: Competition) -> np.ndarray:
    if values.dtype == bool:
        return (values != competition.data.mask_invert).astype(np.uint8)
    return apply_table(values, table, competition)


def _check_colors(path: Path, competition: Competition) -> None:
    """Refuse a mask with colours that no class has."""
    wrong: Counter[int] = Counter()
    n_pixels = 0
    for stored in stored_rows(path, competition.data.max_pixels):
        labels, foreign = labels_by_color(path, stored, competition)
        wrong.update(foreign)
        n_pixels += labels.size
    if wrong:
        raise DataError(f"{path}: {say_colors(wrong, n_pixels, competition.data)}")


def _class_tables(path: Path, competition: Competition) -> list[dict[int, int]]:
    """How each band of a multilabel file is read."""
    seen = [Counter[int]() for _ in competition.classes]
    dtype = np.dtype(bool)
    for stored in stored_rows(path, competition.data.max_pixels):
        planes = class_bands(path, stored, competition)
        dtype = planes.dtype
        if dtype.kind != "b":
            for k, counter in enumerate(seen):
                counter.update(count_values(planes[..., k]))
    return [_table(one, dtype, competition, path) for one in seen]


def _class_planes(
    path: Path, competition: Competition, tables: list[dict[int, int]]
) -> Iterator[np.ndarray]:
    for stored in stored_rows(path, competition.data.max_pixels):
        planes = class_bands(path, stored, competition)
        yield np.stack(
            [_labels(planes[..., k], table, competition) for k, table in enumerate(tables)], axis=-1
        )
