"""The demo competition: drawn the same everywhere, whole, hard for a colour threshold; refuses foreign folders."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.demo import baseline, drawing
from comp.demo.scene import FINE, SIZE, Box, smear
from comp.demo.tile import KINDS, draw_tile
from comp.errors import DataError
from comp.files import read_json, write_json
from comp.masks.rle import decode

PIXELS_SHA256 = "3367f9b4f7c7f367118ae25e726c43a69d6dca6dc27d8c8e103d3d121c5fdd9a"


def generator(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(seed)))


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "demo"
    assert drawing.ensure_demo(root)
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A competition of a few tiles, for the tests of what is drawn when."""
    monkeypatch.setattr(drawing, "TRAIN", ("houses", "open"))
    monkeypatch.setattr(drawing, "TEST", ("farm", "open"))
    monkeypatch.setattr(drawing, "N_PUBLIC", 1)


def test_every_machine_draws_the_same_pixels(demo: Path) -> None:
    stamp = read_json(demo / drawing.STAMP)
    assert stamp == {
        "version": drawing.VERSION,
        "seed": 0,
        "complete": True,
        "pixels_sha256": PIXELS_SHA256,
    }, "the drawing changed: raise drawing.VERSION and pin the new sum here"


def test_layout_sizes_and_values(demo: Path) -> None:
    train = sorted(path.stem for path in (demo / "images").iterdir())
    test = sorted(path.stem for path in (demo / "test" / "images").iterdir())
    assert (len(train), len(test)) == (60, 20) and not set(train) & set(test)
    assert sorted(path.stem for path in (demo / "masks").iterdir()) == train
    empty = 0
    for image_id in train:
        image = cv2.imread(str(demo / "images" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(demo / "masks" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None and image.shape == (SIZE, SIZE, 3) and image.std() > 8
        assert mask is not None and mask.shape == (SIZE, SIZE)
        assert set(np.unique(mask).tolist()) <= {0, 255}
        assert mask.mean() < 0.5 * 255
        empty += not mask.any()
    assert empty == 10


def test_tables_agree_with_the_masks(demo: Path) -> None:
    train = rows(demo / "train.csv")
    assert [row["ImageId"] for row in train] == sorted(p.stem for p in (demo / "images").iterdir())
    for row in train:
        mask = cv2.imread(str(demo / "masks" / f"{row['ImageId']}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(
            decode(row["EncodedPixels"], SIZE, SIZE), np.asarray(mask) // 255
        )


def test_the_key_stands_apart_and_is_divided(demo: Path) -> None:
    key, sample = rows(drawing.key_path(demo)), rows(demo / "sample_submission.csv")
    assert list(key[0]) == ["ImageId", "EncodedPixels", "Height", "Width", "Usage"]
    assert list(sample[0]) == ["ImageId", "EncodedPixels"]
    assert [row["ImageId"] for row in key] == [row["ImageId"] for row in sample]
    assert not any(row["EncodedPixels"] for row in sample)
    assert [row["Usage"] for row in key].count("Public") == 8
    assert [row["Usage"] for row in key].count("Private") == 12
    assert [row["EncodedPixels"] for row in key].count("") == 3
    assert {(row["Height"], row["Width"]) for row in key} == {("128", "128")}


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
@settings(max_examples=12)
def test_a_tile_is_a_function_of_kind_and_seed(seed: int, kind: str) -> None:
    image, roof = draw_tile(kind, generator(seed))
    again, _ = draw_tile(kind, generator(seed))
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
    assert roof.shape == (SIZE, SIZE) and roof.dtype == np.uint8
    assert set(np.unique(roof).tolist()) <= {0, 1}
    assert kind != "open" or not roof.any()
    np.testing.assert_array_equal(image, again)


def test_seeds_and_tiles_differ() -> None:
    sums = {
        hashlib.sha256(draw_tile("houses", generator(0, n))[0].tobytes()).digest() for n in range(5)
    }
    assert len(sums) == 5


@given(degrees=st.integers(0, 359), half_u=st.integers(5, 60), half_v=st.integers(5, 60))
@settings(max_examples=30)
def test_a_box_has_its_area_whatever_its_direction(degrees: int, half_u: int, half_v: int) -> None:
    area = Box(FINE // 2, FINE // 2, half_u, half_v, degrees).inside().sum()
    edge = 4 * (half_u + half_v)
    assert abs(int(area) - 4 * half_u * half_v) <= edge + 8


@pytest.mark.parametrize("direction", [(1024, 0), (-1024, 0), (0, 1024), (-724, 724)])
def test_smear_pushes_a_mask(direction: tuple[int, int]) -> None:
    mask = np.zeros((FINE, FINE), bool)
    mask[100, 100] = True
    swept = np.argwhere(smear(mask, direction, 10))
    assert len(swept) == 10 or direction[0] == -724
    far = 100 + np.array([direction[1], direction[0]]) * 10 // 1024
    assert far.tolist() in swept.tolist() and not smear(mask, direction, 10)[100, 100]


def test_ensure_draws_once(tmp_path: Path, small: None) -> None:
    root = tmp_path / "demo"
    assert drawing.ensure_demo(root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    assert not drawing.ensure_demo(root)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}


@pytest.mark.parametrize(
    "change", ["version", "seed", "interrupted", "image gone", "table gone", "stamp torn"]
)
def test_ensure_draws_again_what_is_not_whole(tmp_path: Path, small: None, change: str) -> None:
    root = tmp_path / "demo"
    drawing.ensure_demo(root)
    stamp = read_json(root / drawing.STAMP)
    first = (root / "images" / "tile_001.png").read_bytes()
    stale = root / "images" / "tile_999.png"
    if change == "version":
        write_json(root / drawing.STAMP, stamp | {"version": 0})
        stale.write_bytes(first)
    elif change == "interrupted":
        write_json(root / drawing.STAMP, stamp | {"complete": False})
    elif change == "image gone":
        (root / "test" / "images" / "tile_003.png").unlink()
    elif change == "table gone":
        (root / "train.csv").unlink()
    elif change == "stamp torn":
        (root / drawing.STAMP).write_text("{")
    assert drawing.ensure_demo(root, seed=1 if change == "seed" else 0)
    assert not stale.exists()
    assert read_json(root / drawing.STAMP)["complete"]
    assert ((root / "images" / "tile_001.png").read_bytes() == first) == (change != "seed")


def test_a_foreign_folder_is_refused_untouched(tmp_path: Path, small: None) -> None:
    mine = tmp_path / "images" / "tile_001.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(
        DataError, match=r"holds files that comp did not draw.*name an empty or a new folder"
    ):
        drawing.ensure_demo(tmp_path)
    assert mine.read_bytes() == b"mine" and not (tmp_path / drawing.STAMP).exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path, small: None) -> None:
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(DataError, match="demo is a file, expected a folder or nothing"):
        drawing.ensure_demo(tmp_path / "demo")


def test_a_threshold_fails(demo: Path) -> None:
    found = baseline.threshold_baseline(demo)
    assert 0.1 < found["train"] < 0.35 and 0.1 < found["iou_image_mean"] < 0.4
    assert found["iou_image_mean"] < found["dice_image_mean"] < 0.5
    parts = (8 * found["public"] + 12 * found["private"]) / 20
    assert parts == pytest.approx(found["iou_image_mean"])
    assert found["rule"] == "84 <= excess_green < 128"


@given(seed=st.integers(0, 1000))
@settings(max_examples=6)
def test_fit_interval_finds_what_trying_all_finds(seed: int) -> None:
    rng = generator(seed)
    levels = [rng.integers(0, 4, (3, 5)).astype(np.uint8) * 20 for _ in range(3)]
    masks = [(rng.random((3, 5)) < share).astype(np.uint8) for share in (0.3, 0.6, 0.0)]

    def mean_iou(low: int, high: int) -> float:
        scores = []
        for level, mask in zip(levels, masks, strict=True):
            called = (level >= low) & (level < high)
            union = (called | (mask == 1)).sum()
            scores.append(1.0 if union == 0 else (called & (mask == 1)).sum() / union)
        return float(np.mean(scores))

    ends = (0, 10, 30, 50, baseline.LEVELS)
    best = max(mean_iou(low, high) for low in ends for high in ends if low <= high)
    low, high, score = baseline.fit_interval(levels, masks)
    assert score == pytest.approx(best) and score == pytest.approx(mean_iou(low, high))


def test_features_hold_extremes() -> None:
    image = np.array(
        [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [255, 255, 255]]], np.uint8
    )
    views = baseline.features(image)
    assert views["saturation"].tolist() == [[255, 255, 255, 0, 0]]
    assert views["brightness"].tolist() == [[85, 85, 85, 0, 255]]
    assert views["excess_green"].tolist() == [[0, 255, 0, 128, 128]]
    assert all(view.dtype == np.uint8 and view.shape == (1, 5) for view in views.values())


def test_otsu_takes_the_side_asked_for() -> None:
    view = np.array([[10, 10, 200, 200]], np.uint8)
    assert baseline.otsu(view, above=True).tolist() == [[0, 0, 1, 1]]
    assert baseline.otsu(view, above=False).tolist() == [[1, 1, 0, 0]]


def test_otsu_may_be_the_best_rule(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing.draw_demo(tmp_path / "demo")
    monkeypatch.setattr(baseline, "fit_interval", lambda levels, masks: (0, 0, -1.0))
    found = baseline.threshold_baseline(tmp_path / "demo")
    assert found["rule"].endswith("Otsu's threshold") and 0 <= found["iou_image_mean"] <= 1


def test_the_baseline_says_what_is_missing(tmp_path: Path, small: None) -> None:
    with pytest.raises(DataError, match=r"no tiles in .*images; draw them with `comp demo`"):
        baseline.threshold_baseline(tmp_path)
    root = tmp_path / "demo"
    drawing.draw_demo(root)
    (root / "masks" / "tile_001.png").rename(root / "masks" / "tile_009.png")
    with pytest.raises(DataError, match="images and masks differ; draw the demo again"):
        baseline.threshold_baseline(root)
    drawing.draw_demo(root)
    drawing.key_path(root).unlink()
    with pytest.raises(DataError, match=r"no answer key .*solution\.csv; draw the demo again"):
        baseline.threshold_baseline(root)
    drawing.draw_demo(root)
    (root / "test" / "images" / "tile_003.png").unlink()
    with pytest.raises(DataError, match=r"solution\.csv names tile_003, which .*images lacks"):
        baseline.threshold_baseline(root)
    (root / "images" / "tile_002.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot read .*tile_002\.png; draw the demo again"):
        baseline.threshold_baseline(root)
