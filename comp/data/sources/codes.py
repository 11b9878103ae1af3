"""A table of codes that holds truth -> its rows by image and class: the one reader for every command.

How classes are spelled is `formats.class_names`'s to say; what belongs to which image, the images'.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from comp.config import Competition, Submission
from comp.config.competition import Rle
from comp.errors import some
from comp.formats.reading import Key, RleTable, gather
from comp.formats.rle_table import better_spelling, class_names, has_classes, layout_of
from comp.formats.table import read_table
from comp.masks.counts import packed_objects

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CodeRules:
    """What of a competition decides how its table of codes is read; compared by value.

    Args:
        names: how the table spells the classes, where the competition says it.
    """

    rle: Rle
    names: tuple[str, ...] | None
    classes: tuple[str, ...]

    @classmethod
    def of(cls, competition: Competition) -> CodeRules:
        """Those of a competition that has a table."""
        rle = competition.data.train_rle
        assert rle is not None
        return cls(rle, competition.submission.class_names, competition.classes)


def gather_codes(
    frame: pd.DataFrame,
    source: str,
    rules: CodeRules,
    problems: list[str],
    known: Collection[str] | None = None,
    every: bool = False,
) -> RleTable:
    """Sort the rows of a table of training codes; what is wrong goes to `problems`.

    Args:
        known, every: as `formats.gather` takes them.
    """
    rle, classes = rules.rle, rules.classes
    layout = layout_of(rle, rules.names)
    names = class_names(layout, classes, frame)
    if len(names) != len(classes):
        problems.append(
            f"submission.class_names: expected {len(classes)} names in class order, got {len(names)}"
        )
    allowed = frame.columns
    table = gather(frame, source, layout, names, problems, allowed, known=known, every=every)
    cells = {key: tuple((n, plain(cell)) for n, cell in rows) for key, rows in table.cells.items()}
    table = replace(table, cells=cells, code=rle.code)
    if rle.code == "coco_zlib":
        table = _objects_apart(table, rules, problems)
    if table.names == ("",) and len(classes) > 1:
        problems.append(
            f"{source}: its rows name no class, but the competition has {len(classes)};"
            " set data.train_rle class_column or class_in_id"
        )
    return table


def plain(cell: str) -> str:
    """A list in brackets, ``[3, 105, 4]``, as numbers set apart by blanks; other cells as they are."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return cell
    return " ".join(text[1:-1].replace(",", " ").split())


def settled_submission(competition: Competition, root: Path) -> Submission:
    """The submission section; without names of classes and a sample to take them from, the training
    table's are taken.
    """
    submission, rle = competition.submission, competition.data.train_rle
    asks = submission.class_names is None and submission.sample is None and has_classes(submission)
    if not asks or rle is None or not (root / rle.file).is_file():
        return submission
    names = class_names(layout_of(rle), competition.classes, read_table(root / rle.file))
    return submission.model_copy(update={"class_names": names})


def _objects_apart(table: RleTable, rules: CodeRules, problems: list[str]) -> RleTable:
    """Cells of several objects, `class confidence code ...`, as a row each; classes by those words.

    The confidence says nothing of the truth.
    """
    apart: dict[Key, list[tuple[int, str, str]]] = {}  # -> row, word, code
    for key, rows in table.cells.items():
        for number, cell in rows:
            objects = packed_objects(cell) or [("", cell)]
            apart.setdefault(key, []).extend((number, word, code) for word, code in objects)
    words = sorted({word for mine in apart.values() for _, word, _ in mine if word})
    if has_classes(table.submission) or not words or len(rules.classes) == 1:
        if len(words) > 1 and not has_classes(table.submission):
            problems.append(
                f"{table.source}: its codes are of {len(words)} classes ({some(words, 12)}), but the"
                f" competition has one, {rules.classes[0]!r}"
            )
        cells = {key: tuple((n, code) for n, _, code in mine) for key, mine in apart.items()}
        return replace(table, cells=cells)
    numbers = tuple(str(k) for k in range(len(rules.classes)))
    names = rules.names or better_spelling(words, [rules.classes, numbers])
    index = {name: k for k, name in enumerate(names)}
    if unknown := [word for word in words if word not in index]:
        problems.append(
            f"{table.source}: its codes are of unknown classes: {some(unknown, 12)}; known"
            f" {some(names, 30)}"
        )
    found: dict[Key, list[tuple[int, str]]] = {}
    for (image_id, _), mine in apart.items():
        for number, word, code in mine:
            if word in index:
                found.setdefault((image_id, index[word]), []).append((number, code))
            elif not word and code != table.submission.empty and code.strip():
                problems.append(
                    f"{table.source}: row {number}, id {image_id!r}: a code of no class"
                )
    return replace(table, names=names, cells={key: tuple(rows) for key, rows in found.items()})
