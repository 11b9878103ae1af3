"""Run-length codes of masks in bands: the same text as of the whole mask, whatever the bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comp.masks.rle import Order, encode, runs_of
from comp.masks.stream import RunStream

ORDERS = ["column", "row"]


def encode_bands(
    bands: list[np.ndarray],
    height: int,
    width: int,
    order: Order = "column",
    base: int = 1,
    relative: bool = False,
) -> str:
    stream = RunStream(height, width, order)
    for band in bands:
        stream.add(band)
    return stream.text(base, relative)


def in_bands(mask: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return np.split(mask, sorted(cut % (len(mask) + 1) for cut in cuts))


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1)),
    st.lists(st.integers(0, 12), max_size=5),
    st.sampled_from(ORDERS),
    st.integers(0, 1),
    st.booleans(),
)  # fmt: skip
def test_bands_give_the_text_of_the_whole(
    mask: np.ndarray, cuts: list[int], order: str, base: int, relative: bool
) -> None:
    code = order, base, relative
    assert encode_bands(in_bands(mask, cuts), *mask.shape, *code) == encode(mask, *code)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fill", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 4), (3, 0), (0, 3)])
def test_all_of_one_value(shape: tuple[int, int], fill: int, order: str) -> None:
    mask = np.full(shape, fill, np.uint8)
    bands = [mask[i : i + 1] for i in range(len(mask))]
    assert encode_bands(bands, *shape, order) == encode(mask, order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("density", [0.001, 0.5, 0.999])
def test_larger_masks(order: str, density: float) -> None:
    mask = np.random.default_rng(7).random((301, 257)) < density
    stream = RunStream(*mask.shape, order)
    for start in range(0, len(mask), 64):
        band = mask[start : start + 64].copy()
        stream.add(band)
        band[:] = ~band  # a buffer that is used again must not matter
    np.testing.assert_array_equal(stream.runs(), runs_of(mask, order))
    assert stream.text() == stream.text() == encode(mask, order)


def test_what_does_not_fit_is_refused() -> None:
    stream = RunStream(4, 3)
    with pytest.raises(ValueError, match=r"uint8 with 0 and 1, got \(2, 3\) float32"):
        stream.add(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="0 and 1 only, got 255"):
        stream.add(np.full((2, 3), 255, np.uint8))
    with pytest.raises(ValueError, match="2 x 4 after 0 rows does not fit into 4 x 3"):
        stream.add(np.zeros((2, 4), np.uint8))
    stream.add(np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="3 of 4 rows were given"):
        stream.runs()
    with pytest.raises(ValueError, match="2 x 3 after 3 rows does not fit"):
        stream.add(np.zeros((2, 3), np.uint8))
