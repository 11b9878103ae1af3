"""Rows of a table of codes, sorted by image and class, and what they decode to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from comp.config import Submission
from comp.errors import SubmissionError
from comp.formats.rle_table import FORMATS, read_cell
from comp.masks.rle import fill, union

Key = tuple[str, int]  # image_id, class index (0 where rows name no class)


@dataclass(frozen=True)
class RleTable:
    """Rows of a table by image and class.

    Args:
        source: the file's name, for messages.
        names: how the table spells each class, in class order; ("",) where rows name none.
        ids: image ids, in order of first appearance.
        cells: (image_id, class index) -> its rows as (number from 1, run-length cell).
        code: how a cell spells a mask, as in `Rle.code`: pairs, or a kind of COCO counts.
        unsure: the keys under which a row stands where the images decide what its id says.
    """

    source: str
    submission: Submission
    names: tuple[str, ...]
    ids: tuple[str, ...]
    cells: Mapping[Key, tuple[tuple[int, str], ...]]
    code: str = "pairs"
    unsure: tuple[tuple[Key, ...], ...] = ()

    @property
    def asked(self) -> list[int]:
        """The classes that the table speaks of: some leave the background out."""
        loose = {key for keys in self.unsure for key in keys}
        return sorted({key[1] for key in self.cells if key not in loose} or {k for _, k in loose})

    def spell(self, key: Key) -> str:
        """Say which image and class, as a message does."""
        image_id, k = key
        return f"id {image_id!r}" + (f", class {self.names[k]!r}" if self.names != ("",) else "")

    def rows(
        self, image_id: str, k: int, height: int, width: int, problems: list[str]
    ) -> list[np.ndarray]:
        """Decode the rows of an image and class, runs (R, 2) a row; faults go to `problems`."""
        found: list[np.ndarray] = []
        rows = self.cells.get((image_id, k), ())
        for number, cell in rows:
            where = f"{self.source}: row {number}, {self.spell((image_id, k))}"
            try:
                runs = read_cell(cell, self.submission, height, width, where, self.code)
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
