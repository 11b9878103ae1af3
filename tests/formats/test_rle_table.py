"""The convention of a table: layouts that fit, ids taken apart, cells read."""

from __future__ import annotations

import numpy as np
import pytest

from comp.config import Rle, Submission
from comp.errors import ConfigError, SubmissionError
from comp.formats import FORMATS, class_names, layout_of
from comp.formats.rle_table import check_layout, columns_of, join_id, read_cell, split_id


@pytest.mark.parametrize(
    ("values", "n", "said"),
    [
        ({"row": "image"}, 3, "holds one mask an image, but there are 3 classes"),
        ({"row": "object"}, 2, "holds one mask an image, but there are 2 classes"),
        ({"row": "image_class"}, 1, "image_class needs class_column or class_in_id"),
        ({"row": "image", "class_column": "c"}, 1, "row: image has no class"),
        (
            {"row": "image_class", "class_column": "c", "class_in_id": True},
            2,
            "two places for one thing",
        ),
        (
            {"row": "image_class", "class_column": "c", "class_names": ("a",)},
            2,
            "expected 2 names in class order, got 1",
        ),
        (
            {"row": "image_class", "class_column": "c", "class_names": ("a", "a")},
            2,
            "class_names: names repeat",
        ),
    ],
)
def test_a_layout_that_cannot_hold_the_task_is_refused(
    values: dict[str, object], n: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        check_layout(Submission.model_validate(values), n)


def test_all_mistakes_of_a_layout_at_once() -> None:
    layout = Submission(row="image_class", class_names=("a", "a"))
    with pytest.raises(ConfigError) as caught:
        check_layout(layout, 3)
    assert len(caught.value.problems) == 4


def test_names_columns_and_ids() -> None:
    plain = Submission()
    assert class_names(plain, 3) == ("0", "1", "2")
    assert columns_of(plain) == ("ImageId", "EncodedPixels")
    split = Submission(class_column="ClassId", row="image_class", class_names=("x", "y"))
    assert class_names(split, 2) == ("x", "y")
    assert columns_of(split) == ("ImageId", "ClassId", "EncodedPixels")
    joined = Submission(class_in_id=True, row="image_class")
    assert join_id("a.jpg", "1", joined) == "a.jpg_1" and join_id("a", "1", split) == "a"


def test_the_longest_class_name_that_fits_is_taken_off_an_id() -> None:
    names = ("wall", "brick_wall", "1")
    assert split_id("a_b_brick_wall", names) == ("a_b", "brick_wall")
    assert split_id("a_wall", names) == ("a", "wall")
    assert split_id("0002cc93b.jpg_1", names) == ("0002cc93b.jpg", "1")
    assert split_id("a_2", names) is None
    assert split_id("_1", names) is None and split_id("1", names) is None


def test_a_training_table_has_the_same_layout() -> None:
    rle = Rle(
        file="train.csv", class_column="c", row="image_class", order="row", base=0, relative=True,
        empty="-",
    )  # fmt: skip
    layout = layout_of(rle, ("p", "q"))
    assert layout.class_names == ("p", "q") and layout.sample is None
    for key in (
        "id_column",
        "rle_column",
        "class_column",
        "row",
        "order",
        "base",
        "relative",
        "empty",
    ):
        assert getattr(layout, key) == getattr(rle, key)


def test_a_younger_key_does_not_change_what_is_stored_of_an_older_competition() -> None:
    for section in (Submission(), Rle(file="train.csv")):
        assert "relative" not in section.model_dump()
        assert section.model_copy(update={"relative": True}).model_dump()["relative"] is True


@pytest.mark.parametrize("empty", ["", "-1", "-", "1 0", "nan"])
def test_the_empty_marker_is_no_pixel(empty: str) -> None:
    layout = Submission(empty=empty)
    assert len(read_cell(empty, layout, 4, 5, "w")) == 0
    np.testing.assert_array_equal(read_cell("1 2", layout, 4, 5, "w"), [[0, 2]])


@pytest.mark.parametrize(
    ("cell", "empty", "said"),
    [
        ("-1", "", r"w: -1 is negative.*\(an empty mask is a blank cell here\)"),
        ("1 0", "", r"run 1 0 has no pixel.*\(an empty mask is a blank cell here\)"),
        ("-", "-1", r"'-' is not a whole number \(an empty mask is '-1' here\)"),
        ("", "-1", "w: blank cell; an empty mask is '-1' here"),
        (" ", "1 0", "w: blank cell; an empty mask is '1 0' here"),
        ("1 two", "", "'two' is not a whole number$"),
    ],
)
def test_another_marker_is_refused_and_the_right_one_named(
    cell: str, empty: str, said: str
) -> None:
    with pytest.raises(SubmissionError, match=said):
        read_cell(cell, Submission(empty=empty), 4, 5, "w")


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("order", ["column", "row"])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("relative", [False, True])
def test_every_format_writes_cells_that_read_back(
    name: str, order: str, base: int, relative: bool
) -> None:
    fmt = FORMATS[name]
    assert fmt.name == name and fmt.doc
    layout = Submission.model_validate(
        {"row": name, "order": order, "base": base, "relative": relative, "empty": "-"}
    )
    plane = (np.random.default_rng(5).random((11, 7)) < 0.3).astype(np.uint8)
    cells = fmt.cells(plane, layout)
    assert (len(cells) > 1) == fmt.repeats
    pixels = [read_cell(cell, layout, 11, 7, "w") for cell in cells]
    assert sum(int(runs[:, 1].sum()) for runs in pixels) == plane.sum()
    assert fmt.cells(np.zeros((3, 4), np.uint8), layout) == ["-"]
