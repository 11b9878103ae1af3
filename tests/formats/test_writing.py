"""Masks to files: order, columns and ids of the sample; each row read back, nothing half-done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.config import Submission
from comp.errors import ConfigError, SubmissionError
from comp.formats import read_submission, read_table, write_submission
from comp.formats.rle_table import Format
from comp.masks.components import objects
from comp.masks.rle import encode

SIZES = {"a": (6, 7), "NA": (9, 4), "007": (5, 5)}
KINDS = {"binary": ("roof",), "multiclass": ("x", "y", "z"), "multilabel": ("x", "y", "z")}


def draw(image_id: str, task: str, seed: int = 0) -> np.ndarray:
    size = SIZES[image_id]
    rng = np.random.default_rng([seed, *image_id.encode()])
    if task == "multiclass":
        return rng.integers(0, 3, size).astype(np.uint8)
    shape = size if task == "binary" else (3, *size)
    return (rng.random(shape) < 0.4).astype(np.uint8)


def write(folder: Path, layout: Submission, task: str = "binary", **more: Any) -> dict[str, Any]:
    call: dict[str, Any] = {
        "classes": KINDS[task],
        "ids": list(SIZES),
        "mask_of": lambda image_id: draw(image_id, task),
        "sizes": SIZES,
        **more,
    }
    return write_submission(folder / "out.csv", layout, task, **call)


LAYOUTS: list[tuple[str, dict[str, Any]]] = [
    ("binary", {}),
    ("binary", {"order": "row", "base": 0, "empty": "-", "id_column": "i", "rle_column": "r"}),
    ("binary", {"row": "object"}),
    ("binary", {"relative": True, "base": 0, "empty": "-1"}),  # SIIM-ACR 2019
    ("binary", {"row": "object", "relative": True, "base": 0, "order": "row"}),
    ("binary", {"row": "object", "connectivity": 4, "order": "row"}),
    ("multiclass", {"row": "image_class", "class_column": "c"}),
    ("multilabel", {"row": "image_class", "class_column": "c", "class_names": ("3", "1", "2")}),
    ("multilabel", {"row": "image_class", "class_in_id": True, "class_names": ("p", "q_p", "r")}),
    ("multilabel", {"row": "object", "class_column": "c"}),
]


@pytest.mark.parametrize(("task", "values"), LAYOUTS)
def test_what_is_written_reads_back(tmp_path: Path, task: str, values: dict[str, Any]) -> None:
    layout = Submission.model_validate(values)
    summary = write(tmp_path, layout, task)
    path = tmp_path / "out.csv"
    read = read_submission(path, layout, len(KINDS[task]))
    assert read.ids == tuple(SIZES), "without a sample the order is the caller's"
    for image_id, size in SIZES.items():
        np.testing.assert_array_equal(read.mask(image_id, *size, task), draw(image_id, task))
    assert summary["rows"] == len(read_table(path))
    assert summary["images"] == 3 and summary["bytes"] == path.stat().st_size
    assert summary["classes_not_in_sample"] == []
    assert b"\r" not in path.read_bytes()


IN_ID = Submission(class_in_id=True, row="image_class")


@pytest.mark.parametrize("names", [("x", "q_x"), ("0", "1")])
def test_a_sample_says_how_classes_are_spelled(tmp_path: Path, names: tuple[str, str]) -> None:
    sample = tmp_path / "sample.csv"
    cells = [f"{image_id}_{name}" for image_id in ("a_q", "a") for name in names]
    sample.write_text("\n".join(["ImageId,EncodedPixels", *(f"{cell}," for cell in cells)]) + "\n")
    mask = np.array([[[1, 0]], [[0, 1]]], np.uint8)
    write_submission(
        tmp_path / "s.csv", IN_ID, "multilabel", ["x", "q_x"], ["a", "r"],
        {"a": mask, "r": mask}.get, lambda _: (1, 2), None,
    )  # fmt: skip
    assert (tmp_path / "s.csv").read_text().splitlines()[1:] == [
        "a_0,1 1",
        "a_1,2 1",
        "r_0,1 1",
        "r_1,2 1",
    ]
    if names[0] == "x":  # "a_q_x" is two rows, of both images
        with pytest.raises(SubmissionError, match=r"2 ids can be taken apart in several ways: row"):
            write_submission(
                tmp_path / "s.csv", IN_ID, "multilabel", ["x", "q_x"], ["a_q", "a"],
                {"a": mask, "a_q": mask}.get, lambda _: (1, 2), sample,
            )  # fmt: skip
        sample.write_text("ImageId,EncodedPixels\nb_x,\nb_q_x,\na_q_x,\na_q_q_x,\n")
        ids = ["b", "a_q"]
    else:
        ids = ["a_q", "a"]
    write_submission(
        tmp_path / "s.csv", IN_ID, "multilabel", ["x", "q_x"], ids,
        dict.fromkeys(ids, mask).get, lambda _: (1, 2), sample,
    )  # fmt: skip
    lines = (tmp_path / "s.csv").read_text().splitlines()[1:]
    assert [line.partition(",")[0] for line in lines] == [
        line.partition(",")[0] for line in sample.read_text().splitlines()[1:]
    ]
    assert [line.partition(",")[2] for line in lines] == ["1 1", "2 1"] * 2


def test_two_rows_of_one_name_are_refused(tmp_path: Path) -> None:
    mask = np.zeros((2, 1, 2), np.uint8)
    layout = IN_ID.model_copy(update={"class_names": ("x", "q_x")})
    with pytest.raises(
        SubmissionError,
        match=r"id 'a_q_x' would be image 'a' of class 'q_x', or image 'a_q' of class 'x'",
    ):
        write_submission(
            tmp_path / "s.csv", layout, "multilabel", ["x", "q_x"], ["a", "a_q"],
            {"a": mask, "a_q": mask}.get, lambda _: (1, 2),
        )  # fmt: skip
    assert not (tmp_path / "s.csv").exists()


def test_the_bytes_of_a_small_file(tmp_path: Path) -> None:
    masks = {"a": np.array([[1, 0], [1, 1]], np.uint8), "b,c": np.zeros((2, 2), np.uint8)}
    write_submission(
        tmp_path / "s.csv", Submission(), "binary", ["x"], ["b,c", "a"], masks.get, lambda _: (2, 2)
    )
    assert (tmp_path / "s.csv").read_bytes() == b'ImageId,EncodedPixels\n"b,c",\na,1 2 4 1\n'


def test_order_columns_and_further_cells_come_from_the_sample(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_bytes(b"EncodedPixels,note,ImageId\r\n1 1,n1,NA\r\n1 1,n2,a\r\n,n3,007\r\n")
    write(tmp_path, Submission(), sample_path=sample)
    frame = read_table(tmp_path / "out.csv")
    assert list(frame.columns) == ["EncodedPixels", "note", "ImageId"]
    assert frame["ImageId"].tolist() == ["NA", "a", "007"]
    assert frame["note"].tolist() == ["n1", "n2", "n3"]
    assert frame["EncodedPixels"][1] == encode(draw("a", "binary"))


def test_rows_of_classes_keep_the_samples_order(tmp_path: Path) -> None:
    layout = Submission(class_column="c", row="image_class")
    sample = tmp_path / "sample.csv"
    rows = [f"{image_id},{k},\n" for k in (2, 0, 1) for image_id in ("007", "NA", "a")]
    sample.write_text("ImageId,c,EncodedPixels\n" + "".join(rows))
    asked: list[str] = []

    def mask_of(image_id: str) -> np.ndarray:
        asked.append(image_id)
        return draw(image_id, "multiclass")

    write(tmp_path, layout, "multiclass", sample_path=sample, mask_of=mask_of)
    frame = read_table(tmp_path / "out.csv")
    assert [f"{i},{c},\n" for i, c in zip(frame["ImageId"], frame["c"], strict=True)] == rows
    assert sorted(asked) == sorted(SIZES), "a mask is made once an image"


def test_a_class_that_no_row_of_the_sample_asks_for_is_left_out_and_said(tmp_path: Path) -> None:
    layout = Submission(class_in_id=True, row="image_class")
    sample = tmp_path / "sample.csv"
    rows = "".join(f"{image_id}_{k},\n" for image_id in SIZES for k in (1, 2))
    sample.write_text("ImageId,EncodedPixels\n" + rows)
    summary = write(tmp_path, layout, "multiclass", sample_path=sample)
    assert summary["classes_not_in_sample"] == ["x"] and summary["rows"] == 6


def test_objects_follow_the_samples_images(tmp_path: Path) -> None:
    layout = Submission(row="object")
    sample = tmp_path / "sample.csv"
    sample.write_text("ImageId,EncodedPixels\n007,1 1\na,1 1\na,3 1\nNA,1 1\n")
    masks = {image_id: draw(image_id, "binary") for image_id in SIZES}
    masks["a"][:] = 0
    summary = write(tmp_path, layout, sample_path=sample, mask_of=masks.get)
    frame = read_table(tmp_path / "out.csv")
    expected = [i for i in ("007", "a", "NA") for _ in range(max(1, len(objects(masks[i]))))]
    assert frame["ImageId"].tolist() == expected
    assert frame["EncodedPixels"][expected.index("a")] == "" and summary["empty_rows"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,\nNA,\n", "1 test images without a row in sample.csv: '007'"),
        ("a,\nNA,\n007,\nz,\n", "1 ids of sample.csv without a test image: 'z'"),
        ("a,\nNA,\n007,\na,\n", r"sample.csv: 1 repeated: id 'a' \(rows 1, 4\)"),
        ("", "3 test images without a row"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("ImageId,EncodedPixels\n" + text)
    with pytest.raises(SubmissionError, match=said):
        write(tmp_path, Submission(), sample_path=sample)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.csv"]


def test_all_faults_of_a_sample_at_once(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("ImageId,c,Pixels\na,0,\na,1,\nz,0,\nz,9,\n")
    with pytest.raises(SubmissionError) as caught:
        write(
            tmp_path,
            Submission(class_column="c", row="image_class"),
            "multiclass",
            sample_path=sample,
        )
    for part in (
        "no column 'EncodedPixels'",
        "row 4, id 'z', class '9'",
        "2 test images without a row in sample.csv: 'NA', '007'",
        "1 ids of sample.csv without a test image: 'z'",
        "1 rows of an image and class are absent: id 'z', class '1'",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("mask", "task", "said"),
    [
        (np.zeros((6, 8), np.uint8), "binary", r"shape \(6, 7\) uint8 .* got \(6, 8\) uint8"),
        (np.zeros((6, 7), np.int64), "binary", r"got \(6, 7\) int64"),
        (np.full((6, 7), 255, np.uint8), "binary", "holds the value 255; expected 0 to 1"),
        (np.full((6, 7), 3, np.uint8), "multiclass", "holds the value 3; expected 0 to 2"),
        (np.zeros((2, 6, 7), np.uint8), "multilabel", r"shape \(3, 6, 7\)"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    tmp_path: Path, mask: np.ndarray, task: str, said: str
) -> None:
    layout = Submission(class_column="c", row="image_class") if task != "binary" else Submission()
    with pytest.raises(SubmissionError, match=f"id 'a': .*{said}"):
        write(tmp_path, layout, task, mask_of=lambda _: mask)
    assert not list(tmp_path.iterdir())


def test_a_marker_that_means_pixels_is_found_out(tmp_path: Path) -> None:
    mask = np.zeros((6, 7), np.uint8)
    mask[0, 0] = 1
    with pytest.raises(SubmissionError, match=r"does submission.empty \('1 1'\) also stand for"):
        write(tmp_path, Submission(empty="1 1"), ids=["a"], mask_of=lambda _: mask)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["drop", "double", "split", "shift"])
def test_a_faulty_writer_is_caught_and_the_old_file_stays(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check that stands between an encoder's mistake and the file."""
    from comp.formats import rle_table

    honest = rle_table.FORMATS["object"]

    def cells(plane: np.ndarray, layout: Submission) -> list[str]:
        good = honest.cells(plane, layout)
        return {
            "drop": good[1:],
            "double": [*good, good[0]],
            "split": ["1 1", "2 1", *good[1:]],  # one object in two rows that touch
            "shift": [encode(np.roll(plane, 1, axis=0))],
        }[fault]

    wrong = Format("object", "a faulty one", False, True, cells)
    monkeypatch.setitem(rle_table.FORMATS, "object", wrong)
    plane = np.zeros((6, 7), np.uint8)
    plane[:2, 0] = plane[4, 4] = 1
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(SubmissionError, match="id 'a': what was written does not decode"):
        write(tmp_path, Submission(row="object"), ids=["a"], mask_of=lambda _: plane)
    assert (tmp_path / "out.csv").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_repeated_test_ids_and_layouts_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="1 test ids repeat: 'a'"):
        write(tmp_path, Submission(), ids=["a", "NA", "a"])
    with pytest.raises(ConfigError, match="use row: image_class"):
        write(tmp_path, Submission(), "multiclass")


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5, unique=True), st.data())
def test_any_id_comes_back(tmp_path_factory: Any, ids: list[str], data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("any")
    ids = [i for i in ids if i.isprintable()] or ["a"]
    masks = {i: np.eye(3, 4, k=n, dtype=np.uint8) for n, i in enumerate(ids)}
    write_submission(
        folder / "s.csv", Submission(), "binary", ["x"], ids, masks.get, lambda _: (3, 4)
    )
    read = read_submission(folder / "s.csv", Submission())
    assert read.ids == tuple(ids)
    for image_id in ids:
        np.testing.assert_array_equal(read.mask(image_id, 3, 4), masks[image_id])


@pytest.mark.realdata
def test_nuclei_masks_as_objects(tmp_path: Path, real_data: Path) -> None:
    import cv2

    names = sorted(path.stem for path in (real_data / "nuclei" / "masks").glob("*.png"))[:6]
    masks = {
        name: (cv2.imread(str(real_data / "nuclei" / "masks" / f"{name}.png"), 0) > 0).view(
            np.uint8
        )
        for name in names
    }
    layout = Submission(row="object")
    sizes = {name: mask.shape for name, mask in masks.items()}
    write_submission(tmp_path / "s.csv", layout, "binary", ["n"], names, masks.get, sizes)
    read = read_submission(tmp_path / "s.csv", layout)
    for name, mask in masks.items():
        np.testing.assert_array_equal(read.mask(name, *mask.shape), mask)
