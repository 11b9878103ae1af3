"""Mask files -> labels, by the one rule of the competition.

A value that no rule names is refused, not guessed; only here is known what a mask's numbers mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from comp.config import IGNORE, Competition
from comp.data.decode import decode, read_size
from comp.errors import DataError, some

if TYPE_CHECKING:
    from comp.data.intake import Record


def read_mask_values(path: Path) -> np.ndarray:
    """Read a mask's stored numbers: (H, W) integers, or bool if 1-bit; palettes stay indices.

    Raises:
        DataError: unreadable, several bands that differ, or fractions.
    """
    stored = decode(path, indices=True)
    pixels = _whole(path, stored.pixels[..., :-1] if stored.alpha else stored.pixels)
    if pixels.shape[2] > 1 and (pixels[..., 1:] != pixels[..., :1]).any():
        raise DataError(
            f"{path}: a colour mask ({pixels.shape[2]} bands that differ);"
            " expected one band of class numbers: convert the colours first"
        )
    return np.ascontiguousarray(pixels[..., 0])


def _whole(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Masks stored as floats are taken where every number is whole."""
    if pixels.dtype.kind in "uib":
        return pixels
    if pixels.dtype.kind == "f" and np.isfinite(pixels).all():
        whole = pixels.astype(np.int64)
        if (whole == pixels).all():
            return whole
    raise DataError(
        f"{path}: a {pixels.dtype} mask with fractions; expected whole numbers: convert it first"
    )


def read_labels(
    record: Record, competition: Competition, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read a record's mask as labels.

    Args:
        size: (H, W) of the image, where the caller has it; default: read from the image's header.

    Returns:
        binary (H, W) uint8 in {0, 1, 255}; multiclass (H, W) uint8 class index or 255;
        multilabel (K, H, W) uint8 in {0, 1, 255}. 255 is `IGNORE`.

    Raises:
        DataError: unreadable, another size than the image, or a value that no rule names.
    """
    if not record.masks:
        raise DataError(f"{record.image_id}: no mask belongs to {record.image}")
    size = size or read_size(record.image)
    one = record.masks[0]
    if competition.task == "multilabel" and len(record.masks) == 1 and competition.n_classes > 1:
        bands = _whole(one, decode(one, indices=True).pixels)
        if bands.shape[2] != competition.n_classes:
            raise DataError(
                f"{one}: {bands.shape[2]} bands; expected {competition.n_classes}, one a class,"
                " or {class} in the masks pattern of data.train"
            )
        planes = [(one, bands[..., k]) for k in range(competition.n_classes)]
    else:
        planes = [(path, read_mask_values(path)) for path in record.masks]
    for path, values in planes:
        if values.shape != tuple(size):
            raise DataError(
                f"{path}: mask is {values.shape[0]} x {values.shape[1]} (height x width),"
                f" but its image {record.image} is {size[0]} x {size[1]}"
            )
    labels = [to_labels(values, competition, path) for path, values in planes]
    return np.stack(labels) if competition.task == "multilabel" else labels[0]


def to_labels(values: np.ndarray, competition: Competition, path: Path) -> np.ndarray:
    """Translate a mask's stored numbers (H, W) to labels (H, W) uint8.

    The ignore index becomes 255; then `mask_values` decides, or `mask_threshold`, or, where neither
    is set, class indices (multiclass) or 0 against one of 1, 255, 65535 (binary, multilabel).
    In a 1-bit file the set pixels are class 1, whatever the rule.

    Raises:
        DataError: naming `path` and the values that the rule does not know.
    """
    if values.dtype == bool:
        return values.astype(np.uint8)
    table = {value: _label(value, competition) for value in present_values(values)}
    wrong = [value for value, label in table.items() if label is None]
    known, threshold = [v for v in table if v != competition.ignore_index], None
    if competition.task != "multiclass" and competition.data.mask_values is None:
        threshold = competition.data.mask_threshold
        if threshold is None and len([v for v in known if v in (1, 255, 65535)]) > 1:
            wrong = [v for v in known if v != 0]
    if wrong:
        raise DataError(f"{path}: {_say(wrong, values, competition)}")
    if threshold is not None and threshold > 1 and max(known, default=0) == 1:
        raise DataError(
            f"{path}: holds only 0 and 1, but data.mask_threshold is {threshold}, which would"
            " empty it; give the masks one scale"
        )
    return _translate(values, {value: label or 0 for value, label in table.items()})


def _label(value: int, competition: Competition) -> int | None:
    """The label of one stored number; None: no rule names it."""
    data = competition.data
    if value == competition.ignore_index:
        return IGNORE
    top = competition.n_classes - 1 if competition.task == "multiclass" else 1
    if data.mask_values is not None:
        index = data.mask_values.get(value)
        if index is None or 0 <= index <= top:
            return index
        if index == competition.ignore_index:
            return IGNORE
        raise DataError(f"data.mask_values: {value}: {index} is no class; expected 0..{top}")
    if competition.task == "multiclass":
        return value if 0 <= value <= top else None
    if data.mask_threshold is not None:
        return int(value >= data.mask_threshold)
    return {0: 0, 1: 1, 255: 1, 65535: 1}.get(value)


def _say(wrong: list[int], values: np.ndarray, competition: Competition) -> str:
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
    n = int((values == wrong[0]).sum())
    return f"value {wrong[0]} at {n} of {values.size} pixels{more}; expected {expected}"


def present_values(values: np.ndarray) -> list[int]:
    """The numbers that occur in a mask, sorted."""
    if values.dtype == np.uint8:
        return [int(v) for v in np.flatnonzero(np.bincount(values.ravel(), minlength=256))]
    return [int(v) for v in np.unique(values)]


def _translate(values: np.ndarray, table: dict[int, int]) -> np.ndarray:
    if values.dtype == np.uint8:
        lut = np.zeros(256, np.uint8)
        for value, label in table.items():
            lut[value] = label
        return lut[values]
    labels = np.zeros(values.shape, np.uint8)
    for value, label in table.items():
        if label:
            labels[values == value] = label
    return labels
