"""JPEG files that keep their end mark but lost pixels: decoders show grey there, without a word."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from comp.data.images.decode import decode
from comp.data.images.headers import jpeg_header
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
    for share in (0.4, 0.5, 0.6) if kind == "progressive" else (0.3, 0.5, 0.7, 0.9):
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
    assert not jpeg_header(whole).rough
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
