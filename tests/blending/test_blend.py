"""Integer sums are exact whatever the order, and mix uint8 with uint16 without loss."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.blending import blend
from comp.blending.blend import (
    blend_counts,
    blend_mask,
    common_full,
    single_counts,
    to_grid,
    weighted_sum,
)
from comp.masks.cleanup import remove_small
from comp.metrics.counts import count_image


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([255, 65535]), st.integers(1, 6))
def test_sum_equals_python_integers_in_any_order(seed, full, n_members):
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if full == 255 else np.uint16
    planes = [rng.integers(0, full + 1, (2, 3, 3)).astype(dtype) for _ in range(n_members)]
    weights = [int(w) for w in rng.integers(0, 1001, n_members)]
    weights[0] += 1
    got = weighted_sum(planes, weights, full)
    exact = sum(w * q.astype(object) for w, q in zip(weights, planes, strict=True))
    assert (got == exact).all()
    order = rng.permutation(n_members)
    again = weighted_sum([planes[i] for i in order], [weights[i] for i in order], full)
    assert (again == got).all()


def test_the_largest_sum_does_not_wrap():
    planes = [np.full((1, 1, 1), 65535, np.uint16)] * 40
    assert int(weighted_sum(planes, [1000] * 40, 65535)[0, 0, 0]) == 40_000 * 65535


@pytest.mark.parametrize("weights", [[0, 0], [-1, 2], [1, -1]])
def test_weights_without_meaning_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be >= 0 with a positive sum"):
        weighted_sum([np.zeros((1, 1, 1), np.uint8)] * 2, weights, 255)


def test_uint8_goes_to_the_16_bit_grid_exactly():
    q = np.arange(256, dtype=np.uint8)
    wide = to_grid(q, 65535)
    assert wide.dtype == np.uint16
    assert all(
        Fraction(int(a), 255) == Fraction(int(b), 65535) for a, b in zip(q, wide, strict=True)
    )
    assert to_grid(q, 255) is q
    assert common_full([np.dtype(np.uint8), np.dtype(np.uint16)]) == 65535
    assert common_full([np.dtype(np.uint8)]) == 255
    with pytest.raises(ValueError, match="do not fit"):
        to_grid(wide, 255)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 99))
def test_the_threshold_is_exact(seed, percent):
    rng = np.random.default_rng(seed)
    planes = [rng.integers(0, 256, (1, 4, 4)).astype(np.uint8) for _ in range(3)]
    weights = [int(w) for w in rng.multinomial(1000, [1 / 3] * 3)]
    mask = blend_mask(planes, weights, "binary", 255, (percent / 100,))
    for r in range(4):
        for c in range(4):
            values = zip(weights, planes, strict=True)
            mean = Fraction(sum(w * int(q[0, r, c]) for w, q in values), 255_000)
            assert mask[r, c] == (mean >= Fraction(percent, 100))


def test_a_tie_of_30_members_is_foreground():
    on, off = np.full((1, 2, 2), 255, np.uint8), np.zeros((1, 2, 2), np.uint8)
    assert blend_mask([on] * 15 + [off] * 15, [1] * 30, "binary", 255).all()


def test_clean_up_follows_the_decision():
    q = np.zeros((1, 8, 8), np.uint8)
    q[0, 0, 0], q[0, 3:6, 3:6] = 255, 255
    mask = blend_mask([q], [1], "binary", 255, None, 4)
    assert mask.sum() == 9
    assert (mask == remove_small((q[0] > 127).astype(np.uint8), "binary", 4)).all()


def test_single_counts(make_source):
    source = make_source("multilabel", 2, n_images=3)
    counts = single_counts(source)
    assert counts.shape == (3, 3, 2, 4)
    mask = (source.planes(1, 2) >= 128).astype(np.uint8)
    assert (counts[2, 1] == count_image(mask, source.labels(1), "multilabel", 2)).all()


@pytest.mark.parametrize(
    ("task", "n_classes"), [("binary", 1), ("multiclass", 3), ("multilabel", 2)]
)
@pytest.mark.parametrize("min_area_px", [0, 5])
def test_bands_of_rows_count_the_same(make_source, monkeypatch, task, n_classes, min_area_px):
    source = make_source(task=task, n_classes=n_classes)
    thresholds = None if task == "multiclass" else (0.4,) * n_classes
    asked = (source, range(source.n_images), [1, 2, 0], thresholds, min_area_px)
    singles, blended = single_counts(source), blend_counts(*asked)
    monkeypatch.setattr(blend, "BAND_PIXELS", 65)
    assert len(blend.bands_of(source.labels(0).shape)) > 5
    np.testing.assert_array_equal(single_counts(source), singles)
    np.testing.assert_array_equal(blend_counts(*asked), blended)
