"""Objects that share pixels, in truth that is a table of codes or COCO JSON: how many, of which classes.

What happens to them is `truth.labels_of`'s: within a class a pixel counts once; between classes
multilabel keeps both, and multiclass does what `data.overlap` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from comp.config import Competition
from comp.data.sources.record import Record
from comp.data.sources.rle_check import THREADS
from comp.data.sources.truth import coco_places, read_coco_once, read_codes_once
from comp.errors import DataError
from comp.masks.rle import shared_pixels, union

LOOKED_AT = 2000  # images, spread over the set


def outside_told(records: Sequence[Record], sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Say which outlines of COCO JSON leave their images far behind; sizes as `overlaps_told` takes them."""
    by_file: dict[Path, dict[str, tuple[int, int]]] = {}
    for record in records:
        truth, size = record.truth, sizes.get(record.image_id)
        if truth is None or truth.kind != "coco" or truth.key is None or size is None:
            continue
        by_file.setdefault(record.masks[0], {})[truth.key] = size
    told = [read_coco_once(path).far_outside(mine) for path, mine in by_file.items()]
    return [line for line in told if line is not None]


@dataclass(frozen=True)
class Shared:
    """Pixels of one image that belong to several objects.

    Args:
        within: of one class; between: of several classes.
        pairs: (class index, class index) -> pixels that both claim.
    """

    within: int
    between: int
    pairs: Mapping[tuple[int, int], int]


def overlaps_told(
    records: Sequence[Record],
    competition: Competition,
    sizes: Mapping[str, tuple[int, int]],
    limit: int = LOOKED_AT,
) -> list[str]:
    """Say where objects overlap and what is made of it; nothing where none do.

    Args:
        sizes: image_id -> (height, width), of the images that can be read.
        limit: images looked at.
    """
    by_table: dict[Path, list[Record]] = {}
    for record in records:
        there = record.truth is not None and record.truth.key is not None and record.masks
        if there and record.image_id in sizes:
            by_table.setdefault(record.masks[0], []).append(record)
    lines = []
    for path, mine in by_table.items():
        step = -(-len(mine) // limit)
        looked = mine[::step]

        def one(record: Record) -> Shared | None:
            try:
                return shared(record, competition, sizes[record.image_id])
            except DataError:
                return None  # the scan names it

        with ThreadPoolExecutor(THREADS) as pool:
            found = [one for one in pool.map(one, looked) if one is not None]
        rle = competition.data.train_rle
        objects = rle is None or rle.row == "object" or rle.code == "coco_zlib"
        objects |= any(record.truth is not None and record.truth.kind == "coco" for record in mine)
        lines += _told(path.name, found, competition, objects)
    return lines


def shared(record: Record, competition: Competition, size: tuple[int, int]) -> Shared:
    """Count the pixels of one image that several objects claim.

    Raises:
        DataError: its truth cannot be drawn.
    """
    truth = record.truth
    assert truth is not None and truth.key is not None
    if truth.kind == "coco":
        coco = read_coco_once(record.masks[0])
        places = coco_places(coco, competition)
        tables = [coco.objects(truth.key, place, *size) for place in places]
        first = competition.task == "multiclass"
    else:
        table, problems = read_codes_once(record.masks[0], competition), list[str]()
        tables = [table.rows(truth.key, k, *size, problems) for k in range(len(table.names))]
        if problems:
            raise DataError(problems[0])
        first = False
    whole = [union(rows) for rows in tables]
    there = [k for k, runs in enumerate(whole) if len(runs)]
    pairs = {
        (a + first, b + first): n
        for a, b in combinations(there, 2)
        if (n := shared_pixels(whole[a], whole[b]))
    }
    between = deep_pixels(whole) if pairs else 0
    return Shared(sum(map(deep_pixels, tables)), between, pairs)


def deep_pixels(tables: Sequence[np.ndarray]) -> int:
    """Count the pixels that two or more tables of runs hold; each (R, 2) int64 and apart in itself."""
    if len(tables) < 2:
        return 0
    runs = np.concatenate(tables)
    ends = np.concatenate([runs[:, 0], runs.sum(axis=1)])
    steps = np.repeat([1, -1], len(runs))
    order = np.argsort(ends, kind="stable")
    depth = steps[order].cumsum()[:-1]
    return int(np.diff(ends[order])[depth > 1].sum())


def _told(name: str, found: Sequence[Shared], competition: Competition, objects: bool) -> list[str]:
    """The lines of one table; of classes that may overlap by rights only where its rows are objects."""
    lines = []
    n = sum(one.between > 0 for one in found)
    if n and (objects or competition.task == "multiclass"):
        pairs: Counter[tuple[int, int]] = Counter()
        for one in found:
            pairs.update(one.pairs)
        ((a, b), _), *others = pairs.most_common()
        most = f"{competition.classes[a]!r} and {competition.classes[b]!r}"
        if others:
            most += f" and {len(others)} other pair{'s' * (len(others) > 1)}"
        lines.append(
            f"{name}: objects of different classes ({most}) overlap in {n} of {len(found)} images,"
            f" {sum(one.between for one in found)} pixels: {what_happens(competition)}"
        )
    if n := sum(one.within > 0 for one in found):
        lines.append(
            f"{name}: objects of one class overlap in {n} of {len(found)} images,"
            f" {sum(one.within for one in found)} pixels: such a pixel counts once"
        )
    return lines


def what_happens(competition: Competition) -> str:
    """What is made of a pixel that objects of different classes claim."""
    if competition.task != "multiclass":
        return "such a pixel has them all (task multilabel)"
    return {
        "refuse": "refused, as a pixel of task multiclass has one class. data.overlap: ignore leaves such"
        " pixels out, last gives them to the class that stands later in classes; task multilabel"
        " keeps them all",
        "ignore": "such a pixel is neither trained nor scored (data.overlap: ignore)",
        "last": "such a pixel has the class that stands later in classes (data.overlap: last)",
    }[competition.data.overlap]
