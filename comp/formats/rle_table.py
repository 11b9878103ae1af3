"""What one row of a run-length table speaks of: an image, an image and a class, or an object.

`FORMATS` is the list of row units. The convention (columns, order, base, empty marker) is the
competition's `submission` section.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from comp.config import Rle, Submission
from comp.errors import ConfigError, SubmissionError
from comp.masks.components import objects
from comp.masks.counts import read_counts
from comp.masks.rle import encode, parse, text_of

if TYPE_CHECKING:
    import pandas as pd

# how competitions spell "no mask"; named in a message when another one was agreed on
KNOWN_MARKERS = ("", "-1", "-", "1 0", "0 0", "nan", "NaN", "None")


@dataclass(frozen=True)
class Format:
    """One row unit.

    Args:
        per_class: each row names a class.
        repeats: an image (and class) may have several rows.
        cells: plane (H, W) uint8 0/1 -> the run-length cells of its rows, at least one.
    """

    name: str
    doc: str
    per_class: bool
    repeats: bool
    cells: Callable[[np.ndarray, Submission], list[str]]


def has_classes(submission: Submission) -> bool:
    """True when rows name a class, in a column of its own or within the id."""
    return submission.class_column is not None or submission.class_in_id


def check_layout(submission: Submission, n_classes: int) -> Format:
    """Return the format of a submission section that can hold `n_classes`.

    Raises:
        ConfigError: everything in the section that does not fit, at once.
    """
    problems: list[str] = []
    fmt = FORMATS[submission.row]
    if submission.class_column is not None and submission.class_in_id:
        problems.append(
            "submission: class_column and class_in_id are two places for one thing; keep one"
        )
    if fmt.per_class and not has_classes(submission):
        problems.append(f"submission.row: {fmt.name} needs class_column or class_in_id")
    if fmt.name == "image" and has_classes(submission):
        problems.append(
            "submission.row: image has no class; use row: image_class, or drop class_column and "
            "class_in_id"
        )
    if not has_classes(submission) and n_classes > 1:
        problems.append(
            f"submission.row: {fmt.name} without a class holds one mask an image, but there are "
            f"{n_classes} classes; "
            "use row: image_class with class_column: ClassId, or with class_in_id: true"
        )
    names = submission.class_names
    if names is not None and len(names) != n_classes:
        problems.append(
            f"submission.class_names: expected {n_classes} names in class order, got {len(names)}"
        )
    if names is not None and len(set(names)) != len(names):
        problems.append("submission.class_names: names repeat")
    if problems:
        raise ConfigError(problems)
    return fmt


def class_names(
    layout: Submission, classes: Sequence[str], frame: pd.DataFrame | None = None
) -> tuple[str, ...]:
    """How a table spells each class, in class order: the one rule for every table and command.

    As `layout.class_names` says; else by the classes' own names where at least as many rows of the
    table are spelled so as by number; else 0, 1, ...

    Args:
        classes: the competition's.
        frame: the table; None: there is none yet.
    """
    if layout.class_names is not None:
        return layout.class_names
    numbers = tuple(str(k) for k in range(len(classes)))
    column = layout.class_column or (layout.id_column if layout.class_in_id else None)
    if frame is None or column is None or column not in frame:
        return numbers
    cells: list[str] = frame[column].tolist()
    return better_spelling(cells, [tuple(classes), numbers], layout.class_column is None)


def better_spelling(
    cells: Iterable[str], spellings: Sequence[tuple[str, ...]], in_id: bool = False
) -> tuple[str, ...]:
    """The spelling that names the class of the most cells; the first of equals, the last if none does.

    Args:
        in_id: the class stands at the end of the cell, after an underscore.
    """
    cells = list(cells)
    best, most = spellings[-1], 0
    for names in spellings:
        known = set(names)
        longest = max(map(len, known), default=0)
        n = sum(
            any(tail in known for _, tail in tails_of(cell, longest)) if in_id else cell in known
            for cell in cells
        )
        if n > most:
            best, most = names, n
    return best


def layout_of(rle: Rle, names: tuple[str, ...] | None = None) -> Submission:
    """The convention of a training table as the same object that describes a submission."""
    return Submission(
        id_column=rle.id_column,
        rle_column=rle.rle_column,
        class_column=rle.class_column,
        class_in_id=rle.class_in_id,
        class_names=names,
        row=rle.row,
        order=rle.order,
        base=rle.base,
        relative=rle.relative,
        empty=rle.empty,
    )


def columns_of(submission: Submission) -> tuple[str, ...]:
    """The columns that a table must have, in the usual order."""
    middle = () if submission.class_column is None else (submission.class_column,)
    return (submission.id_column, *middle, submission.rle_column)


def join_id(image_id: str, name: str, submission: Submission) -> str:
    """The id cell of a row: `<image_id>_<class>` where the class is in the id."""
    return f"{image_id}_{name}" if submission.class_in_id else image_id


def tails_of(cell: str, longest: int) -> Iterator[tuple[str, str]]:
    """(head, tail) at each underscore of a cell, neither of them empty, the longest tail first.

    Args:
        longest: characters; tails with more are left out.
    """
    at = cell.find("_", max(1, len(cell) - longest - 1))
    while 0 < at < len(cell) - 1:
        yield cell[:at], cell[at + 1 :]
        at = cell.find("_", at + 1)


def split_ids(
    cells: Sequence[str],
    names: Sequence[str],
    known: Collection[str] | None = None,
    every: bool = False,
) -> list[tuple[tuple[str, str], ...]]:
    """Take cells `<image_id>_<class>` apart by the classes, and by the images where several fit.

    With the classes "wall" and "brick_wall", "a_brick_wall" is image "a" or image "a_brick": what is
    there decides.

    Args:
        known: the image ids; None: those that other cells of the table name beyond doubt.
        every: nothing decides.

    Returns:
        for each cell its (image_id, class): none where it ends with no class; several where what is
        known decides nothing, the longest class first.
    """
    classes = set(names)
    longest = max(map(len, classes), default=0)
    found = [
        tuple(pair for pair in tails_of(cell, longest) if pair[1] in classes) for cell in cells
    ]
    if every or all(len(pairs) < 2 for pairs in found):
        return found
    if known is None:
        ids: Collection[str] = {pairs[0][0] for pairs in found if len(pairs) == 1}
    else:
        ids = known if isinstance(known, set | frozenset | dict) else set(known)
    for n, pairs in enumerate(found):
        if len(pairs) < 2:
            continue
        there = tuple(pair for pair in pairs if pair[0] in ids)
        if there:
            found[n] = there
        elif known is not None:  # of no known image either way: the caller says so
            found[n] = pairs[:1]
    return found


def say_unsure(pairs: Iterable[tuple[str, str]]) -> str:
    """The ways in which one id cell can be read."""
    return ", or ".join(f"image {image_id!r} of class {name!r}" for image_id, name in pairs)


def read_cell(
    cell: str, submission: Submission, height: int, width: int, where: str, code: str = "pairs"
) -> np.ndarray:
    """Read one run-length cell strictly.

    Args:
        code: pairs of start and length, or a kind of COCO counts (`masks.counts`).

    Returns:
        runs (R, 2) int64 zero-based, in the table's pixel order; none for the empty marker.

    Raises:
        SubmissionError: beginning with `where`.
    """
    if cell == submission.empty or (not cell.strip() and not submission.empty.strip()):
        return np.empty((0, 2), np.int64)
    marker = repr(submission.empty) if submission.empty else "a blank cell"
    if not cell.strip():
        raise SubmissionError(f"{where}: blank cell; an empty mask is {marker} here")
    try:
        if code != "pairs":
            return read_counts(cell, code, height, width, where)
        return parse(cell, height, width, submission.base, where, submission.relative)
    except SubmissionError as error:
        if cell.strip() in KNOWN_MARKERS:
            raise SubmissionError(f"{error} (an empty mask is {marker} here)") from None
        raise


def _one_cell(plane: np.ndarray, submission: Submission) -> list[str]:
    code = encode(plane, submission.order, submission.base, submission.relative)
    return [code or submission.empty]


def _object_cells(plane: np.ndarray, submission: Submission) -> list[str]:
    found = objects(plane, submission.connectivity, submission.order)
    cells = [text_of(runs, submission.base, submission.relative) for runs in found]
    return cells or [submission.empty]


FORMATS: dict[str, Format] = {
    fmt.name: fmt
    for fmt in (
        Format("image", "one row an image", False, False, _one_cell),
        Format("image_class", "one row an image and class", True, False, _one_cell),
        Format(
            "object",
            "one row an object; one marker row where there is none",
            False,
            True,
            _object_cells,
        ),
    )
}
