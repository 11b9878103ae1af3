"""Which samples an epoch is made of, in which order, and which crops must hold foreground: `train.sampler`.

Everything drawn is a function of (seed, epoch), and by loss of what was last known of each image; no torch
here. Refuses shares that the images cannot give.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from comp.config import Sampler, Train
from comp.errors import ConfigError, DataError

N_BINS = 10  # of coverage, of one width from 0 to the largest, beside one for empty images
HARDEST = (
    4.0  # times as often as in a plain epoch at most, by loss: it may be the label that is wrong
)
ANYWHERE = -1  # in place of a class: the crop is drawn as without a sampler


def derive(*parts: object) -> int:
    """A 64-bit number that is a function of `parts`: the first 8 bytes of sha256 of their repr."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def check_sampler(train: Train, task: str) -> list[str]:
    """Every reason why `train.sampler` does not fit the task, one line each."""
    sampler = train.sampler
    if sampler is None:
        return []
    if sampler.by == "class" and task == "binary":
        return ["train.sampler.by: task binary has one class; use emptiness or coverage"]
    if sampler.by in ("emptiness", "coverage") and task == "multiclass":
        return [
            f"train.sampler.by: {sampler.by} is of one foreground; task multiclass takes by: class"
        ]
    if sampler.by == "coverage" and task == "multilabel":
        return ["train.sampler.by: coverage is of one foreground; task multilabel takes by: class"]
    return []


