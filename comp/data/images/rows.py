"""Any large file that can be read from the top in bands of rows, whatever its format; and bands cut anew."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from comp.config.competition import MAX_PIXELS
from comp.data.images import png_rows
from comp.data.images.headers import PNG_SIGNATURE
from comp.data.images.jpeg import JPEG_SIGNATURE
from comp.data.images.png_rows import GdalRows, large_png
from comp.data.images.tif import SIGNATURES
from comp.data.images.tif_rows import TifRows, large_tif

Rows = TifRows | GdalRows


@contextmanager
def large_file(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Rows | None]:
    """Open `path` for reading in bands where it is large and can be; None where `decode` should read it.

    Raises:
        DataError: what `large_tif` and `large_png` refuse.
    """
    if _is_small(path):
        yield None
        return
    with ExitStack() as stack:
        found: Rows | None = stack.enter_context(large_tif(path, max_pixels))
        yield found or stack.enter_context(large_png(path, max_pixels))


def _is_small(path: Path) -> bool:
    """True where one short look says that `large_tif` and `large_png` would find nothing for them."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(24)
            if head[:4] in SIGNATURES:
                return False  # its size stands behind its pixels
            if head.startswith(PNG_SIGNATURE) and len(head) == 24:
                width, height = struct.unpack_from(">II", head, 16)
                return bool(width * height <= png_rows.LARGE_PIXELS)
            if head.startswith(JPEG_SIGNATURE):
                return file.seek(0, 2) * png_rows.MOST_JPEG <= png_rows.MAX_PIXELS
    except OSError:
        return True  # `decode` says what is wrong with it
    return True


def evenly(bands: Iterable[np.ndarray], n_rows: int) -> Iterator[np.ndarray]:
    """The same rows in bands of `n_rows` (the last may be shorter); the first axis is that of the rows."""
    kept: list[np.ndarray] = []
    have = 0
    for band in bands:
        start = 0
        while have + len(band) - start >= n_rows:
            stop = start + n_rows - have
            kept.append(band[start:stop])
            yield kept[0] if len(kept) == 1 else np.concatenate(kept)
            kept, have, start = [], 0, stop
        if start < len(band):
            kept.append(band[start:])
            have += len(band) - start
    if kept:
        yield kept[0] if len(kept) == 1 else np.concatenate(kept)
