"""The keys of an epoch's samples in their order, and of its batches; a function of (seed, epoch), no torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from comp.data.samples.sampling import ANYWHERE, Drawing, derive

Key = tuple[int, int] | tuple[int, int, int]  # epoch, index, and a class that the crop must hold


class EpochSampler:
    """Yields the keys of an epoch's samples in an order that is a function of (seed, epoch).

    Without a drawing that is (epoch, index) for every index once; with one, as it draws.

    Args:
        n: number of samples without a drawing.
    """

    def __init__(self, n: int, seed: int, drawing: Drawing | None = None) -> None:
        self.n = n if drawing is None else drawing.n_samples
        self.seed = seed
        self.drawing = drawing
        self.epoch = 0
        self.losses: np.ndarray | None = None

    def __len__(self) -> int:
        return self.n

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self.epoch = epoch

    def heed(self, losses: np.ndarray | None) -> None:
        """Draw by these from the next iteration on: (N,) the last known loss of each image, or NaN."""
        self.losses = losses

    def __iter__(self) -> Iterator[Key]:
        if self.drawing is not None:
            return iter(self._drawn(self.drawing))
        order = np.random.default_rng(derive(self.seed, self.epoch, "order")).permutation(self.n)
        return iter([(self.epoch, int(index)) for index in order])

    def _drawn(self, drawing: Drawing) -> list[Key]:
        index, classes = drawing.draw(self.seed, self.epoch, self.losses)
        return [
            (self.epoch, i) if k == ANYWHERE else (self.epoch, i, k)
            for i, k in zip(index.tolist(), classes.tolist(), strict=True)
        ]


class Plan:
    """The keys of each batch of the sampler's epoch, from batch `start` on."""

    def __init__(self, sampler: EpochSampler, batch_size: int, n_batches: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.n_batches = n_batches
        self.start = 0

    def __len__(self) -> int:
        return self.n_batches - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        keys = list(self.sampler)
        for number in range(self.start, self.n_batches):
            yield keys[number * self.batch_size : (number + 1) * self.batch_size]
