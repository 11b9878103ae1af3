"""Patterns, manifests, tables of codes -> records: every image found, with the files of its truth.

Nothing is dropped silently: an image without a mask, a mask without an image and two files of one
id are refused together, with counts.
"""

from __future__ import annotations

import re
from pathlib import Path

from comp.config import Competition
from comp.data.sources.paired import (
    Search,
    files_in,
    from_patterns,
    images_of,
    no_background,
    say_unknown,
)
from comp.data.sources.patterns import entries, image_files, is_image_name, is_litter, match
from comp.data.sources.record import Record, Records
from comp.data.sources.rows import from_manifest, records_of_rows
from comp.errors import DataError, some

# No table gives these back as they were; some of them steer a terminal.
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

__all__ = [
    "Record",
    "Records",
    "entries",
    "find_records",
    "image_files",
    "is_image_name",
    "is_litter",
    "look_for_records",
    "match",
    "records_of_rows",
]


def find_records(competition: Competition, data_root: Path) -> Records:
    """Find and pair every image of the competition.

    Raises:
        DataError: every unmatched or doubled file, with the first five and the count of each kind.
    """
    records, problems = look_for_records(competition, data_root)
    if problems:
        raise DataError("\n".join(problems))
    return records


def look_for_records(competition: Competition, data_root: Path) -> tuple[Records, list[str]]:
    """As `find_records`, but the problems are returned, beside the records that are whole."""
    search = Search(competition, data_root)
    train: dict[str, Record] = {}
    test: dict[str, Record] = {}
    pattern = competition.data.test
    if pattern and "{band}" not in pattern:
        search.tests = files_in(match(data_root, pattern))
    for pairs in competition.data.train:
        if pairs.absent == "empty" and (told := no_background(competition)):
            search.problems.append(told)
        found = from_patterns if pairs.manifest is None else from_manifest
        for record in found(pairs, search):
            part = test if record.split == "test" else train
            other = part.setdefault(record.image_id, record)
            if other is not record:
                files = f"{other.image} and {record.image}"
                search.problems.append(f"id {record.image_id!r} is used by two images: {files}")
    if pattern is not None:
        images = images_of(pattern, "test image", search, train=False)
        test = {i: Record(i, image, (), "test") for i, image in images.items()}
    if odd := [image_id for image_id in (*train, *test) if UNWRITABLE.search(image_id)]:
        search.problems.append(
            f"{len(odd)} ids with control characters, or that are no UTF-8: {some(map(repr, odd))}; rename them"
        )
    if told := say_unknown(search, test):
        search.problems.append(told)
    taken = search.taken
    beside = {path for folder in {p.parent for p in taken} for path in image_files(folder)}
    return Records(
        tuple(train[i] for i in sorted(train)),
        tuple(test[i] for i in sorted(test)),
        tuple(sorted(beside - taken)),
        tuple(search.alone),
    ), search.problems
