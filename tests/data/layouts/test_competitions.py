"""Layouts of real competitions: understood whole, or asked about truly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.commands import init
from comp.data.layouts.detect import Asked, detect, walk
from comp.data.layouts.merge import split_in, twin_of_test
from comp.data.layouts.pairing import label_kind
from comp.errors import DataError
from tests.drawn import rle, save
from tests.drawn_competitions import COMPETITIONS
from tests.drawn_layouts import TREES, pair, scene
from tests.understood import check, understood

NAMES = ("p_001", "p_002", "q_010", "x9", "r_7", "s_31")


@pytest.mark.parametrize("name", COMPETITIONS)
def test_a_competition_is_understood(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, draw, test = COMPETITIONS[name]
    comp, records = check(draw, NAMES, tmp_path)
    said = capsys.readouterr().out
    assert f"layout {layout}" in said and comp.data.test == test
    assert len(records.test) >= (2 if test is not None else 0)
    assert (comp.folds.scheme == "predefined") == any(r.split == "val" for r in records.train)


def test_the_image_names_of_a_sample_are_the_ids(tmp_path: Path) -> None:
    _, records = check(COMPETITIONS["carvana"][1], NAMES, tmp_path)
    assert [r.image_id for r in records.test] == [f"only_test_{n}.jpg" for n in range(3)]


def test_a_list_of_test_images_takes_them_from_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, records = check(COMPETITIONS["pets"][1], NAMES, tmp_path)
    assert [r.image_id for r in records.test] == ["q_010", "s_31"]
    assert "divided by annotations/test.txt" in capsys.readouterr().out


def test_ids_that_repeat_in_the_parts_carry_the_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n, part in enumerate(("train", "val")):
        for k in range(3):
            files = (f"{part}/{kind}/{k:03d}.png" for kind in ("images", "masks"))
            pair(tmp_path / "data", 5 * n + k, *files)
    comp, records, _ = understood(tmp_path / "ws", tmp_path / "data")
    assert [r.image_id for r in records.train][2:4] == ["train/002", "val/000"]
    assert comp.folds.scheme == "predefined"
    assert "ids repeat in the parts" in capsys.readouterr().out


def test_folders_that_are_not_used_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DRIVE: `mask` is the field of view, `1st_manual` the truth."""
    data = tmp_path / "data"
    for n in range(21, 25):
        _, labels = pair(
            data, n, f"training/images/{n}_training.tif", f"training/mask/{n}_training_mask.png"
        )
        save(data / f"training/1st_manual/{n}_manual1.png", labels * 255)
    save(data / "more/a.png", scene(3)[0])
    init.run(tmp_path / "ws", data)
    said = capsys.readouterr().out
    assert "not used, 2 folders of images: more (1 images), training/1st_manual (4 images)" in said
    assert (
        "training/mask is taken as the masks, for its name; training/1st_manual would pair" in said
    )
    assert "begin again with --images training/images --masks training/1st_manual" in said
    _, records, _ = understood(
        tmp_path / "ws2", data, images="training/images", masks="training/1st_manual"
    )
    assert [r.image_id for r in records.train] == ["21", "22", "23", "24"]


def test_folders_that_all_hold_the_same_names_are_listed(tmp_path: Path) -> None:
    for sensor in ("s1_0", "s2_0", "dfc_0"):
        for n in range(3):
            save(tmp_path / f"ROIs/{sensor}/ROIs_{sensor[:2]}_0_p{n}.png", scene(n)[0])
    with pytest.raises(
        DataError, match=r"ROIs/dfc_0 and ROIs/s1_0 and ROIs/s2_0 hold the same names"
    ):
        detect(walk(tmp_path))


def test_places_that_are_not_alike_are_still_asked_about(tmp_path: Path) -> None:
    for place, image, mask in (("a", "images", "masks"), ("b", "imgs", "gt")):
        for n in range(3):
            pair(tmp_path, n, f"{place}/{image}/{n}.png", f"{place}/{mask}/{n}.png")
    with pytest.raises(DataError, match="images_masks stands in 2 places: 'a', 'b'"):
        detect(walk(tmp_path))


def test_an_id_made_of_names_must_be_of_one_image(tmp_path: Path) -> None:
    """The same slice twice: no rule gives each image an id, so nothing is guessed."""
    lines = ["id,rle"]
    for n in range(4):
        pixels, labels = scene(n)
        for size in ("28_20", "29_21"):
            save(tmp_path / f"case1/scans/slice_{n}_{size}.png", pixels)
        lines.append(f"case1_slice_{n},{rle(labels)}")
    (tmp_path / "train.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="no known layout"):
        detect(walk(tmp_path))


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a_color.png", "a_labelIds.png", "b_color.png", "b_labelIds.png"], "_labelIds"),
        (["a_color.png", "a_edges.png", "b_color.png", "b_edges.png"], ""),
        (["a_mask.png", "b_mask.png"], ""),
        (["a_label.png", "b_color.png"], ""),
        (["x1.png", "x2.png"], ""),
    ],
)
def test_the_kind_of_picture_that_holds_labels(names: list[str], kind: str) -> None:
    assert label_kind(names) == kind


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("Train/Rural/x.png", "train"), ("a_Validation_Input/x.png", "val"), ("train/val/x.png", ""),
        ("training/x.png", "train"), ("trained/x.png", ""), ("x_train.png", ""), ("38-Cloud_test/b/x", "test"),
        ("{dir}/train_{band}/x.tif", "train"),
    ],
)  # fmt: skip
def test_the_part_that_folders_name(path: str, split: str) -> None:
    assert split_in(path) == split


def test_no_twin_of_what_names_no_part(tmp_path: Path) -> None:
    TREES["images_masks"][1](tmp_path, NAMES)
    tree = walk(tmp_path)
    assert twin_of_test(tree, "images/{id}.png") is None
    assert twin_of_test(tree, "train/images/{id}.png") is None
    assert detect(tree, Asked("images_masks")).test_pattern is None
    assert np.asarray(scene(0)[1]).any()
