"""Somebody else's folds beside ours: predictions leak nothing only where both divide the images alike."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from comp.data.folds.table import LEFT_OUT, REPEATS, FoldTable
from comp.errors import DataError, some
from comp.files import read_json
from comp.formats.table import read_table

ID_COLUMNS = ("image_id", "id")


def compare_folds(table: FoldTable, path: Path) -> list[str]:
    """Say what of their folds is not ours; nothing: every image has our fold.

    Args:
        path: a CSV with the columns `image_id` (or `id`) and `fold`, or the JSON card that stands beside
            such a file in a workspace.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix.lower() == ".json":
        card = read_json(path)
        said = card.get("hash") if isinstance(card, dict) else None
        return compare_hash(table, str(said), path.name)
    frame = read_table(path)
    ids = next((c for c in ID_COLUMNS if c in frame.columns), None)
    if ids is None or "fold" not in frame.columns:
        raise DataError(
            f"{path}: expected the columns {ID_COLUMNS[0]} and fold, got {some(frame.columns)}"
        )
    mine = {"fold": [str(fold) for fold in table.fold]}
    if table.repeats:
        mine[REPEATS] = [" ".join(map(str, folds)) for folds in zip(*table.repeats, strict=True)]
    if table.left_out:
        mine[LEFT_OUT] = [" ".join(map(str, folds)) for folds in table.left_out]
    if absent := [name for name in mine if name not in frame.columns]:
        return [f"{path.name}: our folds have the column {some(absent)}, it has not"]
    names = [str(cell) for cell in frame[ids]]
    told = []
    known = set(table.ids)
    for what, found in (
        ("images are missing", [i for i in table.ids if i not in set(names)]),
        ("images are not ours", [i for i in dict.fromkeys(names) if i not in known]),
        ("images are there more than once", [i for i, n in Counter(names).items() if n > 1]),
    ):
        if found:
            told.append(f"{path.name}: {len(found)} {what}: {some(found)}")
    for column, ours in mine.items():
        cells = (" ".join(str(cell).split()) for cell in frame[column])
        theirs = dict(zip(names, cells, strict=True))
        both = {i: (theirs[i], o) for i, o in zip(table.ids, ours, strict=True) if i in theirs}
        other = [f"{i} (theirs {t or 'blank'}, ours {o})" for i, (t, o) in both.items() if t != o]
        if other:
            told.append(
                f"{path.name}: {len(other)} images are in another {column} than ours: {some(other)}"
                + _renumbered(set(both.values()))
            )
    return told


def compare_hash(table: FoldTable, said: str, where: str) -> list[str]:
    """Say that a hash of folds is not ours; nothing: it is."""
    if said == table.hash:
        return []
    return [
        f"{where}: hash {said} of other folds or images; ours have {table.hash}, so what these models were "
        "trained on is not known"
    ]


def _renumbered(pairs: set[tuple[str, str]]) -> str:
    """What to do where the division is the same and only its numbers differ."""
    theirs, ours = ({pair[n] for pair in pairs} for n in (0, 1))
    if len(pairs) != len(theirs) or len(pairs) != len(ours):
        return ""
    said = ", ".join(f"their {t} is our {o}" for t, o in sorted(pairs))
    return f"; it is the same division under other numbers: {said}; number them so"
