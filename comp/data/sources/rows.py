"""A manifest -> records: its rows, with masks of their own or with the truth of a table or JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from comp.config import Pairs
from comp.data.images.bands import BandPath
from comp.data.sources.manifest import Row, missing_files, read_manifest
from comp.data.sources.paired import SAY_ABSENT, Search, look_up
from comp.data.sources.record import NO_OBJECTS, Record
from comp.errors import some


def records_of_rows(rows: list[Row], root: Path) -> list[Record]:
    """The records that the rows of a manifest name."""
    return [
        Record(
            row.image_id,
            BandPath.of([root / path for path in row.images]),
            () if row.split == "test" else tuple(root / path for path in row.masks),
            row.split,
        )
        for row in rows
    ]


def from_manifest(pairs: Pairs, search: Search) -> list[Record]:
    """The whole records of a manifest; test rows count where `data.test` says nothing."""
    assert pairs.manifest is not None
    path, root, competition = search.root / pairs.manifest, search.root, search.competition
    rows = read_manifest(path)
    if competition.data.test is not None:
        rows = [row for row in rows if row.split != "test"]
    rows = _without_excluded(rows, search)
    search.problems += missing_files(rows, root, path.name)
    search.taken |= {root / file for row in rows for file in (*row.images, *row.masks)}
    there = [r for r in records_of_rows(rows, root) if all(f.is_file() for f in r.files)]
    if pairs.rle or pairs.coco is not None:
        found = _of_parts(pairs, there, search)
    else:
        found = _with_masks(pairs, rows, there, path.name, search)
    n = len(competition.data.bands or ("",))
    if odd := [row.image_id for row in rows if len(row.images) != n]:
        search.problems.append(
            f"{path.name}: expected {n} image files a row; not so for {some(odd)}"
        )
    return found


def _without_excluded(rows: list[Row], search: Search) -> list[Row]:
    """The rows but those of training images that data.exclude names."""
    files = {
        row.image_id: [search.root / file for file in (*row.images, *row.masks)]
        for row in rows
        if row.split != "test"
    }
    kept = search.without(files)
    return [row for row in rows if row.split == "test" or row.image_id in kept]


def _with_masks(
    pairs: Pairs, rows: list[Row], there: list[Record], name: str, search: Search
) -> list[Record]:
    """The records of rows; those that leave the masks blank as `absent` says."""
    bare = {record.image_id for record in there if record.split != "test" and not record.masks}
    if pairs.absent == "empty":
        return [
            replace(record, truth=NO_OBJECTS) if record.image_id in bare else record
            for record in there
        ]
    masked = {bool(row.masks) for row in rows if row.split != "test"}
    if len(masked) < 2 and pairs.absent == "refuse":
        return there  # a set without any masks
    if pairs.absent == "refuse" and (
        lost := [row.image_id for row in rows if row.split != "test" and not row.masks]
    ):
        search.problems.append(f"{name}: {len(lost)} images have no mask: {some(lost)}{SAY_ABSENT}")
    if pairs.absent == "leave_out":
        search.taken -= {
            file for record in there if record.image_id in bare for file in record.files
        }
    return [record for record in there if record.image_id not in bare]


def _of_parts(pairs: Pairs, rows: list[Record], search: Search) -> list[Record]:
    """The manifest's images and parts with the truth of a table or JSON."""
    split = {row.image_id: row.split for row in rows}
    images = {row.image_id: row.image for row in rows if row.split != "test"}
    found = [
        Record(r.image_id, r.image, r.masks, split[r.image_id], r.truth)
        for r in look_up(pairs, images, search, all_listed=False)
    ]
    return found + [row for row in rows if row.split == "test"]
