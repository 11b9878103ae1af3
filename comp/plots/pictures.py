"""Pictures of pictures: image, truth, prediction and error side by side; samples and their augmentations.

Panels are scaled to one size, small ones without smoothing, and labelled; no score is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from comp.config import IGNORE
from comp.plots.figure import DPI, commit_png, new_figure, plain
from comp.plots.paint import (
    ERROR_COLOURS,
    TINT,
    display_image,
    outline_labels,
    paint_errors,
    paint_labels,
    palette,
)

Pixels: TypeAlias = NDArray[np.uint8]
CELL = 256  # pixels: a panel,
GAP = 6  # between panels,
STRIP = 20  # a row's title,
HEAD = 26  # the heads of the columns
ERRORS = {
    "binary": ("false positive", "false negative"),
    "multiclass": ("wrong class",),
    "multilabel": ("false positive", "false negative", "both"),
}
SHOWN_CLASSES = 12  # named in the legend


@dataclass(frozen=True)
class Case:
    """One picture with its truth and its prediction.

    Args:
        title: what names it, such as its image_id and fold.
        image: (H, W, C) uint8, uint16 or float32.
        labels: binary (H, W) 0/1/255, multiclass (H, W) class or 255, multilabel (K, H, W) 0/1/255;
            None where there is no truth.
        mask: the decision, shaped like labels.
        score: shown behind the title; None: not shown.
    """

    title: str
    image: np.ndarray
    labels: np.ndarray | None
    mask: np.ndarray
    score: float | None = None


def plot_cases(
    cases: Sequence[Case], path: Path, *, task: str, classes: Sequence[str], heading: str = ""
) -> Path | None:
    """Draw image, truth, prediction and error of each case in a row, and commit a PNG.

    Returns:
        the path, or None when there is no case and so nothing to draw.

    Raises:
        ValueError: when image, labels and mask of a case differ in size.
    """
    if not cases:
        return None
    rows, titles = [], []
    for case in cases:
        for what, other in (("labels", case.labels), ("mask", case.mask)):
            if other is not None and other.shape[-2:] != case.image.shape[:2]:
                raise ValueError(
                    f"{case.title}: {what} {other.shape[-2:]} on an image of {case.image.shape[:2]}"
                )
        shown = display_image(case.image)
        panels = [shown, None, paint_labels(case.mask, task, len(classes)), None]
        if case.labels is not None:
            panels[1] = paint_labels(case.labels, task, len(classes))
            panels[3] = paint_errors(shown, case.labels, case.mask, task)
        rows.append([fit(panel) for panel in panels])
        titles.append(case.title if case.score is None else f"{case.title}   {case.score:.4f}")
    key = [(ERROR_COLOURS[name], name) for name in ERRORS[task]]
    heads = ["image", "truth", "prediction", "error"]
    return _compose(rows, titles, heads, key + _class_key(task, classes), path, heading)


def plot_samples(
    samples: Sequence[tuple[str, np.ndarray, np.ndarray, Sequence[tuple[np.ndarray, np.ndarray]]]],
    path: Path,
    *,
    task: str,
    classes: Sequence[str],
    heading: str = "",
) -> Path | None:
    """Draw each sample and, to its right, what augmentation made of it; the labels are tinted outlines.

    Args:
        samples: (title, image (H, W, C), labels, [(augmented image, augmented labels), ...]); the
            augmented ones may have another size, and a different number of them a row.

    Returns:
        the path, or None without samples.
    """
    if not samples:
        return None
    width = max(len(drawn) for *_, drawn in samples)
    rows, titles = [], []
    for title, image, labels, drawn in samples:
        pairs = [(image, labels), *drawn]
        panels = [outline_labels(display_image(i), m, task, len(classes)) for i, m in pairs]
        rows.append([fit(panel) for panel in panels] + [fit(None)] * (width - len(drawn)))
        titles.append(
            f"{title}   {image.shape[0]}x{image.shape[1]}, {image.shape[2] if image.ndim == 3 else 1} bands"
        )
    heads = ["as read", *(f"augmented {n + 1}" for n in range(width))]
    key = [(TINT, classes[0])] if task == "binary" else _class_key(task, classes)
    every = [each for _, _, labels, drawn in samples for each in (labels, *(m for _, m in drawn))]
    if task == "binary" and any((labels == IGNORE).any() for labels in every):
        key.append((palette(task, 1)[IGNORE], "ignored"))
    return _compose(rows, titles, heads, key, path, heading)


def fit(pixels: Pixels | None) -> Pixels:
    """Scale a picture into a CELL x CELL panel on white, its shape kept; None: an empty grey panel."""
    import cv2

    cell = np.full((CELL, CELL, 3), 255, np.uint8)
    if pixels is None:
        cell[:] = 238
        return cell
    height, width = pixels.shape[:2]
    scale = CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = np.asarray(
        cv2.resize(np.ascontiguousarray(pixels), size, interpolation=method), np.uint8
    )
    top, left = (CELL - size[1]) // 2, (CELL - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = small
    return cell


def _class_key(task: str, classes: Sequence[str]) -> list[tuple[tuple[int, int, int], str]]:
    colours = palette(task, len(classes))
    if task == "binary":
        return [(colours[1], classes[0])]
    key = [(colours[n], name) for n, name in enumerate(classes[:SHOWN_CLASSES])]
    more = len(classes) - len(key)
    return (
        key
        + ([((255, 255, 255), f"and {more} more")] if more else [])
        + [(colours[IGNORE], "ignored")]
    )


def _compose(
    rows: list[list[Pixels]],
    titles: list[str],
    heads: list[str],
    key: list[tuple[tuple[int, int, int], str]],
    path: Path,
    heading: str,
) -> Path:
    """Lay panels out in a grid, write titles, heads and the colour key, commit the PNG."""
    n_columns = len(heads)
    top = HEAD + (24 if heading else 0)
    width = n_columns * (CELL + GAP) + GAP
    lines = _wrap_key(key, width)
    height = top + len(rows) * (CELL + STRIP + GAP) + 18 * len(lines) + 8
    canvas = np.full((height, width, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        y = top + r * (CELL + STRIP + GAP) + STRIP
        for c, panel in enumerate(row):
            x = GAP + c * (CELL + GAP)
            canvas[y : y + CELL, x : x + CELL] = panel
    y_key = top + len(rows) * (CELL + STRIP + GAP) + 6
    for n, line in enumerate(lines):
        for x, colour, _ in line:
            box = canvas[y_key + 18 * n : y_key + 18 * n + 12, x : x + 12]
            box[:] = 120
            box[1:-1, 1:-1] = colour
    figure = new_figure(width, height)
    figure.figimage(canvas, 0, 0, origin="upper")

    def write(text: str, x: float, y: float, size: float, align: str = "left") -> None:
        figure.text(
            x / width,
            1 - y / height,
            plain(text),
            fontsize=size * 72 / DPI,
            ha=align,
            va="center_baseline",
        )

    if heading:
        write(heading, GAP, 14, 14)
    for c, head in enumerate(heads):
        write(head, GAP + c * (CELL + GAP) + CELL / 2, top - HEAD + 15, 12, "center")
    for r, title in enumerate(titles):
        write(shorten(title, width), GAP, top + r * (CELL + STRIP + GAP) + STRIP / 2 + 1, 11)
    for n, line in enumerate(lines):
        for x, _, name in line:
            write(name, x + 17, y_key + 18 * n + 7, 11)
    return commit_png(figure, path)


def _wrap_key(
    key: list[tuple[tuple[int, int, int], str]], width: int
) -> list[list[tuple[int, tuple[int, int, int], str]]]:
    """Place the entries of the colour key: lines of (x, colour, name), about 7 pixels a letter."""
    lines: list[list[tuple[int, tuple[int, int, int], str]]] = [[]]
    x = GAP
    for colour, name in key:
        needs = 17 + 7 * len(name) + 14
        if lines[-1] and x + needs > width:
            lines.append([])
            x = GAP
        lines[-1].append((x, colour, name))
        x += needs
    return lines


def shorten(text: str, width_px: int) -> str:
    """Cut the middle out of a text that would not fit, about 7 pixels a letter; both ends stay."""
    room = max(width_px // 7, 9)
    if len(text) <= room:
        return text
    return f"{text[: room // 2 - 2]}...{text[-(room - room // 2 - 1) :]}"
