"""Windows over a picture: every pixel is seen, and its weights are positive and sum to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.config import Predict
from comp.predict.windows import BLENDS, LARGE_WINDOW, make_grid, window_of

SIDES = st.integers(1, 70)


@given(SIDES, SIDES, SIDES, SIDES, st.floats(0, 0.9), st.sampled_from(sorted(BLENDS)))
def test_weights_are_a_partition_of_one(
    height: int, width: int, h: int, w: int, overlap: float, blend: str
) -> None:
    grid = make_grid((height, width), (h, w), overlap, blend)
    for axis, size, window in ((grid.rows, height, h), (grid.columns, width, w)):
        assert axis.length == min(size, window)
        assert axis.starts[0] == 0 and axis.starts[-1] + axis.length == size
        gaps = np.diff(axis.starts)
        assert (gaps > 0).all()
        assert (gaps <= max(1, axis.length * (1 - overlap))).all()
        assert axis.weights.dtype == np.float32 and (axis.weights > 0).all()
        total = np.zeros(size)
        for start, weights in zip(axis.starts, axis.weights, strict=True):
            total[start : start + axis.length] += weights
        np.testing.assert_allclose(total, 1, atol=2e-7 * len(axis.starts))
    assert len(grid) == len(grid.rows.starts) * len(grid.columns.starts)


@pytest.mark.parametrize("blend", ["gaussian", "spline"])
def test_smooth_blends_fall_from_the_middle_to_the_edges(blend: str) -> None:
    shape = BLENDS[blend](65)
    assert shape.argmax() == 32
    assert (np.diff(shape[:33]) > 0).all()
    np.testing.assert_allclose(shape, shape[::-1], rtol=1e-12)
    assert shape[0] < 0.01 * shape[32]


def test_windows_are_asked_for_or_come_with_the_size() -> None:
    plain = Predict()
    assert window_of((4096, 4096), plain) is None
    assert window_of((4096, 4097), plain) == LARGE_WINDOW
    small = Predict(window=(64, 96))
    assert window_of((64, 96), small) is None
    assert window_of((64, 97), small) == window_of((65, 10), small) == (64, 96)
