"""Are augmented views unique? One picture is drawn over loader processes and epochs, and its views are counted.

The trap: a pipeline that keeps its own random state gives every worker, every epoch, the same stream.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comp.config import Train
from comp.data.cache.cache import Cache
from comp.data.samples.augment import Augment
from comp.data.samples.crop import random_crop
from comp.data.samples.loader import TrainLoader
from comp.data.samples.order import Key
from comp.data.samples.train import Sample, TrainSamples

N = 16  # times the picture stands in an epoch
EPOCHS = 2
WORKERS = 2
PLACES = 8  # of the fixed window that are tried
FIXED = "fixed "  # before the names of what belongs to it
FEW = 0.6  # of as many distinct views as independent draws have


@dataclass(frozen=True)
class Views:
    """What was drawn of one picture.

    Args:
        drawn: views over all workers and epochs, crops and all.
        distinct: how many of them differ.
        possible: how many of as many independent draws in one process differ.
        problems: found with the crop held still, which would hide a pipeline that repeats.
    """

    image_id: str
    drawn: int
    distinct: int
    possible: int
    problems: tuple[str, ...]


def check_views(
    cache: Cache,
    indices: Sequence[int],
    train: Train,
    augment: Augment,
    task: str,
    n_classes: int,
    workers: int = WORKERS,
) -> Views:
    """Draw one picture through loader processes over two epochs, and count its views.

    Args:
        indices: positions in the cache; the picture with the most contrast is taken.
        workers: processes; 0: the prefetch thread.
    """
    picture = max(indices, key=lambda i: float(cache.image(i)[::4, ::4].std()))
    plain = train.model_copy(update={"sampler": None, "mix": None, "crops_per_image": 1})
    still = plain.model_copy(update={"scale_jitter": None})
    rest = augment, train.seed, task, n_classes
    window = Window(cache, picture, train.size)
    fixed = TrainSamples(window, [0] * N, still, *rest)  # type: ignore[arg-type]
    samples = Twice(TrainSamples(cache, [picture] * N, plain, *rest), fixed)
    loader = TrainLoader(samples, N // (2 * WORKERS), train.seed, workers)
    try:
        epochs = [
            [mark for batch in loader.epoch(epoch) for mark in marks(batch)]
            for epoch in range(EPOCHS)
        ]
    finally:
        loader.close()
    here = [marks_of(samples[(0, i)]) for i in range(N)]
    fresh = [marks_of(samples[(e, i)]) for e in range(EPOCHS, 2 * EPOCHS) for i in range(N)]
    drawn = [mark for epoch in epochs for mark in epoch]
    distinct, possible = len({whole for whole, _ in drawn}), len({whole for whole, _ in fresh})
    n, n_possible = len({part for _, part in drawn}), len({part for _, part in fresh})
    problems = []
    if n < FEW * n_possible:
        problems.append(
            f"{n} distinct views of one crop among {EPOCHS * N} drawn by {workers} workers over {EPOCHS} epochs, "
            f"where independent draws give {n_possible}: workers or epochs repeat one another's random numbers"
        )
    elif Counter(epochs[0]) != Counter(here):
        problems.append(
            "workers draw other views than this process: a transform has random numbers of its own; "
            "draw them from what albumentations gives it (self.py_random, self.random_generator)"
        )
    return Views(cache.ids[picture], EPOCHS * N, distinct, possible, tuple(problems))


class Window:
    """A cache of one fixed window of `size`, so that what differs between its views is the pipeline's alone.

    Of several places the one with the most contrast is taken: a flat one looks the same from all sides.
    """

    def __init__(self, cache: Cache, index: int, size: tuple[int, int]) -> None:
        labels = cache.labels(index)
        assert labels is not None  # training images have masks
        tried = [
            random_crop(cache.image(index), labels, size, None, np.random.default_rng(seed))
            for seed in range(PLACES)
        ]
        image, labels = max(tried, key=lambda pair: float(pair[0].std()))
        self._image, self._labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        self.ids = (cache.ids[index],)
        self.recipe, self.image_dtype = cache.recipe, cache.image_dtype

    def image(self, i: int) -> np.ndarray:
        """(h, w, C), as a cache gives it."""
        return self._image

    def labels(self, i: int) -> np.ndarray:
        """(h, w) or planes first, as a cache gives them."""
        return self._labels


class Twice(TrainSamples):
    """Every sample as training draws it, crop and all, and beside it the same key of one fixed window."""

    def __init__(self, whole: TrainSamples, fixed: TrainSamples) -> None:
        vars(self).update(vars(whole))
        self.fixed = fixed

    def __getitem__(self, key: Key) -> Sample:
        beside = {FIXED + name: value for name, value in self.fixed[key].items()}
        return super().__getitem__(key) | beside


def marks(batch: Sample) -> list[tuple[str, str]]:
    """The two marks of each sample in a batch."""
    return [marks_of({k: v[i] for k, v in batch.items()}) for i in range(len(batch["image"]))]


def marks_of(sample: Sample) -> tuple[str, str]:
    """Hashes of pixels and labels, of the sample and of the fixed window: same mark, same view."""
    found = hashlib.sha256(), hashlib.sha256()
    for name in sorted(sample):
        if not name.endswith("number"):
            found[name.startswith(FIXED)].update(sample[name].contiguous().numpy().tobytes())
    return found[0].hexdigest(), found[1].hexdigest()
