"""Objects that share pixels: counted, told, and treated as `data.overlap` and the task say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comp.config import Competition, check
from comp.data.checks.tables import check_tables
from comp.data.sources.labels import read_labels
from comp.data.sources.overlaps import deep_pixels, overlaps_told, shared
from comp.data.sources.records import Records, find_records
from comp.data.sources.truth import truth_key
from comp.errors import DataError
from comp.masks.rle import encode, runs_of
from tests.drawn import save

H, W = 8, 10


@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(0, 5), st.just(4), st.just(5)), elements=st.integers(0, 1)
    )
)
def test_pixels_of_two_or_more(planes: np.ndarray) -> None:
    assert deep_pixels([runs_of(plane) for plane in planes]) == int((planes.sum(axis=0) > 1).sum())


def box(top: int, left: int, high: int, wide: int) -> np.ndarray:
    mask = np.zeros((H, W), np.uint8)
    mask[top : top + high, left : left + wide] = 1
    return mask


ROOF, ROOF2, TREE = box(0, 0, 4, 4), box(3, 3, 3, 3), box(2, 2, 4, 6)
# of one class: 1 pixel; roof and tree: 4 + 9 - 1 in common
BOTH = int(((ROOF | ROOF2) & TREE).sum())


def objects(root: Path) -> None:
    for name in ("a", "b"):
        save(root / f"{name}.png", np.full((H, W, 3), 80, np.uint8))
    rows = [("a", "roof", ROOF), ("a", "roof", ROOF2), ("a", "tree", TREE), ("b", "tree", TREE)]
    lines = [f"{i},{k},{encode(mask)}" for i, k, mask in rows]
    (root / "t.csv").write_text("\n".join(["ImageId,ClassId,EncodedPixels", *lines]) + "\n")


def competition(task: str, classes: list[str], truth: dict[str, Any], **data: Any) -> Competition:
    if "rle" in truth:
        data["train_rle"] = {"file": "t.csv", "class_column": "ClassId", "row": "object"}
    train = [{"images": "{id}.png", **truth}]
    whole = {"task": task, "classes": classes, "data": {"root": ".", "train": train, **data}}
    return check(Competition, {"name": "t", **whole}, "t")


def coco(root: Path) -> None:
    objects(root)
    rings = [[0, 0, 4, 0, 4, 4, 0, 4], [3, 3, 6, 3, 6, 6, 3, 6], [2, 2, 8, 2, 8, 6, 2, 6]]
    annotations = [
        {"image_id": 1, "category_id": k, "segmentation": [ring]}
        for k, ring in zip((1, 1, 2), rings, strict=True)
    ] + [{"image_id": 2, "category_id": 2, "segmentation": [rings[2]]}]
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    categories = [{"id": 1, "name": "roof"}, {"id": 2, "name": "tree"}]
    value = {"images": images, "annotations": annotations, "categories": categories}
    (root / "c.json").write_text(json.dumps(value))


TRUTHS = [("rle", objects, {"rle": True}), ("coco", coco, {"coco": "c.json"})]


@pytest.mark.parametrize(("name", "draw", "truth"), TRUTHS, ids=["rle", "coco"])
def test_classes_that_overlap(tmp_path: Path, name: str, draw: Any, truth: dict[str, Any]) -> None:
    draw(tmp_path)
    sizes = {"a": (H, W), "b": (H, W)}
    source = {"rle": "t.csv", "coco": "c.json"}[name]
    within = f"{source}: objects of one class overlap in 1 of 2 images, 1 pixels: such a pixel counts once"
    head = f"{source}: objects of different classes ('roof' and 'tree') overlap in 1 of 2 images, {BOTH} pixels"

    comp = competition("multilabel", ["roof", "tree"], truth)
    a, b = find_records(comp, tmp_path).train
    one = shared(a, comp, (H, W))
    assert (one.within, one.between, one.pairs) == (1, BOTH, {(0, 1): BOTH})
    assert overlaps_told([a, b], comp, sizes) == [
        f"{head}: such a pixel has them all (task multilabel)", within
    ]  # fmt: skip
    assert np.array_equal(read_labels(a, comp), [ROOF | ROOF2, TREE])
    assert overlaps_told([b], comp, sizes) == [] == overlaps_told([a, b], comp, {})

    classes = ["ground", "roof", "tree"]
    comp = competition("multiclass", classes, truth)
    a, b = find_records(comp, tmp_path).train
    told = overlaps_told([a, b], comp, sizes)
    assert told[0].startswith(f"{head}: refused, as a pixel of task multiclass has one class.")
    assert "data.overlap: ignore leaves such pixels out, last gives" in told[0]
    with pytest.raises(DataError, match=rf"{BOTH} pixels have several classes, .* data.overlap"):
        read_labels(a, comp)

    plain = np.where(TREE, 2, ROOF | ROOF2)
    comp = competition("multiclass", classes, truth, overlap="last")
    assert np.array_equal(read_labels(a, comp), plain)
    assert overlaps_told([a, b], comp, sizes)[0].endswith("later in classes (data.overlap: last)")
    comp = competition("multiclass", classes, truth, overlap="ignore")
    assert np.array_equal(read_labels(a, comp), np.where((ROOF | ROOF2) & TREE, 255, plain))
    assert overlaps_told([a, b], comp, sizes)[0].endswith("scored (data.overlap: ignore)")
    assert np.array_equal(read_labels(b, comp), 2 * TREE)

    comp = competition("binary", ["roof"], truth) if name == "coco" else comp
    if name == "coco":
        assert overlaps_told([a, b], comp, sizes) == [within]


def test_the_cache_knows_of_it_and_older_ones_keep_their_key(tmp_path: Path) -> None:
    objects(tmp_path)
    classes = ["ground", "roof", "tree"]
    keys = {}
    for overlap in ("refuse", "ignore", "last"):
        comp = competition("multiclass", classes, {"rle": True}, overlap=overlap)
        keys[overlap] = json.dumps(truth_key(comp, find_records(comp, tmp_path).train))
    assert len(set(keys.values())) == 3 and "overlap" not in keys["refuse"]


def test_verify_says_it(tmp_path: Path) -> None:
    objects(tmp_path)
    comp = competition("multilabel", ["roof", "tree"], {"rle": True})
    records = find_records(comp, tmp_path)
    problems, warnings = check_tables(comp, tmp_path, records, {"a": (H, W), "b": (H, W)})
    overlaps = [line for line in warnings if "overlap" in line]
    assert problems == [] and len(overlaps) == 2 and "overlap in 1 of 2 images" in overlaps[0]
    assert check_tables(comp, tmp_path, Records(()), {}) == ([], [])


def test_rows_of_classes_overlap_by_rights_in_multilabel(tmp_path: Path) -> None:
    objects(tmp_path)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([lines[0], lines[1], *lines[3:]]) + "\n")
    comp = competition("multilabel", ["roof", "tree"], {"rle": True})
    row = comp.data.train_rle.model_copy(update={"row": "image_class"})  # type: ignore[union-attr]
    comp = comp.model_copy(update={"data": comp.data.model_copy(update={"train_rle": row})})
    assert overlaps_told(find_records(comp, tmp_path).train, comp, {"a": (H, W)}) == []


def test_only_some_images_are_looked_at(tmp_path: Path) -> None:
    objects(tmp_path)
    comp = competition("multilabel", ["roof", "tree"], {"rle": True})
    records = find_records(comp, tmp_path).train
    told = overlaps_told(records, comp, {"a": (H, W), "b": (H, W)}, limit=1)
    assert "overlap in 1 of 1 images" in told[0]
