"""Lists of validation ids as people write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comp.data.folds.heldout import read_heldout
from comp.data.sources.records import Record
from comp.errors import FoldsError

RECORDS = [
    Record(str(i), Path(f"/d/train/images/img_{i}.tif"), (Path(f"/d/train/masks/mask_{i}.tif"),))
    for i in range(12)
]
PADDED = [Record(f"{i:03d}", Path(f"/data/{i:03d}.png")) for i in range(12)]


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        ["3", "7"],
        [3, 7],
        ["img_3.tif", "img_7.tif"],
        ["img_3", "img_7"],
        ["train/images/img_3.tif", "./images/img_7.tif"],
        ["images\\img_3.tif", "mask_7.tif"],
        {"val": [3, 7]},
        {"train": [0, 1, 2], "val_ids": ["3", "7"]},
        {"anything": ["3", "7"]},
        {"3": "val", "7": "valid", "1": "train"},
        [3, 7, 3],
    ],
)
def test_json_spellings(tmp_path: Path, content: Any) -> None:
    assert read_heldout(write(tmp_path, "val.json", content), RECORDS) == {"3", "7"}


@pytest.mark.parametrize(
    "content",
    [
        "id\n3\n7\n",
        "3\n7\n",
        "\ufeffImageId,split\r\n3,val\r\n1,train\r\n7,Valid\r\n",
        "fold,filename\n0,img_3.tif\n0,img_7.tif\n",
        "validation\nimg_3\nimg_7\n",
    ],
)
def test_csv_spellings(tmp_path: Path, content: str) -> None:
    assert read_heldout(write(tmp_path, "val.csv", content), RECORDS) == {"3", "7"}


def test_numbers_and_padded_ids(tmp_path: Path) -> None:
    assert read_heldout(write(tmp_path, "v.json", [3, "7", "011"]), PADDED) == {"003", "007", "011"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.json", [3, 99, "img_98.tif"], r"2 of 3 names are no training image: 99, img_98\.tif; expected ids"),
        ("v.csv", "img_33\n3\n", "1 of 2 names are no training image: img_33"),
        ("v.json", {"a": [1], "b": [2]}, r"expected one list of validation ids \(key val\), got the keys a, b"),
        ("v.json", [True], "expected a JSON list of ids, or a dict that holds one, got '\\[true\\]'"),
        ("v.json", "{", "cannot be read: "),
        ("v.json", [], "lists no validation image"),
        ("v.csv", "id\n", "lists no validation image below 'id'"),
        ("v.csv", "id,split\n3\n", "rows of different lengths; expected 2 columns"),
    ],
)  # fmt: skip
def test_what_cannot_be_placed_is_refused(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    with pytest.raises(FoldsError, match=message):
        read_heldout(write(tmp_path, name, content), RECORDS)


def test_a_name_of_two_images_is_refused(tmp_path: Path) -> None:
    records = [Record("a", Path("/d/a/image.png")), Record("b", Path("/d/b/image.png"))]
    with pytest.raises(
        FoldsError, match=r"1 names fit more than one image: image\.png; use image ids"
    ):
        read_heldout(write(tmp_path, "v.json", ["image.png"]), records)
    assert read_heldout(write(tmp_path, "v.json", ["b/image.png"]), records) == {"b"}


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FoldsError, match=r"none\.json: folds.heldout names no file"):
        read_heldout(tmp_path / "none.json", RECORDS)
