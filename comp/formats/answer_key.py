"""The answer key of a competition: its columns, the truth, sizes, public and private parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from comp.config import Competition, Submission
from comp.errors import SubmissionError, some
from comp.formats.reading import RleTable, gather, refuse
from comp.formats.rle_table import (
    FORMATS,
    check_layout,
    class_names,
    columns_of,
    has_classes,
    split_ids,
)
from comp.formats.table import read_table

if TYPE_CHECKING:
    import pandas as pd

RLE_NAMES = {
    "encodedpixels",
    "rle",
    "rlemask",
    "maskrle",
    "predicted",
    "prediction",
    "predictionstring",
    "mask",
}
CLASS_NAMES = {"class", "classid", "label", "classname", "category", "categoryid"}
OTHER_NAMES = {"height", "width", "usage"}
SIZE = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class AnswerKey:
    """A key, checked.

    Args:
        table: its rows; the submission must have the same ones.
        competition: the one whose submission section it was read by; None when recognised by column
            names.
        names: the classes, as shown.
        ids: image ids, sorted, so that a score does not depend on the order of rows.
        columns: of the file.
        sizes: image_id -> (height, width), where the key says.
        usage: image_id -> its part in lower case, where the key says.
    """

    table: RleTable
    competition: Competition | None
    names: tuple[str, ...]
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]]
    usage: Mapping[str, str]

    def size_of(
        self, image_id: str, otherwise: Callable[[str], tuple[int, int]] | None
    ) -> tuple[int, int]:
        """Height and width of an image, from the key or else from `otherwise`.

        Raises:
            SubmissionError: neither knows.
        """
        if image_id in self.sizes:
            return self.sizes[image_id]
        if otherwise is None:
            raise SubmissionError(
                f"{self.table.source}: the size of id {image_id!r} is unknown: the key has no "
                "columns Height and Width, and no competition gives the images; add the columns, "
                "or score inside the workspace (--root, --competition)"
            )
        return otherwise(image_id)

    @property
    def n_ignored(self) -> int:
        """Images whose Usage says that nobody is scored on them."""
        return sum(part == "ignored" for part in self.usage.values())

    @property
    def said(self) -> str:
        """How the key was read, in words."""
        layout = self.table.submission
        n, k = len(self.ids), len(self.names)
        by = f"competition {self.competition.name}" if self.competition else "its column names"
        return (
            f"{n} image{'s' * (n != 1)} x {k} class{'es' * (k != 1)}, {FORMATS[layout.row].doc}\n"
            f"read by {by}: {', '.join(columns_of(layout))}; {layout.order}-major, first pixel "
            f"{layout.base}, empty {layout.empty!r}"
        )


def read_key(path: Path, competition: Competition | None = None) -> AnswerKey:
    """Read an answer key.

    Args:
        competition: its submission section is used when the key has exactly its columns (Height,
            Width and Usage apart); else columns are recognised by name: the first is the id, one is
            named like `rle` or `EncodedPixels`, one may be named like `class`.

    Raises:
        SubmissionError: all that is wrong with it, at once.
    """
    source = f"key {path.name}"
    try:
        frame = read_table(path, SubmissionError)
    except SubmissionError as error:
        raise SubmissionError(f"the answer key cannot be read: {error}") from error
    if len(frame) == 0:
        raise SubmissionError(f"{source}: an answer key without rows")
    if competition is not None and not _has_columns(frame, competition.submission):
        competition = None
    if competition is None:
        layout = detect_layout(frame, source)
    else:
        layout = competition.submission
        check_layout(layout, competition.n_classes)
    problems: list[str] = []
    names, shown = _classes(frame, layout, competition)
    table = gather(frame, source, layout, names, problems, frame.columns)
    if not FORMATS[layout.row].repeats:
        if competition is not None and any(len(rows) > 1 for rows in table.cells.values()):
            problems.append(
                f"{source}: has several rows an id; if each row is an object, set submission.row: "
                f"object for competition {competition.name!r} (or -o submission.row=object)"
            )
        absent = [
            (i, k) for i in table.ids for k in range(len(table.names)) if (i, k) not in table.cells
        ]
        if absent:
            told = some(table.spell(key) for key in absent)
            problems.append(
                f"{source}: the key itself has no row of {len(absent)} "
                f"pair{'s' * (len(absent) > 1)} of image and class: {told}"
            )
    owners = _owners(frame, table)
    sizes = _sizes(frame, source, owners, problems)
    usage = _usage(frame, source, owners, problems)
    refuse(problems)
    return AnswerKey(
        table, competition, shown, tuple(sorted(table.ids)), tuple(frame.columns), sizes, usage
    )


def detect_layout(frame: pd.DataFrame, source: str) -> Submission:
    """Recognise the columns of a key by name: column-major, first pixel 1, blank for empty.

    Raises:
        SubmissionError: no column, or several, that could hold run-length codes.
    """
    columns = list(frame.columns)
    others = [name for name in columns[1:] if _plain(name) not in OTHER_NAMES]
    classes = [name for name in others if _plain(name) in CLASS_NAMES]
    codes = [name for name in others if _plain(name) in RLE_NAMES]
    if not codes and len(others) - len(classes) == 1:
        codes = [name for name in others if name not in classes]
    if len(codes) != 1 or len(classes) > 1:
        raise SubmissionError(
            f"{source}: expected an id column first, one column of run-length codes named like "
            "EncodedPixels or rle, and at "
            f"most one class column; got {', '.join(columns)}"
        )
    column = classes[0] if classes else None
    key_columns = [columns[0]] + ([column] if column else [])
    repeats = bool(frame.duplicated(key_columns).any())
    return Submission(
        id_column=columns[0],
        rle_column=codes[0],
        class_column=column,
        row="object" if repeats else "image_class" if column else "image",
    )


def part_masks(key: AnswerKey) -> dict[str, np.ndarray]:
    """The rows of each part: name -> (N,) bool in the order of ``key.ids``; "all" comes last.

    Raises:
        SubmissionError: every image is ignored.
    """
    parts = np.array([key.usage.get(image_id, "all") for image_id in key.ids])
    found = sorted(
        set(parts.tolist()) - {"ignored", "all"},
        key=lambda part: (part != "public", part != "private", part),
    )
    everything = parts != "ignored"
    if not everything.any():
        raise SubmissionError(
            f"{key.table.source}: the Usage of every image is Ignored; nothing to score"
        )
    return {**{part: parts == part for part in found}, "all": everything}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _column(frame: pd.DataFrame, name: str) -> str | None:
    return next((column for column in frame.columns if column.strip().lower() == name), None)


def _has_columns(frame: pd.DataFrame, layout: Submission) -> bool:
    expected, got = set(columns_of(layout)), set(frame.columns)
    return expected <= got and all(_plain(name) in OTHER_NAMES for name in got - expected)


def _classes(
    frame: pd.DataFrame, layout: Submission, competition: Competition | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Spelling and shown names of the classes that the key has, in class order."""
    if not has_classes(layout):
        return ("",), (competition.classes[0] if competition else "mask",)
    ids = frame[layout.id_column].tolist()
    if competition is not None:
        known = class_names(layout, competition.classes, frame)
        if layout.class_column is not None:
            present = set(frame[layout.class_column])
        else:
            present = {pairs[0][1] for pairs in split_ids(ids, known) if pairs}
        # a class that the key never asks for (a background, say) is not scored
        kept = [k for k, name in enumerate(known) if name in present] or list(range(len(known)))
        return tuple(known[k] for k in kept), tuple(competition.classes[k] for k in kept)
    found = list(dict.fromkeys(frame[layout.class_column].tolist()))
    if all(name.isdecimal() for name in found):
        found.sort(key=int)
    return tuple(found), tuple(found)


