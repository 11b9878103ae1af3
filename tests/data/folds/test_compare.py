"""Somebody else's folds beside ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comp.data.folds.compare import compare_folds
from comp.data.folds.table import FoldTable
from comp.errors import DataError
from comp.files import write_json

IDS = tuple(f"i{n}" for n in range(8))
TABLE = FoldTable(IDS, (0, 1, 2, 0, 1, 2, -1, -2), ("",) * 8, ("",) * 8, "kfold", 0, 3)


def write(path: Path, rows: dict[str, object], columns: str = "image_id,fold") -> Path:
    path.write_text("\n".join([columns, *(f"{i},{f}" for i, f in rows.items())]) + "\n")
    return path


def test_the_same_folds_in_any_order_with_further_columns(tmp_path: Path) -> None:
    same = dict(zip(IDS, TABLE.fold, strict=True))
    path = write(tmp_path / "f.csv", dict(reversed(same.items())))
    assert compare_folds(TABLE, path) == []
    assert (
        compare_folds(TABLE, write(path, {i: f"{f},x" for i, f in same.items()}, "id,fold,g")) == []
    )


def test_every_difference_is_told_at_once(tmp_path: Path) -> None:
    rows = dict(zip(IDS, TABLE.fold, strict=True)) | {"i0": 1, "i4": "", "x": 0}
    del rows["i7"]
    path = write(tmp_path / "f.csv", rows)
    path.write_text(path.read_text() + "i2,2\n")
    assert compare_folds(TABLE, path) == [
        "f.csv: 1 images are missing: i7", "f.csv: 1 images are not ours: x",
        "f.csv: 1 images are there more than once: i2",
        "f.csv: 2 images are in another fold than ours: i0 (theirs 1, ours 0), i4 (theirs blank, ours 1)",
    ]  # fmt: skip


def test_the_same_division_under_other_numbers_is_said(tmp_path: Path) -> None:
    rows = {i: f + 1 if f >= 0 else f for i, f in zip(IDS, TABLE.fold, strict=True)}
    (told,) = compare_folds(TABLE, write(tmp_path / "f.csv", rows))
    assert "6 images are in another fold" in told and "their 1 is our 0" in told


def test_repeats_and_what_is_left_out_count_too(tmp_path: Path) -> None:
    table = replace(TABLE, repeats=((3, 4, 5, 4, 5, 3, -1, -2),))
    path = write(tmp_path / "f.csv", dict(zip(IDS, TABLE.fold, strict=True)))
    assert compare_folds(table, path) == ["f.csv: our folds have the column repeats, it has not"]
    both = {i: f"{a},{b}" for i, a, b in zip(IDS, table.fold, table.repeats[0], strict=True)}
    assert compare_folds(table, write(path, both, "image_id,fold,repeats")) == []
    both["i1"] = "1,5"
    (told,) = compare_folds(table, write(path, both, "image_id,fold,repeats"))
    assert "1 images are in another repeats than ours: i1 (theirs 5, ours 4)" in told


def test_a_card_is_compared_by_its_hash(tmp_path: Path) -> None:
    write_json(tmp_path / "f.json", {"hash": TABLE.hash})
    assert compare_folds(TABLE, tmp_path / "f.json") == []
    write_json(tmp_path / "f.json", {"hash": "abc"})
    (told,) = compare_folds(TABLE, tmp_path / "f.json")
    assert "f.json: hash abc of other folds" in told and TABLE.hash in told


def test_a_file_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the columns image_id and fold, got name, k"):
        compare_folds(TABLE, write(tmp_path / "f.csv", {"a": 1}, "name,k"))
