"""Batches of training images and pseudo-labelled test images: `train.pseudo.share` of each is the latter.

Beside `samples`, which gives the training images; what a sample looks like is a function of (seed, epoch,
index) here too, so any number of workers gives the same batches and nothing random is saved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from comp.config import Competition, Train
from comp.data.cache.cache import Cache
from comp.data.cache.open import open_cache
from comp.data.samples.augment import Augment, build_augment
from comp.data.samples.crop import random_crop
from comp.data.samples.loader import TrainLoader
from comp.data.samples.mix import Mixer, Pair
from comp.data.samples.order import EpochSampler, Key
from comp.data.samples.pseudo import PseudoSource
from comp.data.samples.pseudo_labels import write_labels
from comp.data.samples.sampling import Drawing, derive
from comp.data.samples.train import Sample, TrainSamples, crops_of, make_tensor, train_recipe
from comp.data.sources.records import Record
from comp.files import Workspace
from comp.store import Probs

if TYPE_CHECKING:
    import torch

NUMBER = -1  # "number" of a pseudo-labelled image: it is no image of the training cache


class PseudoImages:
    """Samples of the test images with soft labels, drawn as `TrainSamples` draws training images.

    Args:
        cache: of the test images, of the training's recipe with hard labels.
        labels: the file that `write_labels` made on the grid of `cache`.
        augment: for soft labels.
        seed: `train.seed`.
    """

    def __init__(
        self, cache: Cache, labels: Path, train: Train, augment: Augment, seed: int
    ) -> None:
        self.cache, self.labels, self.train = cache, labels, train
        self.augment, self.seed = augment, seed
        # The image of each sample of a round over all test images.
        self.place = [
            i for i in range(len(cache)) for _ in range(crops_of(train, cache.image(i).shape[:2]))
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_planes"}

    @cached_property
    def _planes(self) -> Probs:
        return Probs(self.labels)

    def numbers(self, start: int, stop: int) -> list[int]:
        """The images of samples start..stop, counted over all epochs.

        Every image comes once a round (`crops_per_image` times), in an order that is a function of (seed, round).
        """
        n = len(self.place)
        found: list[int] = []
        for turn in range(start // n, -(-stop // n)):
            order = np.random.default_rng(derive(self.seed, turn, "pseudo order")).permutation(n)
            mine = order[max(0, start - turn * n) : stop - turn * n]
            found += [self.place[i] for i in mine.tolist()]
        return found

    def draw(self, epoch: int, slot: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one sample.

        Args:
            slot: which of the epoch's pseudo-labelled samples it is.
            number: of the image in the cache.

        Returns:
            image (h, w, C) uint8, or float32 in [0, 1]; labels (K + V, h, w) uint8, soft planes.
        """
        image, planes = self.cache.image(number), self._planes.read(self.cache.ids[number])
        if self.train.mode == "crop":
            rng = np.random.default_rng(derive(self.seed, epoch, slot, "pseudo crop"))
            image, planes = random_crop(
                image, planes, self.train.size, self.train.scale_jitter, rng
            )
        return self.augment(image, planes, derive(self.seed, epoch, slot, "pseudo augment"))


class MixedSamples:
    """Training samples and pseudo-labelled ones, all with soft truth.

    A key (epoch, index, ...) with index >= 0 is one of `real`'s; ``(epoch, -1 - slot, number)`` is one of
    `pseudo`'s. What `train.mix` mixes in is a training sample, into either; so the first kind stays all truth.
    """

    def __init__(self, real: TrainSamples, pseudo: PseudoImages) -> None:
        self.real, self.pseudo = real, pseudo
        # 8-bit beside 16-bit images: one type a batch
        self.as_float = any(c.image_dtype == np.float32 for c in (real.cache, pseudo.cache))
        self.form = replace(real.form, soft=True)
        train = real.train
        self.mixer = None if train.mix is None else Mixer(train.mix, train.epochs, self.form)

    @property
    def drawing(self) -> Drawing | None:
        return self.real.drawing

    @property
    def indices(self) -> list[int]:
        return self.real.indices

    def __len__(self) -> int:
        return len(self.real)

    def __getitem__(self, key: Key) -> Sample:
        """Draw one sample.

        Returns:
            "image" and "number" as `TrainSamples` gives them (`NUMBER` for a test image), "planes" (K, h, w)
            float32 in [0, 1] and "valid" (1 or K, h, w) float32, 0 or 1.
        """
        if key[1] >= 0:
            sample = dict(self.real[key])
            if "labels" in sample:
                truth = self.real.form.truth(sample.pop("labels").numpy(), planes=True)
                sample |= {name: make_tensor(array) for name, array in truth.items()}
            if self.as_float and str(sample["image"].dtype) == "torch.uint8":
                sample["image"] = sample["image"].float() / 255
            return sample
        epoch, index, number = key  # type: ignore[misc]
        image, planes = self.pseudo.draw(epoch, -1 - index, number)
        image, truth = self._typed(image), self.form.truth(planes)
        if self.mixer is not None:
            image, truth = self.mixer(
                (image, planes),
                epoch,
                lambda name: np.random.default_rng(
                    derive(self.pseudo.seed, epoch, -1 - index, f"pseudo {name}")
                ),
                lambda rng: self._partner(epoch, rng),
            )
        sample = {
            "image": make_tensor(image.transpose(2, 0, 1)),
            "number": make_tensor(np.array(NUMBER)),
        }
        return sample | {name: make_tensor(array) for name, array in truth.items()}

    def _partner(self, epoch: int, rng: np.random.Generator) -> Pair:
        """A training sample with soft planes, to be mixed into a pseudo-labelled one."""
        image, labels = self.real.partner(epoch, rng)
        return self._typed(image), self.real.form.planes_of(labels)

    def _typed(self, image: np.ndarray) -> np.ndarray:
        if self.as_float and image.dtype == np.uint8:
            return image.astype(np.float32) / np.float32(255)
        return image


