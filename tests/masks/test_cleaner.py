"""Clean-up by rules equals the same sentences written with scipy, in one piece and by bands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from comp.masks import shapes
from comp.masks.cleaner import Cleaner
from comp.masks.components import find_parts
from comp.masks.rle import runs_of
from comp.masks.rules import ANY_AREA, NO_RULES, Rules, in_words, problems_of
from comp.masks.shapes import fill_holes, open_close, pixels_under

FULL = 255
CORNERS = np.ones((3, 3), bool)


def clean(
    sums: np.ndarray,
    task: str,
    rules: Rules,
    min_area_px: int = 0,
    thresholds: tuple[float, ...] | None = None,
    presence: np.ndarray | None = None,
    step: int | None = None,
) -> np.ndarray:
    """The mask of sums (K, H, W), given in bands of `step` rows."""
    n_planes, height, width = sums.shape
    cuts = thresholds or (0.5,) * n_planes
    cleaner = Cleaner(height, width, n_planes, task, FULL, cuts, min_area_px, rules, presence)
    for top in range(0, height, step or height):
        cleaner.add(sums[:, top : top + (step or height)])
    return cleaner.clean()


def plain_square(plane: np.ndarray, side: int, first: Any, second: Any, outside: Any) -> np.ndarray:
    """Erosion and dilation, in an order; outside the picture neither does anything."""
    square = np.ones((side, side), bool)
    once = first(plane, square, border_value=outside[0])
    changed: np.ndarray = second(once, square, border_value=outside[1])
    return changed


def plain_clean(
    sums: np.ndarray,
    rules: Rules,
    min_area_px: int,
    thresholds: tuple[float, ...],
    presence: np.ndarray | None,
) -> np.ndarray:
    """The rules, one sentence after the other: (K, H, W) bool."""
    probs = sums / FULL
    masks = probs >= np.array(thresholds)[:, None, None]
    if rules.exclusive:
        best = np.where(masks, probs, -1).argmax(axis=0)
        masks &= np.arange(len(masks))[:, None, None] == best
    before = masks.copy()
    for k, mask in enumerate(masks):
        if rules.sure is not None and (probs[k] >= rules.sure[k]).sum() < rules.image_px:
            mask[:] = False
        if rules.presence and presence is not None and presence[k] < rules.presence:
            mask[:] = False
        if not mask.any():
            continue
        if rules.top is not None:
            labels, n = ndimage.label(mask, CORNERS)
            for part in range(1, n + 1):
                if (probs[k][labels == part] >= rules.top[k]).sum() < rules.core_px:
                    mask[labels == part] = False
        erode, dilate = ndimage.binary_erosion, ndimage.binary_dilation
        if rules.open_px:
            mask[:] = plain_square(mask, rules.open_px, erode, dilate, (1, 0))
        if rules.close_px:
            mask[:] = plain_square(mask, rules.close_px, dilate, erode, (0, 1))
        labels, n = ndimage.label(~mask)
        border = set(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        for hole in set(range(1, n + 1)) - border:
            if (labels == hole).sum() <= rules.fill_px:
                mask[labels == hole] = True
        labels, n = ndimage.label(mask, CORNERS)
        parts = sorted(range(1, n + 1), key=lambda part: (-(labels == part).sum(), part))
        for rank, part in enumerate(parts):
            if (labels == part).sum() < min_area_px or (rules.keep and rank >= rules.keep):
                mask[labels == part] = False
    if rules.exclusive:
        for k, mask in enumerate(masks):
            mask &= ~np.delete(before, k, axis=0).any(axis=0)
            mask &= ~masks[:k].any(axis=0)
    return masks


def draw(seed: int, n_planes: int, height: int, width: int) -> np.ndarray:
    """Smooth blobs with specks, (K, H, W) uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n_planes, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 1.2, 1.2)) * 4 + 0.6 * noise
    return np.rint(FULL / (1 + np.exp(-smooth))).astype(np.uint8)


