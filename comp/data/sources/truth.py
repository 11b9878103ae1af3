"""Truth that is no picture: a table of run-length codes, or COCO JSON, read once a process and drawn
as labels when an image is asked for. Nothing is converted to files."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from comp.config import IGNORE, Competition
from comp.config.competition import Rle
from comp.data.sources.coco import CocoTable, read_coco
from comp.errors import DataError, SubmissionError, some

if TYPE_CHECKING:
    import pandas as pd

    from comp.data.sources.records import Record
    from comp.formats.reading import RleTable

Kind = Literal["rle", "coco"]
_LOADING = threading.Lock()  # threads that ask for one table wait for the first of them


@dataclass(frozen=True)
class Truth:
    """Where an image's truth stands in its table.

    Args:
        key: how the table spells the image: its id, or its file_name; None: the table says nothing
            of it, and that means empty.
    """

    kind: Kind
    key: str | None


def read_truth(record: Record, competition: Competition, size: tuple[int, int]) -> np.ndarray:
    """Draw the labels of a record whose `truth` is set.

    Args:
        size: (H, W) of the image.

    Returns:
        binary (H, W) uint8 in {0, 1, 255}; multiclass (H, W) class index or 255; multilabel
        (K, H, W) in {0, 1, 255}.

    Raises:
        DataError: naming the table and the row, or the object, that cannot be drawn.
    """
    assert record.truth is not None
    path, key = record.masks[0], record.truth.key
    if record.truth.kind == "coco":
        coco = _coco(path)
        planes = coco.planes(key, *size)[coco_places(coco, competition)]
        return labels_of(planes, competition, f"{coco.source}: {record.image_id}", True)
    table = _rle(path, competition)
    planes = np.zeros((len(table.names), *size), np.uint8)
    problems: list[str] = []
    if key is not None:
        from comp.masks.rle import fill

        for k in range(len(table.names)):
            runs = table.runs(key, k, *size, problems, apart=False)
            planes[k] = fill(runs, *size, table.submission.order)
    if problems:
        raise DataError(problems[0])
    whole = competition.task == "multiclass" and any(k == 0 for _, k in table.cells)
    if competition.task == "multiclass" and not whole:
        planes = planes[1:]
    return labels_of(planes, competition, f"{table.source}: id {record.image_id!r}", not whole)


def truth_key(competition: Competition, records: Sequence[Record]) -> list[object]:
    """All but the files that decides what `read_truth` draws, as JSON values; [] where masks are the truth."""
    keys = [[r.image_id, r.truth.key] for r in records if r.truth is not None]
    if not keys:
        return []
    rle = competition.data.train_rle
    rule = None if rle is None else rle.model_dump(mode="json")
    return [rule, list(competition.submission.class_names or ()), list(competition.classes), *keys]


def labels_of(
    planes: np.ndarray, competition: Competition, where: str, background: bool
) -> np.ndarray:
    """Join planes (P, H, W) uint8 in {0, 1, 255} to labels, as `read_truth` returns them.

    Args:
        where: what a message begins with.
        background: multiclass: no plane is the background's; what no plane claims is class 0.

    Raises:
        DataError: multiclass: a pixel of several classes, or of none where none is the background.
    """
    if competition.task == "multilabel":
        return planes
    if competition.task == "binary":
        return planes[0]
    n = (planes == 1).sum(axis=0)
    if (n > 1).any():
        raise DataError(
            f"{where}: {int((n > 1).sum())} pixels have several classes, which task multiclass"
            " does not allow; task multilabel keeps them all"
        )
    ignored = (n == 0) & (planes == IGNORE).any(axis=0)
    if not background and ((n == 0) & ~ignored).any():
        lost = int(((n == 0) & ~ignored).sum())
        raise DataError(f"{where}: {lost} pixels have no class; expected one each")
    labels = (planes == 1).argmax(axis=0).astype(np.uint8)
    if background:
        labels = np.where(n == 1, labels + 1, 0).astype(np.uint8)
    labels[ignored] = IGNORE
    return labels


def coco_places(coco: CocoTable, competition: Competition) -> list[int]:
    """The position of each class's category: by name; where no name is known and the counts are equal, in order.

    Multiclass: the first class is the background, which has no category.

    Raises:
        DataError: neither fits.
    """
    wanted = competition.classes[1:] if competition.task == "multiclass" else competition.classes
    place = {name: k for k, name in enumerate(coco.categories)}
    if all(name in place for name in wanted):
        return [place[name] for name in wanted]
    if len(wanted) == len(place) and not any(name in place for name in wanted):
        return list(range(len(place)))
    lost = some(name for name in wanted if name not in place)
    also = " after the background" if competition.task == "multiclass" else ""
    raise DataError(
        f"{coco.source}: no category {lost}; expected classes{also} from {some(place, 12)}"
    )


def listed_images(
    kind: Kind, path: Path, competition: Competition, images: Mapping[str, Path], root: Path
) -> tuple[dict[str, str], list[str]]:
    """What the table says of these images.

    Args:
        images: image_id -> file.

    Returns:
        image_id -> key in the table, for the images of which it speaks; and the table's images that
        are not among them.
    """
    if kind == "rle":
        ids = _rle(path, competition).ids
        return {i: i for i in ids if i in images}, [i for i in ids if i not in images]
    coco = _coco(path)
    coco_places(coco, competition)
    found = coco_keys(coco, {i: p.relative_to(root).as_posix() for i, p in images.items()})
    used = set(found.values())
    return found, [name for name in coco.images if name not in used]


def coco_keys(coco: CocoTable, images: Mapping[str, str]) -> dict[str, str]:
    """image_id -> file_name: the longest tail of the image's path that the JSON names.

    Raises:
        DataError: two images for one file_name.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for image_id, path in images.items():
        parts = path.split("/")
        tails = ("/".join(parts[n:]) for n in range(len(parts)))
        key = next((tail for tail in tails if tail in coco.images), None)
        if key is None:
            continue
        if key in taken:
            raise DataError(f"{coco.source}: {key!r} may be {taken[key]} or {path}; expected one")
        taken[key], found[image_id] = path, key
    return found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"missing file: {path}") from error
    return found.st_mtime_ns, found.st_size


