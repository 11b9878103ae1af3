"""Integer weighted sums of stored probabilities, and the mask and counts that follow from them.

A sum is exact, so a blend is the same in any order and with any number of threads. Refuses float input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from comp.masks.cleaner import Cleaner
from comp.masks.decide import FULL, decide
from comp.masks.rules import NO_RULES, Rules
from comp.metrics.counts import count_image

INT32 = int(np.iinfo(np.int32).max)
BAND_PIXELS = 1 << 24  # of one plane, that are blended and counted at once


@dataclass(frozen=True)
class Source:
    """Where the pixels of N images and C columns (a member in one of its views) come from.

    Args:
        task: binary, multiclass or multilabel.
        n_classes: K, the planes of a stored probability.
        full: the integer that stands for probability 1 in every plane read (255 or 65535).
        n_images, n_columns: N and C.
        planes: (image, column) -> (K, H, W) uint8 or uint16 on the grid of `full`.
        labels: image -> labels as comp.data reads them, 255 where nothing is scored.
        presence: (image, column) -> (K,) float in [0, 1], what an auxiliary classifier says, or None.
    """

    task: str
    n_classes: int
    full: int
    n_images: int
    n_columns: int
    planes: Callable[[int, int], np.ndarray]
    labels: Callable[[int], np.ndarray]
    presence: Callable[[int, int], np.ndarray | None] | None = None


def common_full(dtypes: Iterable[np.dtype]) -> int:
    """Return the grid that holds all `dtypes` exactly: 255, or 65535 when any of them is uint16."""
    fulls = [FULL[np.dtype(dtype)] for dtype in dtypes]
    return max(fulls)


def to_grid(q: np.ndarray, full: int) -> np.ndarray:
    """Bring stored probabilities to the grid of `full`, exactly: 65535 = 257 * 255.

    Args:
        q: uint8 or uint16, any shape.
        full: 255 (uint8 only) or 65535.
    """
    own = FULL[q.dtype]
    if own == full:
        return q
    if own > full:
        raise ValueError("uint16 probabilities do not fit the uint8 grid")
    return q.astype(np.uint16) * np.uint16(full // own)


def weighted_sum(planes: Sequence[np.ndarray], weights: Sequence[int], full: int) -> np.ndarray:
    """Return the integer sum ``sum_m weights[m] * planes[m]``.

    Args:
        planes: arrays of one shape (K, H, W), uint8 or uint16 on the grid of `full`.
        weights: integers >= 0; probability 1.0 is then ``full * sum(weights)``.

    Returns:
        (K, H, W) int32 where every possible sum fits, else int64.
    """
    total = int(sum(weights))
    if total <= 0 or min(weights) < 0:
        raise ValueError(f"weights must be >= 0 with a positive sum, got {list(weights)}")
    return add_planes(planes, weights, np.int32 if total * full <= INT32 else np.int64)


def add_planes(
    planes: Sequence[np.ndarray], weights: Sequence[int], dtype: type[np.signedinteger] | type
) -> np.ndarray:
    """``sum_m weights[m] * planes[m]`` of arrays of one shape, uint8 or uint16, in a dtype given; it may wrap.

    Several planes in one pass: what numpy does plane by plane costs five times as much.
    """
    from comp.blending.kernels import add_four

    used = [m for m, weight in enumerate(weights) if weight]
    summed = np.empty(planes[0].shape, dtype)
    if not used:
        summed[...] = 0
        return summed
    out, by_four = summed.reshape(-1), np.zeros((-(-len(used) // 4), 4), dtype)
    by_four.reshape(-1)[: len(used)] = np.array([weights[m] for m in used]).astype(dtype)
    flat = []
    for m in used + used[:1] * (by_four.size - len(used)):
        flat.append(planes[m].reshape(-1))
        flat[-1].flags.writeable = False  # one type for the compiled loop, whatever the source
    for i, four in enumerate(by_four):
        a, b, c, d = flat[4 * i : 4 * i + 4]
        add_four(out, (a, b, c, d), four, i == 0)
    return summed


def blend_mask(
    planes: Sequence[np.ndarray],
    weights: Sequence[int],
    task: str,
    full: int,
    thresholds: Sequence[float] | None = None,
    min_area_px: int = 0,
    rules: Rules = NO_RULES,
    presence: np.ndarray | None = None,
) -> np.ndarray:
    """Blend, decide once, clean up. Shapes and dtypes as `weighted_sum` and `decide` state them."""
    return make_mask(
        lambda rows: [q[:, rows] for q in planes], planes[0].shape,
        weights, task, full, thresholds, min_area_px, rules, presence,
    )  # fmt: skip


def make_mask(
    read: Callable[[slice], Sequence[np.ndarray]],
    shape: Sequence[int],
    weights: Sequence[int],
    task: str,
    full: int,
    thresholds: Sequence[float] | None,
    min_area_px: int = 0,
    rules: Rules = NO_RULES,
    presence: np.ndarray | None = None,
) -> np.ndarray:
    """The mask of one image, out of fold or of a submission; a large one by bands of rows, with the same answer.

    Args:
        read: rows -> their planes (K, h, W), one for each of `weights`, on the grid of `full`.
        shape: (K, H, W).
        presence: (K,) as `mean_presence` returns it; needed where the rules ask for it.
    """
    n_planes, height, width = shape
    whole = full * int(sum(weights))
    cleaner = Cleaner(
        height, width, n_planes, task, whole, thresholds, min_area_px, rules, presence
    )
    for rows in bands_of(shape):
        cleaner.add(weighted_sum(read(rows), weights, full))
    return cleaner.clean()


def mean_presence(said: Iterable[tuple[int, np.ndarray | None]]) -> np.ndarray | None:
    """What auxiliary classifiers say together: the mean of those that there are, by weight.

    Args:
        said: weight and (K,) float in [0, 1], or None, of each member, in a fixed order.

    Returns:
        (K,) float64; None where no member with weight has a classifier.
    """
    total, summed = 0, None
    for weight, answer in said:
        if weight and answer is not None:
            term = weight * answer.astype(np.float64)
            summed = term if summed is None else summed + term
            total += weight
    return None if summed is None else summed / total


def blend_presence(source: Source, image: int, weights: Sequence[int]) -> np.ndarray | None:
    """As `mean_presence`, of one image."""
    if source.presence is None:
        return None
    return mean_presence((w, source.presence(image, c)) for c, w in enumerate(weights) if w)


def blend_counts(
    source: Source,
    images: Sequence[int] | np.ndarray,
    weights: Sequence[int],
    thresholds: Sequence[float] | None = None,
    min_area_px: int = 0,
    rules: Rules = NO_RULES,
) -> np.ndarray:
    """Count a blend on whole images, by the same steps as a submission.

    Args:
        images: indices into the source.
        weights: one integer a column.

    Returns:
        (len(images), K, 4) int64: tp, fp, fn, tn.
    """
    counts = np.zeros((len(images), source.n_classes, 4), np.int64)
    cleaned = min_area_px > 1 or bool(rules)
    for row, image in enumerate(images):
        labels = source.labels(int(image))
        if cleaned:
            whole = blend_image(source, int(image), weights, thresholds, min_area_px, rules)
            counts[row] = count_bands(whole, labels, source.task, source.n_classes)
            continue
        for rows in bands_of(labels.shape):
            mask = blend_rows(source, int(image), weights, thresholds, rows)
            part = np.asarray(labels[..., rows, :])
            counts[row] += count_image(mask, part, source.task, source.n_classes)
    return counts


def count_bands(mask: np.ndarray, labels: np.ndarray, task: str, n_classes: int) -> np.ndarray:
    """As `count_image`, a large image band by band: (K, 4) int64."""
    return sum(
        (
            count_image(mask[..., rows, :], np.asarray(labels[..., rows, :]), task, n_classes)
            for rows in bands_of(labels.shape)
        ),
        np.zeros((n_classes, 4), np.int64),
    )


def bands_of(shape: Sequence[int]) -> list[slice]:
    """Rows (..., H, W) in parts of at most `BAND_PIXELS` pixels: most images in one."""
    height, width = shape[-2:]
    step = max(1, BAND_PIXELS // max(1, width))
    return [slice(top, min(height, top + step)) for top in range(0, height, step)]


def reader(
    source: Source, image: int, weights: Sequence[int]
) -> tuple[Callable[[slice], list[np.ndarray]], list[int]]:
    """How to read rows of the columns with weight, and their weights."""
    used = [c for c, weight in enumerate(weights) if weight]
    return (
        lambda rows: [np.asarray(source.planes(image, c)[:, rows]) for c in used],
        [int(weights[c]) for c in used],
    )


def blend_rows(
    source: Source,
    image: int,
    weights: Sequence[int],
    thresholds: Sequence[float] | None,
    rows: slice,
) -> np.ndarray:
    """The mask of some rows of one image, not cleaned up; of a large one no more is held in memory."""
    read, used = reader(source, image, weights)
    summed = weighted_sum(read(rows), used, source.full)
    return decide(summed, source.task, thresholds, full=source.full * sum(used))


def blend_image(
    source: Source,
    image: int,
    weights: Sequence[int],
    thresholds: Sequence[float] | None,
    min_area_px: int = 0,
    rules: Rules = NO_RULES,
) -> np.ndarray:
    """The mask of one image; as `blend_mask`, by bands of rows where it is large."""
    read, used = reader(source, image, weights)
    shape = (source.n_classes, *source.labels(image).shape[-2:])
    presence = blend_presence(source, image, weights) if rules.presence else None
    return make_mask(
        read, shape, used, source.task, source.full, thresholds, min_area_px, rules, presence
    )


def single_counts(source: Source) -> np.ndarray:
    """Count every column alone at threshold 0.5.

    Returns:
        (C, N, K, 4) int64.
    """
    shape = (source.n_columns, source.n_images, source.n_classes, 4)
    counts = np.zeros(shape, np.int64)
    for image in range(source.n_images):
        labels = source.labels(image)
        for column, rows in product(range(source.n_columns), bands_of(labels.shape)):
            mask = decide(source.planes(image, column)[:, rows], source.task, full=source.full)
            part = np.asarray(labels[..., rows, :])
            counts[column, image] += count_image(mask, part, source.task, source.n_classes)
    return counts
