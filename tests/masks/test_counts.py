"""COCO counts in every spelling, against a decoder that goes character by character and pixel by pixel."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comp.errors import SubmissionError
from comp.masks.counts import packed_objects, read_counts, spelling_of
from comp.masks.rle import fill
from tests.coco_cells import coco_text, counts_of, slow_mask, zipped

MASKS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 1)
)


@given(MASKS)
def test_every_spelling_says_the_same_pixels(mask: np.ndarray) -> None:
    counts = counts_of(mask)
    text = coco_text(counts)
    assert np.array_equal(slow_mask(text, *mask.shape), mask)
    for cell, code in (
        (" ".join(map(str, counts)), "counts"),
        (str(counts), "counts"),
        (text, "coco"),
        (zipped(text), "coco_zlib"),
    ):
        runs = read_counts(cell, code, *mask.shape)
        assert runs.dtype == np.int64 and np.array_equal(fill(runs, *mask.shape, "column"), mask)
        assert (runs[1:, 0] > runs[:-1].sum(axis=1)).all()  # apart and maximal
    rows = read_counts(" ".join(map(str, counts_of(mask, "C"))), "counts", *mask.shape)
    assert np.array_equal(fill(rows, *mask.shape, "row"), mask)


def test_counts_of_nothing_between_two_runs_join_them() -> None:
    assert read_counts("1 2 0 3 4", "counts", 2, 5).tolist() == [[1, 5]]
    assert read_counts("10", "counts", 2, 5).tolist() == []
    assert read_counts("0 10", "counts", 2, 5).tolist() == [[0, 10]]


@pytest.mark.parametrize(
    ("cell", "code", "told"),
    [
        ("3 4", "counts", r"t: counts of 7 pixels; expected 10, which is 2 x 5 \(height x width\)"),
        ("", "counts", "counts of 0 pixels"),
        ("3 -4 11", "counts", "'3 -4 11' is no list of counts: expected whole numbers"),
        ("3.5 6.5", "counts", "is no list of counts"),
        ("３ ７", "counts", "is no list of counts"),
        (f"{10**30} 5", "counts", "counts of 17179869189 pixels"),
        ("o", "coco", "'o' is no COCO code: characters outside it, or cut short"),
        ("a b", "coco", "is no COCO code"),
        (coco_text([3, 8]), "coco", "counts of 11 pixels; expected 10"),
        ("eJwr", "coco_zlib", "is no COCO code"),
        ("hello world", "coco_zlib", "'hello world': not packed with zlib and base64"),
        (base64.b64encode(b"plain").decode(), "coco_zlib", "not packed with zlib and base64"),
        (zipped("\x00\x01"), "coco_zlib", "is no COCO code"),
    ],
)
def test_what_does_not_add_up_is_refused(cell: str, code: str, told: str) -> None:
    with pytest.raises(SubmissionError, match=told):
        read_counts(cell, code, 2, 5, "t")


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("1 " * 1_000_001, "counts"),
        ("9" * 1_000_000, "counts"),
        ("1" * (1 << 23) + " 1", "counts"),
        ("o" * 3_000_000, "coco"),
        ("P0o" * 300_000 + "0", "coco"),
        (base64.b64encode(zlib.compress(b"0" * (1 << 26), 9)).decode(), "coco_zlib"),
    ],
    ids=["ones", "digits", "long", "endless", "packed", "bomb"],
)
def test_hostile_cells_cost_little(cell: str, code: str) -> None:
    tracemalloc.start()
    with pytest.raises(SubmissionError) as caught:
        read_counts(cell, code, 1000, 1000, "t")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6 and len(str(caught.value)) < 200


def test_several_objects_in_one_cell() -> None:
    a, b = zipped(coco_text([3, 7])), zipped(coco_text([5, 5]))
    assert packed_objects(f"0 0.87 {a} 16 1 {b}") == [("0", a), ("16", b)]
    assert packed_objects(f"-1 1e-05 {a}") == [("-1", a)]
    for other in ("", a, f"0 {a}", f"x 1 {a}", f"0 high {a}", "0 1 5 2 10 6", "1 2 3"):
        assert packed_objects(other) is None, other


def test_a_cell_says_how_it_is_packed() -> None:
    text = coco_text([300, 21, 40, 12, 1000])
    assert spelling_of(text) == "coco" and spelling_of(zipped(text)) == "coco_zlib"
    assert spelling_of(f"0 1 {zipped(text)}") == "coco_zlib"
    for other in ("", "1 2 3 4", "12345", "Fish", "grassland", "images/a.png", "[1, 2]", "0" * 3):
        assert spelling_of(other) is None, other
