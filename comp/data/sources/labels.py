"""Mask files -> labels, by the one rule of the competition.

A value that no rule names is refused, not guessed; only here is known what a mask's numbers mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from comp.config import IGNORE, Competition
from comp.config.competition import MAX_PIXELS, Data
from comp.data.images.decode import Stored, decode, read_size
from comp.data.images.palette import color_codes, labels_of_colors, spelled
from comp.errors import DataError, some

SMEARED_GREY = 16  # how far the bands of a grey mask saved with loss may lie apart

if TYPE_CHECKING:
    from comp.data.sources.records import Record


def read_mask_values(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask's stored numbers: (H, W) integers, or bool if 1-bit; palettes stay indices.

    Raises:
        DataError: unreadable, too large, several bands that differ, or fractions.
    """
    return mask_values(path, decode(path, indices=True, max_pixels=max_pixels))


def mask_values(path: Path, stored: Stored) -> np.ndarray:
    """The numbers of a mask decoded with `indices=True`; see `read_mask_values`."""
    pixels = _whole(path, stored.pixels[..., :-1] if stored.alpha else stored.pixels)
    if stored.alpha and _only_alpha(pixels, stored.pixels[..., -1]):
        raise DataError(
            f"{path}: one colour all over, and only its transparency varies: the mask seems to stand in the"
            " alpha band, which is not read; save that band as the mask"
        )
    if stored.lossy and pixels.shape[2] == 3 and nearly_grey(pixels):
        return np.ascontiguousarray(pixels[..., 1])
    if pixels.shape[2] > 1 and (pixels[..., 1:] != pixels[..., :1]).any():
        raise DataError(
            f"{path}: a colour mask ({pixels.shape[2]} bands that differ);"
            " expected one band of class numbers: say which colour is which class in"
            " data.mask_colors, or convert the colours first"
        )
    return np.ascontiguousarray(pixels[..., 0])


def _only_alpha(colors: np.ndarray, alpha: np.ndarray) -> bool:
    """True where a picture is one colour, and cut out by its transparency."""
    flat = colors.reshape(-1, colors.shape[2])
    return bool(flat.size and (alpha != alpha.flat[0]).any() and (flat == flat[0]).all())


def nearly_grey(pixels: np.ndarray) -> bool:
    """True where the three bands of a file saved with loss differ by no more than compression makes them."""
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    return bool(spread.max(initial=0) <= SMEARED_GREY)


