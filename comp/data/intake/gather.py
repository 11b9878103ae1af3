"""The records of a reading, for `comp init`: divided by the lists beside them, images without a mask as decided.

Where no pattern can say the rows, the competition is to read the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from comp.data.intake.lists import divide_by_lists, row_of
from comp.data.intake.seen import Understood, draft_competition
from comp.data.intake.truth import first_draft
from comp.data.layouts.found import Found
from comp.data.layouts.tree import Tree
from comp.data.sources.coco import looks_like_coco
from comp.data.sources.manifest import Row
from comp.data.sources.paired import SAY_ABSENT, Search, look_up
from comp.data.sources.record import NO_OBJECTS, Record, Records
from comp.data.sources.records import look_for_records, records_of_rows
from comp.errors import some

MANIFEST = "configs/manifest.csv"  # in the workspace
BY_TABLE = ("rle_table", "coco")  # layouts whose truth is no mask file


def gather(
    seen: Understood, tree: Tree, found: Found, data: dict[str, Any], absent: str | None
) -> Records:
    """The images of the reading with their truth and parts.

    Args:
        data: the data section so far; its train and test are changed where the manifest says them.
        absent: what was decided of images without a mask or row: "empty" or "leave_out".
    """
    if found.rows and found.layout in BY_TABLE:
        return _of_table(seen, found, data, tree.root, absent)
    if found.rows:
        bare = [row for row in found.rows if row.split != "test" and not row.masks]
        if bare and absent is None:
            images = some(row.images[0] for row in bare)
            seen.problems.append(
                f"{found.place}: {len(bare)} images with a blank mask: {images}{SAY_ABSENT}"
            )
        _read_manifest(seen, data, found.rows, absent if bare else None)
        return _of_rows(found.rows, tree.root, {}, absent)
    if absent is not None:
        for pairs in data["train"]:
            pairs["absent"] = absent
    records, problems = _look(found, data, tree.root)
    if found.layout == "named":
        seen.problems += problems
        return records
    if (apart := _apart(found, data, tree.root)) is not None:
        seen.lines.append("ids repeat in the parts: they carry the part's name, train/ or val/")
        seen.problems += [line for line in problems if " is used by two images: " not in line]
        rows = [row_of(r, tree.root) for r in (*apart.train, *apart.test)]
        blank = any(not row.masks for row in rows if row.split != "test")
        test = data.get("test")
        _read_manifest(seen, data, rows, absent if blank else None)
        if test is not None:
            data["test"] = test
        return apart
    every = _with_all_images(found, data, tree.root) or records
    divided = divide_by_lists(tree, found, every)
    seen.lines += divided.notes
    if divided.bare and absent is None:
        n = len(divided.bare)
        seen.problems.append(
            f"{n} image{'s' * (n > 1)} without a mask: {some(divided.bare)}{SAY_ABSENT}"
        )
    if found.layout not in BY_TABLE:
        seen.lines += [
            f"{path}: COCO annotations, not used: the masks are the truth; --layout coco takes them"
            for path in tree.files(".json")
            if looks_like_coco(tree.root / path)
        ]
    seen.problems += divided.problems
    if not divided.rows:
        seen.problems += problems
        return records
    return _divided(seen, data, divided.rows, every, problems)


def _of_table(
    seen: Understood, found: Found, data: dict[str, Any], root: Path, absent: str | None
) -> Records:
    """Rows whose truth stands in a table of codes, under ids that no pattern gives."""
    pairs = {**data["train"][0], **({"absent": absent} if absent else {})}
    search = Search(draft_competition(first_draft(found, {**data, "train": [pairs]})), root)
    images = {row.image_id: root / row.images[0] for row in found.rows if row.split != "test"}
    made = look_up(search.competition.data.train[0], images, search)
    seen.problems += search.problems
    _read_manifest(seen, data, found.rows, absent, {"rle": True})
    tests = [row for row in found.rows if row.split == "test"]
    made.sort(key=lambda record: record.image_id)
    return Records(tuple(made), tuple(records_of_rows(tests, root)))


def _look(found: Found, data: dict[str, Any], root: Path) -> tuple[Records, list[str]]:
    return look_for_records(draft_competition(first_draft(found, data)), root)


def _apart(found: Found, data: dict[str, Any], root: Path) -> Records | None:
    """Parts in which ids repeat, each id with its part before it; None where ids are one each."""
    parts = data["train"]
    if found.layout in BY_TABLE or len({pairs.get("split", "train") for pairs in parts}) < len(
        parts
    ):
        return None
    each = [_look(found, {**data, "train": [pairs]}, root)[0] for pairs in parts]
    ids = [record.image_id for records in each for record in records.train]
    if len(parts) < 2 or len(set(ids)) == len(ids):
        return None
    made = [
        replace(record, image_id=f"{record.split}/{record.image_id}")
        for records in each
        for record in records.train
    ]
    made.sort(key=lambda record: record.image_id)
    both = each[0].left_out, *(set(records.left_out) for records in each[1:])
    left_out = tuple(path for path in both[0] if all(path in other for other in both[1:]))
    return Records(tuple(made), each[0].test, left_out, tuple(p for r in each for p in r.alone))


def _with_all_images(found: Found, data: dict[str, Any], root: Path) -> Records | None:
    """With a table as the truth, the images too of which it says nothing: lists may name them."""
    if found.layout not in BY_TABLE or len(data["train"]) > 1:
        return None
    return _look(found, {**data, "train": [{**data["train"][0], "absent": "empty"}]}, root)[0]


def _divided(
    seen: Understood,
    data: dict[str, Any],
    rows: Sequence[Row],
    every: Records,
    problems: Sequence[str],
) -> Records:
    """The records of the rows that lists left, with the truth that they had."""
    by_id = {record.image_id: record for record in every.train}
    first = data["train"][0]
    absent = first.get("absent", "refuse")
    unsaid = [
        row.image_id
        for row in rows
        if row.split != "test" and _says_nothing(by_id.get(row.image_id))
    ]
    by_table = bool(first.get("rle") or first.get("coco"))
    if by_table:
        file = first.get("coco") or data["train_rle"]["file"]
        seen.problems += [line for line in problems if " says nothing of " not in line]
        if unsaid and absent == "refuse":
            seen.problems.append(
                f"{file} says nothing of {len(unsaid)} of the {len(rows)} images listed:"
                f" {some(unsaid)}{SAY_ABSENT}"
            )
        if absent == "leave_out":
            gone = set(unsaid)
            rows = [row for row in rows if row.image_id not in gone]
    rows = _settle_test(seen, data, rows, every)
    told = {key: first[key] for key in ("rle", "coco") if first.get(key)}
    _read_manifest(seen, data, rows, absent if unsaid and absent != "refuse" else None, told)
    made = _of_rows(rows, Path(seen.root), by_id, None if by_table else absent)
    if not made.test:
        seen.rows += tuple(row_of(record, Path(seen.root)) for record in every.test)
    return Records(made.train, made.test or every.test, every.left_out, every.alone)


def _says_nothing(record: Record | None) -> bool:
    """Whether an image has no truth: no mask, or a table that does not name it."""
    return record is None or (record.truth is not None and record.truth.key is None)


def _settle_test(
    seen: Understood, data: dict[str, Any], rows: Sequence[Row], every: Records
) -> Sequence[Row]:
    """Rows without the test images where a folder of their own holds those."""
    listed = [row for row in rows if row.split == "test"]
    if not listed or not every.test:
        return rows
    root = Path(seen.root)
    held = {record.image.relative_to(root).as_posix() for record in every.test}
    if others := [row.image_id for row in listed if row.images[0] not in held]:
        seen.lines.append(
            f"left out, {len(others)} images that lists call test: {some(others)}; the test images are"
            f" those of {data['test']}"
        )
    return [row for row in rows if row.split != "test"]


def _read_manifest(
    seen: Understood,
    data: dict[str, Any],
    rows: Sequence[Row],
    absent: str | None,
    truth: dict[str, Any] | None = None,
) -> None:
    """Let the competition read the manifest."""
    seen.needs_manifest = True
    data["train"] = [{"manifest": MANIFEST, **(truth or {})}]
    if absent is not None:
        data["train"][0]["absent"] = absent
    if any(row.split == "test" for row in rows):
        data.pop("test", None)
    seen.rows = tuple(sorted(rows, key=lambda row: row.image_id))


def _of_rows(
    rows: Sequence[Row], root: Path, known: dict[str, Record], absent: str | None
) -> Records:
    """The records of rows; those that are known keep what they are read from.

    Args:
        absent: as in the competition file; images without a mask are left away unless it is "empty".
    """
    made = []
    for record in records_of_rows(list(rows), root):
        if record.split != "test" and record.image_id in known:
            record = replace(known[record.image_id], split=record.split)
        elif record.split != "test" and not record.masks:
            if absent != "empty":
                continue
            record = replace(record, truth=NO_OBJECTS)
        made.append(record)
    made.sort(key=lambda record: record.image_id)
    return Records(
        tuple(record for record in made if record.split != "test"),
        tuple(record for record in made if record.split == "test"),
    )