class MixedSampler(EpochSampler):
    """The keys of an epoch: `real`'s in its order, with pseudo-labelled ones evenly between them.

    The share is exact over an epoch; where share * batch_size is no whole number, batches differ by one.
    """

    def __init__(self, real: EpochSampler, images: PseudoImages, share: float) -> None:
        super().__init__(len(real), real.seed, real.drawing)
        self.real, self.images, self.share = real, images, share
        total = math.floor(len(real) / (1 - share))
        while total - self.before(total) > len(real):
            total -= 1
        while total + 1 - self.before(total + 1) <= len(real):
            total += 1
        self.total = total

    def before(self, n: int) -> int:
        """How many of the first n are pseudo-labelled."""
        return math.floor(n * self.share + 1e-9)

    def __len__(self) -> int:
        return self.total

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.real.set_epoch(epoch)

    def heed(self, losses: np.ndarray | None) -> None:
        self.real.heed(losses)

    def __iter__(self) -> Iterator[Key]:
        real, n = iter(self.real), self.before(self.total)
        numbers = self.images.numbers(self.epoch * n, (self.epoch + 1) * n)
        keys: list[Key] = []
        for position in range(self.total):
            slot = self.before(position)
            if self.before(position + 1) > slot:
                keys.append((self.epoch, -1 - slot, numbers[slot]))
            else:
                keys.append(next(real))
        return iter(keys)


class MixedLoader(TrainLoader):
    """A `TrainLoader` whose batches hold pseudo-labelled images; closing it removes their labels.

    An epoch is every training sample once, as without them (the last, incomplete batch apart), so it has
    1 / (1 - share) as many batches.

    Attributes:
        text: one line that says what is mixed in.
    """

    def __init__(
        self,
        samples: MixedSamples,
        share: float,
        batch_size: int,
        seed: int,
        workers: int = 0,
        pin_memory: bool = False,
        text: str = "",
    ) -> None:
        super().__init__(
            cast(TrainSamples, samples),  # it asks for len, [key] and drawing
            batch_size,
            seed,
            workers,
            pin_memory,
        )
        self.sampler = MixedSampler(self.sampler, samples.pseudo, share)
        self.n_batches = max(1, len(self.sampler) // batch_size)
        self._plan.sampler, self._plan.n_batches = self.sampler, self.n_batches
        self.text = text

    def close(self) -> None:
        super().close()
        labels = cast(MixedSamples, self.samples).pseudo.labels
        for path in (labels, labels.with_suffix(".csv")):
            path.unlink(missing_ok=True)


def pseudo_loader(
    source: PseudoSource,
    fold: int,
    samples: TrainSamples,
    specs: Any,
    workspace: Workspace,
    competition: Competition,
    test: Sequence[Record],
    folder: Path,
    device: torch.device,
) -> MixedLoader:
    """Make the loader of a fold that is trained with pseudo-labels.

    Args:
        samples: of the fold's training images.
        specs: `augment` of the config.
        test: records of the test images.
        folder: where the labels of this fold are put while it is trained.

    Raises:
        RunMismatchError, DataError: as `write_labels`.
    """
    train = samples.train
    assert train.pseudo is not None
    recipe = replace(train_recipe(train), soft=False)
    cache = open_cache(workspace.cache, competition, test, recipe)
    confidence = train.pseudo.confidence
    written = write_labels(source, workspace, fold, cache, confidence, folder / "pseudo")
    images = PseudoImages(cache, written.path, train, build_augment(specs, soft=True), samples.seed)
    text = (
        f"pseudo-labels: {train.pseudo.share * 100:.3g} % of a batch from {len(cache)} test images as "
        f"fold {fold} of {source.kind} {source.name} sees them; {written.kept * 100:.1f} % of their pixels "
        f"are sure, {written.foreground * 100:.1f} % of those are foreground"
    )
    return MixedLoader(
        MixedSamples(samples, images),
        train.pseudo.share,
        train.batch_size,
        train.seed,
        train.workers,
        device.type == "cuda",
        text,
    )
