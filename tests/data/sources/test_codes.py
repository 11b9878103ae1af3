"""Tables of codes as truth: classes spelled by one rule, ids taken apart, COCO counts; drawn as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.config import Competition, check
from comp.data.sources.codes import CodeRules, gather_codes, plain, settled_submission
from comp.data.sources.labels import read_labels
from comp.data.sources.records import find_records, look_for_records
from comp.errors import DataError
from comp.formats.rle_table import class_names
from comp.formats.table import read_table, table_bytes
from comp.masks.rle import Order, encode
from tests.coco_cells import coco_text, counts_of, zipped
from tests.drawn import save

H, W = 9, 13


def coco(mask: np.ndarray) -> str:
    return coco_text(counts_of(mask))


def packed(mask: np.ndarray) -> str:
    return zipped(coco(mask))


SPELLINGS: dict[str, tuple[dict[str, str], Callable[[np.ndarray], str]]] = {
    "pairs": ({}, encode),
    "pairs in brackets": ({}, lambda m: str([int(n) for n in encode(m).split()])),
    "counts": ({"code": "counts"}, lambda m: " ".join(map(str, counts_of(m)))),
    "list": ({"code": "counts"}, lambda m: str(counts_of(m))),
    "rows": ({"code": "counts", "order": "row"}, lambda m: str(counts_of(m, "C"))),
    "coco": ({"code": "coco"}, coco),
    "coco_zlib": ({"code": "coco_zlib"}, packed),
    "hpa": ({"code": "coco_zlib"}, lambda m: f"0 0.9 {packed(m)}"),
}


def blob(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((H, W), np.uint8)
    top, left = rng.integers(0, 5, 2)
    mask[top : top + rng.integers(2, 5), left : left + rng.integers(2, 8)] = 1
    mask[rng.integers(0, H), rng.integers(0, W)] = 1
    return mask


def write(root: Path, ids: list[str], columns: list[str], rows: list[tuple[str, ...]]) -> None:
    for image_id in ids:
        save(root / f"{image_id}.png", np.full((H, W, 3), 80, np.uint8))
    (root / "t.csv").write_bytes(table_bytes(columns, rows))


def made(task: str, classes: list[str], rle: dict[str, Any], **more: Any) -> Competition:
    data = {
        "root": ".",
        "train": [{"images": "{id}.png", "rle": True}],
        "train_rle": {"file": "t.csv", **rle},
    }
    whole = {"name": "t", "task": task, "classes": classes, "data": data, **more}
    return check(Competition, whole, "t")


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_drawn_as_it_was(tmp_path: Path, name: str) -> None:
    keys, spell = SPELLINGS[name]
    ids = ["a", "b", "c"]
    masks = {i: blob(k) for k, i in enumerate(ids)} | {"c": np.zeros((H, W), np.uint8)}
    rows = [(i, spell(mask) if mask.any() else "") for i, mask in masks.items()]
    write(tmp_path, ids, ["ImageId", "EncodedPixels"], rows)
    comp = made("binary", ["x"], keys)
    for record in find_records(comp, tmp_path).train:
        assert np.array_equal(read_labels(record, comp), masks[record.image_id])


def test_objects_of_several_classes_in_one_cell(tmp_path: Path) -> None:
    planes = {(i, k): blob(10 * n + k) for n, i in enumerate("ab") for k in (0, 2)}
    other = blob(99)
    cell = {i: f"0 1 {packed(planes[i, 0])} 2 .5 {packed(planes[i, 2])}" for i in "ab"}
    cell["b"] += f" 2 1 {packed(other)}"
    write(tmp_path, ["a", "b", "c"], ["ImageId", "EncodedPixels"], [*cell.items(), ("c", "")])
    comp = made("multilabel", ["p", "q", "r"], {"code": "coco_zlib"})
    a, b, c = (read_labels(r, comp) for r in find_records(comp, tmp_path).train)
    assert np.array_equal(a, [planes["a", 0], 0 * other, planes["a", 2]])
    assert np.array_equal(b[2], planes["b", 2] | other) and not c.any()
    comp = made("multilabel", ["0", "2"], {"code": "coco_zlib"})  # by their own names
    assert np.array_equal(read_labels(find_records(comp, tmp_path).train[0], comp), a[[0, 2]])
    told = look_for_records(made("binary", ["x"], {"code": "coco_zlib"}), tmp_path)[1]
    assert told[0] == "t.csv: its codes are of 2 classes (0, 2), but the competition has one, 'x'"
    told = look_for_records(made("multilabel", ["x", "y"], {"code": "coco_zlib"}), tmp_path)[1]
    assert told[0] == "t.csv: its codes are of unknown classes: 2; known 0, 1"
    (tmp_path / "t.csv").write_text(
        f"ImageId,EncodedPixels\na,{cell['a']}\nb,{packed(other)}\nc,\n"
    )
    told = look_for_records(made("multilabel", ["p", "q", "r"], {"code": "coco_zlib"}), tmp_path)[1]
    assert told[0] == "t.csv: row 2, id 'b': a code of no class"


def test_a_broken_code_names_its_row(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"], ["ImageId", "EncodedPixels"], [("a", "5 5"), ("b", "117")])
    comp = made("binary", ["x"], {"code": "counts"})
    a, b = find_records(comp, tmp_path).train
    with pytest.raises(
        DataError, match=r"t.csv: row 1, id 'a': counts of 10 pixels; expected 117, .* 9 x 13"
    ):
        read_labels(a, comp)
    assert not read_labels(b, comp).any()


def in_id(classes: list[str], **more: Any) -> Competition:
    rle = {"class_in_id": True, "row": "image_class"}
    return made("multilabel", classes, rle, **more)


def test_a_class_in_the_id_by_its_own_name(tmp_path: Path) -> None:
    names = ["Sugar_cane", "cane", "Fish"]
    planes = {f"img_{n}_{c}": blob(n + len(c)) for n in (1, 2) for c in names}
    write(tmp_path, ["img_1", "img_2"], ["ImageId", "EncodedPixels"],
          [(cell, encode(plane)) for cell, plane in planes.items()])  # fmt: skip
    comp = in_id(names)
    for record in find_records(comp, tmp_path).train:
        expected = [planes[f"{record.image_id}_{c}"] for c in names]
        assert np.array_equal(read_labels(record, comp), expected)
    frame = read_table(tmp_path / "t.csv")
    assert gather_codes(frame, "t.csv", CodeRules.of(comp), []).names == tuple(names)


@pytest.mark.parametrize(
    ("images", "n_problems"),
    [(["a", "b"], 0), (["a_brick", "b"], 0), (["a", "a_brick", "b"], 1), (["b"], 1)],
)
def test_the_images_decide_where_two_classes_fit(
    tmp_path: Path, images: list[str], n_problems: int
) -> None:
    mask = blob(3)
    rows = [("a_brick_wall", encode(mask)), ("b_wall", encode(mask)), ("b_brick_wall", "")]
    write(tmp_path, images, ["ImageId", "EncodedPixels"], rows)
    comp = in_id(["wall", "brick_wall"])
    records, problems = look_for_records(comp, tmp_path)
    assert len(problems) == n_problems
    if images == ["b"]:
        assert problems == ["t.csv: 1 ids have no image: a"]
    elif n_problems:
        assert problems[0].startswith(
            "t.csv: 1 ids can be taken apart in several ways: image 'a' of class 'brick_wall', or"
            " image 'a_brick' of class 'wall'; give the classes a column of their own"
        )
    else:
        labels = read_labels(records.train[0], comp)
        k = int(images[0] == "a")
        assert np.array_equal(labels[k], mask) and not labels[1 - k].any()


def test_names_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    write(tmp_path, ["a"], ["ImageId", "EncodedPixels"], [("a_x", "")])
    told = look_for_records(in_id(["x", "y"], submission={"class_names": ["x"]}), tmp_path)[1]
    assert "submission.class_names: expected 2 names in class order, got 1" in told[0]


def test_a_submission_without_a_sample_spells_as_the_training_table(tmp_path: Path) -> None:
    write(tmp_path, ["a"], ["ImageId", "EncodedPixels"], [("a_x", ""), ("a_y", "")])
    shape = {"class_in_id": True, "row": "image_class"}
    comp = in_id(["x", "y"], submission=shape)
    assert settled_submission(comp, tmp_path).class_names == ("x", "y")
    (tmp_path / "t.csv").write_text("ImageId,EncodedPixels\na_0,\na_1,\n")
    settled = settled_submission(comp, tmp_path)
    assert class_names(settled, comp.classes) == ("0", "1")
    for more in ({"sample": "s.csv"}, {"class_names": ["p", "q"]}):
        comp = in_id(["x", "y"], submission={**shape, **more})
        assert settled_submission(comp, tmp_path) is comp.submission
    comp = in_id(["x", "y"], submission=shape)
    (tmp_path / "t.csv").unlink()
    assert settled_submission(comp, tmp_path) is comp.submission


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("[1, 2,3]", "1 2 3"), (" [1 2] ", "1 2"), ("1, 2", "1, 2"), ("[]", ""), ("[1", "[1")],
)
def test_brackets(cell: str, expected: str) -> None:
    assert plain(cell) == expected


@pytest.mark.parametrize("order", ["column", "row"])
def test_an_unknown_key_changes_no_identity(order: Order) -> None:
    comp = made("binary", ["x"], {"order": order})
    stored = comp.data.model_dump(mode="json")
    assert "code" not in stored["train_rle"] and "overlap" not in stored
