"""Files found and paired by patterns; layouts recognised; nothing dropped in silence."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comp.config import Competition, check, load_competition
from comp.data.layouts.detect import LAYOUTS, detect, walk
from comp.data.sources.labels import read_labels
from comp.data.sources.records import find_records, is_litter, look_for_records, match
from comp.errors import DataError

spec = importlib.util.spec_from_file_location("drawn", Path(__file__).parents[2] / "drawn.py")
assert spec is not None and spec.loader is not None
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)

PLAIN = [{"images": "images/{id}.*", "masks": "masks/{id}.*"}]


def competition(train: list[dict[str, Any]], **more: Any) -> Competition:
    values: dict[str, Any] = {"name": "t", "task": "binary", "classes": ["c"]}
    values |= {k: more.pop(k) for k in ("task", "classes") if k in more}
    return check(Competition, {**values, "data": {"root": ".", "train": train, **more}}, "test")


def touch(root: Path, *names: str) -> None:
    """Empty files: pairing looks at names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def ids(root: Path, train: list[dict[str, Any]], **more: Any) -> list[str]:
    return [record.image_id for record in find_records(competition(train, **more), root).train]


# ---------------------------------------------------------------------------------------- pairing


def test_ids_are_spelled_as_on_disk_and_sorted(tmp_path: Path) -> None:
    stems = ["b", "10_città_日本", "11 spaces (1).v2", "a", "007", "NA", "=1+1", "09_UPPER"]
    touch(tmp_path, *(f"images/{s}.png" for s in stems), *(f"masks/{s}.png" for s in stems))
    assert ids(tmp_path, PLAIN) == sorted(stems)
    assert ids(tmp_path, [{"images": "images/{id}.png", "masks": "masks/{id}.png"}]) == sorted(
        stems
    )


def test_a_nested_pattern_leaves_the_test_images_alone(tmp_path: Path) -> None:
    places = [f"Tile {n}/{kind}/a.png" for n in (1, 2) for kind in ("images", "masks")]
    touch(tmp_path, *places, "test/images/b.png")
    nested = [{"images": "{dir}/images/{id}.png", "masks": "{dir}/masks/{id}.png"}]
    found = find_records(competition(nested, test="test/images/{id}.png"), tmp_path)
    assert [r.image_id for r in found.train] == ["Tile 1/a", "Tile 2/a"]
    assert [r.image_id for r in found.test] == ["b"]


def test_the_extension_may_differ_and_its_case_does_not_count(tmp_path: Path) -> None:
    touch(
        tmp_path, "images/a.PNG", "masks/a.png", "images/b.jpg", "masks/b.TIFF", "images/notes.txt"
    )
    assert ids(tmp_path, PLAIN) == ["a", "b"]
    touch(tmp_path / "x", "images/a.PNG", "masks/a.png", "images/A.png", "masks/A.png")
    assert ids(tmp_path / "x", [{"images": "images/{id}.png", "masks": "masks/{id}.png"}]) == [
        "A",
        "a",
    ]


def test_system_litter_is_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "images/._a.png", "images/Thumbs.db")
    touch(tmp_path, "masks/.DS_Store", "images/desktop.ini", "__MACOSX/images/._a.png")
    records = find_records(competition(PLAIN), tmp_path)
    assert [r.image_id for r in records.train] == ["a"] and records.left_out == ()
    assert is_litter("._x.png") and is_litter("__MACOSX") and not is_litter("a.png")


def test_affixes_around_the_id(tmp_path: Path) -> None:
    touch(tmp_path, "images/images/x.tif", "label/label/x_label.tif", "label/label/y_label.tif")
    touch(tmp_path, "images/images/y.tif")
    pairs = [{"images": "images/images/{id}.tif", "masks": "label/label/{id}_label.tif"}]
    record = find_records(competition(pairs), tmp_path).train[0]
    assert record.image_id == "x" and record.masks == (tmp_path / "label/label/x_label.tif",)


