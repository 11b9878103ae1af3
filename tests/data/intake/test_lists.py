"""Lists beside the data: parts and numbers of folds of every kind of truth, blank masks, what cannot be placed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from comp.commands import init
from comp.data.sources.labels import read_labels
from comp.data.sources.manifest import read_manifest
from comp.data.sources.record import NO_OBJECTS, Records
from comp.errors import DataError
from tests.drawn import save
from tests.drawn_layouts import TREES, draw_coco, draw_rle, draw_voc_lists, scene
from tests.understood import understood

NAMES = ("p_001", "p_002", "q_010", "x9", "r_7", "s_31")
HINT = (
    "data.train absent: empty if nothing is to be seen on them, leave_out if they are not labelled"
)


def splits(records: Records) -> dict[str, str]:
    return {r.image_id: r.split for r in (*records.train, *records.test)}


def listed(data: Path, header: str, cells: Sequence[str], name: str = "splits.csv") -> None:
    rows = [f"{n},{cell}" for n, cell in zip(NAMES, cells, strict=True)]
    (data / name).write_text("\n".join([header, *rows]) + "\n")


PARTS = ("train", "val", "train", "test", "val", "train")


# ---------------------------------------------------------------------------------------- blank masks


def blank(data: Path, blanks: Sequence[str] = ("", "NaN")) -> None:
    """Draw a CSV of paths whose rows 2 and 4 leave the mask blank."""
    TREES["csv"][1](data, NAMES)
    lines = (data / "pairs.csv").read_text().splitlines()
    for row, text in zip((2, 4), blanks, strict=True):
        image, _, split = lines[row].split(",")
        lines[row] = f"{image},{text},{split}"
    (data / "pairs.csv").write_text("\n".join(lines))


def test_blank_masks_are_asked_for_and_kept_in_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank(tmp_path / "data")
    with pytest.raises(
        DataError, match=r"manifest.csv: 2 images have no mask: p_002, x9; data.train"
    ):
        understood(tmp_path / "ws", tmp_path / "data")
    said = capsys.readouterr().out
    assert f"pairs.csv: 2 images with a blank mask: a/1/p_002.png, a/1/x9.png; {HINT}" in said
    assert "begin again with `comp init --absent empty|leave_out`" in said
    rows = {r.image_id: r for r in read_manifest(tmp_path / "ws/configs/manifest.csv")}
    assert len(rows) == 6 and rows["x9"].masks == () and rows["x9"].split == "train"


@pytest.mark.parametrize("blanks", [("", "NaN"), ("none", " "), ("N/A", "-")])
def test_blank_masks_are_images_without_objects(tmp_path: Path, blanks: Sequence[str]) -> None:
    blank(tmp_path / "data", blanks)
    comp, records, _ = understood(tmp_path / "ws", tmp_path / "data", absent="empty")
    assert comp.data.train[0].absent == "empty" and len(records.train) == 6
    bare = [r for r in records.train if not r.masks]
    assert [r.image_id for r in bare] == ["p_002", "x9"] and bare[0].truth == NO_OBJECTS
    assert all(r.labelled for r in records.train)
    labels = read_labels(bare[0], comp)
    assert labels.shape == (20, 28) and labels.dtype == np.uint8 and not labels.any()


def test_blank_masks_are_left_out(tmp_path: Path) -> None:
    blank(tmp_path / "data")
    comp, records, _ = understood(tmp_path / "ws", tmp_path / "data", absent="leave_out")
    assert comp.data.train[0].absent == "leave_out"
    assert [r.image_id for r in records.train] == ["p_001", "q_010", "r_7", "s_31"]
    assert len(read_manifest(tmp_path / "ws/configs/manifest.csv")) == 6


def test_lines_of_a_text_list_without_a_mask(tmp_path: Path) -> None:
    data = tmp_path / "data"
    TREES["text"][1](data, NAMES)
    lines = (data / "train.txt").read_text().splitlines()
    (data / "train.txt").write_text("\n".join([lines[0].split()[0], *lines[1:]]))
    _, records, _ = understood(tmp_path / "ws", data, absent="empty")
    assert [r.image_id for r in records.train if not r.masks] == ["p_001"]
    assert len(records.train) == 6


def test_a_row_of_the_test_part_needs_no_mask(tmp_path: Path) -> None:
    data = tmp_path / "data"
    TREES["csv"][1](data, NAMES)
    lines = (data / "pairs.csv").read_text().splitlines()
    (data / "pairs.csv").write_text("\n".join([*lines[:-1], lines[-1].split(",")[0] + ",,test"]))
    _, records, _ = understood(tmp_path / "ws", data)
    assert [r.image_id for r in records.test] == ["s_31"] and len(records.train) == 5


def test_images_of_folders_without_a_mask(tmp_path: Path) -> None:
    data = tmp_path / "data"
    TREES["images_masks"][1](data, NAMES)
    (data / "masks/x9.png").unlink()
    with pytest.raises(DataError, match=f"1 image without a mask .*x9.png; {HINT}"):
        understood(tmp_path / "ws", data)
    comp, records, _ = understood(tmp_path / "ws1", data, absent="empty")
    empty = next(r for r in records.train if r.image_id == "x9")
    assert len(records.train) == 6 and not read_labels(empty, comp).any()
    comp, records, _ = understood(tmp_path / "ws2", data, absent="leave_out")
    assert len(records.train) == 5 and [p.name for p in records.left_out] == ["x9.png"]


def test_images_without_objects_need_a_background(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for n, name in enumerate(NAMES):
        pixels, labels = scene(n)
        save(data / f"images/{name}.png", pixels)
        save(data / f"masks/{name}.png", (labels + (np.arange(28) > 20)).astype(np.uint8))
    (data / "masks/x9.png").unlink()
    with pytest.raises(DataError, match="absent: empty, but the first class is 'class_0'"):
        understood(tmp_path / "ws", data, absent="empty")
    assert "data.train absent: empty, but the first class is 'class_0'" in capsys.readouterr().out
    (data / "classes.csv").write_text("ClassId,Name\n0,background\n1,a\n2,b\n")
    comp, records, _ = understood(tmp_path / "ws1", data, absent="empty")
    assert not read_labels(next(r for r in records.train if r.image_id == "x9"), comp).any()


def test_a_broken_image_without_a_mask_is_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    TREES["images_masks"][1](data, NAMES)
    (data / "masks/x9.png").unlink()
    (data / "images/x9.png").write_bytes(b"<html>")
    (data / "masks/alone.png").write_bytes(b"")
    init.run(tmp_path / "ws", data)
    said = capsys.readouterr().out
    assert "1 image without a mask" in said and "x9.png: not an image" in said
    assert "1 mask without an image" in said and "alone.png: empty file" in said


# ------------------------------------------------------------------------------------ parts and folds


@pytest.mark.parametrize("kind", ["image", "object", "class_column", "class_in_id"])
@pytest.mark.parametrize("how", ["csv", "text"])
def test_lists_divide_what_a_table_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, how: str
) -> None:
    data = tmp_path / "data"
    drawn = draw_rle(kind)(data, NAMES)
    if how == "csv":
        listed(data, "image,split", PARTS)
    else:
        for part in set(PARTS):
            mine = [n for n, p in zip(NAMES, PARTS, strict=True) if p == part]
            (data / f"{part}.txt").write_text("\n".join(mine))
    comp, records, _ = understood(tmp_path / "ws", data)
    part = comp.data.train[0]
    assert part.rle and part.manifest and comp.folds.scheme == "predefined"
    assert splits(records) == dict(zip(drawn, PARTS, strict=True))
    for record in records.train:
        labels = read_labels(record, comp)
        labels = labels[0] if labels.ndim == 3 else labels
        assert np.array_equal(labels > 0, drawn[record.image_id].labels)
    assert "divided by " in capsys.readouterr().out


def one_json(data: Path) -> None:
    """Draw one COCO JSON with all images in one folder."""
    draw_coco(data, NAMES)
    whole = json.loads((data / "annotations/instances_train.json").read_text())
    other = json.loads((data / "annotations/instances_val.json").read_text())
    (data / "images").mkdir()
    for image in (*data.glob("train/*"), *data.glob("val/*")):
        image.rename(data / "images" / image.name)
    for key in ("images", "annotations"):
        whole[key] += other[key]
    for file in data.glob("annotations/*"):
        file.unlink()
    for folder in ("train", "val", "annotations"):
        (data / folder).rmdir()
    (data / "all.json").write_text(json.dumps(whole))


def test_lists_divide_what_a_json_labels(tmp_path: Path) -> None:
    one_json(tmp_path / "data")
    (tmp_path / "data/val.txt").write_text("images/p_002.png\nx9\n")
    comp, records, _ = understood(tmp_path / "ws", tmp_path / "data")
    assert comp.data.train[0].coco == "all.json" and comp.folds.scheme == "predefined"
    assert [i for i, s in splits(records).items() if s == "val"] == ["p_002", "x9"]
    assert len(records.train) == 6 and read_labels(records.train[0], comp).sum() == 86


def test_of_listed_images_without_a_row_is_asked(tmp_path: Path) -> None:
    data = tmp_path / "data"
    draw_rle("object")(data, NAMES)
    lines = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text(
        "\n".join(x for x in lines if "s_31" not in x and "x9" not in x)
    )
    listed(data, "image,split", PARTS)  # x9 is of the test part: nothing to ask
    with pytest.raises(
        DataError, match=r"says nothing of 1 of the 6 images listed: s_31\. .*--absent"
    ):
        init.run(tmp_path / "ws", data)
    comp, records, _ = understood(tmp_path / "ws1", data, absent="empty")
    assert splits(records)["x9"] == "test" and len(records.train) == 5
    assert not read_labels(records.train[-1], comp).any()
    _, records, _ = understood(tmp_path / "ws2", data, absent="leave_out")
    assert [r.image_id for r in records.train] == ["p_001", "p_002", "q_010", "r_7"]


def test_listed_test_images_give_way_to_a_folder_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    draw_rle("object")(data, NAMES)
    save(data / "test_images/t1.png", scene(77)[0])
    listed(data, "image,split", PARTS)
    comp, records, _ = understood(tmp_path / "ws", data)
    assert comp.data.test == "test_images/{id}.png" and [r.image_id for r in records.test] == ["t1"]
    assert len(records.train) == 5
    assert (
        "left out, 1 images that lists call test: x9; the test images are"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("layout", ["images_masks", "csv", "rle_image", "coco"])
def test_numbers_of_folds(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    if layout == "coco":
        one_json(data)
    else:
        TREES[layout][1](data, NAMES)
    if layout == "csv":
        text = (data / "pairs.csv").read_text().replace(",val", ",train")
        (data / "pairs.csv").write_text(text)
    listed(data, "image_id,kfold", ("1", "2", "3", "3", "2", "1"), "folds.csv")
    comp, _, _ = understood(tmp_path / "ws", data)
    assert (comp.folds.scheme, comp.folds.listed) == ("predefined", "folds.csv")
    assert "folds: predefined: the 3 folds that folds.csv numbers" in capsys.readouterr().out


def test_numbers_of_folds_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    TREES["images_masks"][1](data, NAMES)
    listed(data, "image_id,fold", "012012", "a.csv")
    listed(data, "image_id,fold", "01201x", "b.csv")
    comp, _, _ = understood(tmp_path / "ws", data)
    assert comp.folds.listed == "a.csv"
    assert "b.csv: has a column of folds, not used: " in capsys.readouterr().out
    listed(data, "image_id,fold", "011012", "b.csv")
    with pytest.raises(DataError, match=r"a.csv, b.csv number the folds in different ways"):
        init.run(tmp_path / "ws2", data)


def test_a_name_of_two_images_is_of_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    TREES["nested"][1](data, NAMES[:3])
    (data / "val.txt").write_text("p_001.jpg\nTile 2/images/p_002.jpg\nTile 1/q_010\n")
    _, records, _ = understood(tmp_path / "ws", data)
    assert [i for i, s in splits(records).items() if s == "val"] == ["Tile 1/q_010", "Tile 2/p_002"]
    said = capsys.readouterr().out
    assert "val.txt: 1 of 3 lines name no pair of image and mask: p_001.jpg" in said


def test_only_a_list_of_test_images_among_many_without_masks(tmp_path: Path) -> None:
    data = tmp_path / "data"
    draw_voc_lists(data, NAMES)
    (data / "ImageSets/Segmentation/test.txt").write_text("unlabelled_0\nunlabelled_1\n")
    _, records, _ = understood(tmp_path / "ws", data)
    assert [r.image_id for r in records.test] == ["unlabelled_0", "unlabelled_1"]
    assert len(records.train) == 6 and all(r.masks for r in records.train)


# ------------------------------------------------------------------- lists that name images without a mask


def lists_and_bare(data: Path, lists: dict[str, Sequence[str]]) -> None:
    """Draw images and masks, take the masks of q_010 and r_7 away, and write lists of ids."""
    TREES["images_masks"][1](data, NAMES)
    for name in ("q_010", "r_7"):
        (data / f"masks/{name}.png").unlink()
    for part, ids in lists.items():
        (data / f"{part}.txt").write_text("\n".join(ids))


BOTH_LISTS = {"train": NAMES[:4], "val": NAMES[4:]}


def test_listed_images_without_a_mask_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, ws = tmp_path / "data", tmp_path / "ws"
    lists_and_bare(data, BOTH_LISTS)
    with pytest.raises(DataError, match=f"manifest.csv: 2 images have no mask: q_010, r_7; {HINT}"):
        understood(ws, data)
    said = capsys.readouterr().out
    assert f"2 images without a mask: images/q_010.png, images/r_7.png; {HINT}" in said
    assert "`comp init --absent empty|leave_out`" in said and "name no" not in said
    rows = {r.image_id: r for r in read_manifest(ws / "configs/manifest.csv")}
    assert len(rows) == 6
    assert [(rows[i].split, rows[i].masks) for i in ("q_010", "r_7")] == [
        ("train", ()),
        ("val", ()),
    ]
    (ws / "configs/competition.yaml").unlink()  # as the message says
    comp, records, _ = understood(ws, data, absent="empty")
    assert comp.data.train[0].absent == "empty" and len(records.train) == 6


def test_listed_images_without_a_mask_as_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    lists_and_bare(data, BOTH_LISTS)
    comp, records, _ = understood(tmp_path / "a", data, absent="empty")
    bare = [r for r in records.train if not r.masks]
    assert {r.image_id: r.split for r in bare} == {"q_010": "train", "r_7": "val"}
    assert not read_labels(bare[0], comp).any() and not records.left_out
    comp, records, _ = understood(tmp_path / "b", data, absent="leave_out")
    assert comp.data.train[0].absent == "leave_out"
    assert [r.image_id for r in records.train] == ["p_001", "p_002", "s_31", "x9"]
    assert [p.name for p in records.left_out] == ["q_010.png", "r_7.png"]
    assert "to settle" not in capsys.readouterr().out


def test_images_without_a_mask_that_no_list_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    lists_and_bare(data, {"train": ("p_001", "p_002"), "val": ("s_31", "x9")})
    _, records, _ = understood(tmp_path / "a", data)
    assert [r.image_id for r in records.train] == ["p_001", "p_002", "s_31", "x9"]
    said = capsys.readouterr().out
    assert "left out, 2 images without a mask that stand in no list: images/q_010.png" in said
    (data / "train.txt").unlink()  # what no list names is trained on
    with pytest.raises(DataError, match=f"2 images have no mask: q_010, r_7; {HINT}"):
        understood(tmp_path / "b", data)
    (data / "test.txt").write_text("r_7\nq_010\n")
    _, records, _ = understood(tmp_path / "c", data)
    assert len(records.train) == 4 and [r.image_id for r in records.test] == ["q_010", "r_7"]


@pytest.mark.parametrize("key", ["suffix", "prefix"])
def test_images_without_a_mask_in_the_folder_of_the_masks(tmp_path: Path, key: str) -> None:
    data = tmp_path / "data"
    drawn = TREES[key][1](data, NAMES)
    for name in ("q_010", "r_7"):
        (data / drawn[name].masks[0]).unlink()
    for part, ids in BOTH_LISTS.items():
        (data / f"{part}.txt").write_text("\n".join(ids))
    with pytest.raises(DataError, match="2 images have no mask: q_010, r_7"):
        understood(tmp_path / "a", data)
    _, records, _ = understood(tmp_path / "b", data, absent="empty")
    assert [r.image_id for r in records.train if not r.masks] == ["q_010", "r_7"]
