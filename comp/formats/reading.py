"""A table of run-length codes, read as the strictest grader would; all that is wrong at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from comp.config import Submission
from comp.errors import SubmissionError, some
from comp.formats.rle_table import (
    FORMATS,
    check_layout,
    class_names,
    columns_of,
    has_classes,
    read_cell,
    split_id,
)
from comp.formats.table import read_table
from comp.masks.rle import fill, union
from comp.registry import nearest

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, int]  # image_id, class index (0 where rows name no class)


@dataclass(frozen=True)
class RleTable:
    """Rows of a table by image and class.

    Args:
        source: the file's name, for messages.
        names: how the table spells each class, in class order; ("",) where rows name none.
        ids: image ids, in order of first appearance.
        cells: (image_id, class index) -> its rows as (number from 1, run-length cell).
    """

    source: str
    submission: Submission
    names: tuple[str, ...]
    ids: tuple[str, ...]
    cells: Mapping[Key, tuple[tuple[int, str], ...]]

    def spell(self, key: Key) -> str:
        """Say which image and class, as a message does."""
        image_id, k = key
        return f"id {image_id!r}" + (
            f", class {self.names[k]!r}" if has_classes(self.submission) else ""
        )

    def rows(
        self, image_id: str, k: int, height: int, width: int, problems: list[str]
    ) -> list[np.ndarray]:
        """Decode the rows of an image and class, runs (R, 2) a row; faults go to `problems`."""
        found: list[np.ndarray] = []
        rows = self.cells.get((image_id, k), ())
        for number, cell in rows:
            where = f"{self.source}: row {number}, {self.spell((image_id, k))}"
            try:
                runs = read_cell(cell, self.submission, height, width, where)
            except SubmissionError as error:
                problems.append(str(error))
                continue
            if len(runs) == 0 and len(rows) > 1:
                problems.append(
                    f"{where}: an empty mask beside {len(rows) - 1} other row"
                    f"{'s' * (len(rows) > 2)} of the same image"
                )
            found.append(runs)
        return found

    def runs(
        self,
        image_id: str,
        k: int,
        height: int,
        width: int,
        problems: list[str],
        apart: bool = True,
    ) -> np.ndarray:
        """Decode an image and class as runs (R, 2), sorted and apart; faults go to `problems`.

        Args:
            apart: objects that share pixels are a fault; else their union is taken.
        """
        rows = self.rows(image_id, k, height, width, problems)
        joined = union(rows)
        shared = sum(int(runs[:, 1].sum()) for runs in rows) - int(joined[:, 1].sum())
        if apart and shared and FORMATS[self.submission.row].repeats:
            problems.append(
                f"{self.source}: {self.spell((image_id, k))}: objects share {shared} pixel{'s' * (shared > 1)}"
            )
        return joined

    def mask(
        self, image_id: str, height: int, width: int, task: str = "binary", apart: bool = True
    ) -> np.ndarray:
        """Decode one image.

        Args:
            apart: objects that share pixels are a fault; else their union is taken (a training
                table may hold some).

        Returns:
            binary (H, W) uint8 0/1; multilabel (K, H, W) uint8 0/1; multiclass (H, W) uint8 class
            index.

        Raises:
            SubmissionError: the image is not in the table, a cell cannot be read, or (multiclass) a
                pixel has no class or several.
        """
        if not any((image_id, k) in self.cells for k in range(len(self.names))):
            raise SubmissionError(f"{self.source}: no row of id {image_id!r}")
        problems: list[str] = []
        tables = [
            self.runs(image_id, k, height, width, problems, apart) for k in range(len(self.names))
        ]
        refuse(problems)
        planes = np.stack([fill(runs, height, width, self.submission.order) for runs in tables])
        if task == "binary":
            if len(planes) != 1:
                raise SubmissionError(
                    f"{self.source}: {len(planes)} classes in a table of a binary task"
                )
            return planes[0]
        if task == "multilabel":
            return planes
        n_classes = planes.sum(axis=0)
        if (n_classes != 1).any():
            raise SubmissionError(
                f"{self.source}: id {image_id!r}: {int((n_classes == 0).sum())} pixels have no "
                "class and "
                f"{int((n_classes > 1).sum())} have several; expected exactly one each"
            )
        return planes.argmax(axis=0).astype(np.uint8)


def refuse(problems: list[str], limit: int = 20) -> None:
    """Raise all problems as one SubmissionError; return when there are none."""
    if not problems:
        return
    if len(problems) == 1:
        raise SubmissionError(problems[0])
    more = f"\n  and {len(problems) - limit} more" if len(problems) > limit else ""
    raise SubmissionError(f"{len(problems)} problems:\n  " + "\n  ".join(problems[:limit]) + more)


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
    table = gather(
        frame, path.name, submission, class_names(submission, n_classes), problems, frame.columns
    )
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
) -> RleTable:
    """Sort the rows of a table by image and class; what is wrong goes to `problems`, the rest goes
    on.

    Args:
        names: how the table spells each class.
        allowed: columns that may stand there beside the expected ones.
        model: the table that columns and classes are taken from, for messages.
    """
    as_in = f" (as in {model})" if model else ""
    _check_columns(frame, source, submission, problems, allowed, as_in)
    if not has_classes(submission):
        names = ("",)
    cells: dict[Key, list[tuple[int, str]]] = {}
    if submission.id_column in frame:
        keys = _keys(frame, source, submission, names, problems, as_in)
        # without its column the cells cannot be judged, but ids still can
        texts = (
            frame[submission.rle_column]
            if submission.rle_column in frame
            else [submission.empty] * len(frame)
        )
        for number, (key, text) in enumerate(zip(keys, texts, strict=True), 1):
            if key is not None:
                cells.setdefault(key, []).append((number, text))
    table = RleTable(
        source,
        submission,
        names,
        tuple(dict.fromkeys(image_id for image_id, _ in cells)),
        {key: tuple(rows) for key, rows in cells.items()},
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
) -> list[Key | None]:
    """The image and class of each row; None where the row does not say."""
    ids = frame[submission.id_column].tolist()
    index = {name: k for k, name in enumerate(names)}
    blank = [number for number, cell in enumerate(ids, 1) if not cell]
    if blank:
        problems.append(
            f"{source}: {len(blank)} row{'s' * (len(blank) > 1)} without an id: {some(blank)}"
        )
    if not has_classes(submission):
        return [(cell, 0) if cell else None for cell in ids]
    keys: list[Key | None] = []
    unknown: list[str] = []
    column = submission.class_column
    if column is not None and column not in frame:
        return [None] * len(ids)
    spelled = frame[column].tolist() if column is not None else ids
    for number, (cell, word) in enumerate(zip(ids, spelled, strict=True), 1):
        pair = (cell, word) if column is not None else split_id(cell, names)
        if pair is None or pair[1] not in index:
            unknown.append(
                f"row {number}, id {cell!r}" + (f", class {word!r}" if column is not None else "")
            )
            keys.append(None)
        else:
            keys.append((pair[0], index[pair[1]]) if pair[0] else None)
    if unknown:
        form = "" if column is not None else " (ids are `<image_id>_<class>`)"
        problems.append(
            f"{source}: {len(unknown)} row{'s' * (len(unknown) > 1)} of no known class{form}; known "
            f"{some(names, 30)}{as_in}: {some(unknown)}"
        )
    return keys


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