def _whole(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Masks stored as floats are taken where every number is whole."""
    if pixels.dtype.kind in "uib":
        return pixels
    if pixels.dtype.kind == "f" and np.isfinite(pixels).all():
        whole = pixels.astype(np.int64)
        if (whole == pixels).all():
            return whole
    if pixels.dtype.kind == "f" and (n := int(pixels.size - np.isfinite(pixels).sum())):
        raise DataError(
            f"{path}: a {pixels.dtype} mask with {n} of {pixels.size} pixels NaN or infinite; expected whole"
            " numbers: save it as integers, with a number of their own for such pixels (ignore_index)"
        )
    raise DataError(
        f"{path}: a {pixels.dtype} mask with fractions; expected whole numbers: save it as integers"
        " (a share from 0 to 1 times 255, with data.mask_threshold: 128)"
    )


def read_labels(
    record: Record, competition: Competition, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read a record's mask as labels.

    Several masks of a binary or multiclass record (one file an object) are laid over each other: a
    pixel has the class that any of them gives it; else it is ignored where any of them ignores it.

    Args:
        size: (H, W) of the image, where the caller has it; default: read from the image's header.

    Returns:
        binary (H, W) uint8 in {0, 1, 255}; multiclass (H, W) uint8 class index or 255;
        multilabel (K, H, W) uint8 in {0, 1, 255}. 255 is `IGNORE`.

    Raises:
        DataError: unreadable, another size than the image, a value that no rule names, or two
            masks that give one pixel different classes.
    """
    if not record.labelled:
        raise DataError(f"{record.image_id}: no mask belongs to {record.image}")
    height, width = size or read_size(record.image)
    if record.truth is not None:
        from comp.data.sources.truth import read_truth

        return read_truth(record, competition, (height, width))
    one = record.masks[0]
    multilabel = competition.task == "multilabel"
    if multilabel and len(record.masks) == 1 and competition.n_classes > 1:
        return np.stack(_band_labels(one, competition, record, (height, width)))
    labels = [read_plane(path, competition) for path in record.masks]
    for path, plane in zip(record.masks, labels, strict=True):
        check_size(path, plane.shape, record, (height, width))
    if multilabel:
        return np.stack(labels)
    return labels[0] if len(labels) == 1 else union(labels, record)


def read_plane(path: Path, competition: Competition) -> np.ndarray:
    """Read one mask file as labels (H, W) uint8, by `mask_colors` or by its numbers (`to_labels`).

    Raises:
        DataError: unreadable, or holding a value or a colour that no rule names.
    """
    data = competition.data
    stored = decode(path, indices=True, max_pixels=data.max_pixels)
    if data.mask_colors is None:
        return to_labels(mask_values(path, stored), competition, path)
    labels, wrong = labels_by_color(path, stored, competition)
    if wrong:
        raise DataError(f"{path}: {say_colors(wrong, labels.size, data)}")
    return labels


def labels_by_color(
    path: Path, stored: Stored, competition: Competition
) -> tuple[np.ndarray, dict[int, int]]:
    """Labels (h, W) uint8 of a colour mask, or of some of its rows; and foreign colours -> pixels."""
    data = competition.data
    table = {
        int(color[1:], 16): _class_label(index, competition, f"data.mask_colors: {color}")
        for color, index in (data.mask_colors or {}).items()
    }
    codes = color_codes(path, stored)
    labels, wrong = labels_of_colors(codes, table, data.mask_color_distance)
    return (_inverted(labels) if data.mask_invert else labels), wrong


def _band_labels(
    path: Path, competition: Competition, record: Record, size: tuple[int, int]
) -> list[np.ndarray]:
    """The planes of one multilabel file that has a band a class."""
    stored = decode(path, True, competition.data.max_pixels)
    bands = class_bands(path, stored, competition)
    check_size(path, bands.shape[:2], record, size)
    return [to_labels(bands[..., k], competition, path) for k in range(competition.n_classes)]


def class_bands(path: Path, stored: Stored, competition: Competition) -> np.ndarray:
    """The numbers (h, W, K) of a multilabel file that has a band a class, or of some of its rows."""
    bands = _whole(path, stored.pixels)
    if bands.shape[2] != competition.n_classes:
        raise DataError(
            f"{path}: {bands.shape[2]} bands; expected {competition.n_classes}, one a class,"
            " or {class} in the masks pattern of data.train"
        )
    return bands


def check_size(path: Path, shape: tuple[int, ...], record: Record, size: tuple[int, int]) -> None:
    if shape != size:
        raise DataError(
            f"{path}: mask is {shape[0]} x {shape[1]} (height x width),"
            f" but its image {record.image} is {size[0]} x {size[1]}"
        )


def union(labels: list[np.ndarray], record: Record, top: int = 0) -> np.ndarray:
    """Masks laid over each other: classes before ignored pixels, these before background (0).

    Args:
        top: row of the image where `labels` begin.
    """
    whole = labels[0].copy()
    for path, plane in zip(record.masks[1:], labels[1:], strict=True):
        is_class = (plane != 0) & (plane != IGNORE)
        had_class = (whole != 0) & (whole != IGNORE)
        if (clash := is_class & had_class & (plane != whole)).any():
            row, column = (int(v) for v in np.argwhere(clash)[0])
            raise DataError(
                f"{path}: class {plane[row, column]} at row {top + row}, column {column}, where another mask"
                f" of {record.image_id} has class {whole[row, column]}; one pixel has one class"
            )
        whole[is_class] = plane[is_class]
        whole[(plane == IGNORE) & ~had_class] = IGNORE
    return whole


def to_labels(values: np.ndarray, competition: Competition, path: Path) -> np.ndarray:
    """Translate a mask's stored numbers (H, W) to labels (H, W) uint8.

    The ignore index becomes 255; then `mask_values` decides, or `mask_threshold`, or, where neither
    is set, class indices (multiclass) or 0 against one of 1, 255, 65535 (binary, multilabel).
    In a 1-bit file the set pixels are class 1, whatever the rule. `mask_invert` then swaps 0 and 1.

    Raises:
        DataError: naming `path` and the values that the rule does not know.
    """
    if values.dtype == bool:
        return (values != competition.data.mask_invert).astype(np.uint8)
    present = present_values(values)
    seen = Tally(present, values.dtype, values.size, lambda value: int((values == value).sum()))
    return apply_table(values, label_table(seen, competition, path), competition)


@dataclass(frozen=True)
class Tally:
    """Which numbers a mask holds, sorted, in `n_pixels` pixels of `dtype`; `count` says how often."""

    present: list[int]
    dtype: np.dtype
    n_pixels: int
    count: Callable[[int], int]


def label_table(seen: Tally, competition: Competition, path: Path) -> dict[int, int]:
    """The label of every number that a mask holds; see `to_labels`.

    Raises:
        DataError: naming `path` and the values that the rule does not know.
    """
    table = {value: _label(value, competition) for value in seen.present}
    wrong = [value for value, label in table.items() if label is None]
    known, threshold = [v for v in table if v != competition.ignore_index], None
    if competition.task != "multiclass" and competition.data.mask_values is None:
        threshold = competition.data.mask_threshold
        if threshold is None and len([v for v in known if v in (1, 255, 65535)]) > 1:
            wrong = [v for v in known if v != 0]
    if wrong:
        raise DataError(f"{path}: {_say(wrong, seen, competition)}")
    if threshold is not None:
        _check_scale(path, seen.dtype, max(known, default=0), threshold)
    return {value: label or 0 for value, label in table.items()}


def apply_table(values: np.ndarray, table: dict[int, int], competition: Competition) -> np.ndarray:
    """Labels (h, W) uint8 of a mask's numbers, or of some of its rows."""
    labels = _translate(values, table)
    return _inverted(labels) if competition.data.mask_invert else labels


def _inverted(labels: np.ndarray) -> np.ndarray:
    """0 and 1 exchanged; ignored pixels stay."""
    return np.where(labels == IGNORE, labels, 1 - labels).astype(np.uint8)


def _check_scale(path: Path, dtype: np.dtype, largest: int, threshold: int) -> None:
    """Refuse a mask of another scale than the threshold's, which would empty it without a word."""
    if largest == 1 and threshold > 1:
        raise DataError(
            f"{path}: holds only 0 and 1, but data.mask_threshold is {threshold}, which would"
            " empty it; give the masks one scale"
        )
    if largest > 0 and dtype == np.uint8 and threshold > 255:
        raise DataError(
            f"{path}: an 8-bit mask up to {largest}, but data.mask_threshold is {threshold}, which"
            " would empty it; give the masks one scale"
        )


def _label(value: int, competition: Competition) -> int | None:
    """The label of one stored number; None: no rule names it."""
    data = competition.data
    if value == competition.ignore_index:
        return IGNORE
    top = competition.n_classes - 1 if competition.task == "multiclass" else 1
    if data.mask_values is not None:
        index = data.mask_values.get(value)
        return (
            None
            if index is None
            else _class_label(index, competition, f"data.mask_values: {value}")
        )
    if competition.task == "multiclass":
        return value if 0 <= value <= top else None
    if data.mask_threshold is not None:
        return int(value >= data.mask_threshold)
    return {0: 0, 1: 1, 255: 1, 65535: 1}.get(value)


def _class_label(index: int, competition: Competition, where: str) -> int:
    """The label of a class number that the config gives.

    Raises:
        DataError: `where` names the entry: the number is no class and not the ignore index.
    """
    top = competition.n_classes - 1 if competition.task == "multiclass" else 1
    if 0 <= index <= top:
        return index
    if index == competition.ignore_index:
        return IGNORE
    raise DataError(f"{where}: {index} is no class; expected 0..{top}")


def say_colors(wrong: dict[int, int], n_pixels: int, data: Data) -> str:
    """Which colours a mask holds that it should not; the most frequent one with its pixels."""
    ordered = sorted(wrong, key=lambda color: (-wrong[color], color))
    more = f" (also {some(map(spelled, ordered[1:]))})" if len(ordered) > 1 else ""
    near = " (within data.mask_color_distance)" if data.mask_color_distance else ""
    return (
        f"colour {spelled(ordered[0])} at {wrong[ordered[0]]} of {n_pixels} pixels{more};"
        f" expected a colour of data.mask_colors{near}: {some(data.mask_colors or (), 12)}"
    )


def _say(wrong: list[int], seen: Tally, competition: Competition) -> str:
    """What the mask holds that it should not, and what the rule expects."""
    if competition.data.mask_values is not None:
        expected = f"a value of data.mask_values ({some(competition.data.mask_values, 12)})"
    elif competition.task == "multiclass":
        expected = f"a class index 0..{competition.n_classes - 1}"
    else:
        expected = "0 and one of 1, 255, 65535 (or set data.mask_threshold or data.mask_values)"
    if competition.ignore_index is not None:
        expected += f" or the ignore index {competition.ignore_index}"
    more = f" (also {some(wrong[1:])})" if len(wrong) > 1 else ""
    n = seen.count(wrong[0])
    return f"value {wrong[0]} at {n} of {seen.n_pixels} pixels{more}; expected {expected}"


def present_values(values: np.ndarray) -> list[int]:
    """The numbers that occur in a mask, sorted."""
    if values.dtype == np.uint8 and values.size:
        import cv2

        counts = cv2.calcHist(
            [values], [0], None, [256], [0, 256]
        )  # a quarter of np.bincount's time
        return [int(v) for v in np.flatnonzero(counts)]
    return [int(v) for v in np.unique(values)]


def _translate(values: np.ndarray, table: dict[int, int]) -> np.ndarray:
    if values.dtype == np.uint8:
        lut = np.zeros(256, np.uint8)
        for value, label in table.items():
            lut[value] = label
        import cv2

        return cv2.LUT(values, lut) if values.size else values
    labels = np.zeros(values.shape, np.uint8)
    for value, label in table.items():
        if label:
            labels[values == value] = label
    return labels