def _coco(path: Path) -> CocoTable:
    with _LOADING:
        return _coco_of(path, _stamp(path))


@lru_cache(maxsize=4)
def _coco_of(path: Path, stamp: tuple[int, int]) -> CocoTable:
    return read_coco(path)


def _rle(path: Path, competition: Competition) -> RleTable:
    with _LOADING:
        return _rle_of(
            path,
            _stamp(path),
            competition.data.train_rle,
            competition.submission.class_names,
            competition.classes,
        )


@lru_cache(maxsize=4)
def _rle_of(
    path: Path,
    stamp: tuple[int, int],
    rle: Rle | None,
    class_names: tuple[str, ...] | None,
    classes: tuple[str, ...],
) -> RleTable:
    from comp.formats.reading import gather, refuse
    from comp.formats.rle_table import has_classes, layout_of
    from comp.formats.table import read_table

    assert rle is not None
    frame = read_table(path)
    names = class_names or classes
    if class_names is None and not _spells(frame, rle, classes):
        names = tuple(str(k) for k in range(len(classes)))
    layout = layout_of(rle, names if rle.class_column or rle.class_in_id else None)
    problems: list[str] = []
    table = gather(frame, path.name, layout, names, problems, frame.columns)
    if not has_classes(layout) and len(classes) > 1:
        problems.append(
            f"{path.name}: its rows name no class, but the competition has {len(classes)};"
            " set data.train_rle class_column or class_in_id"
        )
    try:
        refuse(problems)
    except SubmissionError as error:
        raise DataError(str(error)) from error
    return table


def _spells(frame: pd.DataFrame, rle: Rle, classes: tuple[str, ...]) -> bool:
    """True where the table's classes are spelled as the competition's."""
    cells: Iterable[str] = frame.get(rle.class_column or rle.id_column, [])
    if rle.class_column is None:
        return any(cell.endswith(tuple(f"_{name}" for name in classes)) for cell in cells)
    return bool(set(cells) & set(classes))
