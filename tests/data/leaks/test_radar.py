"""The radar: all witnesses together, one group an image; and what it says of real sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from comp.data.images.read import read_image
from comp.data.leaks.guesses import few_groups
from comp.data.leaks.prints import make_print
from comp.data.leaks.radar import Leaks, look_for_leaks
from tests.data.leaks.test_seams import mosaic


def radar(images: list[np.ndarray], ids: list[str], n_train: int, **columns: list[str]) -> Leaks:
    prints = [make_print(image) for image in images]
    return look_for_leaks(ids, n_train, prints, [Path(f"{i}.png") for i in ids], columns, 3)


def test_seams_and_copies_make_groups(picture: Callable[..., np.ndarray]) -> None:
    crops = mosaic(picture, 4)
    crops.append(crops[7][:, ::-1])  # a mirrored copy of a crop of the second picture
    crops.append(picture(50, 64, 64))
    ids = [f"{k:02d}{'abcdefghijklmnopqrstuvwxyz'[k]}" for k in range(26)]
    found = radar(crops, ids, 26)
    assert [found.group.count(f"with {ids[k]}") for k in (0, 6, 12, 18)] == [6, 7, 6, 6]
    assert found.group[25] == ""
    assert found.summary == (
        "25 of 26 training images in 4 groups, the largest of 7; 1 stands alone"
    )
    told = "\n".join(found.told)
    assert (
        "near duplicates: 2 of 26 training images among themselves, 1 set, the largest of 2" in told
    )
    linked = "24 of 26 training images are linked; 4 pictures"
    assert f" between crops of one picture (null test with reversed edges: 0): {linked}" in told
    assert found.told[-1] == "no overlaps"  # its thresholds and null test are verify.json's


def test_a_test_crop_binds_its_neighbours(picture: Callable[..., np.ndarray]) -> None:
    image = picture(0, 64, 192)
    others = [picture(k, 64, 64) for k in range(1, 8)]
    images = [image[:, :64], image[:, 128:], *others, image[:, 64:128]]
    found = radar(images, [*"abcdefghi", "t"], 9)
    assert found.group[:3] == ("with a", "with a", "")
    assert found.across(found.links) == [(0, 9), (1, 9)] and found.near_in_test == []
    assert "2 training images and test images show one picture: a ~ t, b ~ t" in found.told


def test_copies_in_the_test_set_are_named_by_how_they_lie(
    picture: Callable[..., np.ndarray],
) -> None:
    images = [picture(k, 64, 64) for k in range(8)]
    tests = [images[2][:, ::-1], np.rot90(images[2], 2), images[3][::-1], picture(20, 64, 64)]
    found = radar([*images, *tests], [*"abcdefgh", *"stuv"], 8)
    assert [pair[:2] for pair in found.near_in_test] == [(2, 8), (2, 9), (3, 10)]
    how = [pair[2] for pair in found.near_in_test]
    assert how[0] == "mirrored left to right" and how[2] == "mirrored top to bottom"
    assert how[1] in ("turned by 180 degrees", "by way of another copy")


def test_folders_group_although_the_pictures_do_not_agree(
    picture: Callable[..., np.ndarray],
) -> None:
    images = [picture(k, 64, 64) for k in range(16)]
    images[4] = images[3][:, ::-1]  # a copy joins two of the folders
    ids = [f"patient{k // 4:02d}/{k % 4}" for k in range(16)]
    found = radar(images, ids, 16)
    assert [(g.witness, g.used) for g in found.guesses] == [("folders", True)]
    assert set(found.group) == {"with patient00/0", "with patient02/0", "with patient03/0"}
    images[8] = images[7][:, ::-1]  # and another leaves two groups for three folds
    (guess,) = radar(images, ids, 16).guesses
    assert not guess.used and guess.told.endswith("`comp folds --groups folders`")


def test_an_unreadable_image_is_passed_over(picture: Callable[..., np.ndarray]) -> None:
    crops = mosaic(picture, 2)
    prints = [None, *(make_print(crop) for crop in crops)]
    ids = list("abcdefghijklm")
    found = look_for_leaks(ids, 13, prints, [Path(i) for i in ids], {}, 3)
    assert found.group[0] == "" and found.group.count("with b") == 6
    assert found.guesses == ()


def test_only_one_way_to_group_is_used_beside_the_pixels(
    picture: Callable[..., np.ndarray],
) -> None:
    scenes = [picture(k, 64, 64) // 2 + 20 * k for k in range(6)]
    images = [np.roll(s, 7 * k, axis=1) for s in scenes for k in range(6)]
    ids = [f"s{k // 6}_{k % 6}" for k in range(36)]
    found = radar(images, ids, 36, Scene=[f"x{k // 6}" for k in range(36)])
    used = [guess.witness for guess in found.guesses if guess.used]
    assert used == ["meta"] and len(set(found.group)) == 6
    names = next(guess for guess in found.guesses if guess.witness == "names")
    assert names.why == "the meta groups them already"


def test_tiles_that_overlap_are_one_group(picture: Callable[..., np.ndarray]) -> None:
    tiles = [
        picture(seed, 224, 224)[y : y + 128, x : x + 128]
        for seed in range(4)
        for y in (0, 96)
        for x in (0, 96)
    ]
    ids = [f"{7919 * k % 1009:03x}q" for k in range(16)]
    found = radar([*tiles, tiles[0][20:, 30:]], [*ids, "t"], 16)
    assert found.group == tuple(f"with {ids[k // 4 * 4]}" for k in range(16))
    assert found.across(found.links) and found.advice == ""
    told = "\n".join(found.told)
    assert "13 overlaps of images (null test with mirrored images: 0): 16 of 16 training" in told
    assert "images are linked; 4 pictures" in told and "no near duplicates, no seams" in told
    assert found.brief.endswith("; 0 stand alone; by 13 overlaps (`comp verify` says more)")
    assert "the largest of 5 crops (test images counted); they share 25% of an image" in told


def test_a_whole_mosaic_says_what_to_do(picture: Callable[..., np.ndarray]) -> None:
    image = picture(0, 320, 320)
    tiles = [image[y : y + 128, x : x + 128] for y in (0, 96, 192) for x in (0, 96, 192)]
    found = radar(tiles, [f"{7919 * k % 1009:03x}q" for k in range(9)], 9)
    assert set(found.group) == {"with 000q"}
    assert found.advice.startswith(
        "1 group (9 of 9 images in the largest) cannot fill 3 folds: cut the picture into blocks:"
    )
    assert "\n" not in found.advice and "`comp folds --groups COLUMN`" in found.advice
    assert "lower folds.n_splits to 2, or cut" in few_groups(2, 30, 31, 5)


def test_no_images() -> None:
    found = look_for_leaks([], 0, [], [], {}, 5)
    assert found.group == () and found.summary == "no groups among 0 training images"


def real(folder: Path, pattern: str) -> tuple[list[str], list[np.ndarray], int]:
    train = sorted((folder / "images").glob(pattern))
    test = sorted((folder / "test/images").glob(pattern))
    images = [read_image(path, 3) for path in (*train, *test)]
    return [path.stem for path in (*train, *test)], images, len(train)


@pytest.mark.realdata
def test_nuclei_are_crops_of_few_pictures(real_data: Path) -> None:
    ids, images, n_train = real(real_data / "nuclei", "*.png")
    found = radar(images, ids, n_train)
    n, sets, largest = found.linked([(s.i, s.j) for s in found.seams.links])
    assert found.seams.n_null == 0 and 340 < n < 400 and 110 < sets < 140 and largest < 20
    assert found.overlaps.n_found == found.overlaps.n_null == 0  # its crops lie edge to edge


@pytest.mark.realdata
def test_dubai_seams_join_tiles_of_one_picture_and_overlaps_pictures_of_one_place(
    real_data: Path,
) -> None:
    ids, images, n_train = real(real_data / "dubai", "*.jpg")
    found = radar(images, ids, n_train)
    assert found.seams.n_null == 0 and found.seams.n_found > 1200
    source = [i.rpartition("_y")[0] for i in ids]
    assert all(source[s.i] == source[s.j] for s in found.seams.links)
    # Some of the 72 source pictures show one place, so names alone do not keep it in one fold.
    assert found.overlaps.n_null == 0
    assert {tuple(sorted((source[o.i], source[o.j]))) for o in found.overlaps.links} == {
        ("t1_001", "t3_009"), ("t4_003", "t8_004"), ("t4_006", "t8_007"),
        ("t7_001", "t8_008"), ("t7_001", "t8_009"), ("t7_002", "t8_009"),
    }  # fmt: skip
    assert len(set(found.group)) == 58  # of 60 sources in train, two pairs of these