def test_the_id_may_be_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "train/p1/image.png", "train/p1/mask.png", "train/p2/image.png")
    touch(tmp_path, "train/p2/mask.png", "train/readme.png")
    assert ids(tmp_path, [{"images": "train/{id}/image.png", "masks": "train/{id}/mask.png"}]) == [
        "p1",
        "p2",
    ]


def test_images_and_masks_of_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "all/a.png", "all/a_label.png", "all/b.png", "all/b_label.png")
    assert ids(tmp_path, [{"images": "all/{id}.png", "masks": "all/{id}_label.png"}]) == ["a", "b"]
    assert ids(tmp_path, [{"images": "all/{id}_label.png", "masks": "all/{id}.png"}]) == ["a", "b"]


def test_a_mask_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/cat/a.png", "masks/dog/a.png")
    pairs = [{"images": "images/{id}.png", "masks": "masks/{class}/{id}.png"}]
    comp = competition(pairs, task="multilabel", classes=["dog", "cat"])
    masks = find_records(comp, tmp_path).train[0].masks
    assert masks == (tmp_path / "masks/dog/a.png", tmp_path / "masks/cat/a.png")
    (tmp_path / "masks/cat/a.png").unlink()
    with pytest.raises(DataError, match=r"1 image without a mask of class 'cat'"):
        find_records(comp, tmp_path)


def test_several_pairs_with_a_predefined_part(tmp_path: Path) -> None:
    touch(tmp_path, "train/i/a.png", "train/m/a.png", "val/i/b.png", "val/m/b.png")
    pairs = [
        {"images": "train/i/{id}.png", "masks": "train/m/{id}.png"},
        {"images": "val/i/{id}.png", "masks": "val/m/{id}.png", "split": "val"},
    ]
    records = find_records(competition(pairs), tmp_path).train
    assert [(r.image_id, r.split) for r in records] == [("a", "train"), ("b", "val")]
    touch(tmp_path, "val/i/a.png", "val/m/a.png")
    with pytest.raises(
        DataError, match=r"id 'a' is used by two images: .*train/i/a.png and .*val/i"
    ):
        find_records(competition(pairs), tmp_path)


def test_test_images_and_files_that_no_pattern_takes(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "test/t2.png", "test/t1.png", "images/b.bmp")
    pairs = [{"images": "images/{id}.png", "masks": "masks/{id}.png"}]
    records = find_records(competition(pairs, test="test/{id}.png"), tmp_path)
    assert [r.image_id for r in records.test] == ["t1", "t2"]
    assert {r.split for r in records.test} == {"test"} and records.test[0].masks == ()
    assert records.left_out == (tmp_path / "images/b.bmp",)


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    touch(tmp_path, "images/ok.png", "masks/ok.png", "masks/lost.png", "images/two.png")
    touch(tmp_path, "images/two.jpg", "masks/two.png", *(f"images/n{i}.png" for i in range(7)))
    with pytest.raises(DataError) as caught:
        find_records(competition(PLAIN, test="test/{id}.png"), tmp_path)
    message = str(caught.value)
    assert "7 images without a mask (expected masks/{id}.*)" in message
    assert "n4.png (and 2 more)" in message and "n5.png" not in message
    assert "1 mask without an image (expected images/{id}.*)" in message and "lost.png" in message
    assert "1 id has more than one image file: 'two'" in message
    assert "two.jpg and " in message and "two.png); keep one" in message
    assert "no test image matches 'test/{id}.png'" in message
    records, problems = look_for_records(competition(PLAIN), tmp_path)
    assert [r.image_id for r in records.train] == ["ok"] and len(problems) == 3


