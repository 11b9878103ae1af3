"""What folds cannot promise: said where it shows, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.folds.evenness import few_notes, label_unevenness, named_label, unevenness
from comp.data.folds.table import FoldTable


def table(fold: list[int], scheme: str = "split") -> FoldTable:
    ids = tuple(f"i{k:03d}" for k in range(len(fold)))
    empty = ("",) * len(fold)
    return FoldTable(ids, tuple(fold), empty, empty, scheme, 0, 1)


def test_a_handful_of_validation_and_held_out_images_is_said() -> None:
    (said,) = few_notes(table([0, 0, -2, *[-1] * 30]))
    assert said.startswith("2 validation images and 1 held-out image: a score on fewer than 20")
    (said,) = few_notes(table([*[0] * 20, -2, -2, *[-1] * 30]))
    assert said.startswith("2 held-out images: a score")
    assert few_notes(table([*[0] * 20, *[-2] * 20, -1])) == []
    assert few_notes(table([0, 1, 2], "kfold")) == []  # every image is scored once


@pytest.mark.parametrize(
    ("fold", "expected"), [([0, 0, 1, 1], 0.5), ([0, 1, 0, 1], 0.0), ([0, 0, 0, 0], 0.0)]
)
def test_unevenness_of_two_strata(fold: list[int], expected: float) -> None:
    assert unevenness(["a", "a", "b", "b"], np.array(fold)) == expected


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-2, 3)), min_size=1, max_size=40))
def test_unevenness_is_a_share(rows: list[tuple[str, int]]) -> None:
    found = unevenness([name for name, _ in rows], np.array([f for _, f in rows]))
    assert 0 <= found <= 1


def test_unevenness_of_labels_is_that_of_each() -> None:
    labels = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    fold = np.array([0, 0, 1, 1])
    assert label_unevenness(labels, fold).tolist() == [0.5, 0.0]
    assert label_unevenness(labels, fold - 2).tolist() == [0.0, 0.0]


def test_labels_bear_the_names_of_classes() -> None:
    assert named_label("much of class 1", ["sky", "roof"]) == "much of roof"
    assert named_label("class 0", ["sky"]) == "sky"
    assert named_label("none", ["sky"]) == "none"
    assert named_label("class 7", ["sky"]) == "class 7"
