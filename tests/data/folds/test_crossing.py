"""Groups that cross a given split: named, and written with the nearest split that keeps them whole."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comp.data.folds.crossing import CrossingError, crossing_groups, keep_whole


def test_the_larger_part_of_a_group_decides() -> None:
    fold = np.array([-1, -1, 0, 0, -1, 0, -1])
    groups = ["a", "a", "a", "b", "b", "", ""]
    assert crossing_groups(fold, groups) == {"a": [0, 1, 2], "b": [3, 4]}
    assert keep_whole(fold, groups).tolist() == [-1, -1, -1, 0, 0, 0, -1]


def test_validation_is_never_emptied() -> None:
    fold = np.array([-1, -1, 0, -1, -1, -1, 0, 0])
    groups = ["a", "a", "a", *"bbbbb"]
    assert keep_whole(fold, groups).tolist() == [-1, -1, -1, 0, 0, 0, 0, 0]


@given(st.lists(st.tuples(st.integers(-1, 2), st.sampled_from(["", *"abcd"])), min_size=1))
def test_nothing_crosses_what_is_kept_whole(rows: list[tuple[int, str]]) -> None:
    fold, groups = np.array([f for f, _ in rows]), [g for _, g in rows]
    whole = keep_whole(fold, groups)
    assert crossing_groups(whole, groups) == {}
    crossing = crossing_groups(fold, groups)
    still = [i for i, g in enumerate(groups) if g not in crossing]
    assert (whole[still] == fold[still]).all()


def test_the_error_names_and_writes_them(tmp_path: Path) -> None:
    error = CrossingError("predefined", list("abcd"), np.array([0, -1, -1, 0]), ["g", "g", "g", ""])
    assert str(error).startswith(
        "scheme predefined: 1 of 1 group crosses the given split, 3 images; group 'g' lies on both sides"
        " of the given split: a, b, c. Moving 1 image would keep all groups whole; or divide anew"
    )
    with open(error.write(tmp_path / "x.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fold"] for row in rows] == ["-1", "-1", "-1", "0"]
    assert rows[0] == {"image_id": "a", "fold": "-1", "given": "0", "crosses": "yes", "group": "g"}
    assert rows[3]["crosses"] == ""
