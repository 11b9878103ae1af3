"""Training samples as tensors: what sample i of epoch e looks like is a function of (seed, e, i) alone.

So any number of workers gives the same data, and nothing random has to be saved to go on with a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import Dataset

from comp.config import Train
from comp.data.cache.cache import Cache, train_recipe
from comp.data.samples.augment import Augment
from comp.data.samples.crop import random_crop
from comp.data.samples.mix import Form, Mixer, Pair
from comp.data.samples.order import Key
from comp.data.samples.positive import Pixels, crop_around
from comp.data.samples.sampling import ANYWHERE, Drawing, derive, make_drawing
from comp.errors import DataError

Sample = dict[str, torch.Tensor]


def crops_of(train: Train, size: tuple[int, ...]) -> int:
    """Samples that an image of (H, W) gives in an epoch.

    With ``crops_per_image: auto`` it is the square root of how many windows fit into the image, rounded
    up: large images are seen more often than small ones, but not in proportion to their pixels.
    """
    if train.mode == "resize":
        return 1
    if train.crops_per_image != "auto":
        return train.crops_per_image
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / (train.size[0] * train.size[1]))))


class TrainSamples(Dataset[Sample]):
    """Samples of one fold's training images.

    Mode crop: a window of `train.size` at a random place, at native scale or zoomed by `scale_jitter`
    (log-uniform; 2 shows things twice as large). Where the image is smaller than the window, image and
    labels are both reflected, so every pixel has its true label. `crops_per_image` samples an image.
    Mode resize: the whole image as the cache holds it, one sample an image.
    With `train.sampler` an epoch draws from these by its `drawing`, some of them several times. With
    `train.mix` others of these are mixed in.

    Args:
        cache: of `train_recipe(train)`.
        indices: positions in the cache, one an image.
        seed: `train.seed` and whatever else the caller derives it from.
        background: the class that is no foreground to the sampler, and no object (`Competition.background`).
    """

    def __init__(
        self,
        cache: Cache,
        indices: Sequence[int],
        train: Train,
        augment: Augment,
        seed: int,
        task: str,
        n_classes: int,
        background: int | None = None,
    ) -> None:
        if cache.recipe != train_recipe(train):
            raise ValueError(
                f"train wants the cache {train_recipe(train).kind}, got {cache.recipe.kind}"
            )
        if len(indices) == 0:
            raise DataError(
                "no images to train on: every image is in the validation fold or held out; run `comp folds`"
            )
        if alone := [cache.ids[i] for i in indices if cache.labels(i) is None]:
            raise DataError(
                f"{len(alone)} training images have no mask, among them {alone[0]!r}; set data.train masks"
            )
        self.cache = cache
        self.indices = [int(i) for i in indices]
        self.train = train
        self.augment = augment
        self.seed = seed
        self.task = task
        self.n_classes = n_classes
        self.background = background
        # The image of each sample of an epoch, as a place in `indices`.
        self.place = [
            n
            for n, i in enumerate(self.indices)
            for _ in range(crops_of(train, cache.image(i).shape[:2]))
        ]
        self._pixels = Pixels(cache, task)
        self.form = Form(task, n_classes, background, cache.recipe.soft)
        self.mixer = None if train.mix is None else Mixer(train.mix, train.epochs, self.form)
        self._drawn: tuple[int, np.ndarray, np.ndarray] | None = None

    @cached_property
    def drawing(self) -> Drawing | None:
        """How `train.sampler` draws an epoch; None without one: every sample once.

        Raises:
            ConfigError, DataError: it does not fit the task, or these images.
        """
        if self.train.sampler is None:
            return None
        stats, chosen = self.cache.stats, np.array(self.indices)
        presence, coverage = stats.presence()[chosen], stats.coverage()[chosen]
        if self.background is not None:
            presence[:, self.background] = False  # nearly everywhere, so it says nothing
        return make_drawing(self.train, presence, coverage, self.place, self.task)

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, key: Key) -> Sample:
        """Draw one sample.

        Args:
            key: (epoch, index), and, in mode crop, a class that the crop must hold. Beyond len - 1 the
                indices begin again, each time with other draws.

        Returns:
            "image": (C, h, w) uint8, or float32 in [0, 1]; "number": int64, the image's position in the cache;
            and "labels": (h, w) or (K, h, w) uint8, 255 is ignored;
            or (soft masks, mixup) "planes": (K, h, w) float32 in [0, 1] and "valid": (1 or K, h, w) float32, 0 or 1.
        """
        epoch, index, *wanted = key
        place = index % len(self.place)
        base = self._draw(
            place,
            wanted[0] if wanted else ANYWHERE,
            np.random.default_rng(derive(self.seed, epoch, index, "crop")),
            derive(self.seed, epoch, index, "augment"),
        )
        number = self.indices[self.place[place]]
        if self.mixer is None:
            image, truth = base[0], self.form.truth(base[1])
        else:
            image, truth = self.mixer(
                base,
                epoch,
                lambda name: np.random.default_rng(derive(self.seed, epoch, index, name)),
                lambda rng: self.partner(epoch, rng),
            )
        sample = {"image": make_tensor(image.transpose(2, 0, 1)), "number": torch.tensor(number)}
        return sample | {name: make_tensor(array) for name, array in truth.items()}

    def partner(self, epoch: int, rng: np.random.Generator) -> Pair:
        """Another sample, to be mixed in: drawn as `train.sampler` draws an epoch, but not by loss.

        Returns:
            image (h, w, C) and labels as `form` says.
        """
        if self.drawing is None:
            place, klass = int(rng.integers(len(self.place))), ANYWHERE
        else:
            if self._drawn is None or self._drawn[0] != epoch:
                self._drawn = (epoch, *self.drawing.draw(self.seed, epoch))
            _, indices, classes = self._drawn
            at = int(rng.integers(len(indices)))
            place, klass = int(indices[at]) % len(self.place), int(classes[at])
        return self._draw(place, klass, rng, int(rng.integers(2**63)))

    def _draw(self, place: int, klass: int, rng: np.random.Generator, seed: int) -> Pair:
        """A window of the image at `place`, augmented by `seed`, as image and labels."""
        number = self.indices[self.place[place]]
        image, labels = self.cache.image(number), self.cache.labels(number)
        assert labels is not None  # checked above
        if image.dtype != self.cache.image_dtype:  # 8-bit beside 16-bit images: one type a batch
            image = image.astype(np.float32) / np.float32(255)
        if self.train.mode == "crop":
            size, jitter = self.train.size, self.train.scale_jitter
            pixel = None if klass == ANYWHERE else self._pixels.draw(number, klass, rng)
            if pixel is None:
                image, labels = random_crop(image, labels, size, jitter, rng)
            else:
                image, labels = crop_around(image, labels, size, jitter, pixel, rng)
        return self.augment(image, labels, seed)


def make_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor of its own memory (the cache's is read-only)."""
    return torch.from_numpy(np.array(array, order="C"))


def scale_image(image: torch.Tensor) -> torch.Tensor:
    """Bring a batch of images to float32 in [0, 1], on the device where it lies.

    Args:
        image: (B, C, h, w) uint8, or float32 already in [0, 1].
    """
    if image.dtype == torch.uint8:
        return image.to(torch.float32).div_(255)
    return image.to(torch.float32)