def _owners(frame: pd.DataFrame, table: RleTable) -> list[str]:
    """The image of each row."""
    owners: list[str] = frame[table.submission.id_column].tolist()
    for (image_id, _), rows in table.cells.items():
        for number, _ in rows:
            owners[number - 1] = image_id
    return owners


def _sizes(
    frame: pd.DataFrame, source: str, owners: list[str], problems: list[str]
) -> dict[str, tuple[int, int]]:
    height, width = _column(frame, "height"), _column(frame, "width")
    if height is None or width is None:
        if height or width:
            problems.append(
                f"{source}: has a column {height or width!r} without the other of Height and Width"
            )
        return {}
    sizes: dict[str, tuple[int, int]] = {}
    wrong: list[str] = []
    for number, (image_id, h, w) in enumerate(
        zip(owners, frame[height], frame[width], strict=True), 1
    ):
        if not SIZE.fullmatch(h) or not SIZE.fullmatch(w):
            wrong.append(
                f"row {number}, id {image_id!r}: {h[:20]!r} x {w[:20]!r} is no size in pixels"
            )
        elif sizes.setdefault(image_id, (int(h), int(w))) != (int(h), int(w)):
            told = " x ".join(map(str, sizes[image_id]))
            wrong.append(f"row {number}, id {image_id!r}: {h} x {w}, but {told} before")
    if wrong:
        problems.append(f"{source}: {len(wrong)} wrong size{'s' * (len(wrong) > 1)}: {some(wrong)}")
    return sizes


def _usage(
    frame: pd.DataFrame, source: str, owners: list[str], problems: list[str]
) -> dict[str, str]:
    column = _column(frame, "usage")
    if column is None:
        return {}
    usage: dict[str, str] = {}
    wrong: list[str] = []
    for number, (image_id, cell) in enumerate(zip(owners, frame[column], strict=True), 1):
        part = cell.strip().lower()
        if not part or part == "all":
            wrong.append(
                f"row {number}, id {image_id!r}: {cell!r}; expected Public, Private or Ignored"
            )
        elif usage.setdefault(image_id, part) != part:
            wrong.append(
                f"row {number}, id {image_id!r}: {cell!r}, but {usage[image_id]!r} in another row "
                "of the image"
            )
    if wrong:
        problems.append(
            f"{source}: {len(wrong)} wrong value{'s' * (len(wrong) > 1)} of {column}: {some(wrong)}"
        )
    return usage
