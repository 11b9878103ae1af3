"""Which `data.scale` is proposed for the numbers that images hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comp.data.images.decode import Stored
from comp.data.images.read import to_image
from comp.data.intake.value_range import ValueRange


def seen(*arrays: np.ndarray, top: int | None = None) -> ValueRange:
    found = ValueRange()
    for array in arrays:
        found.see(Stored(np.asarray(array).reshape(1, -1, 1), False, top))
    return found


@pytest.mark.parametrize(
    ("numbers", "scale"),
    [
        ([0.0, 1.0], None),
        ([0.0, 254.0], [0, 255]),
        ([0.0, 3000.0], [0, 4095]),
        ([0.1, 9800.0], [0, 10000]),
        ([-30.0, 4.0], [-50, 5]),
        ([-9999.0, 0.0, 0.7], [0, 1]),
        ([-9999.0, 2.0, 7.0], [0, 10]),
        ([-3.0, -2.0], [-5, 0]),
        ([0.2, np.nan], [0, 1]),
    ],
)
def test_floats(numbers: list[float], scale: list[float] | None) -> None:
    got, told = seen(np.array(numbers, np.float32)).proposed()
    assert got == scale
    assert bool(told) == (scale is not None)


def test_integers() -> None:
    assert seen(np.array([0, 200], np.uint8)).proposed() == (None, "")
    scale, told = seen(np.array([0, 2256], np.uint16)).proposed()
    assert scale is None and "0 to 2256 of 65535" in told and "[0, 4095] would spread" in told
    assert seen(np.array([0, 4000], np.uint16), top=4095).proposed() == (None, "")
    assert seen(np.array([-5, 900], np.int16)).proposed()[0] == [-5, 1000]
    assert seen(np.array([0, 30000], np.int16)).proposed() == (None, "")
    scale, told = seen(np.array([0, 2256], np.int16)).proposed()
    assert scale is None and "0 to 2256 of 32767" in told and "[0, 4095] would spread" in told
    scale, told = seen(np.array([0, 9], np.uint8), np.array([0, 9.5])).proposed()
    assert scale is None and "different types of file" in told
    assert ValueRange().proposed() == (None, "")
    assert seen(np.array([np.nan])).proposed() == (None, "")


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64])
def test_wide_integers_never_come_out_black(kind: type) -> None:
    numbers: np.ndarray = np.array([0, 254], kind)
    scale, told = seen(numbers).proposed()
    assert scale == [0, 255]
    assert f"0 to 254 of {np.iinfo(kind).max}" in told and "are black; data.scale [0, 255]" in told
    full: np.ndarray = np.array([0, np.iinfo(kind).max], kind)
    assert seen(full).proposed() == (None, "")


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.uint32, bool])
def test_nothing_but_zeros(kind: type) -> None:
    assert seen(np.zeros(4, kind)).proposed() == (None, "")


@example(-1.0, 1.0)
@given(st.floats(-9000, 1e9), st.floats(1e-6, 1e9))
def test_the_proposal_covers_what_was_seen(low: float, width: float) -> None:
    numbers = np.array([low, low + width], np.float64)
    scale, _ = seen(numbers).proposed()
    if scale is None:
        assert numbers.min() >= 0 and numbers.max() <= 1
    else:
        assert scale[0] <= numbers[0] * (1 - 1e-6) or numbers[0] >= 0
        assert scale[1] >= numbers[1] * (1 - 1e-6) and scale[0] < scale[1]


def test_a_proposal_reads_the_image() -> None:
    from comp.config.competition import Data

    numbers = np.array([[-9999.0, 0.0, 2.5, 10.0]], np.float32)[..., None]
    scale, _ = seen(numbers).proposed()
    data = Data.model_validate(
        {"root": ".", "train": [{"images": "{id}.tif"}], "channels": 1, "scale": scale}
    )
    assert to_image(Path("a"), Stored(numbers, False), data).ravel().tolist() == [0, 0, 0.25, 1]
