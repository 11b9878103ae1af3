"""`comp verify`: every fault of the data at once, and the tables it prints when there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comp.commands import init, verify
from comp.config import load_competition
from comp.errors import DataError
from comp.files import Workspace

spec = importlib.util.spec_from_file_location("drawn", Path(__file__).with_name("drawn.py"))
assert spec is not None and spec.loader is not None
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)


def run(root: Path, *overrides: str) -> None:
    comp = load_competition(root, overrides=overrides)
    verify.run(Workspace(root, comp.name), comp)


@pytest.fixture
def root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A workspace of three classes with its data in `data/`."""
    drawn.draw_kaggle(tmp_path / "data", 16, task="multiclass")
    init.run(tmp_path, tmp_path / "data")
    capsys.readouterr()
    return tmp_path


def test_whole_data_pass(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(root)
    said = capsys.readouterr().out
    assert "16 train images, height x width:\n      48 x 64          16" in said
    assert "4 test images" in said and "no problems" in said
    assert "exact duplicates among train images: 0 groups" in said
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line}
    shares = [float(lines[name][1]) for name in ("ground", "roof", "tree")]
    assert sum(shares) == pytest.approx(1, abs=2e-4) and lines["ground"][2] == "16"


def test_every_problem_is_said_at_once(root: Path) -> None:
    data = root / "data"
    cut = (data / "images/p_001.png").read_bytes()
    (data / "images/p_001.png").write_bytes(cut[: len(cut) // 2])
    (data / "test/images/t_017.png").write_bytes(b"")
    (data / "masks/p_002.png").unlink()
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(data / "masks/p_003.png")
    Image.fromarray(np.zeros((10, 64), np.uint8)).save(data / "masks/p_004.png")
    with pytest.raises(DataError) as caught:
        run(root)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    for told in (
        "p_001.png: broken or cut short",
        "t_017.png: empty file (0 bytes)",
        "1 image without a mask",
        "p_003.png: value 7 at 3072 of 3072 pixels",
        "p_004.png: mask is 10 x 64",
        "train.csv: 2 images differ from their masks",
        "train.csv: 1 ids have no train image: p_002",
    ):
        assert told in message, told
    assert message.startswith("7 problems in the data:")


def test_a_mask_is_judged_although_its_image_is_broken(root: Path) -> None:
    (root / "data/images/p_005.png").write_bytes(b"")
    (root / "data/masks/p_005.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        run(root, "data.train_rle=null")
    assert "images/p_005.png: empty file" in str(caught.value)
    assert "masks/p_005.png: not an image" in str(caught.value)


def test_only_the_first_twenty_are_listed(root: Path) -> None:
    for path in (root / "data").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        run(root, "data.train_rle=null")
    lines = str(caught.value).splitlines()
    assert lines[0] == "36 problems in the data:" and lines[-1] == "  and 16 more"
    assert len(lines) == 22


def test_exact_duplicates_and_leaks_into_the_test_set(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = root / "data"
    with Image.open(data / "images/p_000.png") as image:
        image.save(data / "images/p_007.png", compress_level=1)  # other bytes, the same pixels
        image.save(data / "test/images/t_016.png")
    run(root)
    said = capsys.readouterr().out
    assert "exact duplicates among train images: 1 groups\n  p_000, p_007" in said
    assert "train images that are test images too: 1: p_000 = t_016" in said


def test_files_that_no_pattern_takes_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (4, 4)).save(root / "data/images/extra.bmp")
    run(root)
    assert "not used, 1 image files fit no pattern: images/extra.bmp" in capsys.readouterr().out


def test_tables_that_do_not_fit(root: Path) -> None:
    data = root / "data"
    meta = (data / "train_meta.csv").read_text().splitlines()
    (data / "train_meta.csv").write_text("\n".join([*meta[:-1], meta[1]]))
    sample = (data / "sample_submission.csv").read_text()
    (data / "sample_submission.csv").write_text(sample.replace("t_016", "t_999"))
    with pytest.raises(DataError) as caught:
        run(root)
    message = str(caught.value)
    assert "train_meta.csv: 1 ids stand there twice: p_000" in message
    assert "train_meta.csv: 1 train images are not there: p_015" in message
    assert "sample_submission.csv: 1 test images are not there: t_016" in message
    assert "sample_submission.csv: 1 ids have no test image: t_999" in message
    with pytest.raises(
        DataError, match=r"train_meta\.csv: no column Photo; it has ImageId, Source"
    ):
        run(root, "folds.group=Photo")
    with pytest.raises(DataError, match="names no file"):
        run(root, "folds.heldout=gone.json")


def test_absent_data_name_the_folder(root: Path) -> None:
    with pytest.raises(DataError, match=r"no data at .*nowhere \(data\.root of competition"):
        run(root, "data.root=nowhere")


@pytest.mark.realdata
def test_odd(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/competition.yaml").write_text(
        f"name: odd\ntask: binary\nclasses: [n]\ndata:\n  root: {real_data / 'odd'}\n  train:\n"
        "    - {images: 'images/{id}.*', masks: 'masks/{id}.*'}\n"
    )
    with pytest.raises(DataError) as caught:
        run(tmp_path)
    message = str(caught.value)
    for stem in ("03_four_band", "14_four_band", "04_five_band", "21_mask_palette", "25_mask_soft",
                 "26_mask_jpg", "29_mask_class_7", "40_truncated", "41_zero_byte", "42_not_an_image",
                 "43_mask_other_size", "44_mask_missing", "45_image_missing", "46_duplicate_stem",
                 "47_mask_truncated"):  # fmt: skip
        assert stem in message, stem
    for stem in ("01_u16", "05_rgba", "07_gray", "09_UPPER", "10_città", "11 spaces", "13_exif",
                 "20_mask", "22_mask", "23_mask", "24_mask", "27_mask", "28_mask"):  # fmt: skip
        assert stem not in message, stem


@pytest.mark.realdata
def test_dubai_subset(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    for folder, extension in (("images", "jpg"), ("masks", "png")):
        (data / folder).mkdir(parents=True)
        for path in sorted((real_data / "dubai" / folder).glob(f"*.{extension}"))[:40]:
            (data / folder / path.name).symlink_to(path)
    (data / "classes.csv").symlink_to(real_data / "dubai/classes.csv")
    init.run(tmp_path / "ws", data)
    run(tmp_path / "ws")
    said = capsys.readouterr().out
    assert "256 x 256         40" in said and "no problems" in said
