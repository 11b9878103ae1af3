"""`comp verify`: every fault of the data at once, and the tables it prints when there is none."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from comp.commands import folds, init, verify
from comp.config import load_competition
from comp.data.checks.findings import Findings
from comp.data.checks.scan import Scan
from comp.data.leaks.radar import Leaks, look_for_leaks
from comp.data.sources.record import say_left_out
from comp.data.sources.records import Records
from comp.errors import DataError
from comp.files import Workspace

spec = importlib.util.spec_from_file_location("drawn", Path(__file__).with_name("drawn.py"))
assert spec is not None and spec.loader is not None
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)


NO_SEAMS = look_for_leaks([], 0, [], [], {}, 5).seams


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


def test_every_unreadable_file_is_listed_before_the_rest(root: Path) -> None:
    (root / "data/masks/p_002.png").unlink()
    for path in (root / "data").rglob("*.png"):
        if path.stem != "p_003":
            path.write_bytes(b"")
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(root / "data/masks/p_003.png")
    with pytest.raises(DataError) as caught:
        run(root, "data.train_rle=null")
    lines = str(caught.value).splitlines()
    assert lines[0] == "35 problems in the data:" and len(lines) == 35
    assert all("empty file (0 bytes)" in line for line in lines[1:34])
    assert any("images/p_002.png" in line for line in lines[1:34])  # it has no mask either
    assert lines[-1].startswith("  and 2 more: see folds/") and lines[-1].endswith(".verify.json")


def test_other_problems_are_listed_up_to_twenty() -> None:
    found = Findings(
        Records([], []), Scan(broken=["b"]), Scan(), Leaks((), 0, (), NO_SEAMS), None,
        ["b", *(f"p{k}" for k in range(30))],
    )  # fmt: skip
    lines = verify.list_problems(found, "v.json").splitlines()
    assert lines[:2] == ["31 problems in the data:", "  b"]
    assert len(lines) == 22 and lines[-1] == "  and 11 more: see v.json"
    found.problems, found.train.broken = [f"b{k}" for k in range(90)], ["b"] * 90
    lines = verify.list_problems(found, "v.json").splitlines()
    assert len(lines) == 52 and lines[-1] == "  and 40 more: see v.json"


@pytest.mark.parametrize("how", ["mirrored left to right", "turned by 180 degrees"])
def test_a_turned_training_image_in_the_test_set_is_warned_of(
    root: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    crops(root)
    with Image.open(root / "data/images/p_005.png") as image:
        pixels = np.asarray(image)
    turned = pixels[:, ::-1] if how.startswith("mirrored") else pixels[::-1, ::-1]
    Image.fromarray(np.ascontiguousarray(turned)).save(root / "data/test/images/t_018.png")
    run(root)
    said = capsys.readouterr().out
    assert f"1 train image is a near duplicate of 1 test image: p_005 ~ t_018 ({how}); the" in said
    comp = load_competition(root)
    told = json.loads(Workspace(root, comp.name).verify_json.read_text(encoding="utf-8"))
    pairs = told["near_duplicates_of_train_and_test"]
    assert pairs == [{"train": "p_005", "test": "t_018", "how": how}]
    assert any("p_005 ~ t_018" in line for line in told["warnings"])


def test_exact_duplicates_and_leaks_into_the_test_set(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = root / "data"
    with Image.open(data / "images/p_000.png") as image:
        image.save(data / "images/p_007.png", compress_level=1)  # other bytes, the same pixels
        image.save(data / "test/images/t_016.png")
    run(root)
    said = capsys.readouterr().out
    assert "exact duplicates among train images: 1 group\n  p_000, p_007" in said
    assert "train images that are test images too: 1: p_000 = t_016" in said
    assert "1 train image is a test image too: p_000 = t_016; the test score flatters" in said
    assert 'leave it out of training (data.exclude: ["p_000"])' in said


def crops(root: Path) -> None:
    """Replace the training images by crops, 2 x 2 of each picture, in the folder's order."""
    rng = np.random.default_rng(0)
    for k, path in enumerate(sorted((root / "data/images").glob("*.png"))):
        if k % 4 == 0:
            noise = rng.normal(0, 1, (96, 128, 3)).astype(np.float32)
            big = cv2.GaussianBlur(noise, (0, 0), 3)
            big = np.clip(128 + 40 * big / big.std(), 0, 255).astype(np.uint8)
        y, x = 48 * (k % 4 // 2), 64 * (k % 2)
        Image.fromarray(np.ascontiguousarray(big[y : y + 48, x : x + 64])).save(path)


def test_the_leak_radar_and_folds_that_cut_groups(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops(root)
    run(root)
    said = capsys.readouterr().out
    assert "16 seams" in said and "null test with reversed edges: 0" in said
    assert "16 of 16 training images are linked; 4 pictures, the largest of 4 crops" in said
    plain = ["folds.scheme=kfold", "folds.n_splits=4", "folds.group=null"]
    comp = load_competition(root, overrides=plain)
    workspace = Workspace(root, comp.name)
    folds.run(workspace, comp)
    run(root, *plain)
    said = capsys.readouterr().out
    assert ".csv (scheme kfold) cuts through 4 of 4 groups, 16 images: scores of these" in said
    folds.run(workspace, comp, force=True, groups="auto")
    run(root)
    said = capsys.readouterr().out
    assert "cuts through" not in said and "no problems" in said


def test_folds_that_cut_a_declared_group_are_a_problem_as_they_are_for_cv(root: Path) -> None:
    comp = load_competition(root, overrides=["folds.group=null", "folds.scheme=kfold"])
    folds.run(Workspace(root, comp.name), comp)
    ids = sorted(path.stem for path in (root / "data/images").glob("*.png"))
    rows = "\n".join(f"{image_id},{n % 2}" for n, image_id in enumerate(ids))
    (root / "data" / "sites.csv").write_text(f"ImageId,site\n{rows}\n")
    asked = ["data.meta=sites.csv", "folds.group=site", "folds.scheme=group"]
    told = r"csv: 2 groups cross folds: 0, 1; make the folds again with `comp folds --force`"
    with pytest.raises(DataError, match=told):
        run(root, *asked)


def test_everything_is_written_to_json_and_a_sheet(root: Path) -> None:
    crops(root)
    (root / "data/images/p_001.png").write_bytes(b"")
    comp = load_competition(root)
    workspace = Workspace(root, comp.name)
    with pytest.raises(DataError):
        verify.run(workspace, comp)
    told = json.loads(workspace.verify_json.read_text(encoding="utf-8"))
    assert len(told["problems"]) == 2 and "p_001.png: empty file" in told["problems"][0]
    assert told["train"]["n_images"] == 16 and told["train"]["sizes"] == [[48, 64, 15]]
    assert told["seams"]["n_null_reversed"] == 0 and told["seams"]["n_found"] == 14
    assert told["groups"]["p_002"] == "with p_000" and "p_001" not in told["groups"]
    assert [c["name"] for c in told["train"]["classes"]] == ["ground", "roof", "tree"]
    with Image.open(workspace.verify_json.with_suffix(".png")) as sheet:
        assert sheet.width > 1000


def test_blank_images_and_mixed_types_are_warned_of(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (64, 48), 7).save(root / "data/images/p_003.png")
    Image.new("L", (64, 48), 7).save(root / "data/images/p_004.png")
    run(root)
    said = capsys.readouterr().out
    assert "2 train images are of one colour: p_003, p_004" in said
    assert "stored in 2 ways: uint8 x 3 (14), uint8 x 1 (2)" in said
    assert "exact duplicates among train images: 0 groups" in said


def test_codes_in_another_order_are_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)14 images differ.*wrong convention.*order: column"):
        run(root, "data.train_rle.order=row")


def test_a_folds_file_of_other_images_is_a_problem(root: Path) -> None:
    comp = load_competition(root, overrides=["folds.n_splits=2"])
    folds.run(Workspace(root, comp.name), comp)
    (root / "data/images/p_003.png").rename(root / "data/images/p_903.png")
    (root / "data/masks/p_003.png").rename(root / "data/masks/p_903.png")
    with pytest.raises(DataError, match="make it anew with `comp folds --force`"):
        run(root)


def test_files_that_no_pattern_takes_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (4, 4)).save(root / "data/images/extra.bmp")
    run(root)
    assert "not used, 1 image file fits no pattern: images/extra.bmp" in capsys.readouterr().out


def test_files_that_no_manifest_names(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("extra", "more"):
        Image.new("L", (4, 4)).save(root / f"data/images/{name}.bmp")
    run(root, "data.train=[{manifest: configs/manifest.csv}]", "data.test=null")
    told = "not used, 2 image files stand in no row of the manifest: images/extra.bmp, images/more"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((1, True, False, False), "1 image file fits no pattern"),
        ((2, True, False, True), "2 image files fit no pattern or have no mask"),
        ((1, False, True, True), "1 image file stands in no row of the manifest or has no mask"),
        (
            (3, True, True, False),
            "3 image files fit no pattern and stand in no row of the manifest",
        ),
    ],
)
def test_why_files_are_not_used(asked: tuple[int, bool, bool, bool], said: str) -> None:
    assert say_left_out(*asked) == said


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
