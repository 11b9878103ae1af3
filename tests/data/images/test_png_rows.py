"""A large PNG or JPEG read in bands by GDAL is the file read whole; what it cannot read is left to decode."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comp.data.images import png_rows, tif_rows
from comp.data.images.decode import decode
from comp.data.images.png_rows import claimed_by_rows
from comp.data.images.rows import large_file
from comp.errors import DataError

RNG = np.random.default_rng(2)
GREY = RNG.integers(0, 256, (71, 53), np.uint8)
RGB = RNG.integers(0, 256, (71, 53, 3), np.uint8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, and a band is a few rows."""
    pytest.importorskip("rasterio")
    monkeypatch.setattr(png_rows, "LARGE_PIXELS", 100)
    monkeypatch.setattr(png_rows, "MAX_PIXELS", 100)
    monkeypatch.setattr(png_rows, "BAND_BYTES", 3000)


def in_bands(path: Path, indices: bool, max_pixels: int = 10_000) -> list[Any]:
    with large_file(path, max_pixels) as found:
        assert found is not None and found.size == (71, 53)
        first = next(found.some())
        bands = list(found.bands(indices))
        assert first.pixels.shape[:2] == bands[0].pixels.shape[:2]
        return bands


def check_same(path: Path, indices: bool) -> None:
    whole = decode(path, indices)
    bands = in_bands(path, indices)
    assert len(bands) > 1
    pixels = np.concatenate([band.pixels for band in bands])
    assert pixels.dtype == whole.pixels.dtype
    np.testing.assert_array_equal(pixels, whole.pixels)
    for band in bands:
        assert (band.alpha, band.top, band.lossy) == (whole.alpha, whole.top, whole.lossy)
        assert (band.colors is None) == (whole.colors is None)
        if whole.colors is not None:
            np.testing.assert_array_equal(band.colors, whole.colors)


def palette(bits: int) -> Image.Image:
    image = Image.fromarray(GREY & np.uint8((1 << bits) - 1))
    image.putpalette(RNG.integers(0, 256, 3 << bits, np.uint8).tobytes())
    return image


PNGS = {
    "rgb": lambda: Image.fromarray(RGB),
    "rgba": lambda: Image.fromarray(np.dstack([RGB, GREY])),
    "grey": lambda: Image.fromarray(GREY),
    "grey and alpha": lambda: Image.fromarray(np.dstack([GREY, GREY]), "LA"),
    "16 bits": lambda: Image.fromarray(GREY.astype(np.uint16) * 250),
    "one bit": lambda: Image.fromarray(GREY > 99),
    "palette": lambda: palette(8),
    "palette of 4": lambda: palette(2),
}


@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.parametrize("kind", PNGS)
def test_png(small: None, tmp_path: Path, kind: str, indices: bool) -> None:
    path = tmp_path / "é a.dat"  # by content, whatever its name
    PNGS[kind]().save(path, "PNG", **({"bits": 2} if kind == "palette of 4" else {}))
    check_same(path, indices)


def few_bits(bits: int) -> bytes:
    """A grey PNG of 2 or 4 bits a pixel."""
    numbers = GREY % (1 << bits)
    padded = np.zeros((71, -(-53 * bits // 8) * 8 // bits), np.uint8)
    padded[:, :53] = numbers
    shifts = np.arange(8 - bits, -1, -bits)
    packed = (padded.reshape(71, -1, 8 // bits) << shifts).sum(axis=2).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def part(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", 53, 71, bits, 0, 0, 0, 0)
    body = part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.parametrize("bits", [2, 4])
def test_greys_of_few_bits(small: None, tmp_path: Path, bits: int, indices: bool) -> None:
    (tmp_path / "a.png").write_bytes(few_bits(bits))
    check_same(tmp_path / "a.png", indices)


def test_jpeg(small: None, tmp_path: Path) -> None:
    """The same numbers up to one: two decoders round differently."""
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, quality=90, subsampling=0)
    whole, bands = decode(path), in_bands(path, False)
    pixels = np.concatenate([band.pixels for band in bands]).astype(int)
    assert np.abs(pixels - whole.pixels).max() <= 1
    assert all(band.lossy for band in bands)


@pytest.mark.parametrize("what", ["interlaced", "colour key", "progressive", "cmyk", "gif"])
def test_what_gdal_cannot_read_by_rows_is_left_to_decode(
    small: None, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "a.bin"
    if what == "interlaced":
        data = bytearray(_png(GREY))
        data[28] = 1  # Pillow writes none: the mark is set by hand
        path.write_bytes(data)
    elif what == "colour key":
        Image.fromarray(RGB).save(path, "PNG", transparency=(1, 2, 3))
    elif what == "gif":
        Image.fromarray(GREY).save(path, "GIF")
    else:
        image = Image.fromarray(RGB).convert("CMYK" if what == "cmyk" else "RGB")
        image.save(path, "JPEG", progressive=what == "progressive")
    with large_file(path, 10_000) as found:
        assert found is None
    assert claimed_by_rows(path) == 0


def _png(pixels: np.ndarray) -> bytes:
    import io

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_too_large_is_said_before_anything_is_read(small: None, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    said = r"a\.png: claims 71 x 53 pixels, more than 3000; raise data\.max_pixels .*comp\[geo\]"
    with pytest.raises(DataError, match=said), large_file(path, 3000):
        pass


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_cut_short_and_damaged(small: None, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGB).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"a\{suffix}: broken or cut short: .* ends"):
        in_bands(path, False)


def test_pixels_that_end_too_soon(small: None, tmp_path: Path) -> None:
    """Every checksum right, but half of the rows."""
    data = bytearray(_png(GREY[:30]))
    data[20:24] = struct.pack(">I", 71)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: broken or cut short: "):
        in_bands(tmp_path / "a.png", False)


def test_without_rasterio_decode_reads_within_the_limit(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    assert claimed_by_rows(path) == 71 * 53
    monkeypatch.setattr(png_rows, "find_spec", lambda name: None)
    assert claimed_by_rows(path) == 0
    with large_file(path, 10_000) as found:
        assert found is None
    with pytest.raises(DataError, match=r"pip install 'comp\[geo\]'"), large_file(path, 3000):
        pass


def test_a_header_beyond_belief_is_no_claim(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    data = bytearray(_png(GREY))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "bomb.png").write_bytes(data)
    assert claimed_by_rows(tmp_path / "bomb.png") == 0
    assert claimed_by_rows(tmp_path / "absent.png") == 0


def test_some_of_a_tif_is_its_top_middle_and_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", 100)
    monkeypatch.setattr(tif_rows, "BAND_BYTES", 500)
    tifffile.imwrite(tmp_path / "a.tif", GREY, rowsperstrip=3, compression="zlib")
    with large_file(tmp_path / "a.tif") as found:
        assert found is not None
        parts = [part.pixels[..., 0] for part in found.some()]
    np.testing.assert_array_equal(parts[0], GREY[:9])
    np.testing.assert_array_equal(parts[1], GREY[36:45])
    np.testing.assert_array_equal(parts[2], GREY[63:])
