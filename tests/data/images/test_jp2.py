"""JPEG 2000: the pixels, the depths that Pillow keeps, and cut files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.data.images.decode import decode, read_size
from comp.data.images.jp2 import jp2_header
from comp.data.images.read import read_image
from comp.data.sources.labels import read_mask_values
from comp.errors import DataError
from tests.data.reading import GREY, RGB, save

LOSSLESS: dict[str, Any] = {"irreversible": False}


@pytest.mark.parametrize("name", ["a.jp2", "a.j2k"])
def test_pixels_of_any_kind(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, RGB, **LOSSLESS)
    assert np.array_equal(read_image(path, 3), RGB) and read_size(path) == RGB.shape[:2]
    path = save(tmp_path / name, GREY, tile_size=(8, 8), **LOSSLESS)
    assert np.array_equal(read_mask_values(path), GREY)
    path = save(tmp_path / name, np.dstack([RGB, GREY]), **LOSSLESS)
    assert np.array_equal(read_image(path, 3), RGB) and decode(path).alpha
    deep = GREY.astype(np.uint16) * 257
    path = save(tmp_path / name, deep, **LOSSLESS)
    assert np.array_equal(read_mask_values(path), deep)
    path.rename(tmp_path / "b.png")
    assert np.array_equal(read_mask_values(tmp_path / "b.png"), deep)


@pytest.mark.parametrize("name", ["a.jp2", "a.j2k"])
@pytest.mark.parametrize("options", [{}, {"tile_size": (8, 8)}, LOSSLESS])
def test_a_cut_file_is_refused(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = save(tmp_path / name, np.tile(RGB, (3, 3, 1)), **options)
    whole = path.read_bytes()
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=rf"{name}: broken or cut short"):
            decode(path)
    path.write_bytes(whole[:-2])
    with pytest.raises(DataError, match=rf"{name}: broken or cut short: the file ends"):
        decode(path)


def test_depths_that_would_be_cut_to_8_bits_are_refused(tmp_path: Path) -> None:
    """Pillow reads 16-bit colours as 8 bits without a word."""
    whole = bytearray(save(tmp_path / "a.j2k", RGB, **LOSSLESS).read_bytes())
    for band in range(3):
        whole[42 + 3 * band] = 15
    (tmp_path / "a.j2k").write_bytes(bytes(whole))
    assert jp2_header(bytes(whole)).bits == 16
    with pytest.raises(
        DataError, match=r"a\.j2k: JPEG 2000 of 3 bands of 16 bits.*convert it to tif"
    ):
        decode(tmp_path / "a.j2k")


def test_a_claim_of_too_much_is_refused(tmp_path: Path) -> None:
    whole = bytearray(save(tmp_path / "a.j2k", RGB).read_bytes())
    whole[8:16] = struct.pack(">II", 60000, 60000)
    (tmp_path / "a.j2k").write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"a\.j2k: claims 60000 x 60000 pixels"):
        decode(tmp_path / "a.j2k")
