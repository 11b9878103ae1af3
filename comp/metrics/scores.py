"""Scores from counts (N, K, 4) int64 tp, fp, fn, tn. Each says its averaging and what empty against
empty is worth.

`image` in a name: each image and class scored by itself, then the mean. `dataset`: pixels of all
images summed first. `macro`: one score a class, then the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from comp.errors import ConfigError, DataError
from comp.registry import is_import_path, load_object, lookup


@dataclass(frozen=True)
class Metric:
    """One score.

    Args:
        doc: averaging, empty rule, source; shown to users.
        score: counts (N, K, 4) int64 -> float.
    """

    name: str
    greater_is_better: bool
    doc: str
    score: Callable[[np.ndarray], float]


def iou(counts: np.ndarray) -> np.ndarray:
    """tp / (tp + fp + fn) of counts (..., 4) -> (...) float64; nothing there and found is 1."""
    tp, fp, fn, _ = _four(counts)
    return _ratio(tp, tp + fp + fn)


def dice(counts: np.ndarray) -> np.ndarray:
    """2 tp / (2 tp + fp + fn) of counts (..., 4) -> (...) float64; nothing there and found is 1."""
    tp, fp, fn, _ = _four(counts)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def precision(counts: np.ndarray) -> np.ndarray:
    """tp / (tp + fp) of counts (..., 4) -> (...) float64; nothing found: 1 if nothing is there."""
    tp, fp, fn, _ = _four(counts)
    return np.where(tp + fp == 0, (fn == 0).astype(np.float64), _ratio(tp, tp + fp))


def recall(counts: np.ndarray) -> np.ndarray:
    """tp / (tp + fn) of counts (..., 4) -> (...) float64; nothing there: 1 if nothing is found."""
    tp, fp, fn, _ = _four(counts)
    return np.where(tp + fn == 0, (fp == 0).astype(np.float64), _ratio(tp, tp + fn))


def _four(counts: np.ndarray) -> tuple[np.ndarray, ...]:
    values = np.asarray(counts).astype(np.float64)
    return tuple(
        values[..., i] for i in range(4)
    )  # np.moveaxis costs half of a score of a few images


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 1 where whole is 0."""
    return np.where(whole == 0, 1.0, part / np.where(whole == 0, 1.0, whole))


