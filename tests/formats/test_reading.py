"""A submission read strictly: everything wrong, at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.config import Submission
from comp.errors import ConfigError, SubmissionError
from comp.formats import read_submission
from comp.formats.reading import compare_keys, refuse

CLASSES = Submission(class_column="ClassId", row="image_class")


def table(folder: Path, text: str) -> Path:
    path = folder / "sub.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_masks_of_images(tmp_path: Path) -> None:
    path = table(tmp_path, "ImageId,EncodedPixels\nb,\na,7 3 1 2\n")
    read = read_submission(path, Submission())
    assert read.ids == ("b", "a")
    expected = np.zeros((4, 5), np.uint8)
    expected[:2, 0], expected[2:, 1], expected[0, 2] = 1, 1, 1
    np.testing.assert_array_equal(read.mask("a", 4, 5), expected)
    assert read.mask("b", 4, 5).sum() == 0
    with pytest.raises(SubmissionError, match=r"sub.csv: no row of id 'z'"):
        read.mask("z", 4, 5)
    with pytest.raises(SubmissionError, match=r"sub.csv: row 2, id 'a': run 7 3 passes the last"):
        read.mask("a", 2, 4)


def test_masks_of_classes(tmp_path: Path) -> None:
    whole = "ImageId,ClassId,EncodedPixels\na,0,1 3\na,1,4 1\n"
    read = read_submission(table(tmp_path, whole), CLASSES, 2)
    np.testing.assert_array_equal(read.mask("a", 2, 2, "multiclass"), [[0, 0], [0, 1]])
    np.testing.assert_array_equal(read.mask("a", 2, 2, "multilabel")[1], [[0, 0], [0, 1]])
    with pytest.raises(SubmissionError, match="2 classes in a table of a binary task"):
        read.mask("a", 2, 2)
    read = read_submission(table(tmp_path, whole.replace("1 3", "1 1 4 1")), CLASSES, 2)
    with pytest.raises(SubmissionError, match="2 pixels have no class and 1 have several"):
        read.mask("a", 2, 2, "multiclass")


def test_masks_of_objects_are_their_union_and_may_not_share_pixels(tmp_path: Path) -> None:
    layout = Submission(row="object")
    read = read_submission(table(tmp_path, "ImageId,EncodedPixels\na,1 2\nb,\na,5 1\n"), layout)
    assert read.ids == ("a", "b")
    assert read.mask("a", 2, 3).sum() == 3 and read.mask("b", 2, 3).sum() == 0
    read = read_submission(table(tmp_path, "ImageId,EncodedPixels\na,1 3\na,3 1\n"), layout)
    with pytest.raises(SubmissionError, match=r"sub.csv: id 'a': objects share 1 pixel"):
        read.mask("a", 2, 3)
    assert read.mask("a", 2, 3, apart=False).sum() == 3
    read = read_submission(table(tmp_path, "ImageId,EncodedPixels\na,1 3\na,\n"), layout)
    with pytest.raises(SubmissionError, match="row 2, id 'a': an empty mask beside 1 other row of"):
        read.mask("a", 2, 3)


def test_classes_within_ids(tmp_path: Path) -> None:
    layout = Submission(
        id_column="Image_Label", class_in_id=True, row="image_class", class_names=("Fish", "Sugar")
    )
    text = "Image_Label,EncodedPixels\na_b.jpg_Fish,1 1\na_b.jpg_Sugar,\n"
    read = read_submission(table(tmp_path, text), layout, 2)
    assert read.ids == ("a_b.jpg",)
    np.testing.assert_array_equal(read.mask("a_b.jpg", 1, 2, "multilabel"), [[[1, 0]], [[0, 0]]])
    with pytest.raises(
        SubmissionError, match=r"1 row of no known class .*row 2, id 'a_b.jpg_Suga'"
    ):
        read_submission(table(tmp_path, text.replace("Sugar", "Suga")), layout, 2)


def test_an_id_that_may_be_of_two_classes(tmp_path: Path) -> None:
    layout = Submission(class_in_id=True, row="image_class", class_names=("wall", "brick_wall"))
    text = "ImageId,EncodedPixels\na_brick_wall,1 1\nb_wall,\nb_brick_wall,\n"
    with pytest.raises(
        SubmissionError,
        match=r"1 id can be taken apart in several ways: row 1, id 'a_brick_wall' may be image 'a' of"
        r" class 'brick_wall', or image 'a_brick' of class 'wall'; give the classes a column",
    ):
        read_submission(table(tmp_path, text), layout, 2)
    read = read_submission(
        table(tmp_path, text + "a_wall,\n"), layout, 2
    )  # a is there, a_brick not
    assert read.ids == ("a", "b") and ("a", 1) in read.cells and not read.unsure


def test_everything_wrong_at_once(tmp_path: Path) -> None:
    text = "ImageId,ClassId,Pixels,more\na,0,,\na,0,,\na,7,,\n,1,,\n"
    with pytest.raises(SubmissionError) as caught:
        read_submission(table(tmp_path, text), CLASSES, 2)
    said = str(caught.value)
    assert said.startswith("4 problems:\n")
    for part in (
        "no column 'EncodedPixels'",
        "expected ImageId, ClassId, EncodedPixels, got ImageId, ClassId, Pixels, more",
        "1 repeated: id 'a', class '0' (rows 1, 2)",
        "1 row of no known class; known 0, 1: row 3, id 'a', class '7'",
        "1 row without an id: 4",
    ):
        assert part in said


def test_a_column_spelled_almost_right_is_named(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"no column 'ImageId' .is it 'image_id'"):
        read_submission(table(tmp_path, "image_id,EncodedPixels\na,\n"), Submission())


def test_a_layout_that_cannot_hold_the_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="but there are 4 classes"):
        read_submission(table(tmp_path, "ImageId,EncodedPixels\n"), Submission(), 4)


def test_missing_and_extra_say_the_first_five_and_the_count(tmp_path: Path) -> None:
    rows = "".join(f"x{n},\n" for n in range(8))
    read = read_submission(table(tmp_path, f"ImageId,EncodedPixels\n{rows}"), Submission())
    problems: list[str] = []
    compare_keys(read, [("x0", 0), ("y", 0)], problems)
    assert problems == [
        "sub.csv: 1 missing: id 'y'",
        "sub.csv: 7 not in the key: id 'x1', id 'x2', id 'x3', id 'x4', id 'x5' (and 2 more)",
    ]


def test_a_long_list_of_problems_is_cut() -> None:
    with pytest.raises(SubmissionError) as caught:
        refuse([f"p{n}" for n in range(30)])
    assert str(caught.value).startswith("30 problems:\n  p0\n")
    assert str(caught.value).endswith("p19\n  and 10 more")
    refuse([])
