"""Masks to a submission file, which appears only after every row was decoded and compared."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.config import Submission
from comp.errors import SubmissionError, some
from comp.files import commit
from comp.formats.reading import Key, gather, refuse
from comp.formats.rle_table import (
    Format,
    check_layout,
    class_names,
    columns_of,
    has_classes,
    join_id,
    read_cell,
    say_unsure,
)
from comp.formats.table import parse_table, read_table, table_bytes
from comp.masks.components import cut_runs, find_parts
from comp.masks.rle import are_pixels_of, union

if TYPE_CHECKING:
    import pandas as pd

Sizes = Mapping[str, tuple[int, int]] | Callable[[str], tuple[int, int]]


@dataclass(frozen=True)
class Plan:
    """The rows to write.

    Args:
        header: column names, in order.
        keys: (image_id, class index) of each unit, in file order; a unit becomes one row or, for
            objects, several.
        rows: the cells of each unit as they will be written, but for the run-length cell.
    """

    header: tuple[str, ...]
    keys: tuple[Key, ...]
    rows: tuple[tuple[str, ...], ...]


def write_submission(
    path: Path,
    submission: Submission,
    task: str,
    classes: Sequence[str],
    ids: Sequence[str],
    mask_of: Callable[[str], np.ndarray],
    sizes: Sizes,
    sample_path: Path | None = None,
) -> dict[str, Any]:
    """Write the submission of all test images.

    Args:
        submission: columns, row unit, pixel order, base, empty marker.
        task: binary, multiclass or multilabel.
        classes: the competition's classes, in index order.
        ids: the test images; in file order where there is no sample.
        mask_of: image_id -> its decision, called once an image; masks are not kept.
        sizes: image_id -> (height, width) of the image, which its mask must have.
        sample_path: sample_submission.csv; gives ids, order, columns and any further cells.

    Returns:
        path, rows, images, empty_rows, foreground_px, bytes, sha256; classes_not_in_sample: classes
        that no row of the sample asks for (a background, say), which are not written.

    Raises:
        SubmissionError: ids that differ from the sample's, a mask of another size, a row that does
            not decode to its mask. Nothing is written then.
        ConfigError: a submission section that cannot hold the task.
    """
    fmt = check_layout(submission, len(classes))
    sample = None if sample_path is None else read_table(sample_path, SubmissionError)
    names = class_names(submission, classes, sample) if has_classes(submission) else ("",)
    if sample is None or sample_path is None:
        plan = _plan(submission, names, ids)
    else:
        plan = _plan_from_sample(sample, sample_path.name, submission, fmt, names, ids)
    cells: list[list[str]] = [[] for _ in plan.keys]
    units: dict[str, list[int]] = {}
    for unit, (image_id, _) in enumerate(plan.keys):
        units.setdefault(image_id, []).append(unit)
    foreground = empty = 0
    for image_id, mine in units.items():
        size = sizes(image_id) if callable(sizes) else sizes[image_id]
        planes = _planes(mask_of(image_id), image_id, task, len(classes), size)
        for unit in mine:
            plane = planes(plan.keys[unit][1])
            cells[unit] = _checked_cells(plane, fmt, submission, image_id)
            n_pixels = int(np.count_nonzero(plane))
            foreground += n_pixels
            empty += n_pixels == 0
    at = plan.header.index(submission.rle_column)
    rows = [
        (*row[:at], cell, *row[at:])
        for row, texts in zip(plan.rows, cells, strict=True)
        for cell in texts
    ]
    data = table_bytes(plan.header, rows)
    _check_bytes(data, path, plan.header, rows)
    commit(path, data)
    return {
        "path": str(path),
        "rows": len(rows),
        "images": len(units),
        "empty_rows": empty,
        "foreground_px": foreground,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "classes_not_in_sample": [
            str(classes[k]) for k in range(len(names)) if k not in {k for _, k in plan.keys}
        ],
    }


def _plan(submission: Submission, names: tuple[str, ...], ids: Sequence[str]) -> Plan:
    twice = [image_id for image_id, n in Counter(ids).items() if n > 1]
    if twice:
        raise SubmissionError(f"{len(twice)} test ids repeat: {some(map(repr, twice))}")
    keys = tuple((image_id, k) for image_id in ids for k in range(len(names)))
    rows = tuple(
        (
            join_id(image_id, names[k], submission),
            *(() if submission.class_column is None else (names[k],)),
        )
        for image_id, k in keys
    )
    _refuse_equal_ids(keys, rows, names, submission)
    return Plan(columns_of(submission), keys, rows)


def _refuse_equal_ids(
    keys: Sequence[Key],
    rows: Sequence[tuple[str, ...]],
    names: tuple[str, ...],
    submission: Submission,
) -> None:
    """Refuse images and classes whose joined ids are the same: nobody could tell the rows apart."""
    if not submission.class_in_id:
        return
    first: dict[str, Key] = {}
    for key, row in zip(keys, rows, strict=True):
        other = first.setdefault(row[0], key)
        if other != key:
            told = say_unsure((i, names[k]) for i, k in (other, key))
            raise SubmissionError(
                f"id {row[0]!r} would be {told}: use class_column instead of class_in_id, or other"
                " submission.class_names"
            )


def _plan_from_sample(
    frame: pd.DataFrame,
    name: str,
    submission: Submission,
    fmt: Format,
    names: tuple[str, ...],
    ids: Sequence[str],
) -> Plan:
    problems: list[str] = []
    known = set(ids)
    sample = gather(frame, name, submission, names, problems, frame.columns, known=known)
    for what, found in (
        (f"test images without a row in {name}", [i for i in ids if i not in set(sample.ids)]),
        (f"ids of {name} without a test image", [i for i in sample.ids if i not in known]),
    ):
        if found:
            problems.append(f"{len(found)} {what}: {some(map(repr, found))}")
    asked = {k for _, k in sample.cells}
    lacking = [(i, k) for i in sample.ids for k in sorted(asked) if (i, k) not in sample.cells]
    if lacking and not fmt.repeats:
        told = some(sample.spell(key) for key in lacking)
        problems.append(f"{name}: {len(lacking)} rows of an image and class are absent: {told}")
    if not problems and not sample.ids:
        problems.append(f"{name}: no rows; expected one a test image")
    refuse(problems)
    header = tuple(frame.columns)
    others = [column for column in header if column != submission.rle_column]
    table = list(zip(*(frame[column].tolist() for column in others), strict=True))
    if not fmt.repeats:
        by_row = {rows[0][0]: key for key, rows in sample.cells.items()}
        keys = [by_row[number] for number in sorted(by_row)]
        return Plan(header, tuple(keys), tuple(table))
    keys = [(i, k) for i in sample.ids for k in range(len(names))]
    rows = [_object_row(sample.cells, key, table, others, submission, names) for key in keys]
    return Plan(header, tuple(keys), tuple(rows))


def _object_row(
    cells: Mapping[Key, tuple[tuple[int, str], ...]],
    key: Key,
    table: list[tuple[str, ...]],
    others: list[str],
    submission: Submission,
    names: tuple[str, ...],
) -> tuple[str, ...]:
    """The cells of an object's row: the sample's first row of the image, with its own class."""
    image_id, k = key
    given = cells.get(key) or next(rows for (i, _), rows in cells.items() if i == image_id)
    row = dict(zip(others, table[given[0][0] - 1], strict=True))
    row[submission.id_column] = join_id(image_id, names[k], submission)
    if submission.class_column is not None:
        row[submission.class_column] = names[k]
    return tuple(row.values())


def check_mask(
    mask: np.ndarray, image_id: str, task: str, n_classes: int, size: tuple[int, int]
) -> None:
    """Refuse a decision of another shape, dtype or value than its image's.

    Raises:
        SubmissionError: naming the image, expected and got.
    """
    expected = (n_classes, *size) if task == "multilabel" else tuple(size)
    if mask.shape != expected or mask.dtype != np.uint8:
        raise SubmissionError(
            f"id {image_id!r}: expected a {task} mask of shape {expected} uint8 (the image's "
            f"size), got {mask.shape} {mask.dtype}"
        )
    largest, limit = int(mask.max(initial=0)), (n_classes if task == "multiclass" else 2)
    if largest >= limit:
        raise SubmissionError(
            f"id {image_id!r}: a mask holds the value {largest}; expected 0 to {limit - 1}"
        )


def _planes(
    mask: np.ndarray, image_id: str, task: str, n_classes: int, size: tuple[int, int]
) -> Callable[[int], np.ndarray]:
    """Check a mask and return class index -> plane (H, W) uint8 0/1."""
    check_mask(mask, image_id, task, n_classes, size)
    if task == "multiclass":
        return lambda k: (mask == k).view(np.uint8)
    if task == "multilabel":
        return lambda k: mask[k]
    return lambda k: mask


def _checked_cells(
    plane: np.ndarray, fmt: Format, submission: Submission, image_id: str
) -> list[str]:
    """Write the cells of one plane, read them as a grader would, and compare with the plane."""
    cells = fmt.cells(plane, submission)
    height, width = plane.shape
    rows = [
        read_cell(cell, submission, height, width, f"id {image_id!r}, written row")
        for cell in cells
    ]
    joined = union(rows)
    same = are_pixels_of(joined, plane, submission.order)
    if same and fmt.repeats:
        same = _are_objects(rows, plane, submission)
    if not same or sum(int(runs[:, 1].sum()) for runs in rows) != int(joined[:, 1].sum()):
        raise SubmissionError(
            f"id {image_id!r}: what was written does not decode to its mask; does "
            f"submission.empty ({submission.empty!r}) "
            "also stand for pixels?"
        )
    return cells


def _are_objects(rows: list[np.ndarray], plane: np.ndarray, submission: Submission) -> bool:
    """True when each row is one whole connected part of the plane and no two rows touch."""
    parts = find_parts(plane, submission.connectivity, submission.order)
    if parts.n == 0:
        return len(rows) == 1
    # within a line a run is connected in itself: its first pixel speaks for it
    line = plane.shape[0 if submission.order == "column" else 1]
    cut = [cut_runs(runs, line) for runs in rows]
    first = np.concatenate([runs[:, 0] for runs in cut])
    row = np.repeat(np.arange(len(rows)), [len(runs) for runs in cut])
    number = parts.numbers[np.searchsorted(parts.runs[:, 0], first, side="right") - 1]
    pairs = np.unique(row * parts.n + number)
    return len(rows) == len(pairs) == parts.n == len(np.unique(pairs % parts.n))


def _check_bytes(
    data: bytes, path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    frame = parse_table(data, path.name, SubmissionError)
    back = list(zip(*(frame[name].tolist() for name in frame.columns), strict=True))
    if tuple(frame.columns) != header or back != rows:
        wrong = next((n for n, (a, b) in enumerate(zip(back, rows, strict=False), 1) if a != b), 0)
        raise SubmissionError(
            f"{path.name}: row {wrong} does not read back as written; is there a line break in an "
            "id?"
        )
