"""A table of run-length codes, read as the strictest grader would; all that is wrong at once."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from comp.config import Submission
from comp.errors import SubmissionError, some
from comp.formats.rle_table import (
    FORMATS,
    check_layout,
    class_names,
    columns_of,
    has_classes,
    say_unsure,
    split_ids,
)
from comp.formats.rows import Key, RleTable, refuse
from comp.formats.table import read_table
from comp.registry import nearest

if TYPE_CHECKING:
    import pandas as pd


def read_submission(path: Path, submission: Submission, n_classes: int = 1) -> RleTable:
    """Read a table of run-length codes.

    Args:
        submission: its columns and convention; further columns may stand beside them.
        n_classes: of the task.

    Raises:
        SubmissionError: columns, ids, classes: all that is wrong, at once. Cells are decoded when
            asked for.
        ConfigError: a submission section that cannot hold the classes.
    """
    check_layout(submission, n_classes)
    problems: list[str] = []
    frame = read_table(path, SubmissionError)
    names = class_names(submission, [str(k) for k in range(n_classes)], frame)
    table = gather(frame, path.name, submission, names, problems, frame.columns)
    refuse(problems)
    return table


def gather(
    frame: pd.DataFrame,
    source: str,
    submission: Submission,
    names: tuple[str, ...],
    problems: list[str],
    allowed: Collection[str] = (),
    model: str = "",
    known: Collection[str] | None = None,
    every: bool = False,
) -> RleTable:
    """Sort the rows of a table by image and class; what is wrong goes to `problems`, the rest goes
    on.

    Args:
        names: how the table spells each class.
        allowed: columns that may stand there beside the expected ones.
        model: the table that columns and classes are taken from, for messages.
        known: image ids, which decide where an id and a class in one cell can be told apart in
            several ways; None: the table's other rows do.
        every: nothing is known yet: such a row is put under each of its keys (`RleTable.unsure`).
    """
    as_in = f" (as in {model})" if model else ""
    _check_columns(frame, source, submission, problems, allowed, as_in)
    if not has_classes(submission):
        names = ("",)
    cells: dict[Key, list[tuple[int, str]]] = {}
    unsure: tuple[tuple[Key, ...], ...] = ()
    if submission.id_column in frame:
        keys = _keys(frame, source, submission, names, problems, as_in, known, every)
        # without its column the cells cannot be judged, but ids still can
        texts = (
            frame[submission.rle_column]
            if submission.rle_column in frame
            else [submission.empty] * len(frame)
        )
        for number, (several, text) in enumerate(zip(keys, texts, strict=True), 1):
            for key in several:
                cells.setdefault(key, []).append((number, text))
        unsure = tuple(several for several in keys if len(several) > 1)
    table = RleTable(
        source,
        submission,
        names,
        tuple(dict.fromkeys(image_id for image_id, _ in cells)),
        {key: tuple(rows) for key, rows in cells.items()},
        unsure=unsure,
    )
    if not FORMATS[submission.row].repeats:
        twice = [key for key, rows in cells.items() if len(rows) > 1]
        if twice:
            told = some(
                f"{table.spell(key)} (rows {', '.join(str(n) for n, _ in cells[key][:5])})"
                for key in twice
            )
            problems.append(f"{source}: {len(twice)} repeated: {told}")
    return table


def _check_columns(
    frame: pd.DataFrame,
    source: str,
    submission: Submission,
    problems: list[str],
    allowed: Collection[str],
    as_in: str,
) -> None:
    expected, got = columns_of(submission), list(frame.columns)
    for name in expected:
        if name not in got:
            near = nearest(name, [column for column in got if column not in expected])
            hint = f" (is it {near!r}?)" if near else ""
            problems.append(
                f"{source}: no column {name!r}{hint}; expected {', '.join(expected)}{as_in}, "
                f"got {', '.join(got)}"
            )
    extra = [name for name in got if name not in expected and name not in allowed]
    if extra:
        problems.append(
            f"{source}: unexpected {'column' if len(extra) == 1 else 'columns'} "
            f"{some(map(repr, extra))}; expected {', '.join(expected)}{as_in}"
        )


def _keys(
    frame: pd.DataFrame,
    source: str,
    submission: Submission,
    names: tuple[str, ...],
    problems: list[str],
    as_in: str,
    known: Collection[str] | None,
    every: bool,
) -> list[tuple[Key, ...]]:
    """The image and class of each row: none where the row does not say; see `gather` on several."""
    ids: list[str] = frame[submission.id_column].tolist()
    index = {name: k for k, name in enumerate(names)}
    blank = [number for number, cell in enumerate(ids, 1) if not cell]
    if blank:
        problems.append(
            f"{source}: {len(blank)} row{'s' * (len(blank) > 1)} without an id: {some(blank)}"
        )
    if not has_classes(submission):
        return [((cell, 0),) if cell else () for cell in ids]
    unknown: list[str] = []
    unsure: list[str] = []
    column = submission.class_column
    if column is None:
        pairs = split_ids(ids, names, None if every else known, every)
        for number, (cell, several) in enumerate(zip(ids, pairs, strict=True), 1):
            if not several and cell:
                unknown.append(f"row {number}, id {cell!r}")
            elif len(several) > 1 and not every:
                unsure.append(f"row {number}, id {cell!r} may be {say_unsure(several)}")
    elif column not in frame:
        return [()] * len(ids)
    else:
        pairs = [((i, word),) for i, word in zip(ids, frame[column].tolist(), strict=True)]
        for number, ((image_id, word),) in enumerate(pairs, 1):
            if word not in index:
                unknown.append(f"row {number}, id {image_id!r}, class {word!r}")
    if unknown:
        form = "" if column is not None else " (ids are `<image_id>_<class>`)"
        problems.append(
            f"{source}: {len(unknown)} row{'s' * (len(unknown) > 1)} of no known class{form}; known "
            f"{some(names, 30)}{as_in}: {some(unknown)}"
        )
    if unsure:
        problems.append(
            f"{source}: {len(unsure)} id{'s' * (len(unsure) > 1)} can be taken apart in several ways:"
            f" {some(unsure, 3)}; give the classes a column of their own (class_column)"
        )
        pairs = [several[:1] for several in pairs]
    return [
        tuple((image_id, index[word]) for image_id, word in several if image_id and word in index)
        for several in pairs
    ]


def compare_keys(table: RleTable, wanted: Collection[Key], problems: list[str]) -> None:
    """Say which rows are missing from `table` and which are extra; objects: which images."""
    repeats = FORMATS[table.submission.row].repeats
    have: Collection[Key] = table.cells
    if repeats:  # an image without objects of some class need not say so
        have = dict.fromkeys((image_id, 0) for image_id, _ in have)
        wanted = dict.fromkeys((image_id, 0) for image_id, _ in wanted)
    for what, keys in (
        ("missing", [key for key in wanted if key not in have]),
        ("not in the key", [key for key in have if key not in wanted]),
    ):
        if keys:
            told = some(f"id {key[0]!r}" if repeats else table.spell(key) for key in keys)
            problems.append(f"{table.source}: {len(keys)} {what}: {told}")
