"""Tif of any bands, planes and compression; bombs and claims; bytes that were flipped."""

from __future__ import annotations

import io
import lzma
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comp.data.images import decode as decoding
from comp.data.images.decode import decode, read_size
from comp.data.images.read import read_image
from comp.data.intake.masks import ClassTable, choose_rule, look_at_masks
from comp.data.sources.labels import read_mask_values, read_plane
from comp.data.sources.records import Record
from comp.errors import DataError
from tests.data.reading import GREY, RGB, RNG, competition, data_of


def test_tif_palettes_and_white_is_zero(tmp_path: Path) -> None:
    index = (GREY % 4).astype(np.uint8)
    table = RNG.integers(0, 256, (3, 256), dtype=np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table)
    assert np.array_equal(read_image(tmp_path / "a.tif", 3), (table.T[index] >> 8).astype(np.uint8))
    assert np.array_equal(read_mask_values(tmp_path / "a.tif"), index)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_where_zero_is_white_it_is_the_largest_number(
    tmp_path: Path, dtype: type, compression: str | None
) -> None:
    """One rule for image and mask of any depth: white is the object, as it is shown."""
    top = 1 if dtype is bool else np.iinfo(dtype).max
    shown = (GREY >= 99).astype(dtype) * dtype(top) if dtype is not bool else GREY >= 99
    stored = ~shown if dtype is bool else (top - shown).astype(dtype)
    path = tmp_path / "d.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite", compression=compression)
    assert np.array_equal(read_mask_values(path), shown)
    assert np.array_equal(read_image(path, 1)[..., 0] > 0, GREY >= 99)
    rule = choose_rule(look_at_masks([Record("d", path, (path,))]), None, "")
    assert rule.mask_values == ({0: 0, 1: 1} if dtype is bool else {0: 0, top: 1})
    assert ("0 is white (MINISWHITE): read as they are shown" in str(rule.notes)) == (top > 1)
    if dtype is np.uint8:
        tifffile.imwrite(path, 255 - GREY, photometric="miniswhite")
        assert np.array_equal(read_image(path, 1)[..., 0], GREY)
    two = np.dstack([stored, stored])
    if dtype is not bool:  # transparency is no shade
        tifffile.imwrite(
            path, two, photometric="miniswhite", extrasamples=["unassalpha"], planarconfig="contig"
        )
        assert np.array_equal(read_mask_values(path), shown)
        assert np.array_equal(decode(path).pixels[..., 1], stored)


def test_class_numbers_in_files_whose_zero_is_white(tmp_path: Path) -> None:
    index = (GREY % 3).astype(np.uint8)
    index[0, :4] = 255
    records = []
    for k in range(3):
        path = tmp_path / f"{k}.tif"
        tifffile.imwrite(path, index, photometric="miniswhite")
        records.append(Record(str(k), path, (path,)))
    rule = choose_rule(look_at_masks(records), None, "")
    assert (rule.task, len(rule.classes), rule.ignore_index) == ("multiclass", 3, 0)
    assert rule.mask_values == {255: 0, 254: 1, 253: 2}
    assert "data.mask_values names each as 255 less it" in rule.notes[-1]
    values = {"ignore_index": rule.ignore_index, "mask_values": rule.mask_values}
    labels = read_plane(path, competition("multiclass", 3, **values))
    assert np.array_equal(labels, index)
    table = ClassTable("classes.csv", {0: "a", 1: "b", 2: "c"}, 255)
    named = choose_rule(look_at_masks(records), table, "")
    assert named.classes == ("a", "b", "c") and named.mask_values == rule.mask_values


def test_a_thumbnail_before_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB[::4, ::4], subfiletype=1, photometric="rgb")
        file.write(RGB, photometric="rgb")
    assert np.array_equal(read_image(path, 3), RGB)
    assert read_size(path) == RGB.shape[:2]
    tifffile.imwrite(path, np.stack([RGB, RGB]), photometric="rgb")
    with pytest.raises(DataError, match=r"a\.tif: 2 pages; expected one picture in a tif"):
        read_size(path)


@pytest.mark.parametrize("height", [48, 96])
def test_rows_that_became_pages_say_how_to_write_them(tmp_path: Path, height: int) -> None:
    path, pixels = tmp_path / "a.tif", np.zeros((height, 128, 5), np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    told = (
        r"pages; expected one .*Pages of 128 x 5 .* 5 bands: write it with tifffile\.imwrite\(path,"
    )
    with pytest.raises(DataError, match=told):
        decode(path)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    assert decode(path).pixels.shape == (height, 128, 5)


def test_lzw_tif_without_imagecodecs(tmp_path: Path) -> None:
    """tifffile reads LZW only with imagecodecs, which is not required."""
    Image.fromarray(RGB).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "a.tif", 3), RGB)
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from pathlib import Path; import numpy as np\n"
        "from comp.data.images.read import read_image\n"
        "np.save(sys.argv[2], read_image(Path(sys.argv[1]), 3))"
    )
    out = tmp_path / "a.npy"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.tif"), str(out)], check=True)
    assert np.array_equal(np.load(out), RGB)


