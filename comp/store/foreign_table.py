"""Somebody else's masks as a CSV of run-length codes, and the ids of their stacks; what reading needs to know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comp.config import Submission
from comp.errors import DataError, SubmissionError
from comp.formats.reading import read_submission
from comp.formats.rle_table import FORMATS
from comp.formats.rows import RleTable
from comp.formats.table import read_table
from comp.masks.rle import fill
from comp.store.foreign_header import Refused

ID_COLUMNS = ("image_id", "id")
Size = tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """What reading needs to know of the competition.

    Args:
        decode: picture file -> (H, W, C) as stored; DataError, or Refused.
        submission: how a CSV of codes is laid out.
        spell: (ids, cells) -> id as the cells of a CSV spell it.
        background: the class of multi-class pixels that no code covers, where no code names it.
    """

    decode: Callable[[Path], np.ndarray]
    submission: Submission
    spell: Callable[[Collection[str], Collection[str]], Mapping[str, str]]
    n_classes: int
    task: str
    background: int | None = None


class Table:
    """A CSV of run-length codes, laid out as the competition's submission: hard votes."""

    def __init__(self, path: Path, wanted: Collection[str], how: Reading) -> None:
        self.path, self.how = path, how
        self.table: RleTable = read_submission(path, how.submission, how.n_classes)
        self.spelled = how.spell(wanted, set(self.table.ids))
        own = {cell: image_id for image_id, cell in self.spelled.items()}
        self.ids = [own.get(cell, cell) for cell in self.table.ids]

    def read(self, image_id: str, n_planes: int, size: Size) -> np.ndarray:
        cell, table = self.spelled.get(image_id, image_id), self.table
        asked = table.asked
        if not FORMATS[table.submission.row].repeats:
            absent = [table.names[k] for k in asked if (cell, k) not in table.cells]
            if absent:
                raise Refused("a class has no row", ", ".join(absent))
        faults: list[str] = []
        try:
            runs = [table.runs(cell, k, *size, faults, apart=False) for k in range(n_planes)]
            planes = np.stack([fill(r, *size, table.submission.order) for r in runs])
        except SubmissionError as error:
            raise Refused("a code that cannot be read", str(error)) from error
        if faults:
            raise Refused("a code that cannot be read", faults[0])
        if self.how.task == "multiclass":
            background = self.how.background
            if background is not None and background not in asked:
                planes[background] = ~planes.any(axis=0)
            odd = int(np.count_nonzero(planes.sum(axis=0) != 1))
            if odd:
                raise Refused("pixels without a class, or with several", f"{odd} pixels")
        return planes.astype(bool)


def read_ids(path: Path, ids_file: Path | None) -> list[str]:
    """The ids of a stack, in its order: one a line of a .txt, or a column of a .csv.

    Raises:
        DataError: there is no such file, or it is none.
    """
    if ids_file is None:
        beside = [path.with_suffix(ending) for ending in (".txt", ".csv")]
        found = [file for file in beside if file.is_file()]
        if not found:
            raise DataError(
                f"{path}: whose rows are these? expected ids beside it in {beside[0].name} (one a line) or "
                f"{beside[1].name} (column {ID_COLUMNS[0]}), or the option for a file of ids"
            )
        ids_file = found[0]
    if ids_file.suffix.lower() == ".csv":
        frame = read_table(ids_file)
        columns = [c for c in ID_COLUMNS if c in frame.columns] or list(frame.columns)[:1]
        if not set(ID_COLUMNS) & set(frame.columns) and len(frame.columns) > 1:
            raise DataError(
                f"{ids_file}: expected a column {' or '.join(ID_COLUMNS)}, got "
                f"{', '.join(map(str, frame.columns))}"
            )
        return [str(cell) for cell in frame[columns[0]]]
    try:
        lines = ids_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {ids_file} as one id a line: {error}") from error
    return [line.strip() for line in lines if line.strip()]
