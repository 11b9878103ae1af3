"""Any large file that can be read from the top in bands of rows, whatever its format; and bands cut anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from comp.config.competition import MAX_PIXELS
from comp.data.images.png_rows import GdalRows, large_png
from comp.data.images.tif_rows import TifRows, large_tif

Rows = TifRows | GdalRows


@contextmanager
def large_file(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Rows | None]:
    """Open `path` for reading in bands where it is large and can be; None where `decode` should read it.

    Raises:
        DataError: what `large_tif` and `large_png` refuse.
    """
    with ExitStack() as stack:
        found: Rows | None = stack.enter_context(large_tif(path, max_pixels))
        yield found or stack.enter_context(large_png(path, max_pixels))


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
