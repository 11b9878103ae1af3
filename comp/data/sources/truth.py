"""Truth that is no picture: a table of run-length codes, or COCO JSON, read once a process and drawn
as labels when an image is asked for. Nothing is converted to files."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from comp.config import IGNORE, Competition
from comp.data.sources.coco import CocoTable, read_coco
from comp.data.sources.codes import CodeRules, gather_codes
from comp.errors import DataError, SubmissionError, some
from comp.formats.reading import refuse
from comp.formats.rle_table import say_unsure
from comp.formats.table import read_table

if TYPE_CHECKING:
    from comp.data.sources.records import Record
    from comp.formats.reading import RleTable

Kind = Literal["rle", "coco", "empty"]
_LOADING = threading.Lock()  # threads that ask for one table wait for the first of them


@dataclass(frozen=True)
class Truth:
    """Where an image's truth stands in its table.

    Args:
        kind: empty: there is neither table nor mask, and nothing is to be seen on the image.
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
    if record.truth.kind == "empty":
        multilabel = competition.task == "multilabel"
        return np.zeros((competition.n_classes, *size) if multilabel else size, np.uint8)
    path, key = record.masks[0], record.truth.key
    if record.truth.kind == "coco":
        coco = read_coco_once(path)
        planes = coco.planes(key, *size)[coco_places(coco, competition)]
        return labels_of(planes, competition, f"{coco.source}: {record.image_id}", True)
    table = read_codes_once(path, competition)
    planes = np.zeros((len(table.names), *size), np.uint8)
    problems: list[str] = []
    if key is not None:
        from comp.masks.rle import fill

        for k in range(len(table.names)):
            runs = table.runs(key, k, *size, problems, apart=False)
            planes[k] = fill(runs, *size, table.submission.order)
    if problems:
        raise DataError(problems[0])
    whole = competition.task == "multiclass" and 0 in table.asked
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
    names, classes = competition.submission.class_names or (), competition.classes
    overlap = competition.data.overlap
    more = [] if overlap == "refuse" else [["overlap", overlap]]
    return [rule, list(names), list(classes), *more, *keys]


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
    overlap = competition.data.overlap
    if overlap == "refuse" and (n > 1).any():
        raise DataError(
            f"{where}: {int((n > 1).sum())} pixels have several classes, which task multiclass"
            " does not allow; set data.overlap to ignore or last, or task multilabel, which keeps them"
            " all"
        )
    ignored = (n == 0) & (planes == IGNORE).any(axis=0)
    if overlap == "ignore":
        ignored |= n > 1
    if not background and ((n == 0) & ~ignored).any():
        lost = int(((n == 0) & ~ignored).sum())
        raise DataError(f"{where}: {lost} pixels have no class; expected one each")
    # of several classes the last; argmax finds the first, so that it looks from the end
    labels = (len(planes) - 1 - (planes[::-1] == 1).argmax(axis=0)).astype(np.uint8)
    if background:
        labels = np.where(n > 0, labels + 1, 0).astype(np.uint8)
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
        return _listed_codes(read_codes_once(path, competition), images)
    coco = read_coco_once(path)
    coco_places(coco, competition)
    found = coco_keys(coco, {i: p.relative_to(root).as_posix() for i, p in images.items()})
    used = set(found.values())
    return found, [name for name in coco.images if name not in used]


def _listed_codes(table: RleTable, images: Mapping[str, Path]) -> tuple[dict[str, str], list[str]]:
    """As `listed_images`, of a table whose rows may stand under several images: those that exist decide.

    Raises:
        DataError: an id cell is two images' that both exist.
    """
    loose = {key for keys in table.unsure for key in keys}
    sure = {key[0] for key in table.cells if key not in loose}
    maybe = {key[0] for key in loose} - sure
    unknown = [i for i in table.ids if i not in images and i not in maybe]
    doubtful = []
    for keys in table.unsure:
        there = [key for key in keys if key[0] in images]
        if not there:
            unknown.append(keys[0][0])
        if len(there) > 1:
            doubtful.append(say_unsure((i, table.names[k]) for i, k in there))
    if doubtful:
        raise DataError(
            f"{table.source}: {len(doubtful)} ids can be taken apart in several ways:"
            f" {some(doubtful, 3)}; give the classes a column of their own (class_column)"
        )
    return {i: i for i in table.ids if i in images}, list(dict.fromkeys(unknown))


def coco_keys(coco: CocoTable, images: Mapping[str, str]) -> dict[str, str]:
    """image_id -> file_name: the longest tail of the image's path that the JSON names.

    Raises:
        DataError: two images for one file_name.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for image_id, path in images.items():
        parts = (path.rpartition(".")[0] if coco.by_stem else path).split("/")
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


def read_coco_once(path: Path) -> CocoTable:
    """A COCO JSON, read anew only when the file changes."""
    with _LOADING:
        return _coco_of(path, _stamp(path))


@lru_cache(maxsize=4)
def _coco_of(path: Path, stamp: tuple[int, int]) -> CocoTable:
    return read_coco(path)


def read_codes_once(path: Path, competition: Competition) -> RleTable:
    """The competition's table of codes, read anew only when the file changes.

    Raises:
        DataError: all that is wrong with its columns and ids, at once.
    """
    with _LOADING:
        return _rle_of(path, _stamp(path), CodeRules.of(competition))


@lru_cache(maxsize=4)
def _rle_of(path: Path, stamp: tuple[int, int], rules: CodeRules) -> RleTable:
    problems: list[str] = []
    table = gather_codes(read_table(path), path.name, rules, problems, every=True)
    try:
        refuse(problems)
    except SubmissionError as error:
        raise DataError(str(error)) from error
    return table
