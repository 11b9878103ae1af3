"""Samples made of several, `train.mix`: mosaic, copy-paste, cutmix and mixup of images with their masks; no torch.

Works on augmented samples of one size, so each part keeps its own scale and flips, and what is not
mixed is what it would be without. What is pasted brings its ignored pixels with it; a blend is ignored
where either of the two is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from comp.config import IGNORE, Mix
from comp.data.images.resize import n_planes, soft_planes, soft_target

Pair = tuple[np.ndarray, np.ndarray]  # image (h, w, C), labels (h, w) or (P, h, w)
Truth = dict[str, np.ndarray]  # "labels"; or "planes" and "valid"


@dataclass(frozen=True)
class Form:
    """How labels are written.

    Args:
        background: multiclass: the class that is no object; None: there is none.
        soft: (K + V, h, w) uint8 as `soft_planes` makes them; else (h, w), or (K, h, w) for multilabel, of
            labels and 255.
    """

    task: str
    n_classes: int
    background: int | None = None
    soft: bool = False

    def planes_of(self, labels: np.ndarray) -> np.ndarray:
        """Labels in this form as soft planes (K + V, h, w) uint8."""
        if self.soft:
            return labels
        return soft_planes(labels, self.task, self.n_classes, labels.shape[-2:])

    def truth(self, labels: np.ndarray, planes: bool = False) -> Truth:
        """What a loss is given.

        Returns:
            "labels" as they are; or (soft, or `planes`) "planes" (K, h, w) float32 in [0, 1] and "valid"
            (1 or K, h, w) float32, 0 or 1.
        """
        if self.soft:
            target, valid = soft_target(labels, self.task, self.n_classes)
            return {"planes": target, "valid": valid}
        if not planes:
            return {"labels": labels}
        if self.task == "multilabel":
            return _as_float(labels == 1, labels != IGNORE)
        first = 1 if self.task == "binary" else 0
        classes = np.arange(first, first + self.n_classes, dtype=np.uint8)
        return _as_float(labels == classes[:, None, None], (labels != IGNORE)[None])

    def things(self, labels: np.ndarray) -> np.ndarray:
        """(h, w) uint8: 0 where there is no object, else 1 + its class (multilabel: 1)."""
        if self.task == "multilabel":
            known = labels[: self.n_classes] >= 128 if self.soft else labels == 1
            return np.asarray(known.any(axis=0), np.uint8)
        if self.task == "binary":
            return np.asarray(labels[0] >= 128 if self.soft else labels == 1, np.uint8)
        if self.soft:
            shares = labels[: n_planes(self.task, self.n_classes)[0]]
            classes, there = shares.argmax(axis=0).astype(np.uint8), shares.max(axis=0) >= 128
        else:
            classes, there = labels, labels != IGNORE
        if self.background is not None:
            there = there & (classes != self.background)
        return np.where(there, classes + np.uint8(1), np.uint8(0))


def _as_float(planes: np.ndarray, valid: np.ndarray) -> Truth:
    return {"planes": planes.astype(np.float32), "valid": valid.astype(np.float32)}


def put_together(pairs: Sequence[Pair], centre: tuple[int, int]) -> Pair:
    """Four samples in one: each keeps its own pixels in one quarter.

    Args:
        pairs: above left, above right, below left, below right of the centre (row, column).
    """
    (image, labels), *others = pairs
    image, labels = image.copy(), labels.copy()
    row, column = centre
    places = (
        (slice(0, row), slice(column, None)),
        (slice(row, None), slice(0, column)),
        (slice(row, None), slice(column, None)),
    )
    for (other, its), (rows, columns) in zip(others, places, strict=True):
        image[rows, columns] = other[rows, columns]
        labels[..., rows, columns] = its[..., rows, columns]
    return image, labels


def draw_box(
    size: tuple[int, int], area: tuple[float, float], rng: np.random.Generator
) -> tuple[slice, slice]:
    """Rows and columns of a rectangle wholly inside (h, w), of a drawn part of its area and any place.

    Its sides are area^u and area^(1 - u) of the sample's, u evenly in [1/4, 3/4].
    """
    part, way = rng.uniform(*area), rng.uniform(0.25, 0.75)
    sides = (part**way, part ** (1 - way))
    found = []
    for whole, side in zip(size, sides, strict=True):
        length = min(whole, max(1, round(whole * side)))
        start = int(rng.integers(0, whole - length + 1))
        found.append(slice(start, start + length))
    return found[0], found[1]


def paste_box(base: Pair, other: Pair, box: tuple[slice, slice]) -> Pair:
    """The base with the rectangle of the other, at the same place."""
    image, labels = base[0].copy(), base[1].copy()
    image[box] = other[0][box]
    labels[..., *box] = other[1][..., *box]
    return image, labels


def draw_objects(things: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """(h, w) bool: the pixels of some objects, each taken with the chance `share`, at least one.

    Args:
        things: (h, w) uint8, 0 for none. Objects are 8-connected pixels of one value.
    """
    objects, n = np.zeros(things.shape, np.int32), 0
    for value in np.unique(things[things > 0]).tolist():
        n_found, found = cv2.connectedComponents(
            (things == value).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        objects += np.where(found > 0, found + n, 0)
        n += n_found - 1  # 0 is the rest
    taken = np.append(False, rng.random(n) < share)
    if n and not taken.any():
        taken[int(rng.integers(1, n + 1))] = True
    return np.asarray(taken[objects])


def paste_where(base: Pair, other: Pair, mask: np.ndarray) -> Pair:
    """The base with the other's image and labels where the mask (h, w) is true."""
    return np.where(mask[..., None], other[0], base[0]), np.where(mask, other[1], base[1])