RULES = st.builds(
    lambda k, sure, image, presence, top, core, opened, closed, fill, keep, exclusive: Rules(
        exclusive=exclusive and k > 1,
        sure=(sure,) * k if image else None,
        image_px=image,
        presence=presence,
        top=(top,) * k if core else None,
        core_px=core,
        open_px=opened,
        close_px=closed,
        fill_px=fill,
        keep=keep,
    ),
    st.shared(st.integers(1, 3), key="planes"),
    st.sampled_from([0.5, 0.7, 0.95]),
    st.sampled_from([0, 1, 20]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([0.5, 0.6, 0.8]),
    st.sampled_from([0, 1, 4]),
    st.sampled_from([0, 3]),
    st.sampled_from([0, 3, 5]),
    st.sampled_from([0, 2, ANY_AREA]),
    st.sampled_from([0, 1, 3]),
    st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(
    RULES,
    st.shared(st.integers(1, 3), key="planes"),
    st.integers(0, 1000),
    st.tuples(st.integers(1, 26), st.integers(1, 22)),
    st.sampled_from([0, 4, 9]),
    st.integers(1, 9),
)
def test_rules_equal_their_sentences(
    rules: Rules, k: int, seed: int, size: tuple[int, int], area: int, step: int
) -> None:
    sums = draw(seed, k, *size)
    presence = np.random.default_rng(seed).random(k)
    task = "binary" if k == 1 else "multilabel"
    thresholds = (0.45, 0.5, 0.55)[:k]
    assert not problems_of(rules, task, k)
    expected = plain_clean(sums, rules, area, thresholds, presence)
    got = clean(sums, task, rules, area, thresholds, presence)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)
    banded = clean(sums, task, rules, area, thresholds, presence, step=step)
    np.testing.assert_array_equal(banded, got)
    assert not rules.exclusive or (got.sum(axis=0) <= 1).all()


@pytest.mark.parametrize("pixels", [40, 200, 1 << 20])
@pytest.mark.parametrize(("opened", "closed"), [(3, 0), (0, 7), (5, 9)])
def test_bands_open_and_close_as_the_whole(
    pixels: int, opened: int, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(3).normal(size=(61, 40))
    plane = (ndimage.gaussian_filter(noise, 2) > 0).astype(np.uint8)
    expected = plain_clean(
        plane[None] * 255, Rules(open_px=opened, close_px=closed), 0, (0.5,), None
    )[0]
    monkeypatch.setattr(shapes, "BAND_PIXELS", pixels)
    open_close(plane, opened, closed)
    np.testing.assert_array_equal(plane, expected)
    assert 0 < plane.sum() < plane.size


def test_a_hole_is_connected_by_sides_and_apart_from_the_border() -> None:
    plane = np.ones((7, 7), np.uint8)
    plane[2, 2] = plane[3, 3] = 0  # two holes of one pixel, that meet at a corner
    plane[5, 5] = plane[5, 6] = 0  # reaches the border
    plane[0, 1] = plane[1, 0] = 0
    fill_holes(plane, 1)
    assert plane.sum() == 49 - 4 and plane[2, 2] == plane[3, 3] == 1


@given(
    npst.arrays(np.uint8, st.just((6, 9)), elements=st.integers(0, 1)),
    npst.arrays(np.uint8, st.just((6, 9)), elements=st.integers(0, 1)),
)
def test_shared_pixels_are_counted_by_part(mask: np.ndarray, other: np.ndarray) -> None:
    labels, n = ndimage.label(mask, CORNERS)
    counts = pixels_under(find_parts(mask), runs_of(other, "row"))
    assert counts.tolist() == [int(other[labels == k].sum()) for k in range(1, n + 1)]


def test_no_rules_are_the_plain_decision_for_every_task() -> None:
    sums = draw(1, 3, 20, 20)
    assert (clean(sums[:1], "binary", NO_RULES) == (sums[0] >= 128)).all()
    cleaner = Cleaner(20, 20, 3, "multiclass", FULL, None, 0, NO_RULES)
    cleaner.add(sums)
    assert (cleaner.clean() == sums.argmax(axis=0)).all()
    assert not NO_RULES and Rules(keep=1)


def test_what_cannot_be_cleaned_is_refused() -> None:
    with pytest.raises(ValueError, match="multiclass masks are not cleaned by rules"):
        Cleaner(2, 2, 3, "multiclass", FULL, None, 0, Rules(keep=1))
    with pytest.raises(ValueError, match="no auxiliary classifier"):
        Cleaner(2, 2, 1, "binary", FULL, (0.5,), 0, Rules(presence=0.5))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"keep": -1}, "clean_up.keep must be an integer >= 0, got -1"),
        ({"open_px": 4}, "clean_up.open_px must be odd, from 3 to 255, or 0, got 4"),
        (
            {"image_px": 5},
            "clean_up.sure and clean_up.image_px are one rule; one of them is missing",
        ),
        ({"top": (0.5,)}, "clean_up.top and clean_up.core_px are one rule"),
        ({"top": (0.5, 0.6), "core_px": 2}, "clean_up.top: expected 1 between 0 and 1, got"),
        ({"presence": 1.5}, "clean_up.presence must be between 0 and 1, got 1.5"),
        ({"exclusive": True}, "clean_up.exclusive is a rule of multilabel masks"),
    ],
)
def test_rules_that_cannot_be_are_named(changed: dict[str, Any], said: str) -> None:
    found = problems_of(replace(NO_RULES, **changed), "binary", 1)
    assert len(found) == 1 and found[0].startswith(said)


def test_multiclass_takes_no_rules() -> None:
    assert problems_of(Rules(fill_px=3), "multiclass", 3)
    assert not problems_of(NO_RULES, "multiclass", 3)


def test_rules_come_back_from_plain_values_and_are_said() -> None:
    rules = Rules(
        True, (0.5, 0.7), 64, 0.3, (0.7, 0.8), 4, open_px=3, close_px=5, fill_px=ANY_AREA, keep=1
    )
    plain = rules.to_json()
    assert Rules.from_json(plain) == rules and NO_RULES.to_json() == {}
    assert (
        plain["words"]
        == in_words(rules)
        == [
            "a pixel of several classes goes to the most probable one",
            "a mask with fewer than 64 px at 0.5 / 0.7 or more is empty",
            "a mask whose class the auxiliary classifier gives less than 0.3 is empty",
            "objects with fewer than 4 px at 0.7 / 0.8 or more removed (hysteresis)",
            "opened with a square of 3 px",
            "closed with a square of 5 px",
            "holes filled",
            "only the largest object kept",
        ]
    )
    assert "holes up to 9 px filled" in in_words(Rules(fill_px=9))
    assert "only the 3 largest objects kept" in in_words(Rules(keep=3))
