"""The floor of the demo: the best colour threshold that the train masks allow, scored on the answer key.

It looks at one number a pixel (a channel, brightness, a colour index), never at a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comp.demo.drawing import key_path
from comp.errors import DataError
from comp.masks.rle import decode
from comp.metrics.counts import count_image
from comp.metrics.scores import score_counts

LEVELS = 64  # of each feature, 0..255 in steps of 4


def features(image: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """One-number-a-pixel views of an RGB image, each (H, W) uint8."""
    red, green, blue = (image[:, :, band].astype(np.int32) for band in range(3))
    top, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    views = {
        "red": red,
        "green": green,
        "blue": blue,
        "brightness": (red + green + blue) // 3,
        "saturation": 255 * (top - low) // np.maximum(top, 1),
        "excess_green": 128 + (2 * green - red - blue) // 2,
        "excess_red": 128 + (2 * red - green - blue) // 2,
        "red_minus_blue": 128 + (red - blue) // 2,
    }
    return {name: np.clip(view, 0, 255).astype(np.uint8) for name, view in views.items()}


def fit_interval(
    levels: Iterable[NDArray[np.uint8]], masks: Iterable[NDArray[np.uint8]]
) -> tuple[int, int, float]:
    """The interval of levels whose pixels, called foreground, have the highest mean IoU an image.

    Every low and every high end is tried, so "above t" and "below t" are among them. An empty image
    scores 1 when nothing is called, else 0.

    Args:
        levels: (H, W) uint8 in 0..LEVELS-1, one an image.
        masks: (H, W) uint8 0/1, in the same order.

    Returns:
        (low, high, mean IoU): foreground is low <= level < high.
    """
    total, n_images = np.zeros((LEVELS + 1, LEVELS + 1)), 0
    for level, mask in zip(levels, masks, strict=True):
        called = np.concatenate([[0], np.cumsum(np.bincount(level.ravel(), minlength=LEVELS))])
        hit = np.concatenate([[0], np.cumsum(np.bincount(level[mask == 1], minlength=LEVELS))])
        tp = hit[None, :] - hit[:, None]
        union = (called[None, :] - called[:, None]) - tp + hit[-1]
        total += np.where(union == 0, 1.0, tp / np.maximum(union, 1))
        n_images += 1
    total[np.tril_indices(LEVELS + 1, -1)] = -1
    low, high = np.unravel_index(int(np.argmax(total)), total.shape)
    return int(low), int(high), float(total[low, high] / n_images)


def otsu(view: NDArray[np.uint8], above: bool) -> NDArray[np.uint8]:
    """Otsu's threshold of one image; the brighter or the darker side is foreground, (H, W) uint8 0/1."""
    import cv2

    _, bright = cv2.threshold(view, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return np.asarray(bright if above else 1 - bright, np.uint8)


def threshold_baseline(root: Path) -> dict[str, Any]:
    """Fit the best threshold on the train masks of a drawn demo competition, score it on the key.

    Returns:
        {"rule": text, "train": mean IoU on the train tiles, "iou_image_mean": ..., "dice_image_mean": ...
        on all test tiles, "public", "private": iou_image_mean of the two parts}.

    Raises:
        DataError: when the folder lacks tiles or the key.
    """
    train = _read_folder(root / "images")
    truth = {
        image_id: (mask[:, :, 0] > 127).astype(np.uint8)
        for image_id, mask in _read_folder(root / "masks").items()
    }
    if set(train) != set(truth):
        raise DataError(
            f"{root}: images and masks differ; draw the demo again: remove the folder, run `comp demo`"
        )
    masks = list(truth.values())
    views = [features(train[image_id]) for image_id in truth]
    best: tuple[float, str, str, int, int] = (-1.0, "", "", 0, 0)
    for name in views[0]:
        low, high, score = fit_interval((view[name] // (256 // LEVELS) for view in views), masks)
        best = max(best, (score, "fitted", name, low, high))
        for above in (False, True):
            counts = _counts([otsu(view[name], above) for view in views], masks)
            best = max(best, (score_counts("iou_image_mean", counts), "otsu", name, int(above), 0))
    return {"rule": _say(best), "train": best[0]} | _score_on_key(root, best)


def _say(rule: tuple[float, str, str, int, int]) -> str:
    _, kind, name, low, high = rule
    if kind == "otsu":
        return f"{name} {'above' if low else 'below'} Otsu's threshold"
    step = 256 // LEVELS
    return f"{low * step} <= {name} < {high * step}"


def _apply(rule: tuple[float, str, str, int, int], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, kind, name, low, high = rule
    view = features(image)[name]
    if kind == "otsu":
        return otsu(view, bool(low))
    level = view // (256 // LEVELS)
    return ((level >= low) & (level < high)).astype(np.uint8)


def _score_on_key(root: Path, rule: tuple[float, str, str, int, int]) -> dict[str, Any]:
    if not key_path(root).is_file():
        raise DataError(
            f"no answer key {key_path(root)}; draw the demo again: remove the folder, run `comp demo`"
        )
    tiles = _read_folder(root / "test" / "images")
    predicted, truth, usage = [], [], []
    for line in key_path(root).read_text(encoding="utf-8").splitlines()[1:]:
        image_id, code, height, width, part = line.split(",")
        if image_id not in tiles:
            raise DataError(
                f"{key_path(root)} names {image_id}, which {root / 'test' / 'images'} lacks"
            )
        truth.append(decode(code, int(height), int(width), where=image_id))
        predicted.append(_apply(rule, tiles[image_id]))
        usage.append(part)
    counts, parts = _counts(predicted, truth), np.array(usage)
    return {
        "iou_image_mean": score_counts("iou_image_mean", counts),
        "dice_image_mean": score_counts("dice_image_mean", counts),
        "public": score_counts("iou_image_mean", counts[parts == "Public"]),
        "private": score_counts("iou_image_mean", counts[parts == "Private"]),
    }


def _counts(
    predicted: list[NDArray[np.uint8]], truth: list[NDArray[np.uint8]]
) -> NDArray[np.int64]:
    """(N, 1, 4) int64."""
    return np.stack([count_image(p, t, "binary", 1) for p, t in zip(predicted, truth, strict=True)])


def _read_folder(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Every PNG of a folder by its stem, sorted, (H, W, 3) uint8 RGB."""
    import cv2

    found = {}
    for path in sorted(folder.glob("*.png")):
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise DataError(
                f"cannot read {path}; draw the demo again: remove the folder, run `comp demo`"
            )
        found[path.stem] = np.asarray(pixels[:, :, ::-1], np.uint8)
    if not found:
        raise DataError(f"no tiles in {folder}; draw them with `comp demo`")
    return found
