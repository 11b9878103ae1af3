"""A contact sheet: many small pictures on one page, their labels tinted; pairs found alike side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from comp.plots.figure import DPI, commit_png, new_figure, plain
from comp.plots.paint import display_image, outline_labels
from comp.plots.pictures import shorten

Pixels: TypeAlias = NDArray[np.uint8]
CELL, GAP, TITLE, HEAD = 150, 6, 16, 28
COLUMNS = 8


@dataclass(frozen=True)
class Tile:
    """One small picture.

    Args:
        title: below it; long ones are cut in the middle.
        image: (H, W, C), any number type.
        labels: as the task has them, or None.
    """

    title: str
    image: np.ndarray
    labels: np.ndarray | None = None


def plot_contact_sheet(
    sections: Sequence[tuple[str, Sequence[Tile]]],
    path: Path,
    *,
    task: str,
    classes: Sequence[str],
) -> Path | None:
    """Draw the tiles of each section in rows of eight under its heading, and commit a PNG.

    Returns:
        the path, or None where there is nothing to draw.
    """
    shown = [(heading, tiles) for heading, tiles in sections if tiles]
    if not shown:
        return None
    rows = [-(-len(tiles) // COLUMNS) for _, tiles in shown]
    width = COLUMNS * (CELL + GAP) + GAP
    height = sum(HEAD + n * (CELL + TITLE + GAP) for n in rows) + GAP
    canvas = np.full((height, width, 3), 255, np.uint8)
    texts: list[tuple[str, float, float, float]] = []
    top = 0
    for (heading, tiles), n in zip(shown, rows, strict=True):
        texts.append((heading, GAP, top + HEAD / 2, 13))
        for place, tile in enumerate(tiles):
            y = top + HEAD + place // COLUMNS * (CELL + TITLE + GAP)
            x = GAP + place % COLUMNS * (CELL + GAP)
            canvas[y : y + CELL, x : x + CELL] = _cell(tile, task, len(classes))
            texts.append((shorten(tile.title, CELL), x, y + CELL + TITLE / 2, 9))
        top += HEAD + n * (CELL + TITLE + GAP)
    figure = new_figure(width, height)
    figure.figimage(canvas, 0, 0, origin="upper")
    for text, left, centre, size in texts:
        figure.text(
            left / width,
            1 - centre / height,
            plain(_drawable(text)),
            fontsize=size * 72 / DPI,
            va="center_baseline",
        )
    return commit_png(figure, path)


def _drawable(text: str) -> str:
    """The text with a question mark for every letter that the font lacks; it would warn of each."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    return "".join(c if font.get_char_index(ord(c)) else "?" for c in text)


def _cell(tile: Tile, task: str, n_classes: int) -> Pixels:
    """The picture in a CELL x CELL square on light grey, its shape kept, its labels outlined."""
    import cv2

    cell = np.full((CELL, CELL, 3), 238, np.uint8)
    height, width = tile.image.shape[:2]
    scale = CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(np.ascontiguousarray(display_image(tile.image)), size, interpolation=method)
    pixels = np.asarray(small, np.uint8).reshape(size[1], size[0], 3)
    if tile.labels is not None:
        planes = tile.labels if tile.labels.ndim == 3 else tile.labels[None]
        thin = [cv2.resize(p, size, interpolation=cv2.INTER_NEAREST) for p in planes]
        labels = np.stack(thin) if tile.labels.ndim == 3 else thin[0]
        pixels = outline_labels(pixels, np.asarray(labels, np.uint8), task, n_classes)
    top, left = (CELL - size[1]) // 2, (CELL - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = pixels
    return cell
