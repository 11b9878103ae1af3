"""Every layout: drawn, understood by `comp init`, found again by the competition that it wrote; and what is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comp.commands import init
from comp.config import load_competition
from comp.data.images.read import read_image
from comp.data.layouts.detect import Asked, affixes, detect, walk
from comp.data.sources.labels import read_labels
from comp.errors import DataError, UsageError
from tests.drawn import save
from tests.drawn_layouts import (
    TREES,
    draw_objects,
    draw_parts,
    draw_rle,
    draw_voc_lists,
    pair,
    scene,
)
from tests.understood import check as check_drawn
from tests.understood import understood

NAMES = ("p_001", "p_002", "q_010", "a b.v2", "città_7", "x9")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def check(name: str, names: Sequence[str], folder: Path) -> str:
    """Compare what is understood of a layout with what was drawn; return the layout's name."""
    layout, draw = TREES[name]
    check_drawn(draw, names, folder)
    return layout


@pytest.mark.parametrize("name", TREES)
def test_a_drawn_layout_is_found_again(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = check(name, NAMES, tmp_path)
    assert f"layout {layout}" in capsys.readouterr().out


SAFE = st.text("kxyz0129_- .é", min_size=1, max_size=8).filter(
    lambda s: s[0] not in ". -_" and s[-1] not in ". " and "  " not in s
)


@pytest.mark.parametrize("name", [n for n in TREES if n not in ("jpg_png", "folder_flat")])
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(SAFE, min_size=5, max_size=7, unique_by=str.lower))
def test_any_names_pair_the_same(
    name: str, tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    check(name, names, tmp_path_factory.mktemp("tree"))


def test_the_order_of_bands_is_said_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, draw = TREES["bands"]
    draw(tmp_path / "data", NAMES)
    comp, _, _ = understood(tmp_path / "ws", tmp_path / "data")
    assert comp.data.bands == ("B02", "B03", "B8A", "B11") and comp.data.channels == 4
    assert "stacked in this order: B02, B03, B8A, B11" in capsys.readouterr().out
    (tmp_path / "data/tiles/x9_B8A.tif").unlink()
    with pytest.raises(DataError, match="1 images without band 'B8A': x9"):
        understood(tmp_path / "again", tmp_path / "data")


def test_a_folder_a_band(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(4):
        for part in ("train", "test"):
            for band in ("red", "green", "nir"):
                pixels = scene(n)[0][..., 0]
                save(tmp_path / f"data/{part}_{band}/{band}_t{n}_{part}.tif", pixels)
        save(tmp_path / f"data/train_gt/gt_t{n}_train.tif", scene(n)[1] * 255)
    comp, records, _ = understood(tmp_path / "ws", tmp_path / "data")
    assert comp.data.train[0].images == "train_{band}/{band}_{id}.tif"
    assert comp.data.bands == ("red", "green", "nir")
    assert [r.image_id for r in records.train] == [f"t{n}_train" for n in range(4)]
    assert comp.data.test == "test_{band}/{band}_{id}.tif" and len(records.test) == 4
    init.run(tmp_path / "one", tmp_path / "data", asked=Asked(None, "train_red", "train_gt"))
    said = capsys.readouterr().out
    assert "train_green, train_nir hold the same ids as train_red: bands of one image?" in said


@pytest.mark.parametrize(
    ("names", "befores"),
    [
        (["gt_t5_1", "gt_t3_2"], ["", "gt_", "gt_t"]),
        (["table", "tango"], [""]),
        (["img001", "img100"], ["", "img"]),
        (["a_b_x", "a_b_y"], ["", "a_", "a_b_"]),
    ],
)
def test_ids_lose_no_letter(names: list[str], befores: list[str]) -> None:
    found = affixes([f"{name}.png" for name in names])
    assert [a for a, b in found if not b] == befores


def test_the_test_part_of_each_kind(tmp_path: Path) -> None:
    for n, draw in enumerate((draw_objects, draw_parts("{0}/{1}.png", "{0}annot/{1}.png"))):
        draw(tmp_path / str(n), NAMES)
        comp, records, _ = understood(tmp_path / f"ws{n}", tmp_path / str(n))
        assert len(records.test) == 2 and comp.data.test is not None
        assert all(record.masks == () and record.truth is None for record in records.test)


# ---------------------------------------------------------------------------- lists beside folders


def test_voc_lists_that_contradict_the_folders_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    draw_voc_lists(data, NAMES)
    with open(data / "ImageSets/Segmentation/train.txt", "a", encoding="utf-8") as file:
        file.write("nowhere\nunlabelled_0\np_002\n")  # p_002 is in val.txt
    comp, records, _ = understood(tmp_path / "ws", data, absent="leave_out")
    said = capsys.readouterr().out
    assert "train.txt: 1 of 7 lines name no pair of image and mask: nowhere" in said
    assert "1 images are val here and train in another list" in said
    assert comp.data.train[0].manifest is not None and comp.folds.scheme == "predefined"
    assert {r.image_id for r in records.train if r.split == "val"} == {"p_002", "città_7"}


def test_lists_do_not_move_what_folders_divide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    draw_parts("{0}/{1}.png", "{0}annot/{1}.png")(data, NAMES)
    lines = [
        f"/SegNet/Set/train/{n}.png /SegNet/Set/trainannot/{n}.png" for n in ("p_001", "q_010")
    ]
    (data / "train.txt").write_text(
        "\n".join([*lines, "/SegNet/Set/val/p_002.png /SegNet/Set/valannot/p_002.png"])
    )
    comp, records, _ = understood(tmp_path / "ws", data)
    said = capsys.readouterr().out
    assert "1 images are train there, but lie in the folders of val: val/p_002.png" in said
    assert "are not listed" in said and len(records.train) == len(NAMES)
    assert comp.data.train[0].manifest is None


def test_lists_of_ids_divide_plain_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    TREES["images_masks"][1](data, NAMES)
    (data / "train.txt").write_text("p_001\nimages/p_002.png\nq_010.png\n")
    (data / "val.txt").write_text("a b.v2.png\nx9\n")
    comp, records, _ = understood(tmp_path / "ws", data)
    assert [(r.image_id, r.split) for r in records.train] == [
        ("a b.v2", "val"), ("p_001", "train"), ("p_002", "train"), ("q_010", "train"), ("x9", "val"),
    ]  # fmt: skip
    assert comp.folds.scheme == "predefined"
    said = capsys.readouterr().out
    assert "divided by train.txt, val.txt" in said and "1 pairs that stand in no list" in said


def test_a_list_that_pairs_otherwise_is_refused(tmp_path: Path) -> None:
    TREES["images_masks"][1](tmp_path, NAMES)
    rows = ["image,mask", "images/p_001.png,masks/p_002.png", "images/p_002.png,masks/p_001.png"]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    with pytest.raises(
        DataError,
        match=r"pairs.csv, row 1, pairs images/p_001.png with masks/p_002.png; layout images_masks with"
        r" masks/p_001.png. Decide with `comp init --layout csv_paths`",
    ):
        init.run(tmp_path / "ws", tmp_path)
    _, records, _ = understood(tmp_path / "ws", tmp_path, layout="csv_paths")
    assert [r.masks[0].name for r in records.train] == ["p_002.png", "p_001.png"]


def test_bands_of_different_ranges_get_a_scale_each(tmp_path: Path) -> None:
    data = tmp_path / "data"
    rng = np.random.default_rng(0)
    for n in range(4):
        for band, high in (("B02", 100), ("B08", 3000)):
            (data / "images").mkdir(parents=True, exist_ok=True)
            pixels = (rng.random((24, 32)) * high).astype(np.float32)
            pixels[0, 0] = high
            tifffile.imwrite(data / "images" / f"t{n}_{band}.tif", pixels)
        save(data / "masks" / f"t{n}.png", (rng.random((24, 32)) > 0.5).astype(np.uint8) * 255)
    competition, records, _ = understood(tmp_path / "ws", data)
    assert competition.data.scale == ((0.0, 100.0), (0.0, 4095.0))
    image = read_image(records.train[0].image, competition.data)
    assert image.shape == (24, 32, 2)
    assert image[..., 0].max() == 1.0 and abs(float(image[..., 1].max()) - 3000 / 4095) < 1e-6


def test_files_that_a_list_names_in_vain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    TREES["csv"][1](data, NAMES)
    (data / "a/1/x9.png").unlink()
    _, records, _ = understood(tmp_path / "ws", data)
    assert len(records.train) == 5
    said = capsys.readouterr().out
    assert (
        "pairs.csv: 1 rows name a file that is not there, or no image, and are left out: rows 6"
        in said
    )


def test_ids_that_repeat_from_list_to_list_become_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for part in ("train", "val"):
        rows = ["id,image,mask"]
        for n in range(3):
            image, mask = scene(n)
            save(data / part / "i" / f"{part}{n}.png", image)
            save(data / part / "m" / f"{part}{n}.png", mask)
            rows.append(f"{n},{part}/i/{part}{n}.png,{part}/m/{part}{n}.png")
        (data / f"{part}.csv").write_text("\n".join(rows))
    _, records, _ = understood(tmp_path / "ws", data)
    assert [r.image_id for r in records.train] == [
        f"{p}{n}" for p in ("train", "val") for n in range(3)
    ]
    assert "ids repeat from list to list" in capsys.readouterr().out


# ------------------------------------------------------------------------------------- ambiguity


def test_two_layouts_are_both_named(tmp_path: Path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg", "SegmentationClass/a.png", "images/b.png", "masks/b.png")
    with pytest.raises(
        DataError,
        match=r"2 layouts fit: voc: JPEGImages/\{id\}.jpg with .*; images_masks: images/\{id\}.png with"
        r" masks/\{id\}.png. Decide with `comp init --layout NAME`",
    ):
        detect(walk(tmp_path))
    assert detect(walk(tmp_path), Asked(layout="voc")).layout == "voc"
    with pytest.raises(DataError, match="not laid out as coco; found"):
        detect(walk(tmp_path), Asked(layout="coco"))
    with pytest.raises(UsageError, match=r"--layout nestd: .*did you mean 'nested'"):
        detect(walk(tmp_path), Asked(layout="nestd"))


def test_folders_are_named_by_hand(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{d}/{n}.png" for d in ("images", "masks", "labels") for n in "ab"))
    with pytest.raises(DataError, match=r"decide with `comp init --images DIR --masks DIR`"):
        detect(walk(tmp_path))
    found = detect(walk(tmp_path), Asked(images="images", masks="./labels/"))
    assert (found.train[0].images, found.train[0].masks) == ("images/{id}.png", "labels/{id}.png")
    with pytest.raises(DataError, match=r"2 folders pair: .*; name one with --images"):
        detect(walk(tmp_path), Asked(masks="labels"))
    with pytest.raises(DataError, match="--masks nowhere: no images there below"):
        detect(walk(tmp_path), Asked(masks="nowhere"))
    deep = tmp_path / "deep"
    touch(
        deep, *(f"{k}/{c}/{n}.png" for k in ("left", "fine") for c in ("ulm", "bonn") for n in "ab")
    )
    found = detect(walk(deep), Asked(images="left", masks="fine"))
    assert found.train[0].images == "left/{dir}/{id}.png"


def test_two_folders_that_say_nothing(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{d}/{n}.png" for d in ("one", "two words") for n in "ab"))
    with pytest.raises(
        DataError, match=r"nothing says which are the masks; decide with `comp init --images"
    ):
        detect(walk(tmp_path))


def test_images_without_a_row_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    draw_rle("object")(data, NAMES)
    lines = (data / "train.csv").read_text(encoding="utf-8").splitlines()
    (data / "train.csv").write_text("\n".join(line for line in lines if "x9" not in line))
    with pytest.raises(
        DataError,
        match=r"train.csv says nothing of 1 of 6 images: x9\. .* `comp init --absent empty` or",
    ):
        init.run(tmp_path / "ws", data)
    comp, records, _ = understood(tmp_path / "ws", data, absent="empty")
    last = next(record for record in records.train if record.image_id == "x9")
    assert len(records.train) == 6 and not read_labels(last, comp).any()
    _, records, _ = understood(tmp_path / "ws2", data, absent="leave_out")
    assert len(records.train) == 5 and [p.name for p in records.left_out] == ["x9.png"]
    with pytest.raises(UsageError, match="--absent no: expected empty or leave_out"):
        init.run(tmp_path / "ws3", data, absent="no")


def test_columns_of_paths_that_say_nothing(tmp_path: Path) -> None:
    TREES["csv"][1](tmp_path, NAMES)
    text = (tmp_path / "pairs.csv").read_text(encoding="utf-8")
    (tmp_path / "pairs.csv").write_text(text.replace("image_path,mask_path", "left,right"))
    with pytest.raises(
        DataError, match=r"the columns left, right hold paths .* Name one column image"
    ):
        detect(walk(tmp_path))


def test_two_annotation_files_of_one_part(tmp_path: Path) -> None:
    TREES["coco"][1](tmp_path, NAMES)
    first = tmp_path / "annotations/instances_train.json"
    (tmp_path / "annotations/other_train.json").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match=r"are each a COCO JSON, and nothing says which to take"):
        detect(walk(tmp_path))


# ------------------------------------------------------------------------------------ hostile input


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")
    os.symlink(tmp_path, tmp_path / "images" / "again")
    with pytest.raises(DataError, match=r"images/again: a link that leads back to a folder above"):
        walk(tmp_path)
    (tmp_path / "images/again").unlink()
    os.symlink("self", tmp_path / "images" / "self")
    assert detect(walk(tmp_path)).layout == "images_masks"


def test_links_to_data_elsewhere_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "far", "images/a.png", "masks/a.png")
    (tmp_path / "here").mkdir()
    os.symlink(tmp_path / "far" / "images", tmp_path / "here" / "images")
    os.symlink(tmp_path / "far" / "masks", tmp_path / "here" / "masks")
    assert detect(walk(tmp_path / "here")).layout == "images_masks"


def test_too_many_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comp.data.sources import patterns

    touch(tmp_path, *(f"f{n}/a.png" for n in range(9)))
    monkeypatch.setattr(patterns, "MAX_FOLDERS", 8)
    with pytest.raises(DataError, match="more than 8 folders"):
        walk(tmp_path)


def test_paths_that_climb_out_are_refused(tmp_path: Path) -> None:
    TREES["csv"][1](tmp_path / "data", NAMES)
    text = (tmp_path / "data/pairs.csv").read_text(encoding="utf-8")
    (tmp_path / "data/pairs.csv").write_text(text + "../secret.png,b/00000.png,train\n")
    with pytest.raises(DataError, match=r"pairs.csv: '\.\./secret.png' leaves the data's root"):
        detect(walk(tmp_path / "data"))


def test_json_that_is_nested_too_deep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    TREES["images_masks"][1](data, NAMES)
    (data / "ids.json").write_text("[" * 200_000)
    init.run(tmp_path / "ws", data)
    assert "ids.json: not a list of training images" in capsys.readouterr().out


def test_many_files_are_listed_fast(tmp_path: Path) -> None:
    import time

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for n in range(4000):
            (tmp_path / folder / f"scene_{n:05d}.png").touch()
    start = time.process_time()
    assert detect(walk(tmp_path)).layout == "images_masks"
    assert time.process_time() - start < 2.0  # about 0.1 s; a quadratic search takes minutes


# ---------------------------------------------------------------------------------- what is written


def test_one_stray_value_does_not_stop_init(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.drawn import save

    data = tmp_path / "data"
    TREES["images_masks"][1](data, NAMES)
    mask = np.zeros((20, 28), np.uint8)
    mask[4:9, 4:9], mask[0, 0] = 255, 77
    save(data / "masks/x9.png", mask)
    init.run(tmp_path / "ws", data)
    said = capsys.readouterr().out
    assert "to settle before training (1" in said and "77" in said and "x9.png" in said
    assert load_competition(tmp_path / "ws").data.mask_values == {0: 0, 255: 1}


def test_a_manifest_of_the_users_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, mine = tmp_path / "data", tmp_path / "ws/configs/manifest.csv"
    pair(data, 1, "images/a.png", "masks/a.png")
    touch(mine.parent, mine.name)
    init.run(tmp_path / "ws", data)
    assert mine.read_bytes() == b"" and "kept " in capsys.readouterr().out
    TREES["csv"][1](tmp_path / "listed", NAMES)
    again = tmp_path / "ws2/configs/manifest.csv"
    touch(again.parent, again.name)
    with pytest.raises(UsageError, match=r"manifest.csv is there already, says something else"):
        init.run(tmp_path / "ws2", tmp_path / "listed")


def test_annotations_beside_masks_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    TREES["images_masks"][1](data, NAMES)
    (data / "all.json").write_text('{"images": [], "annotations": [], "categories": []}')
    comp, _, _ = understood(tmp_path / "ws", data)
    assert comp.data.train[0].coco is None
    assert (
        "all.json: COCO annotations, not used: the masks are the truth" in capsys.readouterr().out
    )


def test_two_lists_line_by_line(tmp_path: Path) -> None:
    for n, name in enumerate(NAMES):
        pair(tmp_path / "data", n, f"a/{name}.png", f"b/{n:05d}.png")
    (tmp_path / "data/images.txt").write_text("\n".join(f"a/{name}.png" for name in NAMES), "utf-8")
    masks = [f"b/{n:05d}.png" for n in range(len(NAMES))]
    (tmp_path / "data/masks.txt").write_text("\n".join(masks))
    _, records, _ = understood(tmp_path / "ws", tmp_path / "data")
    assert {r.image_id: r.masks[0].name for r in records.train}["x9"] == "00005.png"
    (tmp_path / "data/masks.txt").write_text("\n".join(masks[1:]))
    with pytest.raises(DataError, match=r"images.txt has 6 lines and masks.txt 5"):
        detect(walk(tmp_path / "data"))


def test_crowds_and_images_that_the_json_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from tests.drawn import save

    data = tmp_path / "data"
    TREES["coco"][1](data, NAMES)
    path = data / "annotations/instances_train.json"
    value = json.loads(path.read_text())
    value["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(value))
    save(data / "train/unlabelled.png", np.zeros((20, 28, 3), np.uint8))
    comp, records, _ = understood(tmp_path / "ws", data)
    said = capsys.readouterr().out
    assert "instances_train.json: does not name 1 images that are there: left out" in said
    assert "crowds are neither trained nor scored" in said
    assert [p.name for p in records.left_out] == ["unlabelled.png"]
    first = next(r for r in records.train if r.image_id == "p_001")
    assert set(np.unique(read_labels(first, comp))) == {0, 1, 255}
