"""Tables line up, keep every cell, and say what does not exist."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.plots.tables import cell, count_of, duration, markdown_table, text_table, width

WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=9)
CELLS = st.one_of(WORDS, st.integers(-(10**7), 10**7), st.floats(allow_infinity=False), st.none())


def test_text_table() -> None:
    table = text_table(["run", "score", "n"], [["unet", 0.71239, 20], ["a longer one", None, 7]])
    assert table.splitlines() == [
        "run            score   n",
        "------------  ------  --",
        "unet          0.7124  20",
        "a longer one       -   7",
    ]


def test_markdown_table() -> None:
    table = markdown_table(["run", "score"], [["a|b", 0.5], ["c", math.nan]])
    assert table.splitlines() == [
        "| run  |  score |",
        "| ---- | -----: |",
        "| a\\|b | 0.5000 |",
        "| c    |      - |",
    ]


def test_columns_of_numbers_go_right_unless_told() -> None:
    rows = [["x", 1, "3 s"], ["y", "", "4 s"]]
    assert markdown_table(["a", "b", "c"], rows).splitlines()[1] == "| --- | --: | --- |"
    assert markdown_table(["a", "b", "c"], rows, "rlr").splitlines()[1] == "| --: | --- | --: |"


def test_wide_letters_and_marks_are_counted() -> None:
    assert width("屋根") == 4 and width("e\u0301") == 1
    lines = text_table(["name", "v"], [["屋根", 1], ["e\u0301", 22]]).splitlines()
    assert [width(line) for line in lines] == [8] * 4


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=5)
    )
)
def test_any_cells_line_up(rows: list[list[object]]) -> None:
    headers = [f"h{n}" for n in range(len(rows[0]))]
    lines = markdown_table(headers, rows).splitlines()
    assert len(lines) == len(rows) + 2
    assert len({width(line) for line in lines}) == 1
    for line, row in zip(lines[2:], rows, strict=True):
        assert line.replace("\\|", "").count("|") == len(row) + 1
    assert len(text_table(headers, rows).split("\n")) == len(rows) + 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (math.nan, "-"),
        (0.12345, "0.1235"),
        (math.inf, "inf"),
        (7, "7"),
        (11822481, "11,822,481"),
        (True, "yes"),
        (False, "no"),
        ("two\nlines", "two lines"),
    ],
)
def test_cell(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (math.nan, "-"),
        (4.24, "4.2 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7830, "2 h 10 min"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"row 1 has 1 cells, expected 2: \['b'\]"):
        text_table(["a", "b"], [["a", 1], ["b"]])


def test_a_wrong_align_is_refused() -> None:
    with pytest.raises(
        ValueError, match="align 'lc': expected one of l and r for each of 2 columns"
    ):
        markdown_table(["a", "b"], [], "lc")


def test_one_is_not_many() -> None:
    assert [count_of(n, "fold") for n in (0, 1, 2)] == ["0 folds", "1 fold", "2 folds"]
    assert count_of(1, "class", "classes") == "1 class"
    assert count_of(3, "class", "classes") == "3 classes"
