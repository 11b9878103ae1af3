"""The kinds of file that competitions hold beside plain PNG and JPEG: the same pixels, or a plain refusal."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from comp.data.images.decode import decode, read_size
from comp.data.images.read import read_image
from comp.data.intake.masks import choose_rule, look_at_masks
from comp.data.sources.labels import read_mask_values
from comp.data.sources.records import Record
from comp.errors import DataError
from tests.data.reading import GREY, RGB, save

MASK = ((GREY > 128) * 255).astype(np.uint8)
INDEX = (GREY % 3).astype(np.uint8)
COLORS = np.array([[10, 20, 30], [128, 0, 0], [0, 128, 0]], np.uint8)
DEEP = RGB.astype(np.uint16) * 257
UNIT = (RGB / 255).astype(np.float32)


def palette(path: Path, **options: Any) -> None:
    image = Image.fromarray(INDEX)
    image.putpalette(COLORS.ravel().tolist())
    image.save(path, **options)


def part(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(size: tuple[int, int], colour: int, *parts: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", size[1], size[0], 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + b"".join(parts) + part(b"IEND", b"")


def bitmap(rows: np.ndarray, height: int, bits: int) -> bytes:
    content = rows.tobytes()
    head = struct.pack("<IHHI", 54 + len(content), 0, 0, 54)
    return b"BM" + head + struct.pack(
        "<IiiHHIIiiII", 40, rows.shape[1], height, 1, bits, 0, len(content), 0, 0, 0, 0
    ) + content  # fmt: skip


def tif(pixels: np.ndarray, **options: Any) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def gamma(path: Path) -> None:
    whole = save(path, RGB).read_bytes()
    path.write_bytes(whole[:33] + part(b"gAMA", struct.pack(">I", 100000)) + whole[33:])


PLANES = np.moveaxis(DEEP, 2, 0)
WIDE = np.ascontiguousarray(RGB[:, :28])  # rows of a bitmap fill 4 bytes
IMAGES: dict[str, tuple[Callable[[Path], object], np.ndarray]] = {
    "key colour.png": (lambda p: save(p, RGB, transparency=tuple(RGB[0, 0].tolist())), RGB),
    "palette key.png": (lambda p: palette(p, transparency=0), COLORS[INDEX]),
    "palette alpha.png": (lambda p: palette(p, transparency=bytes([0, 9, 255])), COLORS[INDEX]),
    "gamma.png": (gamma, RGB),
    "palette.bmp": (palette, COLORS[INDEX]),
    "down.bmp": (lambda p: p.write_bytes(bitmap(WIDE[..., ::-1], -20, 24)), WIDE),
    "deep.bmp": (
        lambda p: p.write_bytes(bitmap(np.dstack([WIDE[..., ::-1], WIDE])[::-1, :, :4], 20, 32)),
        WIDE,
    ),
    "alpha.webp": (lambda p: save(p, np.dstack([RGB, GREY]), lossless=True, exact=True), RGB),
    "big endian.tif": (tif(DEEP, byteorder=">", photometric="rgb"), RGB),
    "big.tif": (tif(RGB, bigtiff=True, byteorder=">", photometric="rgb"), RGB),
    "planes.tif": (
        tif(PLANES, photometric="rgb", planarconfig="separate", tile=(16, 16), byteorder=">"),
        RGB,
    ),
    "differences.tif": (tif(DEEP, photometric="rgb", compression="deflate", predictor=2), RGB),
    "turned.tif": (tif(RGB, photometric="rgb", extratags=[(274, "H", 1, 6, True)]), RGB),
    "double.tif": (tif(RGB / 255, photometric="rgb"), RGB),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_any_kind(tmp_path: Path, name: str) -> None:
    write, expected = IMAGES[name]
    path = tmp_path / name
    write(path)
    image = read_image(path, 3)
    assert np.allclose(image * (255 if image.dtype == np.float32 else 1), expected, atol=1e-3)
    assert read_size(path) == expected.shape[:2]


@pytest.mark.parametrize("order", "<>")
def test_floats_by_differences_need_imagecodecs_or_come_back(tmp_path: Path, order: Any) -> None:
    path = tmp_path / "a.tif"
    pytest.importorskip("imagecodecs")
    options: dict[str, Any] = {"compression": "deflate", "predictor": 3, "photometric": "rgb"}
    tifffile.imwrite(path, UNIT, byteorder=order, **options)
    assert np.array_equal(read_image(path, 3), UNIT)


MASKS: dict[str, tuple[Callable[[Path], object], np.ndarray]] = {
    "deep.png": (lambda p: cv2.imwrite(str(p), MASK.astype(np.uint16) * 257), MASK.astype(int) * 257),
    "deep index.png": (lambda p: cv2.imwrite(str(p), INDEX.astype(np.uint16)), INDEX),
    "alpha.png": (lambda p: save(p, np.dstack([MASK, GREY])), MASK),
    "key.png": (lambda p: save(p, MASK, transparency=0), MASK),
    "palette key.png": (lambda p: palette(p, transparency=0), INDEX),
    "palette.bmp": (palette, INDEX),
    "grey.bmp": (lambda p: save(p, MASK), MASK),
    "bits.bmp": (lambda p: save(p, MASK > 0), MASK > 0),
    "alpha.tif": (tif(np.dstack([MASK] * 3 + [GREY]), extrasamples=["unassalpha"], photometric="rgb"), MASK),
    "float.tif": (tif((MASK / 255).astype(np.float32)), MASK // 255),
    "half.tif": (tif((MASK / 255).astype(np.float16)), MASK // 255),
    "signed.tif": (tif(INDEX.astype(np.int8)), INDEX),
    "long.tif": (tif(INDEX.astype(np.int32), byteorder=">"), INDEX),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_any_kind(tmp_path: Path, name: str) -> None:
    write, expected = MASKS[name]
    write(tmp_path / name)
    assert np.array_equal(read_mask_values(tmp_path / name), expected)


def test_a_mask_that_stands_in_the_alpha_band_is_not_read_as_empty(tmp_path: Path) -> None:
    told = r"a\.png: one colour all over, and only its transparency varies: .*save that band as the"
    for black in ([MASK * 0], [MASK * 0] * 3, [MASK * 0 + 255] * 3):
        path = save(tmp_path / "a.png", np.dstack([*black, MASK]))
        with pytest.raises(DataError, match=told):
            read_mask_values(path)
        assert "alpha band" in look_at_masks([Record("a", path, (path,))]).faults[0]
    path = save(tmp_path / "a.png", np.dstack([MASK * 0, MASK * 0 + 255]))  # an empty mask
    assert not read_mask_values(path).any()


def test_a_grey_mask_smeared_into_colour_is_grey(tmp_path: Path) -> None:
    """WebP keeps no grey: the bands of a grey mask differ a little after it."""
    disc = cv2.circle(np.zeros((90, 90), np.uint8), (40, 40), 25, 255, -1)
    path = save(tmp_path / "a.webp", disc, quality=60)
    assert (np.ptp(decode(path).pixels, axis=2) > 0).any()
    rule = choose_rule(look_at_masks([Record("a", path, (path,))] * 3), None, "")
    assert rule.task == "binary" and rule.mask_threshold is not None
    values = read_mask_values(path)
    assert ((values >= rule.mask_threshold) != (disc > 0)).mean() < 0.01
    path = save(tmp_path / "b.webp", RGB, quality=60)
    with pytest.raises(DataError, match=r"b\.webp: a colour mask"):
        read_mask_values(path)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    lost = UNIT[..., 0].copy()
    lost[0, :2] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "a.tif", lost)
    with pytest.raises(DataError, match=r"a\.tif: a float32 mask with 2 of 620 pixels NaN or inf"):
        read_mask_values(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", UNIT[..., 0])
    with pytest.raises(DataError, match=r"with fractions; .*times 255, with data\.mask_threshold"):
        read_mask_values(tmp_path / "b.tif")
    lost[:] = np.nan
    tifffile.imwrite(tmp_path / "c.tif", lost)
    with pytest.raises(DataError, match=r"c\.tif: float pixels from nan to nan, and 620 of 620"):
        read_image(tmp_path / "c.tif", 1)


def test_an_index_beyond_its_palette(tmp_path: Path) -> None:
    rows = zlib.compress(b"".join(b"\0" + bytes([7] * 5) for _ in range(4)))
    path = tmp_path / "a.png"
    path.write_bytes(png((4, 5), 3, part(b"PLTE", bytes(9)), part(b"IDAT", rows)))
    with pytest.raises(DataError, match=r"a\.png: .*index 7 in a palette of 3 colours"):
        read_image(path, 3)
    assert (read_mask_values(path) == 7).all()


@pytest.mark.parametrize("axes", ["pages", "volume", "imagej"])
def test_stacks_say_what_to_do(tmp_path: Path, axes: str) -> None:
    stack = np.stack([GREY] * 3)
    options: dict[str, dict[str, Any]] = {
        "pages": {"photometric": "minisblack"},
        "volume": {"volumetric": True, "tile": (16, 16, 16), "photometric": "minisblack"},
        "imagej": {"imagej": True},
    }
    tifffile.imwrite(tmp_path / "a.tif", stack, **options[axes])
    told = "save its slices as files" if axes == "volume" else "save each page as a file of its own"
    with pytest.raises(DataError, match=rf"a\.tif: .*{told}"):
        read_image(tmp_path / "a.tif", 3)


@pytest.mark.parametrize("kind", ["text", "profile"])
def test_parts_that_unfold_to_much_cost_nothing(tmp_path: Path, kind: str) -> None:
    """300 MB of text in 300 kB of PNG, before its pixels."""
    bomb = zlib.compress(bytes(1 << 26), 9)
    rows = zlib.compress(b"".join(b"\0" + bytes(5) for _ in range(4)))
    name = b"zTXt" if kind == "text" else b"iCCP"
    path = tmp_path / "a.png"
    path.write_bytes(
        png((4, 5), 3, part(b"PLTE", bytes(9)), part(name, b"a\0\0" + bomb), part(b"IDAT", rows))
    )
    assert read_size(path) == (4, 5)
    with pytest.raises(
        DataError, match=r"a\.png: broken or cut short: Decompressed data too large"
    ):
        decode(path)


def test_nothing_of_tifffile_reaches_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(8000)  # type: ignore[union-attr]
    capfd.readouterr()
    with pytest.raises(DataError, match=r"a\.tif: "):
        decode(path)
    assert capfd.readouterr().err == ""
