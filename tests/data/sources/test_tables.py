"""CSV files by their cells: columns of codes in every spelling, ids taken apart, classes of objects."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from comp.data.sources.tables import code_shape, heads_of
from comp.formats.table import parse_table
from tests.coco_cells import coco_text, counts_of, zipped


def blob(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((9, 13), np.uint8)
    top, left = rng.integers(0, 5, 2)
    mask[top : top + rng.integers(2, 5), left : left + rng.integers(2, 8)] = 1
    return mask


def coco(mask: np.ndarray) -> str:
    return coco_text(counts_of(mask))


def packed(mask: np.ndarray) -> str:
    return zipped(coco(mask))


def frame(text: str) -> Any:
    return parse_table(text.encode(), "t.csv")


def joined(cells: list[str]) -> Any:
    return frame("Image_Label,EncodedPixels\n" + "\n".join(f"{cell},1 2" for cell in cells))


def test_ids_with_underscores_and_classes_with_underscores() -> None:
    cells = [f"img_{n}_{c}" for n in (1, 2) for c in ("Sugar_cane", "cane", "1")]
    shape = code_shape(joined([*cells, "img_7_Sugar_cane"]), {"img_1", "img_2"})
    assert shape is not None and shape.class_in_id and shape.row == "image_class"
    assert shape.class_cells == ("Sugar_cane", "cane", "1") and not shape.unsure
    assert shape.ids == ("img_1", "img_2", "img_7")


def test_one_id_that_begins_another() -> None:
    cells = ["img_cane", "img_rice", "img_1_cane", "img_1_rice"]
    shape = code_shape(joined(cells), {"img", "img_1"})
    assert shape is not None and shape.ids == ("img", "img_1")
    assert shape.class_cells == ("cane", "rice") and shape.doubt == ""


def test_what_cannot_be_taken_apart_is_said() -> None:
    shape = code_shape(joined(["img_1_cane", "img_1_rice"]), {"img", "img_1"})
    assert shape is not None and len(shape.unsure) == 2
    assert shape.doubt.startswith(
        "2 ids can be taken apart in several ways: 'img_1_cane' may be image 'img' of class '1_cane',"
        " or image 'img_1' of class 'cane'"
    )
    shape = code_shape(joined(["img_1_cane", "img_1_rice"]), {"img", "img_1"}, ("rice", "cane"))
    assert shape is not None and shape.class_cells == ("cane", "rice") and not shape.doubt


def test_endless_underscores_cost_little() -> None:
    long = "_" * 200_000
    started = time.process_time()
    shape = code_shape(joined([long, "a_x", "a_y", "b_x"]), {"a", "b"})
    assert shape is not None and shape.class_in_id
    assert len(heads_of([long, "a_x"])) < 600
    assert time.process_time() - started < 5


SPELLED = {
    "numbers": ("pairs", lambda m: " ".join(map(str, counts_of(m)))),
    "list": ("pairs", lambda m: f'"{counts_of(m)}"'),
    "coco": ("coco", coco),
    "zlib": ("coco_zlib", packed),
    "objects": ("coco_zlib", lambda m: f"0 1 {packed(m)} 0 .5 {packed(m)}"),
}


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize("column", ["rle", "Strange"])
def test_columns_of_counts(name: str, column: str) -> None:
    code, spell = SPELLED[name]
    rows = [f"i{k},{k % 3},{spell(blob(k))}" for k in range(12)]
    shape = code_shape(frame(f"id,fold,{column}\n" + "\n".join([*rows, "i12,1,"])), {"i0", "i1"})
    if column == "Strange" and code == "pairs":
        assert shape is None  # numbers of any kind stand in tables
        return
    assert shape is not None and shape.rle_column == column and shape.code == code
    assert (shape.row, shape.empty, shape.class_cells) == ("image", "", ())


def test_classes_within_the_codes() -> None:
    rows = [f"i{k},0 1 {packed(blob(k))} {k % 2 * 10} 1 {packed(blob(k))}" for k in range(4)]
    shape = code_shape(frame("ID,PredictionString\n" + "\n".join(rows)), {"i0"})
    assert shape is not None and shape.class_cells == ("0", "10")


def test_words_are_no_packed_counts() -> None:
    words = ["grassland", "Fish", "dog", "bead", "lock", "node", "hook", "cold", "Aldo", "flood"]
    rows = [f"i{k},{word}" for k, word in enumerate(words)]
    assert code_shape(frame("id,kind\n" + "\n".join(rows)), {"i0", "i1"}) is None
    hashes = [f"i{k},{np.random.default_rng(k).bytes(16).hex()}" for k in range(30)]
    assert code_shape(frame("id,md5\n" + "\n".join(hashes)), {"i0", "i1"}) is None


@pytest.mark.parametrize(
    ("column", "found"), [("ClassId", True), ("label_name", True), ("site", False)]
)
def test_the_class_of_objects_stands_in_a_column_named_so(column: str, found: bool) -> None:
    rows = [f"i{k // 6},{'xy'[k % 2]},{1 + 9 * k} 3" for k in range(24)]
    shape = code_shape(frame(f"id,{column},rle\n" + "\n".join(rows)), {"i0", "i1"})
    assert shape is not None and shape.row == "object"
    assert (shape.class_column, shape.class_cells) == (
        (column, ("x", "y")) if found else (None, ())
    )