def test_a_pattern_that_finds_nothing_says_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png")
    with pytest.raises(
        DataError, match=r"no image matches 'images/\{id\}.tif' .*images holds a.png"
    ):
        find_records(
            competition([{"images": "images/{id}.tif", "masks": "masks/{id}.*"}]), tmp_path
        )
    with pytest.raises(DataError, match=r"no image matches .*: .* holds images, masks"):
        find_records(competition([{"images": "pics/{id}.tif", "masks": "masks/{id}.*"}]), tmp_path)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("../x/{id}.png", "without '..'"),
        ("/x/{id}.png", "below data.root"),
        ("im*/{id}.png", "whole extension only"),
        ("images/{id}*.png", "whole extension only"),
        ("images/{id}.p*", "whole extension only"),
    ],
)
def test_patterns_stay_below_the_root_and_guess_nothing(
    tmp_path: Path, pattern: str, told: str
) -> None:
    touch(tmp_path, "images/a.png")
    with pytest.raises(DataError, match=told):
        match(tmp_path, pattern)


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_any_file_name_gives_its_id(stem: str) -> None:
    """On a listing, not a disk: file systems differ in what they accept."""
    from comp.data.sources import patterns as intake

    if is_litter(f"{stem}.png"):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            intake,
            "entries",
            lambda f: [(f"{stem}.png", False)] if f.name == "i" else [("i", True)],
        )
        assert list(match(Path("r"), "i/{id}.*")) == [stem]
        assert list(match(Path("r"), "i/{id}.png")) == [stem]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png")
    (tmp_path / "images").chmod(0)
    with pytest.raises(DataError, match="cannot list"):
        match(tmp_path, "images/{id}.png")
    (tmp_path / "images").chmod(0o755)


# ----------------------------------------------------------------------------- the five systems


@pytest.mark.parametrize(
    ("name", "draw", "layout", "n"),
    [
        ("landfill", "draw_landfill", "train_val", 11),
        ("rooftop", "draw_rooftop", "doubled", 20),
        ("atrous", "draw_atrous", "images_masks", 8),
        ("voc21", "draw_voc21", "voc", 12),
        ("buildings", "draw_plain", "train", 12),
    ],
)
def test_committed_competitions_fit_their_layouts(
    tmp_path: Path, repository: Path, name: str, draw: str, layout: str, n: int
) -> None:
    getattr(drawn, draw)(tmp_path)
    comp = load_competition(repository, name)
    records = find_records(comp, tmp_path)
    assert len(records.train) == n and records.left_out == ()
    for record in records.train[:4]:
        assert read_labels(record, comp).dtype == np.uint8
    found = detect(walk(tmp_path))
    assert found.layout == layout
    assert [(p.images, p.masks, p.split) for p in found.train] == [
        (p.images, p.masks, p.split) for p in comp.data.train
    ]


def test_drawn_sets_are_the_same_every_time(tmp_path: Path) -> None:
    for draw in (
        "draw_landfill",
        "draw_rooftop",
        "draw_atrous",
        "draw_voc21",
        "draw_plain",
        "draw_kaggle",
    ):
        getattr(drawn, draw)(tmp_path / "1" / draw)
        getattr(drawn, draw)(tmp_path / "2" / draw)
    first = sorted(p for p in (tmp_path / "1").rglob("*") if p.is_file())
    assert len(first) > 100
    for path in first:
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()


def test_palette_and_plain_voc_masks_read_alike(tmp_path: Path, repository: Path) -> None:
    comp = load_competition(repository, "voc21")
    read = []
    for palette in (True, False):
        root = drawn.draw_voc21(tmp_path / str(palette), n=3, palette=palette)
        read.append([read_labels(r, comp) for r in find_records(comp, root).train])
    assert all(np.array_equal(a, b) for a, b in zip(*read, strict=True))
    assert any((a == 255).any() and (a == 1).any() for a in read[0])


@pytest.mark.parametrize(
    "name", [b"a\rb", b"a\nb", b"\x1b[2J", b"\xff", "\u2028".encode(), b"\x7f"]
)
def test_ids_that_no_table_gives_back_are_refused(tmp_path: Path, name: bytes) -> None:
    touch(tmp_path, "i/a.png", "m/a.png", "t/b.png")
    (tmp_path / os.fsdecode(b"t/" + name + b".png")).write_bytes(b"")
    comp = competition([{"images": "i/{id}.png", "masks": "m/{id}.png"}], test="t/{id}.png")
    with pytest.raises(
        DataError, match="1 ids with control characters, or that are no UTF-8: '"
    ) as caught:
        find_records(comp, tmp_path)
    assert str(caught.value).isprintable()