def test_tif_colours_that_are_no_plain_bands_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="ycbcr")
    with pytest.raises(DataError, match=r"a\.tif: a tif in YCBCR colours"):
        read_image(tmp_path / "a.tif", 3)
    tifffile.imwrite(tmp_path / "b.tif", np.dstack([RGB, GREY]), photometric="separated")
    with pytest.raises(DataError, match=r"b\.tif: a tif in SEPARATED colours"):
        read_image(tmp_path / "b.tif", 3)
    pytest.importorskip("imagecodecs")
    rows, columns = np.mgrid[:64, :96]
    whole = np.stack([rows * 3, columns * 2, 200 - rows], axis=-1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", whole, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        assert file.pages[0].photometric.name == "YCBCR"  # type: ignore[union-attr]
    assert np.abs(read_image(tmp_path / "c.tif", 3).astype(int) - whole).mean() < 5


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tif_planes_tiles_and_compressions(
    tmp_path: Path, planar: str, compression: str | None, tile: tuple[int, int] | None
) -> None:
    if compression in ("lzw", "zstd", "packbits"):
        pytest.importorskip("imagecodecs")
    for dtype in (np.uint8, np.uint16, np.float32):
        pixels = (np.dstack([RGB, RGB[..., :2]]) / (255 if dtype == np.float32 else 1)).astype(
            dtype
        )
        stored = np.moveaxis(pixels, 2, 0) if planar == "separate" else pixels
        tifffile.imwrite(
            tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar,
            compression=compression, tile=tile, byteorder=">" if tile else "<",
        )  # fmt: skip
        got = read_image(tmp_path / "a.tif", 5)
        top = 65535 if dtype == np.uint16 else 1
        assert np.allclose(got, pixels.astype(np.float64) / top, atol=1e-6)


def test_a_tif_with_parts_that_were_never_written_is_refused(tmp_path: Path) -> None:
    """Other readers fill them with zeros without a word."""
    tifffile.imwrite(tmp_path / "a.tif", GREY, rowsperstrip=5)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        page: Any = file.pages[0]
        page.tags["StripByteCounts"].overwrite([155, 155, 0, 155])
    with pytest.raises(
        DataError, match=r"a\.tif: broken or cut short: 1 of its parts hold no pixels"
    ):
        read_image(tmp_path / "a.tif", 1)


# ---------------------------------------------------------------------------------------- bombs


def bomb_tif(path: Path, compression: int, strip: bytes, side: int = 64) -> Path:
    """A tif of side x side grey bytes whose one strip holds `strip`."""
    tags = [(256, side), (257, side), (258, 8), (259, compression), (262, 1), (273, 122), (277, 1),
            (278, side), (279, len(strip))]  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0" * 4
    path.write_bytes(head.ljust(122, b"\0") + strip)
    return path


@pytest.mark.parametrize("codecs", ["with imagecodecs", "without"])
@pytest.mark.parametrize("kind", ["deflate", "lzma"])
def test_a_strip_that_unfolds_to_much_costs_no_memory(
    tmp_path: Path, kind: str, codecs: str
) -> None:
    zeros = bytes(1 << 20)
    packer = zlib.compressobj(1) if kind == "deflate" else lzma.LZMACompressor(preset=0)
    strip = b"".join([packer.compress(zeros) for _ in range(200)] + [packer.flush()])
    path = bomb_tif(tmp_path / "bomb.tif", 8 if kind == "deflate" else 34925, strip)
    code = (
        "import resource, sys\n"
        "import numpy, cv2, PIL.Image, tifffile\n"
        + ("sys.modules['imagecodecs'] = None\n" if codecs == "without" else "")
        + "from comp.data.images.read import read_image\n"
        "from comp.errors import DataError\n"
        "from pathlib import Path\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    print(read_image(Path(sys.argv[1]), 1).shape)\n"
        "except DataError as error:\n    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    said, grown = done.stdout.splitlines()
    assert int(grown) < 100, done.stdout
    assert said == "(64, 64, 1)" or "bomb.tif: broken or cut short" in said


def test_claims_of_bands_tiles_and_jpeg_parts_are_checked(tmp_path: Path) -> None:
    many = np.zeros((8, 8, 3), np.float64)
    tifffile.imwrite(tmp_path / "a.tif", many, photometric="rgb")
    with pytest.raises(DataError, match=r"claims 8 x 8 pixels of 3 bands, 0 MiB; the limit is 8"):
        read_image(tmp_path / "a.tif", data_of(max_pixels=100))
    tifffile.imwrite(tmp_path / "b.tif", GREY, tile=(256, 256))
    with pytest.raises(
        DataError, match=r"b\.tif: claims tiles of 256 x 256 pixels, more than 9000"
    ):
        read_image(tmp_path / "b.tif", data_of(max_pixels=9000))
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "JPEG")
    jpeg = bytearray(buffer.getvalue())
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    bomb_tif(tmp_path / "c.tif", 7, bytes(jpeg))
    with pytest.raises(DataError, match=r"c\.tif: .*a part claims 65000 x 65000 pixels"):
        read_image(tmp_path / "c.tif", 1)


@given(st.data())
def test_flipped_bytes_in_a_tif_are_refused_or_read_within_the_limit(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([None, "deflate", "lzma"]))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB, photometric="rgb", compression=kind, tile=(16, 16))
    whole = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 400))
        whole[at] = data.draw(st.integers(0, 255))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "read_bytes", lambda _: bytes(whole))
        try:
            pixels = decode(Path("f.tif"), max_pixels=100_000).pixels
        except DataError as error:
            assert str(error).startswith("f.tif: ")
        else:
            assert pixels.shape[0] * pixels.shape[1] <= 100_000
