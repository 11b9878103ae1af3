"""Which numbers a mask holds, and their translation, by OpenCV: against numpy, for any layout in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comp.data.sources.labels import apply_table, present_values, to_labels
from comp.errors import DataError
from tests.data.reading import competition

MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))
LAYOUTS = {
    "whole": lambda a: a,
    "turned": lambda a: a.T,
    "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "one band of three": lambda a: np.stack([a, a, a], axis=-1)[..., 1],
    "upside down": lambda a: a[::-1, ::-1],
}


@given(MASKS, st.sampled_from(sorted(LAYOUTS)))
def test_any_layout(mask: np.ndarray, layout: str) -> None:
    laid = LAYOUTS[layout](mask)
    assert present_values(laid) == sorted({int(v) for v in mask.ravel()})
    table = {value: (value * 7 + 3) % 256 for value in present_values(laid)}
    labels = apply_table(laid, table, competition())
    assert labels.dtype == np.uint8 and labels.shape == laid.shape
    np.testing.assert_array_equal(labels, (laid.astype(int) * 7 + 3) % 256)


def test_one_wrong_pixel_among_many_is_named() -> None:
    mask = np.zeros((3000, 2000), np.uint8)
    mask[2999, 1999] = 7
    assert present_values(mask) == [0, 7]
    with pytest.raises(DataError, match=r"a\.png: value 7 at 1 of 6000000 pixels"):
        to_labels(mask, competition(), Path("a.png"))


def test_no_pixels() -> None:
    assert present_values(np.zeros((0, 4), np.uint8)) == []
    assert apply_table(np.zeros((0, 4), np.uint8), {}, competition()).shape == (0, 4)
