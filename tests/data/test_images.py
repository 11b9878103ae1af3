"""Reading images and masks: every kind of file, one rule each, and every refusal's message."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from comp.config import Competition, check
from comp.data import decode as decoding
from comp.data.decode import decode
from comp.data.images import read_image, read_labels, read_mask_values, read_size
from comp.data.intake import Record
from comp.data.labels import to_labels
from comp.errors import DataError

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (20, 31, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()


def competition(task: str = "binary", classes: int = 1, **more: Any) -> Competition:
    data = {k: more.pop(k) for k in list(more) if k in ("mask_values", "mask_threshold")}
    values = {
        "name": "t",
        "task": task,
        "classes": [f"c{k}" for k in range(classes)],
        "data": {"root": ".", "train": [{"images": "{id}.png", "masks": "m/{id}.png"}], **data},
        **more,
    }
    return check(Competition, values, "test")


def save(path: Path, pixels: np.ndarray, **kwargs: Any) -> Path:
    Image.fromarray(pixels).save(path, **kwargs)
    return path


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
    with pytest.raises(DataError, match=r"c\.tif: float pixels from nan"):
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


def test_tif_palettes_and_white_is_zero(tmp_path: Path) -> None:
    index = (GREY % 4).astype(np.uint8)
    table = RNG.integers(0, 256, (3, 256), dtype=np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table)
    assert np.array_equal(read_image(tmp_path / "a.tif", 3), (table.T[index] >> 8).astype(np.uint8))
    assert np.array_equal(read_mask_values(tmp_path / "a.tif"), index)
    tifffile.imwrite(tmp_path / "b.tif", 255 - GREY, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "b.tif", 1)[..., 0], GREY)


def test_lzw_tif_without_imagecodecs(tmp_path: Path) -> None:
    """tifffile reads LZW only with imagecodecs, which is not required."""
    Image.fromarray(RGB).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "a.tif", 3), RGB)
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from pathlib import Path; import numpy as np\n"
        "from comp.data.images import read_image\n"
        "np.save(sys.argv[2], read_image(Path(sys.argv[1]), 3))"
    )
    out = tmp_path / "a.npy"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.tif"), str(out)], check=True)
    assert np.array_equal(np.load(out), RGB)


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


def test_the_pixel_limit_is_checked_before_decoding(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 600)
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        path = save(tmp_path / name, RGB)
        with pytest.raises(DataError, match=rf"{name}: claims 20 x 31 pixels, more than 600"):
            read_image(path, 3)


def test_a_png_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    whole = bytearray(save(tmp_path / "a.png", RGB).read_bytes())
    whole[16:24] = struct.pack(">II", 65535, 65535)
    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    (tmp_path / "a.png").write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"a\.png: claims 65535 x 65535 pixels"):
        read_image(tmp_path / "a.png", 3)
    with pytest.raises(DataError, match=r"a\.png: claims more than"):
        read_size(tmp_path / "a.png")


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


# ------------------------------------------------------------------------------------------ labels


def labels_of(values: np.ndarray, **kwargs: Any) -> np.ndarray:
    return to_labels(np.asarray(values), competition(**kwargs), Path("m.png"))


@pytest.mark.parametrize("on", [1, 255, 65535])
def test_binary_without_a_rule_knows_the_usual_foregrounds(on: int) -> None:
    values = np.array([[0, on], [on, 0]], np.uint16 if on > 255 else np.uint8)
    assert labels_of(values).tolist() == [[0, 1], [1, 0]]


def test_binary_without_a_rule_refuses_what_is_not_plain() -> None:
    with pytest.raises(DataError, match=r"m\.png: value 7 at 1 of 3 pixels; expected 0 and one of"):
        labels_of(np.array([[0, 7, 255]], np.uint8))
    with pytest.raises(DataError, match=r"value 1 at 1 of 3 pixels \(also 255\)"):
        labels_of(np.array([[0, 1, 255]], np.uint8))


def test_a_one_bit_mask_is_foreground_where_set(tmp_path: Path) -> None:
    on = GREY > 99
    values = read_mask_values(save(tmp_path / "a.png", on))
    assert values.dtype == bool
    for kwargs in ({}, {"mask_threshold": 128}, {"mask_values": {0: 0, 255: 1}}):
        assert np.array_equal(labels_of(values, **kwargs), on)


def test_the_ignore_index_comes_before_every_rule() -> None:
    values = np.array([[0, 1, 9]], np.uint8)
    assert labels_of(values, ignore_index=9).tolist() == [[0, 1, 255]]
    assert labels_of(values, ignore_index=9, mask_values={0: 1, 1: 0}).tolist() == [[1, 0, 255]]
    assert labels_of(values, ignore_index=9, mask_threshold=1).tolist() == [[0, 1, 255]]
    mapped = labels_of(values, ignore_index=9, mask_values={0: 0, 1: 9, 9: 9})
    assert mapped.tolist() == [[0, 255, 255]]


def test_mask_values_map_and_refuse() -> None:
    values = np.array([[10, 20, 30]], np.uint8)
    three = {"task": "multiclass", "classes": 3}
    assert labels_of(values, **three, mask_values={10: 0, 20: 1, 30: 2}).tolist() == [[0, 1, 2]]
    with pytest.raises(DataError, match=r"value 30 at 1 of 3 .* data\.mask_values \(10, 20\)"):
        labels_of(values, **three, mask_values={10: 0, 20: 1})
    with pytest.raises(DataError, match=r"data\.mask_values: 30: 5 is no class; expected 0\.\.2"):
        labels_of(values, **three, mask_values={10: 0, 20: 1, 30: 5})


def test_a_threshold_takes_soft_masks_and_refuses_to_empty_one() -> None:
    soft = np.array([[0, 118, 119, 237]], np.uint8)
    assert labels_of(soft, mask_threshold=119).tolist() == [[0, 0, 1, 1]]
    with pytest.raises(DataError, match="holds only 0 and 1, but"):
        labels_of(np.array([[0, 1]], np.uint8), mask_threshold=119)


def test_multiclass_refuses_a_value_that_is_no_class() -> None:
    values = np.array([[0, 1, 2, 7, 255]], np.uint8)
    with pytest.raises(
        DataError, match=r"value 7 at 1 of 5 pixels; expected a class index 0\.\.2 or"
    ):
        labels_of(values, task="multiclass", classes=3, ignore_index=255)
    with pytest.raises(DataError, match=r"value 7 .*\(also 255\)"):
        labels_of(values, task="multiclass", classes=3)


@given(
    hnp.arrays(np.uint16, (5, 6), elements=st.sampled_from([0, 1, 2, 300, 65535])),
    st.sampled_from([np.uint16, np.int64]),
)
def test_values_beyond_a_byte_map_as_the_table_says(values: np.ndarray, dtype: type) -> None:
    table = {0: 0, 1: 2, 2: 1, 300: 2, 65535: 0}
    got = labels_of(values.astype(dtype), task="multiclass", classes=3, mask_values=table)
    assert np.array_equal(got, np.vectorize(table.get)(values)) and got.dtype == np.uint8


def test_two_and_four_bit_masks_keep_their_numbers(tmp_path: Path) -> None:
    def part(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    for bits, row in ((2, bytes([0b00011011])), (4, bytes([0x0A, 0xF1]))):
        head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
        parts = part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" + row)) + part(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
        expected = [0, 1, 2, 3] if bits == 2 else [0, 10, 15, 1]
        assert read_mask_values(tmp_path / "a.png").tolist() == [expected]


def test_masks_of_colour_or_of_fractions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: a colour mask \(3 bands that differ\)"):
        read_mask_values(save(tmp_path / "a.png", RGB))
    three = np.repeat(GREY[..., None], 3, 2)
    assert np.array_equal(read_mask_values(save(tmp_path / "b.png", three)), GREY)
    tifffile.imwrite(tmp_path / "c.tif", GREY.astype(np.float32))
    assert np.array_equal(read_mask_values(tmp_path / "c.tif"), GREY)
    tifffile.imwrite(tmp_path / "d.tif", (GREY / 2 + 0.25).astype(np.float32))
    with pytest.raises(DataError, match=r"d\.tif: a float32 mask with fractions"):
        read_mask_values(tmp_path / "d.tif")


def test_a_mask_of_another_size_names_both(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", RGB)
    mask = save(tmp_path / "m.png", np.zeros((10, 31), np.uint8))
    with pytest.raises(DataError, match=r"m\.png: mask is 10 x 31 .* image .*a\.png is 20 x 31"):
        read_labels(Record("a", image, (mask,)), competition())
    with pytest.raises(DataError, match="a: no mask belongs to"):
        read_labels(Record("a", image), competition())


def test_multilabel_from_a_file_a_class_or_from_bands(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", RGB)
    planes = [np.greater(GREY, t).astype(np.uint8) * 255 for t in (50, 100, 200)]
    files = tuple(save(tmp_path / f"m{k}.png", plane) for k, plane in enumerate(planes))
    expected = np.stack(planes) // 255
    comp = competition("multilabel", 3)
    assert np.array_equal(read_labels(Record("a", image, files), comp), expected)
    bands = save(tmp_path / "bands.png", np.dstack(planes))
    assert np.array_equal(read_labels(Record("a", image, (bands,)), comp), expected)
    with pytest.raises(DataError, match=r"bands\.png: 3 bands; expected 2, one a class"):
        read_labels(Record("a", image, (bands,)), competition("multilabel", 2))


# --------------------------------------------------------------------------------------- real data


@pytest.mark.realdata
def test_odd_images(real_data: Path) -> None:
    images = real_data / "odd" / "images"
    control = read_image(images / "00_control.png", 3)
    for name in ("05_rgba.png", "09_UPPER.PNG", "10_città_日本.png", "12_png_named_jpg.jpg"):
        assert np.array_equal(read_image(images / name, 3), control)
    assert np.allclose(read_image(images / "02_u16_rgb.tif", 3), control / 255, atol=1e-6)
    four = read_image(images / "03_four_band.tif", 4)
    assert np.array_equal(four[..., :3], control)
    assert np.array_equal(read_image(images / "14_four_band_minisblack.tif", 4), four)
    assert read_image(images / "04_five_band_u16.tif", 5).shape == (96, 96, 5)
    assert read_image(images / "01_u16_gray.tif", 1).max() == pytest.approx(1360 / 65535, abs=0.03)
    assert read_image(images / "07_gray_palette.png", 3).shape == (96, 96, 3)
    assert read_image(images / "13_exif_rotated.jpg", 3).shape == (64, 96, 3)
    for name in ("03_four_band.tif", "14_four_band_minisblack.tif", "40_truncated.png",
                 "41_zero_byte.png", "42_not_an_image.png"):  # fmt: skip
        with pytest.raises(DataError, match=name):
            read_image(images / name, 3)


@pytest.mark.realdata
def test_odd_masks(real_data: Path) -> None:
    odd = real_data / "odd"

    def labels(stem: str, extension: str = "png", **kwargs: Any) -> np.ndarray:
        record = Record(
            stem, odd / "images" / f"{stem}.png", (odd / "masks" / f"{stem}.{extension}",)
        )
        return read_labels(record, competition(**kwargs))

    control = labels("00_control")
    for stem in ("20_mask_rgb", "22_mask_01", "23_mask_u16", "24_mask_1bit"):
        assert np.array_equal(labels(stem), control)
    three = {"task": "multiclass", "classes": 3}
    assert set(np.unique(labels("21_mask_palette", **three))) == {0, 1, 2}
    assert (labels("25_mask_soft", mask_threshold=119) != control).mean() < 0.05
    assert (labels("26_mask_jpg", "jpg", mask_threshold=128) != control).mean() < 0.05
    assert labels("27_mask_empty").max() == 0 and labels("28_mask_full").min() == 1
    with pytest.raises(DataError, match=r"29_mask_class_7\.png: value 7"):
        labels("29_mask_class_7", **three, ignore_index=255)
    with pytest.raises(DataError, match=r"mask is 64 x 64 .* is 96 x 96"):
        labels("43_mask_other_size")
    with pytest.raises(DataError, match="47_mask_truncated"):
        labels("47_mask_truncated")
