"""A large tif read in bands is the tif read whole, however it is laid out; and what is wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from comp.data.images import tif_rows
from comp.data.images.decode import decode
from comp.data.images.tif_rows import large_tif
from comp.errors import DataError

LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "small strips": {"rowsperstrip": 7},
    "deflate, strips": {"compression": "zlib", "rowsperstrip": 5},
    "deflate, predictor": {"compression": "zlib", "rowsperstrip": 5, "predictor": True},
    "tiles": {"tile": (16, 32)},
    "deflate, tiles": {"compression": "zlib", "tile": (32, 16)},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True, "rowsperstrip": 3},
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, and a band is a few rows."""
    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", 100)
    monkeypatch.setattr(tif_rows, "BAND_BYTES", 3000)


def in_bands(path: Path) -> tuple[list[Any], tuple[int, int]]:
    with large_tif(path) as tif:
        assert tif is not None
        return list(tif.bands()), tif.size


def check_same(path: Path) -> int:
    """Compare with the whole; return the number of bands."""
    whole = decode(path)
    bands, size = in_bands(path)
    pixels = np.concatenate([band.pixels for band in bands])
    assert size == pixels.shape[:2] and pixels.dtype == whole.pixels.dtype
    np.testing.assert_array_equal(pixels, whole.pixels)
    assert {(b.alpha, b.top, b.lossy) for b in bands} == {(whole.alpha, whole.top, whole.lossy)}
    return len(bands)


@pytest.mark.parametrize("first", [(8, 8), (80, 60)])
def test_a_thumbnail_first(small: None, tmp_path: Path, first: tuple[int, int]) -> None:
    """Whether a file is large is asked of the page that is read."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(draw(*first), subfiletype=1)
        file.write(draw(80, 60), rowsperstrip=11)
    assert check_same(path) > 1
    with tifffile.TiffWriter(path) as file:
        file.write(draw(50, 60), subfiletype=1)
        file.write(draw(9, 9))
    with large_tif(path) as tif:
        assert tif is None


def draw(*shape: int, dtype: str = "uint8") -> np.ndarray:
    kind = np.dtype(dtype)
    rng = np.random.default_rng(3)
    if kind.kind == "f":
        return rng.random(shape).astype(kind)
    return rng.integers(0, np.iinfo(kind).max, shape, kind)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rgb(small: None, tmp_path: Path, layout: str, dtype: str) -> None:
    if dtype == "float32" and "predictor" in layout:
        pytest.importorskip("imagecodecs")
    path = tmp_path / "a.tif"
    pixels = draw(75, 50, 3, dtype=dtype)
    tifffile.imwrite(path, pixels, photometric="rgb", **LAYOUTS[layout])
    assert check_same(path) >= 2
    np.testing.assert_array_equal(np.concatenate([b.pixels for b in in_bands(path)[0]]), pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_planes_apart(small: None, tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.tif"
    pixels = draw(5, 66, 40, dtype="uint16")
    options = {"photometric": "minisblack", "planarconfig": "separate", **LAYOUTS[layout]}
    tifffile.imwrite(path, pixels, **options)
    assert check_same(path) >= 2


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_grey(small: None, tmp_path: Path, photometric: str, dtype: str) -> None:
    path = tmp_path / "a.tif"
    pixels = draw(90, 70, dtype="uint8" if dtype == "bool" else dtype)
    pixels = pixels > 99 if dtype == "bool" else pixels
    tifffile.imwrite(path, pixels, photometric=photometric, rowsperstrip=11)
    check_same(path)


def test_alpha_and_palette(small: None, tmp_path: Path) -> None:
    path = tmp_path / "alpha.tif"
    tifffile.imwrite(path, draw(50, 60, 4), photometric="rgb", extrasamples=["unassalpha"])
    check_same(path)
    path = tmp_path / "palette.tif"
    colors = draw(3, 256, dtype="uint16")
    tifffile.imwrite(path, draw(50, 60), photometric="palette", colormap=colors, tile=(16, 16))
    check_same(path)


def test_an_absent_part_is_no_data(small: None, tmp_path: Path) -> None:
    """GDAL leaves parts without data out of a GeoTIFF; in any other file they were never written."""
    tile = draw(16, 16)
    keys = [(34735, "H", 4, (1, 1, 0, 0), True)]  # an empty GeoKeyDirectory
    for path, tags in ((tmp_path / "sparse.tif", keys), (tmp_path / "holes.tif", [])):
        tiles = iter([tile if n % 3 != 1 else None for n in range(16)])
        tifffile.imwrite(
            path,
            tiles,
            shape=(64, 64),
            dtype=np.uint8,
            tile=(16, 16),
            compression="zlib",
            extratags=tags,
        )
    check_same(tmp_path / "sparse.tif")
    with pytest.raises(DataError, match=r"holes\.tif: .* parts hold no pixels"):
        in_bands(tmp_path / "holes.tif")


def test_small_files_and_other_kinds_are_left_to_decode(tmp_path: Path) -> None:
    tif, other = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(tif, draw(20, 20))
    other.write_bytes(b"\x89PNG\r\n\x1a\n")
    for path in (tif, other, tmp_path / "absent.tif"):
        with large_tif(path) as rows:
            assert rows is None


def test_what_is_wrong_is_said(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, draw(60, 60), compression="zlib", rowsperstrip=10)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.tif: broken or cut short: "):
        in_bands(path)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at = file.pages[0].dataoffsets[1]  # type: ignore[union-attr]
    path.write_bytes(whole[:at] + b"\xff" * 40 + whole[at + 40 :])
    with pytest.raises(DataError, match=r"a\.tif: broken or cut short: "):
        in_bands(path)
    tifffile.imwrite(path, draw(2, 60, 60), photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif: 2 pages; expected one picture"):
        in_bands(path)
    tifffile.imwrite(path, draw(60, 60, 4), photometric="separated")
    with pytest.raises(DataError, match=r"a\.tif: a tif in SEPARATED colours"):
        in_bands(path)
    monkeypatch.setattr(tif_rows, "PART_BYTES", 1000)
    tifffile.imwrite(path, draw(60, 60), compression="zlib", rowsperstrip=30)
    with pytest.raises(DataError, match=r"strips of 30 x 60 pixels unfold to .* save it with"):
        in_bands(path)
    monkeypatch.setattr(tif_rows, "MOST_PIXELS", 3000)
    with pytest.raises(DataError, match=r"claims 60 x 60 pixels, more than 3000"):
        in_bands(path)
    monkeypatch.undo()
    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", 100)
    with (
        pytest.raises(DataError, match=r"claims 60 x 60 pixels, more than 2000"),
        large_tif(path, 2000),
    ):
        pass
