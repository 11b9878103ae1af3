"""Masks that say their classes by colour: colours as numbers, colours -> labels, colours in a class table.

A colour is one integer, 0xrrggbb. Colours that no class has are returned to the caller, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from comp.data.images.decode import Stored
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 4096
_HEX = re.compile(r"(?:#|0x)?([0-9a-fA-F]{6})")


def spelled(color: int) -> str:
    """A colour as the config writes it: #rrggbb."""
    return f"#{color:06x}"


def parsed(text: str) -> int | None:
    """#rrggbb, rrggbb or 0xrrggbb -> the colour; None: no such text."""
    found = _HEX.fullmatch(text.strip())
    return int(found[1], 16) if found else None


def grey(value: int) -> int:
    """The colour of an 8-bit grey."""
    return value * 0x010101


def color_codes(path: Path, stored: Stored) -> np.ndarray:
    """The colour of every pixel of a mask: palettes looked up, greys as r = g = b, alpha dropped.

    Args:
        stored: decoded with `indices=True`.

    Returns:
        (H, W) int32, 0xrrggbb.

    Raises:
        DataError: no 8-bit file of 1 or 3 bands, or an index that its palette lacks.
    """
    pixels = stored.pixels[..., :-1] if stored.alpha else stored.pixels
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
        raise DataError(
            f"{path}: a mask of {pixels.shape[2]} bands of {pixels.dtype}; data.mask_colors reads"
            " 8-bit colours: a palette, grey or RGB"
        )
    if stored.colors is not None:
        return _looked_up(path, pixels[..., 0], stored.colors)
    if pixels.shape[2] == 1:
        return pixels[..., 0].astype(np.int32) * np.int32(0x010101)
    codes = pixels[..., 0].astype(np.int32) << 8
    codes |= pixels[..., 1]
    codes <<= 8
    codes |= pixels[..., 2]
    return codes


def palette_codes(colors: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 -> (N,) int32."""
    return colors.astype(np.int32) @ np.array([0x10000, 0x100, 1], np.int32)


def _looked_up(path: Path, indices: np.ndarray, colors: np.ndarray) -> np.ndarray:
    if indices.size and int(indices.max()) >= len(colors):
        raise DataError(
            f"{path}: index {indices.max()} in a palette of {len(colors)} colours; save it again"
        )
    return palette_codes(colors)[indices]


def labels_of_colors(
    codes: np.ndarray, table: Mapping[int, int], distance: int = 0
) -> tuple[np.ndarray, dict[int, int]]:
    """Translate colours to labels.

    Args:
        codes: (H, W) int32 colours.
        table: colour -> label, 0..255.
        distance: other colours take the label of the nearest one that differs by at most this in
            each of r, g, b; nearest by the largest difference, then by their sum.

    Returns:
        labels (H, W) uint8; and colour -> pixels of those that have none (label 0 stands there).
    """
    known = np.array(sorted(table), np.int32)
    label = np.array([table[int(color)] for color in known], np.uint8)
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    labels = label[place]
    foreign = known[place] != codes
    if not foreign.any():
        return labels, {}
    others, which, counts = np.unique(codes[foreign], return_inverse=True, return_counts=True)
    near = _nearest(others, known, distance)
    labels[foreign] = np.where(near >= 0, label[near], 0)[which.ravel()].astype(np.uint8)
    return labels, {int(c): int(n) for c, n, i in zip(others, counts, near, strict=True) if i < 0}


def _bands(codes: np.ndarray) -> np.ndarray:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


def _nearest(others: np.ndarray, known: np.ndarray, distance: int) -> np.ndarray:
    """Position in `known` of the nearest colour of each of `others`; -1: none is near enough."""
    found = np.full(len(others), -1, np.int64)
    if distance == 0:
        return found
    for start in range(0, len(others), _CHUNK):
        apart = np.abs(_bands(others[start : start + _CHUNK])[:, None] - _bands(known)[None])
        most, total = apart.max(axis=2), apart.sum(axis=2)
        best = (most * 1024 + total).argmin(axis=1)
        near = most[np.arange(len(best)), best] <= distance
        found[start : start + _CHUNK] = np.where(near, best, -1)
    return found


def color_columns(frame: pd.DataFrame, source: str) -> tuple[list[int], list[str]]:
    """The colours of a class table: columns r, g, b; or one of #rrggbb; or one of "255 0 0".

    Returns:
        the colour of each row, and the columns that say it; both empty where none does.

    Raises:
        DataError: a colour stands twice, or a cell is no number 0..255.
    """
    names = {str(column).strip().lower(): str(column) for column in frame.columns}
    for wanted in (("r", "g", "b"), ("red", "green", "blue")):
        if all(name in names for name in wanted):
            columns = [names[name] for name in wanted]
            rows = zip(*([str(cell).strip() for cell in frame[c]] for c in columns), strict=True)
            return _once([_rgb(row, source) for row in rows], source), columns
    for column in map(str, frame.columns):
        cells = [str(cell) for cell in frame[column]]
        by_name = re.search(r"(?i)colou?r|hex|rgb", column)
        marked = all(cell.strip().startswith(("#", "0x")) for cell in cells)
        codes = [code for code in map(parsed, cells) if code is not None]
        if cells and (marked or by_name) and len(codes) == len(cells):
            return _once(codes, source), [column]
        if cells and by_name and (triples := _triples(cells)):
            return _once([_rgb(row, source) for row in triples], source), [column]
    return [], []


def _triples(cells: Sequence[str]) -> list[tuple[str, ...]] | None:
    """Cells such as "255 0 0", "(255, 0, 0)" or "255;0;0"."""
    rows = [tuple(re.findall(r"\d+", cell)) for cell in cells]
    return rows if all(len(row) == 3 for row in rows) else None


def _rgb(row: Sequence[str], source: str) -> int:
    code = 0
    for cell in row:
        if not cell.isdecimal() or len(cell) > 3 or int(cell) > 255:
            raise DataError(f"{source}: colour {', '.join(row)}: expected numbers 0..255")
        code = code << 8 | int(cell)
    return code


def _once(codes: list[int], source: str) -> list[int]:
    for code in codes:
        if codes.count(code) > 1:
            raise DataError(f"{source}: the colour {spelled(code)} stands there twice")
    return codes
