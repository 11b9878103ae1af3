"""Shares of empty masks: which masks are empty, and when two shares are far apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from comp.blending import blend
from comp.blending.blend import blend_image, mean_presence
from comp.blending.settings import Setting, grids
from comp.masks.rules import NO_RULES, Rules
from comp.store import Probs, ProbsWriter
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
    recipe: Any = SimpleNamespace(
        task=task, thresholds=thresholds, min_area_px=min_area_px, clean_up=NO_RULES
    )
    whole = predict_mask(recipe, stacks, "a")
    monkeypatch.setattr(blend, "BAND_PIXELS", 20 * 5)
    banded = predict_mask(recipe, stacks, "a")
    assert banded.dtype == whole.dtype == np.uint8
    np.testing.assert_array_equal(banded, whole)


@pytest.mark.parametrize(("task", "k"), [("binary", 1), ("multilabel", 3), ("multiclass", 3)])
@pytest.mark.parametrize("bands", [(1 << 24, 1 << 24), (31 * 4, 31 * 7)])
def test_a_submission_is_cleaned_as_out_of_fold(
    task: str, k: int, bands: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same probabilities give the same mask, whichever command asks, under every rule."""
    rng = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(rng.normal(size=(2, k, 40, 31)), (0, 0, 1.5, 1.5)) * 8
    planes = np.rint(255 / (1 + np.exp(-smooth))).astype(np.uint8)
    stacks = []
    for weight, q in zip((300, 700), planes, strict=True):
        with ProbsWriter(tmp_path / str(weight)) as writer:
            writer.append("a", q)
            stacks.append((weight, Probs(writer.commit()[0])))
    said = rng.random((2, k)).astype(np.float32)
    source = blend.Source(
        task, k, 255, 1, 2, lambda i, c: planes[c], lambda i: np.zeros((40, 31), np.uint8),
        lambda i, c: said[c],
    )  # fmt: skip
    cuts = None if task == "multiclass" else (0.45,) * k
    settings = [Setting(cuts)]
    if cuts is not None:
        settings.append(Setting(cuts, 4, Rules(top=(0.6,) * k, core_px=3, close_px=3, fill_px=20)))
    looked = [grid for now in settings for grid in grids(now, cuts, task, (0, 9, 30), True, True)]
    masks = []
    for setting in [*settings, *(s for grid in looked for s in grid.settings)]:
        recipe: Any = SimpleNamespace(
            task=task, thresholds=setting.thresholds, min_area_px=setting.min_area_px,
            clean_up=setting.rules,
        )  # fmt: skip
        monkeypatch.setattr(blend, "BAND_PIXELS", bands[0])
        args = source, 0, (300, 700), setting.thresholds, setting.min_area_px, setting.rules
        scored = blend_image(*args)
        monkeypatch.setattr(blend, "BAND_PIXELS", bands[1])
        heard = mean_presence(zip((300, 700), said, strict=True))
        submitted = predict_mask(recipe, stacks, "a", heard)
        np.testing.assert_array_equal(submitted, scored)
        masks.append(submitted.tobytes())
    assert len(set(masks)) > (20 if cuts is not None else 2)
