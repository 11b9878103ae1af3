"""`comp submit --format geotiff` and `comp score` of its zip: masks on the map, scored as a CSV is."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from comp.cli import main
from comp.commands import score, submit
from comp.config import Submission
from comp.data.folds.check import check_competition
from comp.errors import SubmissionError, UsageError
from comp.files import read_json, sha256
from comp.formats import read_table
from comp.masks.rle import decode

rasterio = pytest.importorskip("rasterio")

spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
assert spec is not None and spec.loader is not None
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)


def make(tmp_path, task="binary", **values):
    """A workspace with a run, whose test images are GeoTIFF files; the last one lies nowhere."""
    workspace, competition = fake.make_competition(tmp_path, task)
    folder = workspace.root / "data" / "test" / "images"
    for i, path in enumerate(sorted(folder.glob("*.png"))):
        place = {"crs": "EPSG:32633", "transform": rasterio.Affine(2, 0, 100 * i, 0, -2, 900)}
        with rasterio.open(
            path.with_suffix(".tif"), "w", driver="GTiff", height=24, width=24, count=3,
            dtype="uint8", **(place if i < 3 else {}),
        ) as target:  # fmt: skip
            target.write(np.moveaxis(cv2.imread(str(path))[..., ::-1], 2, 0))
        path.unlink()
    section = competition.submission.model_copy(update={"format": "geotiff", **values})
    data = competition.data.model_copy(update={"test": "test/images/{id}.tif"})
    competition = competition.model_copy(update={"data": data, "submission": section})
    fake.make_run(workspace, competition, fake.make_folds(workspace, competition), "a", 1.2)
    return workspace, competition


def as_csv(competition):
    section = competition.submission.model_copy(update={"format": "csv"})
    return competition.model_copy(update={"submission": section})


def test_each_mask_lies_where_its_image_lies(tmp_path, capsys):
    workspace, competition = make(tmp_path, pixel_values=(0, 255))
    assert check_competition(competition) == []
    path = submit.run(workspace, competition, run_name="a")
    said = capsys.readouterr().out
    assert (
        f"submissions/{path.name}: 4 images, one GeoTIFF each; values: 0 background, 255 roof"
        in said
    )
    assert (
        "warning: 1 image file of them says nothing of a place on the map; its mask is without one: t03"
        in said
    )
    assert path.suffix == ".zip"
    card = read_json(path.with_suffix(".json"))
    assert card["submission"] == path.name and card["sha256"] == sha256(path)
    assert card["files"] == card["images"] == card["class_masks"] == 4
    assert "rows" not in card and "empty_rows" not in card
    table = read_table(submit.run(workspace, as_csv(competition), run_name="a"))
    codes = dict(zip(table["ImageId"], table["EncodedPixels"], strict=True))
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(unpacked)
    assert sorted(p.name for p in unpacked.iterdir()) == [f"t0{i}.tif" for i in range(4)]
    for i in range(3):
        image = workspace.root / "data" / "test" / "images" / f"t0{i}.tif"
        with rasterio.open(unpacked / f"t0{i}.tif") as mask, rasterio.open(image) as picture:
            assert (mask.crs, mask.transform) == (picture.crs, picture.transform)
            np.testing.assert_array_equal(mask.read(1), decode(codes[f"t0{i}"], 24, 24) * 255)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_zip_scores_as_the_csv_does(tmp_path, task, capsys):
    workspace, competition = make(tmp_path, task)
    zipped = submit.run(workspace, competition, run_name="a")
    table = submit.run(workspace, as_csv(competition), run_name="a")
    key = tmp_path / "key.csv"
    lines = [
        f"{line},24,24" if "ImageId" not in line else f"{line},Height,Width"
        for line in table.read_text().splitlines()
    ]
    key.write_text("\n".join(lines) + "\n")
    for comp in (competition, None):
        one = score.run(table, key, comp and as_csv(competition), None, [], None)
        two = score.run(zipped, key, comp, None, [], None)
        assert one["scores"] == two["scores"] and one["per_class"] == two["per_class"]
        assert two["scores"]["all"][two["metric"]] == 1.0
    assert read_json(zipped.with_suffix(".json"))["scores"]["scores"]["all"]
    key.write_text("\n".join(lines).replace(",24,24", ",12,48") + "\n")
    with pytest.raises(SubmissionError, match="id 't00': a mask of 24 x 24, its image is 12 x 48"):
        score.run(zipped, key, competition, None, [], None)
    short = [line for line in lines if not line.startswith("t03")]
    key.write_text("\n".join(short) + "\n")
    with pytest.raises(SubmissionError, match="not in the key: id 't03'"):
        score.run(zipped, key, competition, None, [], None)


def test_names_of_the_output(tmp_path):
    workspace, competition = make(tmp_path)
    with pytest.raises(UsageError, match=r"masks as GeoTIFF go into a zip; name a \.zip"):
        submit.run(workspace, competition, None, tmp_path / "m.csv", "a")
    with pytest.raises(UsageError, match=r"a \.zip holds masks: --format geotiff"):
        submit.run(workspace, as_csv(competition), None, tmp_path / "m.zip", "a")
    assert submit.run(workspace, competition, None, tmp_path / "o" / "m.zip", "a").is_file()


def test_values_that_do_not_fit_are_said_before_any_work(tmp_path):
    _, competition = make(tmp_path, "multiclass", pixel_values=(0, 1))
    assert check_competition(competition) == [
        "competition toy: submission.pixel_values: expected 3 values, one a class, got [0, 1]"
    ]


def test_an_unknown_format_is_said(tmp_path, capsys, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "competition.yaml").write_text(
        "name: toy\ntask: binary\nclasses: [roof]\ndata: {root: d, train: [{images: 'i/{id}.png'}]}\n"
    )
    monkeypatch.setattr("sys.argv", ["comp", "submit", "--format", "shp", "--root", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "submission.format: input should be 'csv' or 'geotiff'" in capsys.readouterr().err


def test_runs_made_before_keep_their_identity():
    assert (
        "format" not in Submission().model_dump()
        and "pixel_values" not in Submission().model_dump()
    )
