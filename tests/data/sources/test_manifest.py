"""The manifest: what is written is read again, and rows that are wrong are all named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.config import Competition, check, load_competition
from comp.data.images.bands import files_of
from comp.data.sources.manifest import (
    Row,
    join_paths,
    leaves_root,
    manifest_text,
    read_manifest,
    split_paths,
)
from comp.data.sources.records import look_for_records
from comp.errors import DataError

PATH = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), min_size=1, max_size=12
)


@given(st.lists(PATH, max_size=5))
def test_any_paths_survive_their_cell(paths: list[str]) -> None:
    assert split_paths(join_paths(paths)) == tuple(paths)


@given(
    st.lists(PATH, min_size=1, max_size=6, unique=True), st.sampled_from(["train", "val", "test"])
)
def test_any_rows_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], split: str
) -> None:
    rows = [Row(i, split, (f"a;{n}.png", "b\\.png"), ("m 1.png",)) for n, i in enumerate(ids)]
    path = tmp_path_factory.mktemp("m") / "manifest.csv"
    path.write_text(manifest_text(rows), encoding="utf-8", newline="")
    assert read_manifest(path) == rows


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


HEAD = "image_id,split,image,masks"


def test_every_wrong_row_is_named(tmp_path: Path) -> None:
    path = written(
        tmp_path / "m.csv", HEAD, "a,train,a.png,m.png", "a,train,b.png,m.png", "c,tain,c.png,", ",val,d.png,",
        "e,val,,m.png", "f,test,../f.png,", "g,val,g.png",
    )  # fmt: skip
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    said = str(caught.value)
    assert "6 rows are wrong: row 2, id 'a': the id stands there twice" in said
    assert "row 3, id 'c': split 'tain'; expected train, val, test" in said
    assert "row 4, id '': no id" in said and "row 5, id 'e': no image" in said
    assert "'../f.png' leaves the data's root (and 1 more)" in said


def test_no_manifest_another_header_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing manifest: .*m\.csv \(data\.train\.manifest\)"):
        read_manifest(tmp_path / "m.csv")
    with pytest.raises(
        DataError, match="expected the columns image_id,split,image,masks, got id,x"
    ):
        read_manifest(written(tmp_path / "m.csv", "id,x", "1,2"))
    with pytest.raises(DataError, match="no rows; expected one an image"):
        read_manifest(written(tmp_path / "m.csv", HEAD))
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("path", "leaves"),
    [
        ("a/b.png", False), ("a..b/c.png", False), ("/a.png", True), ("../a.png", True), ("a/../../b", True),
        ("C:\\a.png", True), ("a\\..\\..\\b", True), ("~/a.png", True), ("\\\\host\\a", True),
    ],
)  # fmt: skip
def test_paths_that_leave_the_root(path: str, leaves: bool) -> None:
    assert leaves_root(path) is leaves


def competition(**data: Any) -> Competition:
    values = {"name": "t", "task": "binary", "classes": ["c"], "data": {"root": ".", **data}}
    return check(Competition, values, "test")


def test_records_of_a_manifest(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "m.png", "n.png", "t.png", "beside.png"):
        (tmp_path / name).touch()
    written(
        tmp_path / "m.csv",
        HEAD,
        "a,train,a.png,m.png;n.png",
        "b,val,b.png,n.png",
        "t,test,t.png,m.png",
    )
    records, problems = look_for_records(competition(train=[{"manifest": "m.csv"}]), tmp_path)
    assert problems == []
    assert [(r.image_id, r.split, len(r.masks)) for r in records.train] == [
        ("a", "train", 2), ("b", "val", 1),
    ]  # fmt: skip
    assert [(r.image_id, r.masks) for r in records.test] == [("t", ())]
    assert [p.name for p in records.left_out] == ["beside.png"]


def test_what_a_manifest_names_in_vain(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "m.png"):
        (tmp_path / name).touch()
    written(
        tmp_path / "m.csv", HEAD, "a,train,a.png,m.png", "b,val,b.png,gone.png", "c,train,a.png,"
    )
    records, problems = look_for_records(competition(train=[{"manifest": "m.csv"}]), tmp_path)
    assert [r.image_id for r in records.train] == ["a"]
    assert "m.csv: 1 of the files it names are not in" in problems[0] and "gone.png" in problems[0]
    assert problems[1] == (
        "m.csv: 1 images have no mask: c; data.train absent: empty if nothing is to be seen on them,"
        " leave_out if they are not labelled"
    )
    two = competition(train=[{"manifest": "m.csv"}], bands=["x", "y"])
    assert (
        "expected 2 image files a row; not so for a, b, c" in look_for_records(two, tmp_path)[1][-1]
    )


def test_bands_of_a_manifest_keep_their_order(tmp_path: Path) -> None:
    for name in ("a2.png", "a1.png", "m.png"):
        (tmp_path / name).touch()
    written(tmp_path / "m.csv", HEAD, "a,train,a2.png;a1.png,m.png")
    comp = competition(train=[{"manifest": "m.csv"}], bands=["two", "one"])
    records, problems = look_for_records(comp, tmp_path)
    assert problems == [] and [p.name for p in files_of(records.train[0].image)] == [
        "a2.png",
        "a1.png",
    ]


def test_a_manifest_of_the_workspace_comes_first(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    written(tmp_path / "configs/manifest.csv", HEAD, "a,train,a.png,m.png")
    written(
        tmp_path / "configs/competition.yaml",
        "name: t", "task: binary", "classes: [c]", "data:", "  root: data", "  train:",
        "    - manifest: configs/manifest.csv", "    - manifest: other.csv",
    )  # fmt: skip
    first, second = load_competition(tmp_path).data.train
    assert (
        first.manifest == str(tmp_path / "configs/manifest.csv") and second.manifest == "other.csv"
    )


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"manifest": "m.csv", "images": "{id}.png"}, "manifest stands alone"),
        ({}, "images: missing"),
        ({"images": "{id}.png", "masks": "{id}_m.png", "rle": True}, "masks and rle are 2 truths"),
        ({"images": "{dir}/{id}.png", "masks": "{id}_m.png"}, "{dir} must stand in images and masks"),
        ({"images": "a{dir}/{id}.png"}, "{dir} stands for whole folders, once"),
        ({"images": "{id}.png", "rle": True}, "train_rle: missing"),
        ({"images": "{id}_{band}.png"}, "bands: missing"),
    ],
)  # fmt: skip
def test_parts_that_say_too_much_or_too_little(part: dict[str, Any], told: str) -> None:
    from comp.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        competition(train=[part])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("bands", "told"),
    [(["x"], "holds no {band}"), ([], "at least one name"), (["x", "x"], "each once")],
)
def test_bands_that_do_not_fit(bands: list[str], told: str) -> None:
    from comp.errors import ConfigError

    images = "{id}.png" if bands == ["x"] else "{id}_{band}.png"
    with pytest.raises(ConfigError) as caught:
        competition(train=[{"images": images}], bands=bands)
    assert told in str(caught.value)
