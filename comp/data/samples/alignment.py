"""Do image and mask stay together? A picture whose pixels are its labels goes through a pipeline and is compared.

Each transform is looked at alone and for certain, whatever its probability; then the whole pipeline as it
is drawn in training. What changes colours may; what moves pixels must move both, and labels stay labels.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from comp.config import IGNORE
from comp.data.samples.augment import CONTAINERS, Specs, build_augment
from comp.errors import CompError
from comp.registry import is_import_path, load_object

DRAWS = 8
THING = 200  # the label of shapes: far from 0 and 255, so that mixed labels show
DARK, BRIGHT = (
    40,
    200,
)  # pixels of ground and shapes: far enough from the ends for brightness to move
CELLS = 10  # shapes along a side: fine enough that a shift by a tenth shows
MOVED = 0.8  # least correlation of image and mask where the transform moved the mask
KEPT = 0.4  # ... and where it left the mask: holes, rain and noise hide some of the picture
BOTH = 0.2  # ... and for the whole pipeline, where several of these come together


def check_alignment(
    specs: Specs,
    size: tuple[int, int] = (128, 128),
    channels: int = 3,
    planes: bool = False,
    soft: bool = False,
) -> list[str]:
    """Every transform that parts image and mask, one line each; empty when all keep them together.

    Args:
        specs: `augment` of a config, already free of mistakes (`augment.check_augment`).
        size: (h, w) of the picture.
        channels: bands of the image.
        planes: labels have planes: a multilabel task.
        soft: labels are soft planes, 0 to 255.
    """
    problems: list[str] = []
    image, labels = draw_pair(size, channels, planes or soft, soft)
    for where, spec in leaves(specs):
        problem = check_one((certain(spec),), image, labels, soft, None)
        problems += [f"{where}: {problem}"] if problem else []
    if not problems and len(specs) > 1:
        problem = check_one(tuple(specs), image, labels, soft, BOTH)
        problems += [f"augment, all together: {problem}"] if problem else []
    return problems


def check_one(
    specs: Specs, image: np.ndarray, labels: np.ndarray, soft: bool, least: float | None
) -> str | None:
    """Send the pair through a pipeline several times; what is wrong, or None.

    Args:
        least: correlation that image and mask must keep; None: by whether the mask was moved.
    """
    found, moved = [], False
    known = {0, THING, IGNORE} | {
        s["fill_mask"] for _, s in all_arguments(specs) if "fill_mask" in s
    }
    try:
        augment = build_augment(specs, soft)
        for seed in range(DRAWS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                new, mask = augment(image.copy(), labels.copy(), seed)
            if not soft and (odd := sorted({*np.unique(mask).tolist()} - known)):
                return f"labels 0 and {THING} became {odd[:3]} too: masks must be moved by nearest, not mixed"
            valid = mask != IGNORE if not soft else np.ones(mask.shape, bool)
            moved |= bool((mask != labels)[valid].any())
            found.append(correlate(new, mask, soft))
    except CompError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever a transform raises here, it would raise in training
        return f"fails: {' '.join(str(error).split())[:200]}"
    values = [value for value in found if value is not None]
    if least is None:
        least = MOVED if moved else KEPT
    if values and float(np.median(values)) < least:
        return (
            f"image and mask part: they agree to {np.median(values):.2f} of 1, expected at least {least}; "
            "it moves one of them alone"
        )
    return None


def correlate(image: np.ndarray, labels: np.ndarray, soft: bool) -> float | None:
    """How far the image (h, w, C) shows its labels: 1 fully (or fully inverted), 0 not at all.

    Ignored pixels and those beside an edge, where interpolation is free, do not count.

    Returns:
        None where the labels are all one, or the picture is: nothing can be said.
    """
    plane = labels if labels.ndim == 2 else labels[0]
    thing = plane >= 128 if soft else plane == THING
    edge = cv2.morphologyEx(thing.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    counted = edge == 0
    if not soft:
        counted &= plane != IGNORE
    elif len(labels) > 1:
        counted &= labels[-1] > 127  # the plane that says where the others are known
    truth = thing[counted].astype(np.float64)
    if truth.size < 100 or truth.std() < 0.1:
        return None
    best = 0.0
    for band in range(image.shape[2]):
        shown = image[..., band][counted].astype(np.float64)
        if shown.std() > 1e-6:
            best = max(best, abs(float(np.corrcoef(shown, truth)[0, 1])))
    return best


def draw_pair(
    size: tuple[int, int], channels: int, planes: bool, soft: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Random shapes without symmetry, and the labels that they are.

    Returns:
        image (h, w, C) uint8, DARK and BRIGHT; labels (h, w) or (2, h, w) uint8, 0 and THING, the second
        plane the other way round; soft: planes of 0 and 255, the last one 255 everywhere (known).
    """
    rng = np.random.default_rng(0)
    height, width = size
    coarse = rng.random((CELLS, max(2, round(CELLS * width / height)))).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    thing = smooth > np.median(smooth)
    image = np.where(thing, BRIGHT, DARK).astype(np.uint8)
    image = np.ascontiguousarray(np.repeat(image[..., None], channels, axis=2))
    if soft:
        return image, np.stack([thing * 255, np.full(size, 255)]).astype(np.uint8)
    labels = np.where(thing, THING, 0).astype(np.uint8)
    return image, np.stack([labels, THING - labels]) if planes else labels


def leaves(specs: Sequence[Any], where: str = "augment") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every transform of a pipeline, those inside containers one by one, each with its place."""
    for i, spec in enumerate(specs):
        plain = {spec: {}} if isinstance(spec, str) else spec
        ((name, arguments),) = plain.items()
        place = f"{where}[{i}] {name}"
        if name in CONTAINERS:
            yield from leaves(arguments["transforms"], place)
        else:
            yield place, {name: dict(arguments or {})}


def all_arguments(specs: Sequence[Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and arguments of every transform of a pipeline."""
    return [next(iter(spec.items())) for _, spec in leaves(specs)]


def certain(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The transform with probability 1; as it is where the user's own class knows no `p`."""
    ((name, arguments),) = spec.items()
    if is_import_path(name) and "p" not in inspect.signature(load_object(name)).parameters:  # type: ignore[arg-type]
        return spec
    return {name: {**arguments, "p": 1.0}}