def blend(image: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """The weighted mean of two images, `share` the first's; of uint8 rounded to uint8."""
    flat = (image.reshape(len(image), -1), other.reshape(len(other), -1))
    mixed = cv2.addWeighted(flat[0], share, flat[1], 1 - share, 0)
    return np.asarray(mixed, image.dtype).reshape(image.shape)


def blend_truth(truth: Truth, other: Truth, share: float) -> Truth:
    """The weighted mean of two truths with planes; valid where both are."""
    kept = np.float32(share)
    planes = kept * truth["planes"] + (np.float32(1) - kept) * other["planes"]
    return {"planes": planes, "valid": np.minimum(truth["valid"], other["valid"])}


class Mixer:
    """Mixes one sample as `mix` says; keeps no state.

    Args:
        epochs: of the training.
        form: of labels given.
    """

    def __init__(self, mix: Mix, epochs: int, form: Form) -> None:
        self.mix, self.form = mix, form
        self.until = max(1, math.floor(mix.until * epochs + 1e-9))
        self.epochs = epochs

    def __call__(
        self,
        base: Pair,
        epoch: int,
        draws: Callable[[str], np.random.Generator],
        partner: Callable[[np.random.Generator], Pair],
    ) -> tuple[np.ndarray, Truth]:
        """Mix one sample.

        Args:
            base: augmented.
            draws: random numbers of its own for each name.
            partner: another sample of this size, type and form, all drawn from the numbers given.

        Returns:
            image (h, w, C) as given; what `Form.truth` gives, planes wherever mixup is asked for at all, so
            that a batch is of one kind.
        """
        planes = self.mix.mixup is not None
        if epoch >= self.until:
            return base[0], self.form.truth(base[1], planes)
        for name in ("mosaic", "copy_paste", "cutmix"):
            said = getattr(self.mix, name)
            if said is not None and (rng := draws(name)).random() < said.p:
                base = getattr(self, f"_{name}")(base, rng, partner)
        image, truth = base[0], self.form.truth(base[1], planes)
        if self.mix.mixup is not None and (rng := draws("mixup")).random() < self.mix.mixup.p:
            share = float(rng.beta(self.mix.mixup.alpha, self.mix.mixup.alpha))
            share = max(share, 1 - share)
            other, its = partner(rng)
            image = blend(image, other, share)
            truth = blend_truth(truth, self.form.truth(its, planes=True), share)
        return image, truth

    def _mosaic(
        self,
        base: Pair,
        rng: np.random.Generator,
        partner: Callable[[np.random.Generator], Pair],
    ) -> Pair:
        assert self.mix.mosaic is not None
        low, high = self.mix.mosaic.centre
        height, width = base[0].shape[:2]
        centre = round(height * rng.uniform(low, high)), round(width * rng.uniform(low, high))
        pairs = [partner(rng) for _ in range(3)]
        pairs.insert(int(rng.integers(4)), base)
        return put_together(pairs, centre)

    def _copy_paste(
        self,
        base: Pair,
        rng: np.random.Generator,
        partner: Callable[[np.random.Generator], Pair],
    ) -> Pair:
        assert self.mix.copy_paste is not None
        other = partner(rng)
        mask = draw_objects(self.form.things(other[1]), self.mix.copy_paste.share, rng)
        return paste_where(base, other, mask)

    def _cutmix(
        self,
        base: Pair,
        rng: np.random.Generator,
        partner: Callable[[np.random.Generator], Pair],
    ) -> Pair:
        assert self.mix.cutmix is not None
        box = draw_box(base[0].shape[:2], self.mix.cutmix.area, rng)
        return paste_box(base, partner(rng), box)

    def describe(self) -> str:
        """One line: what is mixed, how often, until when."""
        names = ("mosaic", "copy_paste", "cutmix", "mixup")
        parts = [
            f"{name} {said.p * 100:.3g} %"
            for name in names
            if (said := getattr(self.mix, name)) is not None
        ]
        until = ""
        if self.until < self.epochs:
            until = f" in the first {self.until} of {self.epochs} epochs"
        return f"mix: {', '.join(parts)} of the samples{until}, with training images of the fold"
