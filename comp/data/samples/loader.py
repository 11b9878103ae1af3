"""Batches of training samples, epoch by epoch: made ahead by a thread, or by processes."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from comp.config import Train
from comp.data.samples.order import EpochSampler, Plan
from comp.data.samples.sampling import derive
from comp.data.samples.train import Sample, TrainSamples

STOP_SECONDS = 30  # that a worker lives on after a SIGTERM, if nobody ends it
PREFETCH = 3  # batches that the prefetch thread makes ahead


class TrainLoader:
    """Batches of `samples`, epoch by epoch. `train_loader` makes one.

    Attributes:
        n_batches: batches an epoch (also ``len(loader)``). When there is more than one batch the last,
            incomplete one is left out: BatchNorm fails on a batch of one, and every epoch has another order.
    """

    def __init__(
        self,
        samples: TrainSamples,
        batch_size: int,
        seed: int,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.pin_memory = pin_memory
        self.sampler = EpochSampler(len(samples), seed, samples.drawing)
        self.n_batches = max(1, len(self.sampler) // batch_size)
        self._plan = Plan(self.sampler, batch_size, self.n_batches)
        self._workers: DataLoader[Sample] | None = None
        if workers > 0:
            self._workers = DataLoader(
                samples,
                batch_sampler=self._plan,
                num_workers=workers,
                collate_fn=collate,
                pin_memory=pin_memory,
                worker_init_fn=_begin_worker,
                persistent_workers=True,
                multiprocessing_context="spawn",  # a fork inherits OpenCV's thread pool and hangs
                generator=torch.Generator().manual_seed(derive(seed, "workers") % 2**63),
            )

    def __len__(self) -> int:
        return self.n_batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        """Yield the batches of one epoch, from batch number `start` on (resuming inside an epoch).

        Yields:
            what `TrainSamples` gives, stacked: "image" (B, C, h, w), "labels" (B, ...) or "planes" and
            "valid", "number" (B,); in pinned memory if asked.
        """
        self.sampler.set_epoch(epoch)
        self._plan.start = start
        return iter(self._workers) if self._workers is not None else self._prefetched()

    def heed(self, losses: np.ndarray) -> None:
        """Let `train.sampler` by loss draw the epochs from here on by what is now known.

        Args:
            losses: (n,) float64, of each image of the training cache; NaN where nothing is known.
        """
        self.sampler.heed(losses[self.samples.indices])

    def close(self) -> None:
        """Stop the worker processes, if there are any."""
        iterator = None if self._workers is None else self._workers._iterator
        stop = getattr(iterator, "_shutdown_workers", None)  # torch has no public way
        if self._workers is not None and stop is not None:
            stop()
            self._workers._iterator = None

    def _prefetched(self) -> Iterator[Sample]:
        """Make batches in one thread, a few ahead. Its exceptions are raised here; leaving early stops it."""
        plan = list(self._plan)
        ready: queue.Queue[Sample | BaseException] = queue.Queue(PREFETCH)
        stop = threading.Event()

        def work() -> None:
            try:
                for keys in plan:
                    batch = collate([self.samples[key] for key in keys])
                    if self.pin_memory:
                        batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
                    if not _put(ready, batch, stop):
                        return
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                _put(ready, error, stop)

        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            for _ in plan:
                made = ready.get()
                if isinstance(made, BaseException):
                    raise made
                yield made
        finally:
            stop.set()
            thread.join()


def _put(ready: queue.Queue, item: object, stop: threading.Event) -> bool:
    """Put `item` when there is room; False when nobody wants it any more."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def collate(samples: list[Sample]) -> Sample:
    """Stack samples, key by key."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def _begin_worker(worker: int) -> None:
    """Workers are the parallelism; OpenCV's own threads would only get in their way.

    A signal that asks the whole group to stop leaves them time: the job needs their next batch, to end at
    a step that it can save.
    """
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: object) -> None:
    signal.alarm(STOP_SECONDS)


def train_loader(samples: TrainSamples, train: Train, device: torch.device) -> TrainLoader:
    """Make the loader of a fold's training, as `train` says: batch_size, seed, workers.

    Workers 0 is a prefetch thread in this process, the best on a CPU; n is that many processes,
    started by `spawn` and kept over all epochs. On CUDA the batches lie in pinned memory.

    Returns:
        `loader.epoch(e)` yields the batches of one epoch; `loader.close()` ends the workers.
    """
    return TrainLoader(samples, train.batch_size, train.seed, train.workers, device.type == "cuda")