def _macro(score: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> float:
    summed = counts.sum(axis=0)
    seen = summed[:, :3].any(axis=1)
    return float(score(summed[seen]).mean()) if seen.any() else 1.0


def _with_background(counts: np.ndarray) -> float:
    summed = counts.sum(axis=0)
    return float(
        (iou(summed) + iou(summed[:, ::-1])).mean() / 2
    )  # tn, fn, fp, tp: background's own counts


def _pixel_accuracy(counts: np.ndarray) -> float:
    summed = counts.sum(axis=0)
    tp, _, fn, tn = _four(summed)
    pixels = counts.sum(axis=2)
    decided = counts[:, :, :2].sum(axis=(1, 2))
    if counts.shape[1] > 1 and (decided[:, None] == pixels).all():
        return float(_ratio(tp.sum(), (tp + fn).sum()))
    return float(_ratio((tp + tn).sum(), summed.sum()))


def check_counts(counts: np.ndarray) -> np.ndarray:
    """Return `counts` when it is (N, K, 4) integers, none negative, of at least one image.

    Raises:
        DataError: saying what it is instead.
    """
    counts = np.asarray(counts)
    if (
        counts.ndim != 3
        or counts.shape[2] != 4
        or counts.shape[1] == 0
        or counts.dtype.kind not in "iu"
    ):
        raise DataError(
            f"counts are (images, classes, 4) integers, got {counts.shape} {counts.dtype}"
        )
    if counts.shape[0] == 0:
        raise DataError("no image to score: expected counts of at least one image")
    if counts.min() < 0:
        raise DataError("counts hold a negative number of pixels")
    return counts


def score_counts(name: str, counts: np.ndarray) -> float:
    """Return one score of counts (N, K, 4).

    Args:
        name: a name of `METRICS`, or the user's own ``package.module:Name`` (a Metric).

    Raises:
        UnknownNameError: no such metric, with the nearest one.
    """
    return float(find_metric(name).score(check_counts(counts)))


def per_class(name: str, counts: np.ndarray) -> list[float | None]:
    """Return the score of each class by itself; None for a class never there and never found."""
    metric, counts = find_metric(name), check_counts(counts)
    found: list[float | None] = []
    for k in range(counts.shape[1]):
        one = counts[:, k : k + 1]
        found.append(float(metric.score(one)) if one[:, :, :3].any() else None)
    return found


def image_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return iou, dice, precision and recall of every image and class: each (N, K) float64."""
    counts = check_counts(counts)
    return {
        "iou": iou(counts),
        "dice": dice(counts),
        "precision": precision(counts),
        "recall": recall(counts),
    }


def find_metric(name: str) -> Metric:
    """Return the metric of a name or an import path.

    Raises:
        ConfigError: no such name, or what the path leads to is no Metric.
    """
    if not is_import_path(name):
        return lookup(METRICS, name, "metric")
    found = load_object(name)
    if not isinstance(found, Metric):
        raise ConfigError(
            f"metric {name!r}: expected a comp.metrics.scores.Metric, got {type(found).__name__}"
        )
    return found


_EMPTY = "Nothing there and nothing found is 1."
_SKIP = (
    "A class that is in no truth and no prediction is skipped; with no class left the score is 1."
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "iou_image_mean",
            True,
            f"IoU of each image and class, then the mean over images and classes. {_EMPTY} "
            "Jaccard index, as sklearn.metrics.jaccard_score of one image.",
            lambda c: float(iou(c).mean()),
        ),
        Metric(
            "dice_image_mean",
            True,
            f"Dice of each image and class, then the mean over images and classes. {_EMPTY} "
            "Severstal 2019, Clouds 2019, SIIM-ACR 2019 (rows); HuBMAP 2021 (images).",
            lambda c: float(dice(c).mean()),
        ),
        Metric(
            "iou_dataset",
            True,
            f"IoU of the pixels of all images and classes together. {_EMPTY} On Cloud N 2021.",
            lambda c: float(iou(c.sum(axis=(0, 1)))),
        ),
        Metric(
            "dice_dataset",
            True,
            f"Dice of the pixels of all images and classes together. {_EMPTY} Contrails 2023.",
            lambda c: float(dice(c.sum(axis=(0, 1)))),
        ),
        Metric(
            "iou_dataset_macro",
            True,
            "IoU of each class over the pixels of all images, then the mean over classes (mIoU, "
            f"PASCAL VOC). {_SKIP}",
            lambda c: _macro(iou, c),
        ),
        Metric(
            "dice_dataset_macro",
            True,
            "Dice of each class over the pixels of all images, then the mean over classes. "
            + _SKIP,
            lambda c: _macro(dice, c),
        ),
        Metric(
            "iou_with_background",
            True,
            "IoU of the foreground and of the background, each over the pixels of all images, "
            "then the mean of the two; with several classes, the mean of that over classes. A "
            "side that is neither there nor found is 1. As mean IoU of a two-class softmax.",
            _with_background,
        ),
        Metric(
            "pixel_accuracy",
            True,
            "Share of the pixels of all images that are decided right. Where every pixel is given "
            "exactly one of several classes: of the pixels that have a class in the truth, those "
            "given it. Otherwise every class is a yes-or-no decision of its own and all decisions "
            "count. No pixel at all is 1.",
            _pixel_accuracy,
        ),
        Metric(
            "precision_dataset",
            True,
            "tp / (tp + fp) of the pixels of all images and classes together. Nothing found is 1 "
            "when nothing is there, else 0.",
            lambda c: float(precision(c.sum(axis=(0, 1)))),
        ),
        Metric(
            "recall_dataset",
            True,
            "tp / (tp + fn) of the pixels of all images and classes together. Nothing there is 1 "
            "when nothing is found, else 0.",
            lambda c: float(recall(c.sum(axis=(0, 1)))),
        ),
        Metric(
            "f1_dataset",
            True,
            "Harmonic mean of precision_dataset and recall_dataset; equals dice_dataset. " + _EMPTY,
            lambda c: float(dice(c.sum(axis=(0, 1)))),
        ),
    )
}
