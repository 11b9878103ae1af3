"""The labels of test images as a fold is trained on them: stored probabilities, soft, and ignored where not sure.

Made when the fold begins, on the grid that the network sees, in one file that its samples are cut from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comp.blending.blend import common_full, to_grid, weighted_sum
from comp.data.cache.cache import Cache
from comp.data.images.resize import n_planes, resize_image
from comp.data.samples.pseudo import PseudoMember, PseudoSource
from comp.errors import DataError, RunMismatchError
from comp.files import Workspace, sha256
from comp.store import Probs, ProbsWriter

BAND_PIXELS = 1 << 22  # of one plane of one member; an image of fewer is labelled in one piece


@dataclass(frozen=True)
class Written:
    """The label file of one fold.

    Args:
        path: the .npy; `Probs` reads it: of each test image (K + V, h, w) uint8 as `resize.soft_planes`
            makes them.
        kept: share of the pixels (multilabel: of all planes) that are sure enough to be truth.
        foreground: share of the kept ones that is foreground; multi-class: that is not of class 0.
    """

    path: Path
    kept: float
    foreground: float


def write_labels(
    source: PseudoSource,
    workspace: Workspace,
    fold: int,
    cache: Cache,
    confidence: tuple[float, float],
    stem: Path,
) -> Written:
    """Write the labels that the source's models of `fold` give the test images, on the grid of `cache`.

    Args:
        cache: of the test images, native or resized.
        stem: final path without suffix.

    Raises:
        RunMismatchError: a file changed since the run was planned, or is of images of another size.
        DataError: no pixel is sure enough.
    """
    task, n_classes = cache.task, cache.n_classes
    stacks = [_open(workspace, member, fold) for member in source.members]
    full = common_full(probs.dtype for probs in stacks)
    whole = full * len(stacks)
    weights = [1] * len(stacks)
    tally = np.zeros(3, np.int64)  # planes x pixels, those kept, those kept that are foreground
    with ProbsWriter(stem) as writer:
        for i, image_id in enumerate(cache.ids):
            height, width = cache.original_size(i)
            for probs in stacks:
                if probs.shape(image_id) != (n_classes, height, width):
                    raise RunMismatchError(
                        f"{probs.path}: test image {image_id!r}: expected "
                        f"{(n_classes, height, width)}, got {probs.shape(image_id)}; run the `comp cv` of "
                        "that run again"
                    )
            step = max(1, BAND_PIXELS // width)
            bands = []
            for start in range(0, height, step):
                stop = min(height, start + step)
                read = [to_grid(p.read_rows(image_id, start, stop), full) for p in stacks]
                planes = label_planes(weighted_sum(read, weights, full), whole, task, confidence)
                tally += _count(planes, task, n_classes)
                if cache.recipe.size is None:
                    writer.append_rows(image_id, start, planes, height)
                else:
                    bands.append(planes)
            if bands:
                last = np.moveaxis(np.concatenate(bands, axis=1), 0, -1)
                resized = resize_image(np.ascontiguousarray(last), cache.recipe.size or (0, 0))
                writer.append(image_id, np.ascontiguousarray(np.moveaxis(resized, -1, 0)))
        if tally[1] == 0:
            raise DataError(
                f"--pseudo {source.name}: fold {fold}: no pixel of {len(cache)} test images has a "
                f"probability outside of train.pseudo.confidence {list(confidence)}; narrow it"
            )
        path, _ = writer.commit()
    return Written(path, float(tally[1] / tally[0]), float(tally[2] / tally[1]))


def _open(workspace: Workspace, member: PseudoMember, fold: int) -> Probs:
    """The test probabilities of one fold of one member, if they are those that were planned with."""
    folder = workspace.run(member.run)
    for suffix in (".npy", ".csv"):
        name = f"fold{fold}/test.{member.views}{suffix}"
        got = sha256(folder / name) if (folder / name).is_file() else "missing"
        if got != member.files[name]:
            raise RunMismatchError(
                f"{folder / name} changed since the pseudo-labels were planned: expected sha256 "
                f"{member.files[name][:12]}, got {got[:12]}; run `comp cv` again"
            )
    return Probs(folder / f"fold{fold}" / f"test.{member.views}.npy")


def label_planes(
    sums: np.ndarray, whole: int, task: str, confidence: tuple[float, float]
) -> np.ndarray:
    """Turn summed probabilities into soft labels, with nothing where they are not sure.

    Args:
        sums: (K, h, w) integers; `whole` stands for probability 1.
        confidence: low, high. Binary and multilabel: a plane is kept where it is at most low or at least
            high. Multi-class: a pixel is kept where its largest is at least high and no other above low.

    Returns:
        (K + V, h, w) uint8 as `resize.soft_planes` makes them: class shares times 255 where kept, else 0;
        then 255 where kept, else 0.
    """
    low, high = confidence
    if task == "multiclass":
        total = np.maximum(sums.sum(axis=0, keepdims=True), 1)
        shares = sums / total
        ordered = np.partition(shares, -2, axis=0)
        keep = (ordered[-1:] >= high - 1e-9) & (ordered[-2:-1] <= low + 1e-9)
    else:
        shares = sums / whole
        keep = (shares <= low + 1e-9) | (shares >= high - 1e-9)
    classes = np.where(keep, np.rint(shares * 255), 0)
    return np.concatenate([classes, keep * 255]).astype(np.uint8)


def _count(planes: np.ndarray, task: str, n_classes: int) -> list[int]:
    """Planes x pixels, those kept, and those kept that are foreground."""
    n_class, n_valid = n_planes(task, n_classes)
    keep = planes[n_class : n_class + n_valid] > 0
    if task == "multiclass":
        foreground = keep & (planes[:n_class].argmax(axis=0) > 0)
    else:
        foreground = keep & (planes[:n_class] >= 128)
    return [keep.size, int(keep.sum()), int(foreground.sum())]