def test_unknown_layouts_say_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/a.png", "pictures/b.png")
    with pytest.raises(DataError, match=r"no known layout \(voc, .*found pictures \(2 images\)"):
        detect(walk(tmp_path))
    with pytest.raises(DataError, match="no images at all"):
        detect(walk(tmp_path / "nowhere"))
    assert list(LAYOUTS)[-1] == "two_folders"


def test_a_layout_in_two_places_is_not_chosen_between(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "old/images/a.png", "old/masks/a.png")
    with pytest.raises(DataError, match=r"images_masks stands in 2 places: '\.', 'old'; name one"):
        detect(walk(tmp_path))
    touch(tmp_path / "x", "images/a.png", "masks/a.png", "labels/a.png")
    with pytest.raises(
        DataError, match=r"two ways to pair: images/\{id\}.png with labels/\{id\}.png"
    ):
        detect(walk(tmp_path / "x"))


@pytest.mark.parametrize(
    ("images", "masks", "patterns"),
    [
        (["a", "b"], ["a", "b"], ("{id}", "{id}")),
        (["img_1", "img_12"], ["mask_1", "mask_12"], ("img_{id}", "mask_{id}")),
        (["x", "y"], ["x_label", "y_label"], ("{id}", "{id}_label")),
        (["1_sat", "2_sat"], ["1_mask", "2_mask"], ("{id}_sat", "{id}_mask")),
        (["t1_a", "t1_b"], ["t1_a", "t1_b"], ("{id}", "{id}")),
        (["only"], ["only_mask"], ("{id}", "{id}_mask")),
    ],
)
def test_the_id_is_found_in_names(
    tmp_path: Path, images: list[str], masks: list[str], patterns: tuple[str, str]
) -> None:
    touch(tmp_path, *(f"images/{s}.jpg" for s in images), *(f"masks/{s}.png" for s in masks))
    pairs = detect(walk(tmp_path)).train[0]
    assert (pairs.images, pairs.masks) == (f"images/{patterns[0]}.jpg", f"masks/{patterns[1]}.png")


def test_unpaired_folders_are_no_layout(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "masks/c.png", "masks/d.png")
    with pytest.raises(DataError, match="no known layout"):
        detect(walk(tmp_path))


# ------------------------------------------------------------------------------------- real data


@pytest.mark.realdata
def test_odd_pairs(real_data: Path) -> None:
    records, problems = look_for_records(competition(PLAIN), real_data / "odd")
    found = {record.image_id: record for record in records.train}
    assert {"09_UPPER", "10_città_日本", "11 spaces (1).v2", "26_mask_jpg"} <= set(found)
    assert found["09_UPPER"].image.name == "09_UPPER.PNG"
    assert not {"44_mask_missing", "45_image_missing", "46_duplicate_stem", "Thumbs"} & set(found)
    assert len(problems) == 3 and records.left_out == ()
    text = "\n".join(problems)
    assert "44_mask_missing.png" in text and "45_image_missing.png" in text
    assert "46_duplicate_stem.jpg and " in text and "46_duplicate_stem.png" in text


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "n", "n_test"), [("nuclei", 500, 100), ("dubai", 1036, 269)])
def test_real_sets_pair(real_data: Path, name: str, n: int, n_test: int) -> None:
    extension = "png" if name == "nuclei" else "jpg"
    pairs = [{"images": f"images/{{id}}.{extension}", "masks": "masks/{id}.png"}]
    comp = competition(pairs, test=f"test/images/{{id}}.{extension}")
    records = find_records(comp, real_data / name)
    assert (len(records.train), len(records.test)) == (n, n_test)
    with Image.open(records.train[0].masks[0]) as mask:
        assert mask.mode == "L"
