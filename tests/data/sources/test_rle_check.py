"""Tables against masks: what differs, which convention would agree, rows that are not there."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.config import Competition, Submission, check
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record, find_records
from comp.data.sources.rle_check import (
    absent_rows,
    check_table,
    disagreements,
    find_convention,
    keys_of,
    reading_of,
    strings_convention,
    wrong_by_strings,
)
from comp.formats.reading import RleTable, read_submission
from comp.formats.table import read_table, table_bytes
from comp.masks.convention import READINGS, Reading
from comp.masks.rle import decode, encode
from tests.coco_cells import coco_text, counts_of, zipped

spec = importlib.util.spec_from_file_location(
    "drawn", Path(__file__).parents[2].joinpath("drawn.py")
)
assert spec is not None and spec.loader is not None
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)

SIZE = (48, 64)


def competition(task: str = "binary") -> Competition:
    masks: dict[int, int] = {0: 0, 255: 1} if task == "binary" else {0: 0, 1: 1, 2: 2, 255: 255}
    values: dict[str, Any] = {
        "name": "toy",
        "task": task,
        "classes": ["object"] if task == "binary" else ["ground", "roof", "tree"],
        "data": {
            "root": ".",
            "train": [{"images": "images/{id}.png", "masks": "masks/{id}.png"}],
            "mask_values": masks,
        },
    }
    if task == "multiclass":
        values["ignore_index"] = 255
    return check(Competition, values, "test")


def rewrite(root: Path, reading: Reading, empty: str = "", drop_empty: bool = False) -> Path:
    """Spell the codes of train.csv by another reading."""
    path = root / "train.csv"
    frame = read_table(path)
    rows = []
    for *cells, code in frame.itertuples(index=False):
        mask = decode(code, *SIZE)
        text = encode(mask, reading.order, reading.base, reading.kind == "relative")
        if text or not drop_empty:
            rows.append((*cells, text or empty))
    path.write_bytes(table_bytes(list(frame.columns), rows))
    return path


def table_of(path: Path, task: str = "binary", **layout: Any) -> RleTable:
    values: dict[str, Any] = dict(layout)
    if task == "multiclass":
        values |= {"row": "image_class", "class_column": "ClassId"}
    return read_submission(path, Submission.model_validate(values), 1 if task == "binary" else 3)


def records_of(root: Path, task: str = "binary") -> tuple[Record, ...]:
    return find_records(competition(task), root).train


PAIRS = [reading for reading in READINGS if reading.kind != "counts"]


@pytest.mark.parametrize("reading", PAIRS, ids=[r.told for r in PAIRS])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_convention_by_masks_and_what_verify_says_of_a_wrong_one(
    tmp_path: Path, reading: Reading, task: str
) -> None:
    root = drawn.draw_kaggle(tmp_path, 12, task=task, size=SIZE)
    path, records = rewrite(root, reading), records_of(root, task)
    table = table_of(path, task)
    found = find_convention(table, records, competition(task))
    assert found is not None and found.reading == reading and not found.open
    problems, _ = check_table(table, records, competition(task))
    if reading == READINGS[0]:
        assert problems == []
        return
    assert problems[0].startswith("train.csv: ") and "images differ from their masks" in problems[0]
    declared = "wrong convention: declared column-major, first pixel 1"
    assert declared in problems[1] and f"agree as {reading.told}" in problems[1]
    keys = keys_of(reading, Submission())
    advice = ", ".join(f"data.train_rle.{key}: {str(v).lower()}" for key, v in keys.items())
    assert f": set {advice} (submission declares the same as before" in problems[1]
    right = table_of(path, task, **keys)
    assert reading_of(right.submission) == reading
    assert check_table(right, records, competition(task)) == ([], [])


def test_a_few_wrong_rows_are_no_wrong_convention(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, size=SIZE)
    path = root / "train.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["p_001,1 5" if x.startswith("p_001,") else x for x in lines]))
    problems, _ = check_table(table_of(path), records_of(root), competition())
    assert len(problems) == 1 and "1 images differ from their masks: p_001: " in problems[0]


def test_rows_of_other_images_are_named_as_such(tmp_path: Path) -> None:
    """Each code belongs to another picture: no convention mends that."""
    root = drawn.draw_kaggle(tmp_path, size=SIZE)
    path = root / "train.csv"
    frame = read_table(path)
    codes = [code for code in frame["EncodedPixels"] if code]
    ids = [i for i, code in zip(frame["ImageId"], frame["EncodedPixels"], strict=True) if code]
    path.write_bytes(table_bytes(list(frame.columns), zip(ids, codes[3:] + codes[:3], strict=True)))
    problems, _ = check_table(table_of(path), records_of(root), competition())
    assert len(problems) == 1 and "images differ" in problems[0]


def test_rows_that_are_not_there(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, size=SIZE)
    path, records = rewrite(root, READINGS[0], drop_empty=True), records_of(root)
    table = table_of(path)
    problems, notes = absent_rows(table, records, competition())
    assert problems == []
    assert notes == ["train.csv: 2 images without a row, their masks are empty"]
    lines = [line for line in path.read_text().splitlines() if not line.startswith("p_001,")]
    path.write_text("\n".join(lines))
    problems, notes = check_table(table_of(path), records, competition())
    assert problems == ["train.csv: 1 images without a row: p_001"] and len(notes) == 1


def test_masks_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, size=SIZE)
    records = records_of(root)
    for record in records:
        record.masks[0].write_bytes(b"")
    assert find_convention(table_of(root / "train.csv"), records, competition()) is None
    assert len(disagreements(table_of(root / "train.csv"), records, competition())) == 12


@pytest.mark.parametrize("reading", PAIRS, ids=[r.told for r in PAIRS])
def test_the_convention_by_strings(tmp_path: Path, reading: Reading) -> None:
    root = drawn.draw_kaggle(tmp_path, 60, size=SIZE)
    path = rewrite(root, reading, "-1")
    table = table_of(path)
    sizes = dict.fromkeys(table.ids, SIZE)
    found = strings_convention(table, sizes)
    assert (found.kind, found.order, found.empty) == (reading.kind, reading.order, "-1")
    assert found.base in (None, reading.base)
    told = wrong_by_strings(table, sizes)
    if reading == READINGS[0]:
        assert told is None
    elif reading.kind == "relative" or reading.order == "row":
        assert told is not None
        assert told.startswith("train.csv: declared column-major, first pixel 1, but the codes of ")
        assert "starts relative to the run before" in told or "row-major" in told


PACKED = {
    "counts": lambda mask: " ".join(map(str, counts_of(mask))),
    "coco": lambda mask: coco_text(counts_of(mask)),
    "coco_zlib": lambda mask: zipped(coco_text(counts_of(mask))),
}


@pytest.mark.parametrize("code", PACKED)
def test_counts_that_are_declared_as_pairs_and_the_other_way_round(
    tmp_path: Path, code: str
) -> None:
    root = drawn.draw_kaggle(tmp_path, 12, size=SIZE)
    path, records = root / "train.csv", records_of(root)
    frame = read_table(path)
    pairs = replace(table_of(path), code=code)
    told = check_table(pairs, records, competition())[0]
    assert told[1].startswith("train.csv: wrong convention: declared column-major COCO counts, but")
    assert ": set data.train_rle.code: pairs" in told[1]
    rows = [(i, PACKED[code](decode(cell, *SIZE))) for i, cell in frame.itertuples(index=False)]
    path.write_bytes(table_bytes(list(frame.columns), rows))
    table = table_of(path)
    told = check_table(table, records, competition())[0]
    assert told[1].endswith(f"agree as column-major COCO counts: set data.train_rle.code: {code}")
    said = wrong_by_strings(table, dict.fromkeys(table.ids, SIZE))
    assert said is not None and "kind of numbers: COCO counts" in said
    assert said.endswith(f": set data.train_rle.code: {code}")
    right = replace(table, code=code)
    assert check_table(right, records, competition()) == ([], [])
    assert wrong_by_strings(right, dict.fromkeys(table.ids, SIZE)) is None


def test_only_some_images_are_looked_at(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, 30, size=SIZE)
    table = table_of(root / "train.csv")
    oblong = dict.fromkeys(table.ids[:20], SIZE) | dict.fromkeys(table.ids[20:], (48, 48))
    assert strings_convention(table, oblong, limit=8).votes["empty"].get("", 0) <= 8
    found = find_convention(table, records_of(root), competition(), limit=5)
    assert found is not None and found.n_images == 5


def test_the_keys_that_say_a_reading() -> None:
    assert keys_of(READINGS[0]) == {"order": "column", "base": 1}
    assert keys_of(READINGS[4]) == {"order": "column", "base": 0, "relative": True}
    assert keys_of(READINGS[1], Submission(relative=True)) == {"order": "row", "relative": False}
    counts = Reading("counts", "row", 0)
    assert keys_of(counts) == {"code": "counts", "order": "row"}
    assert keys_of(counts, packed="coco") == {"code": "coco", "order": "row"}
    assert keys_of(counts, Submission(order="row"), "zlib and base64") == {"code": "coco_zlib"}
    table = RleTable("t.csv", Submission(), ("",), (), {}, code="coco")
    assert keys_of(counts, table, "coco") == {"order": "row"}
    assert keys_of(READINGS[1], table) == {"code": "pairs", "order": "row"}


def test_ignored_pixels_are_not_compared(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, 6, task="multiclass", size=SIZE)
    records = records_of(root, "multiclass")
    labels = [read_labels(record, competition("multiclass")) for record in records]
    assert any((label == 255).any() for label in labels)
    table = table_of(root / "train.csv", "multiclass")
    frame = read_table(root / "train.csv")
    rows = []
    for image_id, k, _ in frame.itertuples(index=False):
        plane = labels[int(image_id[2:])] == int(k)
        plane |= (labels[int(image_id[2:])] == 255) & (
            k == "0"
        )  # the ignored corner given to class 0
        rows.append((image_id, k, encode(np.ascontiguousarray(plane))))
    (root / "train.csv").write_bytes(table_bytes(list(frame.columns), rows))
    table = table_of(root / "train.csv", "multiclass")
    assert check_table(table, records, competition("multiclass")) == ([], [])
