"""JPEG files that keep their end mark but lost pixels, or hold wrong ones: decoders show them without a word."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from comp.data.images.decode import decode
from comp.data.images.jpeg import jpeg_header
from comp.data.images.jpeg_scans import check_scans
from comp.errors import DataError

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "444": {"quality": 95, "subsampling": 0},
    "coarse": {"quality": 30},
    "own codes": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts by rows": {"restart_marker_rows": 1},
    "restarts by blocks": {"restart_marker_blocks": 3},
}


def picture(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(4).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_cut_and_ended(tmp_path: Path, kind: str, grey: bool) -> None:
    pixels = picture(203, 301)
    whole = jpeg(pixels[..., 0] if grey else pixels, **KINDS[kind])
    path = tmp_path / "a.jpg"
    told = (
        "its pixels end before|the file ends" if kind == "progressive" else "its pixels end before"
    )
    for share in (0.3, 0.5, 0.7, 0.9, 0.97):
        path.write_bytes(whole[: int(len(whole) * share)] + b"\xff\xd9")
        with pytest.raises(DataError, match=rf"a\.jpg: broken or cut short: ({told})"):
            decode(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flat", ["corner", "whole", "black", "grey"])
def test_flat_pictures_are_whole(tmp_path: Path, kind: str, flat: str) -> None:
    """Also those that end in the very grey that decoders show for what is missing, or are all zeros."""
    pixels = picture(403, 501)
    if flat == "corner":
        pixels[300:, 250:] = 128
    else:
        pixels[:] = 0 if flat == "black" else 128
    whole = jpeg(pixels[..., 0] if flat == "grey" else pixels, **KINDS[kind])
    path = tmp_path / "a.jpg"
    path.write_bytes(whole)
    with Image.open(path) as image:
        shown = np.array(image).reshape(403, 501, -1)
    assert np.array_equal(decode(path).pixels, shown)
    check_scans(whole, jpeg_header(whole))
    path.write_bytes(whole[:-2] + bytes(500) + b"\xff\xd9")  # filling before the end mark
    assert np.array_equal(decode(path).pixels, shown)


@pytest.mark.parametrize("kind", ["plain", "444", "coarse", "restarts by rows"])
def test_a_hole_of_zeros(tmp_path: Path, kind: str) -> None:
    whole = jpeg(picture(203, 301), **KINDS[kind])
    middle = len(whole) // 2
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[:middle] + bytes(300) + whole[middle + 300 :])
    with pytest.raises(DataError, match=r"a\.jpg: broken or cut short: a hole of zeros in its pix"):
        decode(path)


def test_cut_in_its_last_scan(tmp_path: Path) -> None:
    """What was told before is a whole picture, only coarser: nothing shows."""
    whole = jpeg(picture(203, 301), progressive=True)
    header = jpeg_header(whole)
    last = header.scans[-1]
    for at in (last.start + 1, (last.start + last.stop) // 2, last.stop - 20):
        with pytest.raises(ValueError, match="its pixels end before the picture does, from about"):
            cut = whole[:at] + b"\xff\xd9"
            check_scans(cut, jpeg_header(cut))
    cut = whole[: header.scans[-2].stop] + b"\xff\xd9"
    (tmp_path / "a.jpg").write_bytes(cut)
    with pytest.raises(DataError, match=r"a\.jpg: .*before the picture does: scans are missing"):
        decode(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_bytes(kind: str) -> None:
    """Of 256 wrong bytes nearly all are seen; of 16 about half, and more in larger pictures."""
    whole = jpeg(picture(203, 301), **KINDS[kind])
    scans = jpeg_header(whole).scans
    rng = np.random.default_rng(3)
    seen = {16: 0, 256: 0}
    for n in seen:
        for _ in range(40):
            at = int(rng.integers(scans[0].start, scans[-1].stop - n))
            wrong = rng.integers(1, 255, n, np.uint8).tobytes()
            damaged = whole[:at] + wrong + whole[at + n :]
            try:
                check_scans(damaged, jpeg_header(damaged))
            except ValueError:
                seen[n] += 1
    assert seen[256] >= 38 and seen[16] >= 16, seen


@pytest.mark.parametrize("kind", ["plain", "444", "coarse", "own codes", "progressive"])
def test_a_tail_of_zeros(tmp_path: Path, kind: str) -> None:
    """As a download leaves that was given its room and never filled."""
    whole = jpeg(picture(203, 301), **KINDS[kind])
    for share in (0.4, 0.7, 0.9):
        at = int(len(whole) * share)
        (tmp_path / "a.jpg").write_bytes(whole[:at] + bytes(len(whole) - at - 2) + b"\xff\xd9")
        with pytest.raises(
            DataError, match=r"a\.jpg: broken or cut short: (its pix|wrong by|a hole)"
        ):
            decode(tmp_path / "a.jpg")
        (tmp_path / "a.jpg").write_bytes(whole[:at] + bytes(len(whole) - at))
        with pytest.raises(DataError, match=r"before its end mark \(EOI\)"):
            decode(tmp_path / "a.jpg")


@pytest.mark.parametrize("factor", ["411", "420", "422", "440", "444"])
@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("size", [(203, 301), (8, 8), (1, 1), (17, 16), (1, 100)])
def test_whole_files_of_any_sampling_pass(
    factor: str, progressive: int, size: tuple[int, int]
) -> None:
    pixels = cv2.resize(picture(204, 304), size[::-1])
    options = [
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{factor}"),
        cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, size[0] % 3 * 3,
    ]  # fmt: skip
    for quality in (1, 50, 100):
        done, file = cv2.imencode(".jpg", pixels, [*options, cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        check_scans(file.tobytes(), jpeg_header(file.tobytes()))


@pytest.mark.parametrize("progressive", [False, True])
def test_cmyk(tmp_path: Path, progressive: bool) -> None:
    image = Image.fromarray(picture(80, 90)).convert("CMYK")
    image.save(tmp_path / "a.jpg", progressive=progressive)
    with Image.open(tmp_path / "a.jpg") as shown:
        assert np.array_equal(decode(tmp_path / "a.jpg").pixels, np.array(shown.convert("RGB")))
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    with pytest.raises(DataError, match=r"a\.jpg: broken or cut short"):
        decode(tmp_path / "a.jpg")


def test_extremes_are_no_damage() -> None:
    """Numbers as large as they get: black against white, at every quality."""
    for pixels in (
        np.indices((64, 64)).sum(0) % 2 * 255,
        np.indices((64, 64)).sum(0) // 8 % 2 * 255,
        np.random.default_rng(0).integers(0, 2, (64, 64)) * 255,
    ):
        for quality in (1, 30, 75, 95, 100):
            for progressive in (False, True):
                three = np.repeat(pixels.astype(np.uint8)[..., None], 3, 2)
                three[..., 1] ^= 255
                file = jpeg(three, quality=quality, progressive=progressive, subsampling=0)
                check_scans(file, jpeg_header(file))
