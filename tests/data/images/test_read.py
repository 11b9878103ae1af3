"""Reading images: every kind of file, one rule each, scales, bands, and every refusal's message."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from comp.data.images import decode as decoding
from comp.data.images.bands import BandPath
from comp.data.images.decode import Stored, decode, read_size
from comp.data.images.read import read_image, to_image
from comp.data.sources.labels import read_labels, read_mask_values
from comp.data.sources.records import Record
from comp.errors import ConfigError, DataError
from tests.data.reading import GREY, RGB, competition, data_of, save

# ------------------------------------------------------------------------------------------ images


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_give_their_pixels(tmp_path: Path, extension: str) -> None:
    kwargs = {"lossless": True} if extension == "webp" else {}
    path = save(tmp_path / f"a.{extension}", RGB, **kwargs)
    assert np.array_equal(read_image(path, 3), RGB)
    assert read_size(path) == (20, 31)


def test_jpeg_gives_the_pixels_that_pillow_gives(tmp_path: Path) -> None:
    for name, pixels in (("rgb", RGB), ("grey", GREY)):
        path = save(tmp_path / f"{name}.jpg", pixels, quality=90, progressive=name == "rgb")
        shown = np.asarray(Image.open(path).convert("RGB"))
        assert np.array_equal(read_image(path, 3), shown)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB).rename(tmp_path / "b.jpg")
    assert np.array_equal(read_image(path, 3), RGB)
    tif = save(tmp_path / "c.tif", RGB).rename(tmp_path / "d.png")
    assert np.array_equal(read_image(tif, 3), RGB)


def test_grey_is_repeated_to_three_bands_or_kept_as_one(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY)
    assert np.array_equal(read_image(path, 3), np.repeat(GREY[..., None], 3, 2))
    assert np.array_equal(read_image(path, 1), GREY[..., None])


def test_one_band_of_colour_is_its_luminance(tmp_path: Path) -> None:
    grey = read_image(save(tmp_path / "a.png", RGB), 1)
    assert grey.shape == (20, 31, 1) and grey.dtype == np.uint8
    assert np.array_equal(grey[..., 0], np.asarray(Image.fromarray(RGB).convert("L")))
    equal = save(tmp_path / "b.png", np.repeat(GREY[..., None], 3, 2))
    assert np.array_equal(read_image(equal, 1)[..., 0], GREY)


def test_alpha_is_dropped_unless_four_bands_are_wanted(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.full_like(GREY, 128)])
    path = save(tmp_path / "a.png", rgba)
    assert np.array_equal(read_image(path, 3), RGB)
    assert np.array_equal(read_image(path, 4), rgba)
    grey_alpha = np.dstack([GREY, np.full_like(GREY, 7)])
    assert np.array_equal(read_image(save(tmp_path / "b.png", grey_alpha), 1)[..., 0], GREY)


def test_palette_images_are_expanded_and_palette_masks_keep_their_indices(tmp_path: Path) -> None:
    image = Image.fromarray((GREY % 3).astype(np.uint8))
    image.putpalette([10, 20, 30, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "a.png")
    colours = np.array([[10, 20, 30], [128, 0, 0], [0, 128, 0]], np.uint8)
    assert np.array_equal(read_image(tmp_path / "a.png", 3), colours[GREY % 3])
    assert np.array_equal(read_mask_values(tmp_path / "a.png"), GREY % 3)


def test_sixteen_bits_are_scaled_by_their_dtype(tmp_path: Path) -> None:
    deep = RGB.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "rgb.png"), deep[..., ::-1])
    tifffile.imwrite(tmp_path / "rgb.tif", deep)
    for name in ("rgb.png", "rgb.tif"):
        image = read_image(tmp_path / name, 3)
        assert image.dtype == np.float32
        assert np.allclose(image, RGB / 255, atol=1e-6)
    dim = save(tmp_path / "dim.png", GREY.astype(np.uint16))
    assert read_image(dim, 1).max() <= 255 / 65535 + 1e-6


def test_float_images_must_be_in_the_unit_range(tmp_path: Path) -> None:
    unit = (RGB / 255).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", unit, photometric="rgb")
    assert np.array_equal(read_image(tmp_path / "a.tif", 3), unit)
    tifffile.imwrite(tmp_path / "b.tif", unit * 300, photometric="rgb")
    with pytest.raises(DataError, match=r"b\.tif: float pixels from 0 to 300; expected \[0, 1\]"):
        read_image(tmp_path / "b.tif", 3)
    unit[0, 0, 0] = np.nan
    tifffile.imwrite(tmp_path / "c.tif", unit, photometric="rgb")
    with pytest.raises(DataError, match=r"c\.tif: float pixels from 0 to 1, and 1 of 1860 NaN"):
        read_image(tmp_path / "c.tif", 3)
    tifffile.imwrite(tmp_path / "d.tif", np.full((4, 4), -3, np.int16))
    with pytest.raises(DataError, match=r"int16 pixels down to -3"):
        read_image(tmp_path / "d.tif", 1)


def test_more_bands_than_asked_are_an_error_not_a_choice(tmp_path: Path) -> None:
    five = np.dstack([RGB, RGB[..., :2]])
    tifffile.imwrite(tmp_path / "a.tif", five, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(read_image(tmp_path / "a.tif", 5), five)
    with pytest.raises(DataError, match=r"a\.tif: 5 bands, but data\.channels is 3"):
        read_image(tmp_path / "a.tif", 3)
    tifffile.imwrite(
        tmp_path / "b.tif",
        np.moveaxis(five, 2, 0),
        photometric="minisblack",
        planarconfig="separate",
    )
    assert np.array_equal(read_image(tmp_path / "b.tif", 5), five)


def test_orientation_is_ignored_for_jpeg_png_and_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.png"):
        path = save(tmp_path / name, RGB, exif=exif)
        assert read_image(path, 3).shape == (20, 31, 3)
        assert read_size(path) == (20, 31)


# -------------------------------------------------------------------------------- broken files


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.bmp"])
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    whole = save(tmp_path / name, np.tile(RGB, (3, 3, 1))).read_bytes()
    cut = tmp_path / f"cut_{name}"
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        cut.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=f"cut_{name}"):
            read_image(cut, 3)


def test_a_jpeg_that_lost_only_its_end_mark_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", RGB)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"a\.jpg: broken or cut short: .*end mark"):
        read_image(path, 3)


@given(st.data())
def test_a_flipped_bit_in_a_png_never_passes_as_a_picture(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB[:8, :8]).save(buffer, "PNG")
    whole = bytearray(buffer.getvalue())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path = Path("flipped.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "read_bytes", lambda _: bytes(whole))
        with pytest.raises(DataError, match=r"flipped\.png"):
            decode(path)


def test_a_png_with_too_few_pixels_is_refused(tmp_path: Path) -> None:
    """Every checksum is right; Pillow alone returns a half black picture."""

    def part(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    rows = b"".join(b"\0" + row.tobytes() for row in RGB[:10])
    head = struct.pack(">IIBBBBB", 31, 20, 8, 2, 0, 0, 0)
    parts = part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    with pytest.raises(DataError, match=r"a\.png: broken or cut short"):
        read_image(tmp_path / "a.png", 3)


def test_empty_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "page.png").write_text("<html>404 Not Found</html>")
    for read in (lambda p: read_image(p, 3), read_size):
        with pytest.raises(DataError, match=r"empty\.png: empty file \(0 bytes\)"):
            read(tmp_path / "empty.png")
        with pytest.raises(DataError, match=r"page\.png: not an image"):
            read(tmp_path / "page.png")
        with pytest.raises(DataError, match=r"missing file: .*gone\.png"):
            read(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"cannot read .*Is a directory"):
        read_image(tmp_path, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.webp"])
def test_the_pixel_limit_is_checked_before_decoding(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, RGB)
    assert read_image(path, competition(max_pixels=620).data).shape == RGB.shape
    strict = competition(max_pixels=619)
    with pytest.raises(DataError, match=rf"{name}: claims 20 x 31 pixels, more than 619"):
        read_image(path, strict.data)
    with pytest.raises(DataError, match=rf"{name}: claims 20 x 31 .*raise data\.max_pixels"):
        read_labels(Record("a", path, (path,)), strict, (20, 31))


def test_a_png_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    whole = bytearray(save(tmp_path / "a.png", RGB).read_bytes())
    whole[16:24] = struct.pack(">II", 65535, 65535)
    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    (tmp_path / "a.png").write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"a\.png: claims 65535 x 65535 pixels"):
        read_image(tmp_path / "a.png", 3)
    assert read_size(tmp_path / "a.png") == (65535, 65535)  # a header alone costs nothing


def test_the_limit_can_be_raised_beyond_that_of_pillow(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
        image = Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P")
        image.save(path)
        assert read_mask_values(path).shape == (4, 4)


def test_several_pages_or_frames_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, GREY]), photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif: 2 pages; expected one picture"):
        read_image(tmp_path / "a.tif", 3)
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.webp: 2 frames"):
        read_image(tmp_path / "a.webp", 3)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_any_small_png_comes_back(pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "read_bytes", lambda _: buffer.getvalue())
        assert np.array_equal(decode(Path("a.png")).pixels[..., 0], pixels)


# ------------------------------------------------------------------------- scale, bands, several files


def test_a_stated_scale_reads_any_numbers(tmp_path: Path) -> None:
    floats = np.array([[-5.0, 0.0, 5.0, 15.0, 99.0, np.nan, np.inf, -np.inf]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", floats)
    got = read_image(tmp_path / "a.tif", data_of(scale=[-5, 15], channels=1))
    assert got.dtype == np.float32
    assert np.allclose(got[0, :, 0], [0, 0.25, 0.5, 1, 1, 0, 1, 0])
    signed = np.array([[-1000, 0, 9000]], np.int16)
    tifffile.imwrite(tmp_path / "b.tif", signed)
    got = read_image(tmp_path / "b.tif", data_of(scale=[-1000, 9000], channels=1))
    assert np.allclose(got.ravel(), [0, 0.1, 1])
    bands = read_image(save(tmp_path / "c.png", RGB), data_of(scale=[[0, 255], [0, 510], [10, 20]]))
    assert np.allclose(bands[..., 0], RGB[..., 0] / 255, atol=1e-6)
    assert np.allclose(bands[..., 1], RGB[..., 1] / 510, atol=1e-6)
    assert np.allclose(bands[..., 2], np.clip((RGB[..., 2] - 10.0) / 10, 0, 1), atol=1e-6)
    one_bit = save(tmp_path / "d.png", GREY > 99)
    assert set(np.unique(read_image(one_bit, data_of(scale=[0, 255], channels=1)))) == {0, 1}


def test_a_scale_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    with pytest.raises(DataError, match=r"a\.png: 3 bands, but data\.scale has 2 pairs"):
        read_image(path, data_of(scale=[[0, 255], [0, 255]]))
    for bad, told in (
        ([3, 1], "low < high"), ([[1, 1]], "low < high"), ([], "expected dtype"),
        ("minmax", "scale"), ([1, 2, 3], "scale"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            data_of(scale=bad)


@given(hnp.arrays(np.uint16, (3, 4, 2)), st.integers(0, 60000), st.integers(1, 60000))
def test_any_scale_is_linear_and_cut_off(pixels: np.ndarray, low: int, width: int) -> None:
    got = to_image(Path("a"), Stored(pixels, False), data_of(scale=[low, low + width], channels=2))
    assert np.allclose(got, np.clip((pixels.astype(float) - low) / width, 0, 1), atol=1e-5)


def test_twelve_and_four_bits_fill_the_unit_range(tmp_path: Path) -> None:
    stored = Stored(np.array([[[0], [4095]]], np.uint16), False, top=4095)
    assert to_image(Path("a"), stored, 1).ravel().tolist() == [0.0, 1.0]
    stored = Stored(np.array([[[0], [3], [15]]], np.uint8), False, top=15)
    assert to_image(Path("a"), stored, 1).ravel().tolist() == [0, 51, 255]


def test_one_file_a_band(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"b{k}.png", RGB[..., k]) for k in range(3)]
    assert np.array_equal(read_image(BandPath.of(paths), 3), RGB)
    assert np.array_equal(read_image(BandPath.of(paths[::-1]), 3), RGB[..., ::-1])
    with pytest.raises(DataError, match=r"2 bands, but data\.channels is 3"):
        read_image(BandPath.of(paths[:2]), 3)
    small = save(tmp_path / "s.png", GREY[:5])
    with pytest.raises(DataError, match=r"s\.png: 5 x 31 uint8, but .*b0\.png.* is 20 x 31"):
        read_image(BandPath.of([paths[0], small]), 2)
    with pytest.raises(DataError, match=r"rgb\.png: 3 bands; expected one"):
        read_image(BandPath.of([paths[0], save(tmp_path / "rgb.png", RGB)]), 4)


def test_a_gif_mask_keeps_its_indices_and_a_moving_one_is_refused(tmp_path: Path) -> None:
    """Masks of the Carvana competition are GIFs of 0 and 1."""
    mask = np.zeros((6, 9), np.uint8)
    mask[2:4, 3:8] = 1
    picture = Image.fromarray(mask, "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "a.gif")
    stored = decode(tmp_path / "a.gif", indices=True)
    np.testing.assert_array_equal(stored.pixels[..., 0], mask)
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif", 3)[..., 0], mask * 255)
    other = Image.fromarray(1 - mask, "P")
    other.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "b.gif", save_all=True, append_images=[other])
    with pytest.raises(DataError, match=r"b\.gif: 2 frames"):
        read_image(tmp_path / "b.gif", 3)
