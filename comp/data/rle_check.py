"""A table of run-length codes against the masks, which are the truth: do they say the same pixels?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from comp.config import IGNORE, Competition
from comp.data.intake import Record
from comp.data.labels import read_labels
from comp.errors import DataError
from comp.formats.reading import RleTable
from comp.masks.rle import fill

CONVENTIONS: tuple[tuple[Literal["column", "row"], Literal[0, 1]], ...] = (
    ("column", 1), ("row", 1), ("column", 0), ("row", 0),
)  # fmt: skip


@dataclass(frozen=True)
class Convention:
    """Which pixel order and first number the table has.

    Args:
        agree: (order, base) -> images that agree, of `n_images` looked at.
    """

    order: Literal["column", "row"]
    base: Literal[0, 1]
    agree: dict[tuple[Literal["column", "row"], Literal[0, 1]], int]
    n_images: int

    @property
    def told(self) -> str:
        n = self.agree[self.order, self.base]
        others = ", ".join(
            f"{order}-major from {base}: {m}"
            for (order, base), m in self.agree.items()
            if (order, base) != (self.order, self.base)
        )
        best = f"{self.order}-major, first pixel {self.base}"
        return f"{best} agrees with the masks of {n} of {self.n_images} images ({others})"


def asked_classes(table: RleTable) -> list[int]:
    """The classes that the table speaks of: some leave the background out."""
    return sorted({k for _, k in table.cells})


def difference(
    table: RleTable, asked: list[int], image_id: str, labels: np.ndarray, task: str
) -> str | None:
    """Compare one image's rows with its labels, away from ignored pixels; None: the same.

    Args:
        asked: the table's `asked_classes`.
    """
    height, width = labels.shape[-2:]
    first = 1 if task == "binary" else 0
    problems: list[str] = []
    wrong = 0
    for k in asked:
        plane = labels[k] if task == "multilabel" else labels == k + first
        valid = (labels[k] if task == "multilabel" else labels) != IGNORE
        runs = table.runs(image_id, k, height, width, problems, apart=False)
        drawn = fill(runs, height, width, table.submission.order)
        wrong += int(((drawn > 0) != (plane > 0))[valid].sum())
    if problems:
        return problems[0]
    return f"{image_id}: {wrong} of {height * width} pixels differ" if wrong else None


def find_convention(
    table: RleTable, records: Iterable[Record], competition: Competition, limit: int = 24
) -> Convention | None:
    """Try every order and base on the images that can tell them apart best; None: no image can.

    Args:
        records: those whose ids are in the table; images that are not square should come first.
    """
    agree = dict.fromkeys(CONVENTIONS, 0)
    classes = asked_classes(table)
    n = 0
    for record in records:
        if n >= limit:
            break
        try:
            labels = read_labels(record, competition)
        except DataError:
            continue
        if len(np.unique(labels)) < 2:
            continue  # one value everywhere looks the same in every order
        n += 1
        for order, base in CONVENTIONS:
            layout = table.submission.model_copy(update={"order": order, "base": base})
            told = difference(
                replace(table, submission=layout),
                classes,
                record.image_id,
                labels,
                competition.task,
            )
            agree[order, base] += told is None
    if n == 0:
        return None
    order, base = max(CONVENTIONS, key=lambda key: agree[key])
    return Convention(order, base, agree, n)


def disagreements(
    table: RleTable, records: Sequence[Record], competition: Competition
) -> list[str]:
    """Compare the rows of every record that the table lists with its mask, two at a time.

    Returns:
        one line for each image that differs or whose rows or mask cannot be read.
    """
    asked, listed = asked_classes(table), set(table.ids)

    def one(record: Record) -> str | None:
        try:
            labels = read_labels(record, competition)
        except DataError as error:
            return str(error)
        return difference(table, asked, record.image_id, labels, competition.task)

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(one, [r for r in records if r.image_id in listed]))
    return [line for line in told if line is not None]
