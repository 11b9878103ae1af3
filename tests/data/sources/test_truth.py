"""Truth from tables of codes and COCO JSON: drawn, cached, refused; and images of one file a band."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.config import Competition, check
from comp.data.cache.cache import Recipe
from comp.data.cache.open import index_path, open_cache
from comp.data.images.bands import BandPath, files_of
from comp.data.images.read import read_image
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record, find_records, look_for_records
from comp.data.sources.truth import labels_of
from comp.errors import DataError
from tests.drawn import rle, save

H, W = 6, 9


def competition(task: str, classes: list[str], train: dict[str, Any], **data: Any) -> Competition:
    more = {"submission": data.pop("submission")} if "submission" in data else {}
    whole = {"root": ".", "train": [{"images": "{id}.png", **train}], **data}
    return check(
        Competition, {"name": "t", "task": task, "classes": classes, "data": whole, **more}, "t"
    )


def half(top: bool) -> np.ndarray:
    mask = np.zeros((H, W), np.uint8)
    mask[: H // 2] = top
    mask[H // 2 :] = not top
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", np.full((H, W, 3), 80, np.uint8))
    return tmp_path


def table(root: Path, rows: list[tuple[str, str, np.ndarray]]) -> dict[str, Any]:
    lines = [f"{i},{k},{rle(mask)}" for i, k, mask in rows]
    (root / "t.csv").write_text("\n".join(["ImageId,Kind,Code", *lines]) + "\n")
    rle_keys = {"file": "t.csv", "rle_column": "Code", "class_column": "Kind", "row": "image_class"}
    return {"train_rle": rle_keys}


def test_classes_spelled_as_named_as_numbers_as_the_submission_says(root: Path) -> None:
    for spelled, named in ((("x", "y"), None), (("0", "1"), None), (("p", "q"), ["p", "q"])):
        rows = [(i, spelled[k], half(k == 0)) for i in "ab" for k in (0, 1)]
        more = {} if named is None else {"submission": {"class_names": named}}
        comp = competition("multilabel", ["x", "y"], {"rle": True}, **table(root, rows), **more)
        labels = read_labels(find_records(comp, root).train[0], comp)
        assert labels.shape == (2, H, W) and np.array_equal(labels[0], half(True))
        assert np.array_equal(labels[1], half(False))


def test_multiclass_with_and_without_a_background(root: Path) -> None:
    rows = [(i, "1", np.pad(half(True)[:, 3:], ((0, 0), (0, 3)))) for i in "ab"]
    comp = competition("multiclass", ["ground", "roof"], {"rle": True}, **table(root, rows))
    labels = read_labels(find_records(comp, root).train[0], comp)
    assert labels.dtype == np.uint8 and np.array_equal(labels, rows[0][2])  # no row names class 0
    full = [(i, str(k), half(k == 1)) for i in "ab" for k in (0, 1)]
    comp = competition("multiclass", ["ground", "roof"], {"rle": True}, **table(root, full))
    assert np.array_equal(read_labels(find_records(comp, root).train[0], comp), half(True))
    gap = [(i, str(k), half(k == 1) & (np.arange(W) > 1)) for i in "ab" for k in (0, 1)]
    comp = competition("multiclass", ["ground", "roof"], {"rle": True}, **table(root, gap))
    with pytest.raises(
        DataError, match=r"t.csv: id 'a': 12 pixels have no class; expected one each"
    ):
        read_labels(find_records(comp, root).train[0], comp)


def test_pixels_of_two_classes(root: Path) -> None:
    planes = np.stack([half(True), np.ones((H, W), np.uint8)])
    comp = competition("multiclass", ["bg", "x", "y"], {"masks": "m/{id}.png"})
    with pytest.raises(
        DataError, match=r"here: 27 pixels have several classes, .* task multilabel"
    ):
        labels_of(planes, comp, "here", True)
    planes[1] = 255
    labels = labels_of(planes, comp, "here", True)
    assert np.array_equal(labels == 1, half(True) > 0) and np.array_equal(
        labels == 255, half(False) > 0
    )


def test_a_code_past_the_end_names_its_row(root: Path) -> None:
    (root / "t.csv").write_text("ImageId,Code\na,1 500\nb,\n")
    comp = competition(
        "binary", ["x"], {"rle": True}, train_rle={"file": "t.csv", "rle_column": "Code"}
    )
    a, b = find_records(comp, root).train
    with pytest.raises(
        DataError, match=r"t.csv: row 1, id 'a': run 1 500 passes the last of 54 pixels"
    ):
        read_labels(a, comp)
    assert not read_labels(b, comp).any()


def test_absent_images_and_unknown_ids(root: Path) -> None:
    (root / "t.csv").write_text("ImageId,Code\na,1 5\nzz,1 5\n")
    keys = {"train_rle": {"file": "t.csv", "rle_column": "Code"}}
    records, problems = look_for_records(competition("binary", ["x"], {"rle": True}, **keys), root)
    assert [r.image_id for r in records.train] == ["a"]
    assert problems[0] == "t.csv: 1 ids have no image: zz"
    assert "t.csv says nothing of 1 of 2 images: b; data.train absent: empty if" in problems[1]
    for absent, n in (("empty", 2), ("leave_out", 1)):
        comp = competition("binary", ["x"], {"rle": True, "absent": absent}, **keys)
        assert len(look_for_records(comp, root)[0].train) == n


def test_tables_that_are_wrong_or_far_away(root: Path) -> None:
    comp = competition("binary", ["x"], {"rle": True}, train_rle={"file": "no.csv"})
    assert "missing file" in look_for_records(comp, root)[1][0]
    comp = competition("binary", ["x"], {"rle": True}, train_rle={"file": "../t.csv"})
    assert look_for_records(comp, root)[1] == [
        "../t.csv: leaves the data's root; expected a path below it"
    ]
    (root / "t.csv").write_text("ImageId,Code\na,1 5\n")
    comp = competition(
        "multilabel", ["x", "y"], {"rle": True}, train_rle={"file": "t.csv", "rle_column": "Code"}
    )
    assert "its rows name no class, but the competition has 2" in look_for_records(comp, root)[1][0]


def coco_file(root: Path) -> None:
    part = {"category_id": 1, "image_id": 1, "segmentation": [[0, 0, W, 0, W, 3, 0, 3]]}
    other = {"category_id": 4, "image_id": 1, "segmentation": [[0, 2, W, 2, W, 6, 0, 6]]}
    value = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [part, other],
        "categories": [{"id": 1, "name": "cat"}, {"id": 4, "name": "dog"}],
    }
    (root / "c.json").write_text(json.dumps(value))


def test_classes_choose_categories(root: Path) -> None:
    coco_file(root)
    comp = competition("binary", ["dog"], {"coco": "c.json"})
    a, b = find_records(comp, root).train
    assert (
        read_labels(a, comp)[:, 0].tolist() == [0, 0, 1, 1, 1, 1] and not read_labels(b, comp).any()
    )
    comp = competition("multilabel", ["second", "first"], {"coco": "c.json"})  # renamed: in order
    assert read_labels(a, comp)[:, :, 0].tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1]]
    comp = competition(
        "multilabel", ["dog", "puppy"], {"coco": "c.json"}
    )  # half known: not guessed
    with pytest.raises(DataError, match=r"c.json: no category puppy; expected"):
        read_labels(a, comp)
    comp = competition("multiclass", ["ground", "cat", "dog"], {"coco": "c.json"})
    with pytest.raises(DataError, match=r"c.json: a: 9 pixels have several classes"):
        read_labels(a, comp)
    comp = competition("binary", ["cow"], {"coco": "c.json"})
    assert (
        "c.json: no category cow; expected classes from cat, dog"
        in look_for_records(comp, root)[1][0]
    )


def test_the_cache_knows_what_the_truth_depends_on(root: Path) -> None:
    rows = [(i, "x", half(True)) for i in "ab"]
    keys = table(root, rows)
    comp = competition("binary", ["x"], {"rle": True}, **keys)
    records = find_records(comp, root).train
    cache = open_cache(root / ".cache", comp, records)
    assert np.array_equal(cache.labels(0), half(True))
    keys["train_rle"]["order"] = "row"
    other = competition("binary", ["x"], {"rle": True}, **keys)
    places = {index_path(root, c, find_records(c, root).train, Recipe()) for c in (comp, other)}
    assert len(places) == 2
    (root / "t.csv").write_text((root / "t.csv").read_text() + "\n")
    assert index_path(root, comp, records, Recipe()) not in places


def test_records_cross_processes(root: Path) -> None:
    coco_file(root)
    comp = competition("binary", ["dog"], {"coco": "c.json"})
    record = find_records(comp, root).train[0]
    assert pickle.loads(pickle.dumps(record)) == record
    image = BandPath.of([root / "a.png", root / "b.png"])
    again = pickle.loads(pickle.dumps(Record("a", image))).image
    assert files_of(again) == (root / "a.png", root / "b.png") and again == root / "a.png"
    assert files_of(BandPath.of([root / "a.png"])) == (root / "a.png",)


def test_bands_are_stacked_in_order(tmp_path: Path) -> None:
    bands = [np.full((H, W), 10 * k, np.uint8) for k in (3, 1, 2, 5)]
    paths = [save(tmp_path / f"x_{n}.tif", band) for n, band in enumerate(bands)]
    image = read_image(BandPath.of(paths), 4)
    assert image.shape == (H, W, 4) and image[0, 0].tolist() == [30, 10, 20, 50]
    save(paths[2], np.zeros((H, W + 1), np.uint8))
    with pytest.raises(
        DataError, match=r"x_2.tif: 6 x 10 uint8, but .*x_0.tif, a band of the same"
    ):
        read_image(BandPath.of(paths), 4)