@dataclass(frozen=True, eq=False)
class Drawing:
    """How the samples of an epoch are drawn. `make_drawing` makes one.

    The images of an epoch are drawn evenly: one that should come 2.3 times comes 2 or 3 times.

    Args:
        place: (n,) int64, of each sample of a plain epoch its image, a number in 0..N-1; so an image that
            gives more crops (`train.crops_per_image`) has a larger part in every share.
        natural, sought: (N,) float64, each sums to 1: the part of each image in a plain epoch, and where
            the share is 1.
        presence: (N, K) bool, the class is in the image.
        by: train.sampler.by; share, positive: (start, end), None where they are not set.
        n_samples: of an epoch.
        epochs: over which start becomes end, along a line.
    """

    place: np.ndarray
    natural: np.ndarray
    sought: np.ndarray
    presence: np.ndarray
    by: str | None
    share: tuple[float, float] | None
    positive: tuple[float, float] | None
    n_samples: int
    epochs: int

    @cached_property
    def foreground(self) -> np.ndarray:
        """(N,) bool: the image holds any class."""
        return np.asarray(self.presence.any(axis=1))

    @cached_property
    def _frequency(self) -> np.ndarray:
        """(K,) the part of the images that hold each class."""
        return self.natural @ self.presence

    def weights(self, epoch: int, losses: np.ndarray | None = None) -> np.ndarray:
        """(N,) float64 that sums to 1: the part of each image in the samples of an epoch.

        Images with foreground are given more, evenly, where they could not hold the positive crops.

        Args:
            losses: (N,) the last known training loss, NaN where there is none yet; used by loss alone.
        """
        weights = self.natural
        if self.share is not None:
            part = self._now(self.share, epoch)
            if self.by == "emptiness":
                weights = _towards(self.natural, self.foreground, part)
            else:
                sought = self._by_loss(losses) if self.by == "loss" else self.sought
                weights = (1 - part) * self.natural + part * sought
        if self.positive is not None:
            wanted = self._now(self.positive, epoch)
            if weights[self.foreground].sum() < wanted:
                weights = _towards(weights, self.foreground, wanted)
        return weights

    def _by_loss(self, losses: np.ndarray | None) -> np.ndarray:
        """(N,) the part of each image where it goes by its loss; one without counts as the hardest."""
        if losses is None or np.isnan(losses).all():
            return self.natural
        parts = self.natural * np.maximum(np.nan_to_num(losses, nan=np.nanmax(losses)), 0.0)
        most, free = HARDEST * self.natural, np.ones(len(parts), bool)
        weights = most.copy()
        while (
            True
        ):  # what is cut off the hardest goes to the rest, some of which is then too much too
            left = 1 - most[~free].sum()
            rest = parts if parts[free].sum() > 0 else self.natural
            weights[free] = rest[free] * (left / rest[free].sum())
            over = free & (weights > most * (1 + 1e-9))
            if not over.any():
                return weights
            weights[over] = most[over]
            free &= ~over

    def draw(
        self, seed: int, epoch: int, losses: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw an epoch, in its order; `losses` as `weights` takes them.

        Returns:
            (n_samples,) int64 index of each sample, none twice: ``index % n`` is a sample of the plain
            epoch, ``index // n`` counts how often that came before;
            (n_samples,) int64 class that its crop must hold, or `ANYWHERE`.
        """
        rng = np.random.default_rng(derive(seed, epoch, "sampler"))
        per_image = np.bincount(self.place, minlength=len(self.natural))
        expected = (self.weights(epoch, losses) / per_image)[self.place] * self.n_samples
        ends = np.minimum(np.concatenate([[0.0], np.cumsum(expected)]), self.n_samples)
        ends[-1] = self.n_samples  # the sum of many parts is not quite the whole
        times = np.diff(np.floor(ends + rng.random()).astype(np.int64))
        chosen = np.repeat(np.arange(len(self.place)), times)
        copy = np.arange(len(chosen)) - np.repeat(np.cumsum(times) - times, times)
        index = chosen + copy * len(self.place)
        classes = np.full(len(index), ANYWHERE)
        if self.positive is not None:
            fits = np.flatnonzero(self.foreground[self.place[chosen]])
            n = min(len(fits), round(self._now(self.positive, epoch) * self.n_samples))
            for i in rng.permutation(fits)[:n]:
                classes[i] = self._class_of(int(self.place[chosen[i]]), rng)
        order = rng.permutation(len(index))
        return index[order], classes[order]

    def _class_of(self, image: int, rng: np.random.Generator) -> int:
        """A class of the image; by class: as often as the image is drawn for it, else each alike."""
        there = np.flatnonzero(self.presence[image])
        if len(there) == 1:
            return int(there[0])
        rarity = np.ones(len(there))
        if self.by == "class":
            rarity = 1 / self._frequency[there]
        return int(rng.choice(there, p=rarity / rarity.sum()))

    def _now(self, ends: tuple[float, float], epoch: int) -> float:
        way = min(1.0, epoch / max(1, self.epochs - 1))
        return ends[0] + (ends[1] - ends[0]) * way

    def describe(self) -> str:
        """One line: samples an epoch, shares, how often one image is drawn."""
        said = [f"{self.n_samples} samples an epoch of {len(self.natural)} images"]
        n = int(self.foreground.sum())
        if self.by == "emptiness" and self.share is not None:
            said.append(f"{_say(self.share)} from the {n} images with foreground")
        elif self.by == "coverage" and self.share is not None:
            said.append(f"{_say(self.share)} spread evenly over bins of coverage")
        elif self.by == "loss" and self.share is not None:
            said.append(f"{_say(self.share)} by the last known loss of each")
        elif self.share is not None:
            said.append(f"{_say(self.share)} spread evenly over the classes")
        if self.positive is not None:
            said.append(f"{_say(self.positive)} of the crops hold foreground for certain")
        ends = [self.weights(0).max(), self.weights(self.epochs - 1).max()]
        if self.by == "loss" and self.share is not None:  # the losses are not known yet
            ends = [self.natural.max() * (1 - s + HARDEST * s) for s in self.share]
        said.append(f"an image at most {math.ceil(max(ends) * self.n_samples - 1e-9)} times")
        return "sampler: " + ", ".join(said)


def make_drawing(
    train: Train, presence: np.ndarray, coverage: np.ndarray, place: Sequence[int], task: str
) -> Drawing:
    """Make the drawing of a fold's training images.

    Args:
        train: with a `sampler`.
        presence: (N, K) bool, coverage: (N, K) float64, of the images.
        place: of each sample of a plain epoch its image, 0..N-1.

    Raises:
        ConfigError: the sampler does not fit the task.
        DataError: shares that these images cannot give.
    """
    sampler = train.sampler
    assert sampler is not None
    if problems := check_sampler(train, task):
        raise ConfigError(problems)
    places = np.asarray(place, np.int64)
    natural = np.bincount(places, minlength=len(presence)) / len(places)
    drawing = Drawing(
        place=places,
        natural=natural,
        sought=_sought(sampler, presence, coverage, natural),
        presence=presence,
        by=sampler.by,
        share=sampler.share,
        positive=sampler.positive_share,
        n_samples=sampler.samples or len(places),
        epochs=sampler.epochs or train.epochs,
    )
    _check_shares(drawing)
    return drawing


def _sought(
    sampler: Sampler, presence: np.ndarray, coverage: np.ndarray, natural: np.ndarray
) -> np.ndarray:
    """The part of each image where the share is 1: every bin, or every class that occurs, alike."""
    if sampler.by == "coverage":
        covered = coverage[:, 0]
        bins = np.minimum(np.ceil(covered * (N_BINS / max(covered.max(), 1e-12))), N_BINS)
        parts = bins[:, None] == np.unique(bins)
    elif sampler.by == "class":
        parts = presence[:, presence.any(axis=0)]
    else:
        return natural
    each = natural[:, None] * parts
    return (each / each.sum(axis=0)).mean(axis=1) if parts.size else natural


def _check_shares(drawing: Drawing) -> None:
    n, n_with = len(drawing.natural), int(drawing.foreground.sum())
    asked = {"train.sampler.share": drawing.share if drawing.by == "emptiness" else None}
    asked["train.sampler.positive_share"] = drawing.positive
    for key, ends in asked.items():
        if ends is not None and max(ends) > 0 and n_with == 0:
            raise DataError(f"{key}: none of the {n} training images holds foreground")
    if drawing.by == "emptiness" and drawing.share is not None:
        if min(drawing.share) < 1 and n_with == n:
            raise DataError(
                f"train.sampler.share: all {n} training images hold foreground, so none can be drawn "
                "empty; drop train.sampler.by, or use coverage"
            )
    elif drawing.by == "class" and n_with == 0:
        raise DataError(f"train.sampler.by: none of the {n} training images holds any class")


def _towards(weights: np.ndarray, marked: np.ndarray, share: float) -> np.ndarray:
    """`weights` scaled so that the marked images have `share` of them, the others the rest."""
    scaled = np.zeros_like(weights)
    for part, wanted in ((marked, share), (~marked, 1 - share)):
        if part.any():
            sum_now = weights[part].sum()
            scaled[part] = weights[part] * (wanted / sum_now) if sum_now else wanted / part.sum()
    return scaled


def _say(ends: tuple[float, float]) -> str:
    start, end = (f"{end * 100:.3g} %" for end in ends)
    return start if start == end else f"{start} at first and {end} at last"
