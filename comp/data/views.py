"""Are augmented views unique? One picture is drawn over loader processes and epochs, and its views are counted.

The trap: a pipeline that keeps its own random state gives every worker, every epoch, the same stream.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from comp.config import Train
from comp.data.augment import Augment
from comp.data.cache import Cache
from comp.data.samples import Sample, TrainLoader, TrainSamples

N = 16  # times the picture stands in an epoch
EPOCHS = 2
WORKERS = 2
FEW = 0.6  # of as many distinct views as independent draws have


@dataclass(frozen=True)
class Views:
    """What was drawn of one picture.

    Args:
        drawn: views over all workers and epochs.
        distinct: how many of them differ.
        possible: how many of as many independent draws in one process differ.
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
    plain = train.model_copy(update={"sampler": None, "crops_per_image": 1})
    samples = TrainSamples(cache, [picture] * N, plain, augment, train.seed, task, n_classes)
    loader = TrainLoader(samples, N // (2 * WORKERS), train.seed, workers)
    try:
        epochs = [
            [mark for batch in loader.epoch(epoch) for mark in marks(batch)]
            for epoch in range(EPOCHS)
        ]
    finally:
        loader.close()
    here = [mark_of(samples[(0, i)]) for i in range(N)]
    fresh = [mark_of(samples[(e, i)]) for e in range(EPOCHS, 2 * EPOCHS) for i in range(N)]
    distinct, possible = len({m for e in epochs for m in e}), len(set(fresh))
    problems = []
    if distinct < FEW * possible:
        problems.append(
            f"{distinct} distinct views among {EPOCHS * N} drawn by {workers} workers over {EPOCHS} epochs, where "
            f"independent draws give {possible}: workers or epochs repeat one another's random numbers"
        )
    elif Counter(epochs[0]) != Counter(here):
        problems.append(
            "workers draw other views than this process: a transform has random numbers of its own; "
            "draw them from what albumentations gives it (self.py_random, self.random_generator)"
        )
    return Views(cache.ids[picture], EPOCHS * N, distinct, possible, tuple(problems))


def marks(batch: Sample) -> list[str]:
    """A mark of each view in a batch."""
    return [
        mark_of({k: v[i] for k, v in batch.items() if k != "number"})
        for i in range(len(batch["image"]))
    ]


def mark_of(sample: Sample) -> str:
    """A hash of pixels and labels: two views with one mark are the same."""
    found = hashlib.sha256()
    for name in sorted(set(sample) - {"number"}):
        found.update(sample[name].contiguous().numpy().tobytes())
    return found.hexdigest()
