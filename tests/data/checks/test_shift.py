"""Train against test: told apart where they differ, not where they do not, and not by group."""

from __future__ import annotations

import numpy as np
import pytest

from comp.data.checks.shift import TRAITS, Shift, measure_shift, measure_traits


def drawn(n: int, seed: int, level: float = 0.5) -> np.ndarray:
    """(n, T) traits of noise pictures of one mean brightness."""
    rng = np.random.default_rng(seed)
    pictures = rng.normal(level, 0.1, (n, 32, 40, 3)) + rng.normal(0, 0.05, (n, 1, 1, 1))
    return np.stack([measure_traits(np.clip(p, 0, 1).astype(np.float32)) for p in pictures])


def test_the_same_source_cannot_be_told_apart() -> None:
    found = measure_shift(drawn(60, 0), drawn(40, 1))
    assert found is not None and abs(found.auc - 0.5) < 0.2 and 0.03 < found.error < 0.1
    assert "cannot tell them apart: adversarial AUC" in found.told


@pytest.mark.parametrize(
    ("auc", "error", "verdict"),
    [
        (0.61, 0.10, "too few images to tell whether they differ"),
        (0.61, 0.04, "they differ"),
        (0.59, 0.02, "a classifier cannot tell them apart"),
        (0.55, 0.10, "too few images to tell whether they differ"),
        (0.85, 0.05, "they differ clearly"),
        (0.85, 0.18, "too few images to tell whether they differ"),
    ],
)
def test_a_difference_is_told_where_the_interval_is_clear(
    auc: float, error: float, verdict: str
) -> None:
    found = Shift(auc, error, (("width", 0.9, 1.0, 2.0),))
    assert found.verdict == verdict
    assert ("most by width" in found.told) == found.differs == verdict.startswith("they")


def test_a_darker_test_set_is_told_apart_by_its_brightness() -> None:
    found = measure_shift(drawn(60, 0), drawn(40, 1, 0.3))
    assert found is not None and found.auc > 0.95
    named = [name for name, auc, _, _ in found.differ if auc > 0.9]
    assert "brightness" in named and "width" not in named
    assert "differ clearly: adversarial AUC" in found.told and "in train" in found.told


def test_images_of_one_group_are_not_learnt_by_heart() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.normal(0, 1, (20, 1, len(TRAITS)))
    traits = (pictures + rng.normal(0, 0.02, (20, 10, len(TRAITS)))).reshape(200, -1)
    group = np.repeat(np.arange(20), 10)
    split = np.isin(group, rng.permutation(20)[:10])
    train, test = traits[~split], traits[split]
    by_heart = measure_shift(train, test)
    grouped = measure_shift(train, test, np.concatenate([group[~split], group[split]]))
    assert by_heart is not None and grouped is not None
    assert by_heart.auc > 0.98 and grouped.auc < 0.85
    assert grouped.error > 2 * by_heart.error


@pytest.mark.parametrize(("n", "m"), [(9, 50), (50, 9), (0, 0)])
def test_too_few_images_say_nothing(n: int, m: int) -> None:
    traits = np.zeros((n + m, len(TRAITS)), np.float32)
    assert measure_shift(traits[:n], traits[n:]) is None


def test_too_few_groups_say_nothing() -> None:
    traits = np.zeros((40, len(TRAITS)), np.float32)
    assert measure_shift(traits[:20], traits[20:], np.arange(40) // 10) is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (400, 3, 5)])
def test_traits_of_any_shape_are_numbers(shape: tuple[int, int, int]) -> None:
    found = measure_traits(np.full(shape, 255, np.uint8))
    assert found.shape == (len(TRAITS),) and np.isfinite(found).all()
    named = dict(zip(TRAITS, found.tolist(), strict=True))
    assert (named["height"], named["width"], named["brightness"]) == (shape[0], shape[1], 1.0)


def test_traits_do_not_depend_on_the_type() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    np.testing.assert_allclose(
        measure_traits(pixels), measure_traits(pixels.astype(np.float32) / 255), atol=1e-5
    )
