"""CSV files beside the data, by their cells: which hold run-length codes, in what shape, under which ids.

Judged by the cells, not by the columns' names: names differ in every competition.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comp.data.sources.patterns import entries
from comp.errors import DataError, some
from comp.formats.rle_table import say_unsure, tails_of
from comp.formats.table import read_table
from comp.masks.code_cells import coco_counts
from comp.masks.counts import packed_objects, spelling_of

if TYPE_CHECKING:
    import pandas as pd

CODE = re.compile(r"\s*\d+\s+\d+(?:\s+\d+\s+\d+)*\s*")
COUNTS = re.compile(r"\s*\[?\s*\d+(?:[\s,]+\d+)+\s*\]?\s*")  # an odd number of them, or a list
CODE_NAMES = {
    "encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle", "predicted", "predictions",
    "prediction", "segmentation", "annotation", "predictionstring", "prediction_string", "counts",
    "rle_counts", "coco_rle", "encoding", "encoded_mask",
}  # fmt: skip
PACKED_LOOKED_AT = 200  # cells
LEAST_PIXELS = 64  # of an image that packed counts speak of
LONGEST_CLASS = 255
LONGEST_ID = 512  # characters; ids end a file's name
PLAIN_NAMES = {"height", "width", "usage"}
CLASS_NAMES = re.compile(r"(class|label|category|type)(id|name|number)?s?")


@dataclass(frozen=True)
class Table:
    """One CSV at the top of the data folder; cells are text."""

    name: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Shape:
    """How a table spells run-length codes; the fields are those of `Rle` and `Submission`."""

    id_column: str
    rle_column: str
    class_column: str | None
    class_in_id: bool
    row: str
    empty: str
    class_cells: tuple[str, ...]  # the classes as spelled, in order of first appearance
    ids: tuple[str, ...]  # in order of first appearance
    code: str = "pairs"  # as `Rle.code`; plain counts are told from pairs by the images' sizes
    unsure: tuple[str, ...] = ()  # cells that two images may own, each with both readings in words

    @property
    def doubt(self) -> str:
        """Why its ids cannot be told from its classes; "" where they can."""
        if not self.unsure:
            return ""
        return (
            f"{len(self.unsure)} ids can be taken apart in several ways: {some(self.unsure, 3)}; give"
            " the classes a column of their own, or say class_names in a competition.yaml by hand"
        )

    @property
    def told(self) -> str:
        unit = {"image": "an image", "image_class": "an image and class", "object": "an object"}
        return f"one row {unit[self.row]}, {len(self.ids)} ids"


def read_tables(root: Path, notes: list[str]) -> list[Table]:
    """Read every CSV at the top of `root`; one that is no CSV is said in `notes` and left."""
    tables = []
    for name, is_folder in entries(root):
        if is_folder or not name.lower().endswith((".csv", ".csv.gz")):
            continue
        try:
            tables.append(Table(name, read_table(root / name)))
        except DataError as error:
            notes.append(f"left aside: {error}")
    return tables


def is_sample(name: str) -> bool:
    """True for sample_submission.csv and its spellings."""
    return bool(re.match(r"(?i)(sample|example).*|.*sample_?sub.*", name))


def heads_of(cells: Iterable[str]) -> set[str]:
    """All that stands before an underscore in any of the cells: what may be an id."""
    heads = set()
    for cell in cells:
        at = cell.find("_", 1)
        while 0 < at <= LONGEST_ID:
            heads.add(cell[:at])
            at = cell.find("_", at + 1)
    return heads


def code_shape(
    frame: pd.DataFrame,
    ids: Collection[str],
    classes: Collection[str] = (),
    rle_column: str | None = None,
) -> Shape | None:
    """Find ids of `ids` and run-length codes in a table; None: it holds no such codes.

    Args:
        classes: names that a class in the id may have, where they are known.
        rle_column: the column of codes, where the cells do not say it.
    """
    rle_column = rle_column or _code_column(frame)
    if rle_column is None or frame.empty:
        return None
    rest = [column for column in frame.columns if column != rle_column]
    wanted = set(ids)
    known = {column: sum(cell in wanted for cell in frame[column]) for column in rest}
    best = max(rest, key=lambda column: known[column], default=None)
    if best is None:
        return None
    joined = None
    keys = frame[best].tolist()
    class_cells: list[str] = []
    if not known[best]:
        for column in rest:
            joined = _apart(frame[column].tolist(), wanted, classes)
            if joined is not None:
                best, keys, class_cells = column, joined.ids, joined.tails
                break
        else:
            return None
    class_column = None
    if joined is None:
        class_column = _class_column(frame, best, rle_column)
        if class_column is not None:
            class_cells = list(dict.fromkeys(frame[class_column]))
    unique = tuple(dict.fromkeys(keys))
    row = "image" if len(unique) == len(frame) else "object"
    if joined is not None or class_column is not None:
        of_class = [best] if class_column is None else [best, class_column]
        row = "object" if frame.duplicated(of_class).any() else "image_class"
    code, empty, words = _cells_of(frame[rle_column].tolist())
    class_cells = class_cells or words
    return Shape(
        best,
        rle_column,
        class_column,
        joined is not None,
        row,
        empty,
        tuple(class_cells),
        unique,
        code,
        () if joined is None else tuple(joined.unsure),
    )


def blank_shape(
    frame: pd.DataFrame, ids: Collection[str], classes: Collection[str] = ()
) -> Shape | None:
    """As `code_shape` where no cell is a code: a table of two columns, one of ids, the other all alike."""
    columns = [str(c) for c in frame.columns if str(c).lower() not in PLAIN_NAMES]
    if len(columns) != 2:
        return None
    for column in reversed(columns):
        if frame[column].nunique() <= 1:
            shape = code_shape(frame, ids, classes, column)
            if shape is not None and 2 * len(set(ids) & set(shape.ids)) > len(shape.ids):
                return shape
    return None


def _cells_of(cells: list[str]) -> tuple[str, str, list[str]]:
    """How cells spell a mask (`Rle.code`) and an empty one, and the classes that they name themselves."""
    filled = [cell for cell in cells if len(cell.strip()) > 2]
    code = _spelling(filled) or "pairs"
    if code == "pairs":
        blanks = [cell for cell in cells if not _is_numbers(cell)]
        blanks += [cell for cell in cells if cell.strip() in ("1 0", "0 0")]
    else:
        blanks = [cell for cell in cells if len(cell.strip()) <= 2]
    empty = max(dict.fromkeys(blanks), key=blanks.count, default="")
    return code, empty, _classes_in_codes(filled) if code == "coco_zlib" else []


@dataclass(frozen=True)
class _Joined:
    """Cells `<image_id>_<class>` taken apart: an id a cell; the classes; cells of two readings, in words."""

    ids: list[str]
    tails: list[str]
    unsure: list[str]


def _apart(cells: list[str], wanted: Collection[str], classes: Collection[str]) -> _Joined | None:
    """Take cells apart by the known ids, and by the classes that these leave; None: no such cells.

    Where two known ids begin a cell, the class that other cells have beyond doubt decides.
    """
    longest = min(max(map(len, wanted), default=0), LONGEST_ID)
    found = [tuple(_splits(cell, wanted, longest)) for cell in cells]
    if 2 * sum(map(bool, found)) <= len(cells):
        return None
    sure = set(classes) & {tail for pairs in found for _, tail in pairs}
    sure = sure or {pairs[0][1] for pairs in found if len(pairs) == 1}
    ids, tails, unsure = [], [], []
    for cell, pairs in zip(cells, found, strict=True):
        fits = [pair for pair in pairs if pair[1] in sure]
        if len(fits) > 1 or (len(pairs) > 1 and not fits):
            unsure.append(f"{cell!r} may be {say_unsure(fits or pairs)}")
        if not pairs:  # of no image that is here
            head, _, tail = cell.rpartition("_")
            pairs = tuple(tails_of(cell, LONGEST_CLASS))
            fits = [pair for pair in pairs if pair[1] in sure] or [(head, tail)]
        image_id, tail = (fits or pairs)[0]
        ids.append(image_id)
        tails.append(tail)
    return _Joined(ids, list(dict.fromkeys(tails)), unsure)


def _splits(cell: str, wanted: Collection[str], longest: int) -> Iterator[tuple[str, str]]:
    """(id, the rest) for each known id that an underscore follows."""
    at = cell.find("_", 1)
    while 0 < at <= longest and at < len(cell) - 1:
        if cell[:at] in wanted:
            yield cell[:at], cell[at + 1 :]
        at = cell.find("_", at + 1)


def _is_numbers(cell: str) -> bool:
    return bool(CODE.fullmatch(cell) or COUNTS.fullmatch(cell))


def _code_column(frame: pd.DataFrame) -> str | None:
    """The column of run-length codes: cells are numbers or packed counts, or the name says so."""
    named = [c for c in frame.columns if c.lower().replace(" ", "") in CODE_NAMES]
    for column in [*named, *(c for c in frame.columns if c not in named)]:
        filled = [cell for cell in frame[column] if len(cell.strip()) > 2]
        pairs = sum(bool(CODE.fullmatch(cell)) for cell in filled)
        if filled and pairs >= 0.9 * len(filled):
            return str(column)
        if filled and column in named and sum(map(_is_numbers, filled)) >= 0.9 * len(filled):
            return str(column)
        if filled and _spelling(filled, column in named) is not None:
            return str(column)
    return str(named[0]) if named else None


def _spelling(filled: Sequence[str], named: bool = True) -> str | None:
    """coco or coco_zlib where nearly all of the cells are so packed; None: they are not.

    Words may look like packed counts: without a name that says so, their sums must be the sizes of
    images, which are few.
    """
    looked = filled[:: max(1, len(filled) // PACKED_LOOKED_AT)]
    found = Counter(spelling_of(cell) for cell in looked)
    for code in ("coco_zlib", "coco"):
        if looked and found[code] >= 0.9 * len(looked):
            if code == "coco" and not named:
                counts = [coco_counts(cell.strip().encode("utf-8", "replace")) for cell in looked]
                sums = {int(one.sum()) for one in counts if one is not None}
                if 2 * len(sums) > len(looked) or min(sums) < LEAST_PIXELS:
                    return None
            return code
    return None


def _classes_in_codes(filled: Sequence[str]) -> list[str]:
    """The classes that cells `class confidence code ...` name, where they are several."""
    words = {word for cell in filled for word, _ in packed_objects(cell) or ()}
    return sorted(words, key=int) if len(words) > 1 else []


def _class_column(frame: pd.DataFrame, id_column: str, rle_column: str) -> str | None:
    """A column whose few values, with the id, name each row once; or that is named so (a row an object)."""
    n_ids = frame[id_column].nunique()
    columns = [c for c in frame.columns if c not in (id_column, rle_column)]
    n_of = {c: frame[c].nunique() for c in columns if c.lower() not in PLAIN_NAMES}
    for column, n in n_of.items():
        if 2 <= n <= 255 and len(frame) > n_ids and not frame.duplicated([id_column, column]).any():
            return str(column)
    for column, n in n_of.items():
        named = CLASS_NAMES.fullmatch(re.sub(r"[^a-z]", "", column.lower()))
        if named and 2 <= n <= min(255, len(frame) // 2) and len(frame) > n_ids:
            return str(column)
    return None
