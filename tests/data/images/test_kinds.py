"""Files that are no images of a known kind: said what they are, and what to do."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comp.data.images.decode import decode, read_size
from comp.data.images.kinds import foreign_kind
from comp.errors import DataError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def numpy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((3, 3)))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LFS, r"it is a git-lfs pointer, not the file itself: run `git lfs pull`"),
        (gzip.compress(bytes(99)), "it is a compressed file: unpack it first"),
        (b"PK\3\4" + bytes(30), "it is an archive: unpack it first"),
        (bytes(128) + b"DICM" + bytes(30), "it is a DICOM file: convert it to PNG or tif"),
        (b"\0\0\0\x1cftypheic" + bytes(20), "it is a HEIC picture: convert it"),
        (b"\0\0\0\x1cftypavif" + bytes(20), "it is an AVIF picture: convert it"),
        (numpy_file(), "it is a numpy array: save it as PNG or tif"),
        (b"<!DOCTYPE html><html>", "it is a web page: download the file again"),
        (bytes(4000), "it begins with zeros, as files do that were never downloaded whole"),
        (b"hello", r"expected the content of one of png, jpg, .*jp2, j2k$"),
    ],
)
def test_what_a_foreign_file_is(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (decode, read_size):
        with pytest.raises(DataError, match=rf"a\.png: not an image that can be read; {told}"):
            read(path)


def test_an_image_is_not_foreign() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000"):
        file = io.BytesIO()
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(file, kind)
        assert foreign_kind(file.getvalue()) == ""


def test_folders_and_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "dir.png").mkdir()
    (tmp_path / "gone.png").symlink_to("there.png")
    (tmp_path / "round.png").symlink_to("round.png")
    for read in (decode, read_size):
        with pytest.raises(DataError, match=r"cannot read .*dir\.png: Is a directory"):
            read(tmp_path / "dir.png")
        with pytest.raises(DataError, match=r"missing file: .*gone\.png is a link to there\.png"):
            read(tmp_path / "gone.png")
        with pytest.raises(DataError, match=r"cannot read .*round\.png: Too many levels"):
            read(tmp_path / "round.png")
