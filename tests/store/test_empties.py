"""Shares of empty masks: which masks are empty, and when two shares are far apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.store import Probs, ProbsWriter, empties
from comp.store.empties import are_empty, differ, predict_mask

SHARES = st.integers(1, 500).flatmap(
    lambda n: st.fixed_dictionaries({"empty": st.integers(0, n), "of": st.just(n)})
)


@pytest.mark.parametrize(
    ("task", "mask", "expected"),
    [
        ("binary", np.zeros((2, 2)), [True]),
        ("binary", np.eye(2), [False]),
        ("multiclass", np.full((2, 2), 1), [True, False]),
        ("multilabel", np.stack([np.eye(2), np.zeros((2, 2))]), [False, True]),
    ],
)
def test_which_classes_are_empty(task: str, mask: np.ndarray, expected: list[bool]) -> None:
    recipe: Any = SimpleNamespace(task=task, classes=("a", "b"))
    assert are_empty(mask, recipe) == expected


@pytest.mark.parametrize(
    ("one", "other", "far"),
    [
        ((10, 100), (30, 100), True),
        ((10, 100), (19, 100), False),  # within 10 points
        ((0, 4), (1, 4), False),  # within three standard errors
        ((0, 9), (9, 9), True),
        ((0, 9), (0, 9), False),
        ((0, 0), (9, 9), False),
    ],
)
def test_far_apart(one: tuple[int, int], other: tuple[int, int], far: bool) -> None:
    a, b = ({"empty": e, "of": n} for e, n in (one, other))
    assert differ(a, b) is far
    assert not differ(a, None) and not differ(None, b)


def test_repeats_of_an_image_are_no_further_images() -> None:
    a, b = {"empty": 1, "of": 10}, {"empty": 60, "of": 100}
    assert differ(a, b)
    assert not differ(a, {**b, "repeats": 50}) and not differ({**b, "repeats": 50}, a)


@given(SHARES, SHARES)
def test_far_apart_has_no_direction(a: dict[str, int], b: dict[str, int]) -> None:
    assert differ(a, b) == differ(b, a) and not differ(a, a)


@pytest.mark.parametrize(
    ("task", "n_planes"), [("binary", 1), ("multiclass", 3), ("multilabel", 2)]
)
@pytest.mark.parametrize("min_area_px", [0, 5])
def test_a_large_image_is_blended_in_bands_to_the_same_mask(
    task: str, n_planes: int, min_area_px: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    stacks = []
    for name, store in (("p", "uint8"), ("q", "uint16")):
        with ProbsWriter(tmp_path / name, store) as writer:
            writer.append("a", rng.integers(0, 256, (n_planes, 37, 20)).astype(store) * 1)
            stacks.append((len(stacks) + 1, Probs(writer.commit()[0])))
    thresholds = None if task == "multiclass" else (0.4,) * n_planes
    recipe: Any = SimpleNamespace(task=task, thresholds=thresholds, min_area_px=min_area_px)
    whole = predict_mask(recipe, stacks, "a")
    monkeypatch.setattr(empties, "BAND_PIXELS", 20 * 5)
    banded = predict_mask(recipe, stacks, "a")
    assert banded.dtype == whole.dtype == np.uint8
    np.testing.assert_array_equal(banded, whole)
