"""The convention of a table: layouts that fit, ids taken apart, cells read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.config import Rle, Submission
from comp.errors import ConfigError, SubmissionError
from comp.formats import FORMATS, class_names, layout_of
from comp.formats.rle_table import check_layout, columns_of, join_id, read_cell, split_ids
from comp.formats.table import parse_table


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
    assert class_names(plain, ["p", "q", "r"]) == ("0", "1", "2")
    assert columns_of(plain) == ("ImageId", "EncodedPixels")
    split = Submission(class_column="ClassId", row="image_class", class_names=("x", "y"))
    assert class_names(split, ["p", "q"]) == ("x", "y")
    assert columns_of(split) == ("ImageId", "ClassId", "EncodedPixels")
    joined = Submission(class_in_id=True, row="image_class")
    assert join_id("a.jpg", "1", joined) == "a.jpg_1" and join_id("a", "1", split) == "a"


TEXT = """ImageId,ClassId,EncodedPixels
a,{0},
a,{1},
b,{0},
"""


@pytest.mark.parametrize(
    ("cells", "classes", "expected"),
    [
        (("roof", "tree"), ("roof", "tree"), ("roof", "tree")),
        (("0", "1"), ("roof", "tree"), ("0", "1")),
        (("1", "2"), ("1", "2"), ("1", "2")),  # Severstal: its own names, which look like numbers
        (("0", "1"), ("1", "2"), ("0", "1")),  # row by row the numbers say more
        (("p", "q"), ("roof", "tree"), ("0", "1")),  # neither: the message will name the numbers
    ],
)
def test_a_table_says_how_it_spells_classes(
    cells: tuple[str, str], classes: tuple[str, str], expected: tuple[str, str]
) -> None:
    column = Submission(class_column="ClassId", row="image_class")
    frame = parse_table(TEXT.format(*cells).encode(), "t.csv")
    assert class_names(column, classes, frame) == expected
    joined = Submission(class_in_id=True, row="image_class")
    lines = ["ImageId,EncodedPixels", f"a_1_{cells[0]},", f"a_1_{cells[1]},", f"b_{cells[0]},"]
    frame = parse_table("\n".join(lines).encode(), "t.csv")
    assert class_names(joined, classes, frame) == expected
    said = joined.model_copy(update={"class_names": ("s", "t")})
    assert class_names(said, classes, frame) == ("s", "t")


NAMES = ("wall", "brick_wall", "1")


def test_ids_are_taken_apart_by_known_classes_and_images() -> None:
    assert split_ids(["a_wall", "0002cc93b.jpg_1", "a_2", "_1", "1", "", "a_"], NAMES) == [
        (("a", "wall"),), (("0002cc93b.jpg", "1"),), (), (), (), (), (),
    ]  # fmt: skip
    both = (("a_b", "brick_wall"), ("a_b_brick", "wall"))
    assert split_ids(["a_b_brick_wall"], NAMES) == [both]
    assert split_ids(["a_b_brick_wall"], NAMES, ["a_b"]) == [both[:1]]
    assert split_ids(["a_b_brick_wall"], NAMES, ["a_b_brick"]) == [both[1:]]
    assert split_ids(["a_b_brick_wall"], NAMES, ["a_b", "a_b_brick"]) == [both]
    assert split_ids(["a_b_brick_wall"], NAMES, ["zz"]) == [both[:1]]  # of no image: said elsewhere
    # without images the table's other rows decide
    assert split_ids(["a_b_brick_wall", "a_b_1"], NAMES)[0] == both[:1]
    assert split_ids(["a_b_brick_wall", "a_b_brick_1"], NAMES)[0] == both[1:]
    assert split_ids(["a_b_brick_wall", "a_b_brick_1"], NAMES, every=True)[0] == both


@given(
    st.lists(
        st.tuples(st.text("ab_", min_size=1, max_size=5), st.sampled_from(["b", "a_b", "_"])),
        max_size=8,
    )
)
def test_ids_come_back_with_the_images_known(pairs: list[tuple[str, str]]) -> None:
    names = ("b", "a_b", "_")
    cells = [f"{image_id}_{name}" for image_id, name in pairs]
    found = split_ids(cells, names, {image_id for image_id, _ in pairs})
    assert all(pair in several for pair, several in zip(pairs, found, strict=True))


def test_endless_underscores_cost_little() -> None:
    cell = "_" * 1_000_000
    assert split_ids([cell, f"{cell}_wall"], NAMES) == [(), ((cell, "wall"),)]


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
