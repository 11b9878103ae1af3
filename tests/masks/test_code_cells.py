"""Cells in every spelling, and those that a stranger made to do harm."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.masks.code_cells import FAR, MARKERS, coco_counts, read_cell_text


def coco_text(counts: list[int]) -> str:
    """The oracle, after the format's description: differences from the third count on, five bits each."""
    out = []
    for i, count in enumerate(counts):
        x = count - (counts[i - 2] if i > 2 else 0)
        while True:
            bits, x = x & 31, x >> 5
            done = x == (-1 if bits & 16 else 0)
            out.append(chr(48 + bits + (0 if done else 32)))
            if done:
                break
    return "".join(out)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_coco_counts_equal_the_oracle(counts: list[int]) -> None:
    found = coco_counts(coco_text(counts).encode())
    assert found is not None and found.tolist() == counts


def test_numbers_as_they_stand_there() -> None:
    cell = read_cell_text(" 3 2\t10  5\n", None)
    assert cell.spelling == "numbers" and cell.numbers.tolist() == [3, 2, 10, 5]


def test_packed_cells_count_up_to_the_image() -> None:
    text = coco_text([3, 105, 4])
    assert not text.isdigit()
    assert read_cell_text(text, 112).spelling == "coco"
    assert read_cell_text(text, 113).spelling == "other"
    assert read_cell_text(text, None).spelling == "other"
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    for cell in (packed, f"0 0.87 {packed}"):
        found = read_cell_text(cell, 112)
        assert found.spelling == "coco_zlib" and found.numbers.tolist() == [3, 105, 4]


@pytest.mark.parametrize(
    "text", [*MARKERS, " ", " -1", "1 -2", "a 3", "1.5 2", "1,2", "１ ２", "\x00"]
)
def test_what_is_no_code_is_no_number(text: str) -> None:
    cell = read_cell_text(text, 100)
    assert cell.spelling == "other" and cell.numbers.size == 0


BOMB = base64.b64encode(zlib.compress(b"0" * (1 << 26), 9)).decode()


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("1 2 " * 500_000, "numbers"),
        ("9" * 1_000_000, "numbers"),
        (f"{10**30} 5", "numbers"),
        ("o" * 1_000_000, "other"),
        ("P0o" * 300_000, "other"),
        ("eNq" * 300_000, "other"),
        ("-5 3 " * 200_000, "other"),
        ("1 " * (1 << 23), "other"),
        (BOMB, "other"),
    ],
    ids=[
        "million",
        "digits",
        "huge",
        "endless",
        "packed",
        "no zlib",
        "negative",
        "too long",
        "bomb",
    ],
)
def test_hostile_cells_cost_little(text: str, spelling: str) -> None:
    tracemalloc.start()
    cell = read_cell_text(text, 10**6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cell.spelling == spelling
    assert cell.numbers.max(initial=0) <= FAR and cell.numbers.min(initial=0) >= 0
    assert peak < 200e6


def test_numbers_beyond_any_image_are_far() -> None:
    assert read_cell_text(f"{10**30} 5", None).numbers.tolist() == [FAR, 5]
    assert np.array_equal(read_cell_text("9" * 10_000, None).numbers, [FAR])
