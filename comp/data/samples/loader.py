"""Batches of training samples, epoch by epoch: made ahead by a thread, or by processes.

Where that thread or one of the processes dies or hangs, the error names it and the image that it was at.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, MutableSequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from comp.config import Train
from comp.data.samples.order import EpochSampler, Key, Plan
from comp.data.samples.sampling import derive
from comp.data.samples.train import Sample, TrainSamples
from comp.errors import CompError

STOP_SECONDS = 30  # that a worker lives on after a SIGTERM, if nobody ends it
PREFETCH = 3  # batches that the prefetch thread makes ahead
START_SECONDS = 300.0  # at least, that a first batch may take: processes start, caches are opened
HANG_SHARE = (
    0.8  # of train.hang_seconds: said here, before the job's parent kills it without knowing why
)
TRACE_SECONDS = 0.5  # for a hung worker to write its stack
NOWHERE = -(2**62)  # at no sample
WHY = {"SIGKILL": " (likely out of memory)", "SIGBUS": " (likely /dev/shm is full)"}


class LoaderError(CompError):
    """What makes the batches died or hung.

    Args:
        fewer: whether fewer processes may help.
    """

    exit_code = 1

    def __init__(self, message: str, fewer: bool) -> None:
        super().__init__(message)
        self.try_again = {"again": 1, "fewer_workers": fewer}


class _Told(Dataset[Sample]):
    """`samples`, each told to `at` while a worker makes it: its index at the worker's place."""

    def __init__(self, samples: TrainSamples, at: MutableSequence[int]) -> None:
        self.samples, self.at = samples, at

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> Sample:
        worker = get_worker_info()
        assert worker is not None
        self.at[worker.id] = key[1]
        sample = self.samples[key]
        self.at[worker.id] = NOWHERE
        return sample


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
        self._at: MutableSequence[int] = [
            NOWHERE
        ]  # the index that each worker, or the thread, is at
        self._moves = False  # whoever makes batches has made one
        if workers > 0:
            self._at = multiprocessing.get_context("spawn").RawArray("q", [NOWHERE] * workers)
            self._workers = DataLoader(
                _Told(samples, self._at),
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
        return self._prefetched() if self._workers is None else self._made(self._workers)

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
            processes = _processes(iterator)
            stop()
            for process in processes:
                if process.is_alive():  # it heeds nothing else
                    process.kill()
            self._workers._iterator = None

    def explain(self, error: RuntimeError) -> Exception:
        """What became of the worker processes, where it is that which `error` is about; else `error`.

        Torch raises it wherever the training is when a worker dies.
        """
        if self._workers is None or not str(error).startswith("DataLoader "):
            return error
        processes = _processes(self._workers._iterator)
        for worker, process in enumerate(processes):
            if code := process.exitcode:
                how = f"loader worker {worker} (pid {process.pid}) {_say_end(code)}"
                return LoaderError(f"{how}{self._image(worker)}", fewer=True)
        if "timed out" not in str(error):
            return error
        busy = [n for n in range(len(processes)) if self._at[n] != NOWHERE]
        for worker in busy:
            _end_hung(processes[worker])
        named = [f"worker {n} (pid {processes[n].pid}){self._image(n)}" for n in busy]
        return self._hung(", ".join(named) or "none of its workers is at an image")

    def _limit(self) -> float | None:
        """Seconds that the next batch may take; None: for ever."""
        hang = _real(self.samples).train.hang_seconds
        if hang is None:
            return None
        return HANG_SHARE * (hang if self._moves else max(hang, START_SECONDS))

    def _hung(self, who: str) -> LoaderError:
        limit = self._limit() or 0.0
        text = (
            f"no batch for {limit:.3g} s: {who}; its log shows where it hangs (train.hang_seconds)"
        )
        return LoaderError(text, fewer=False)

    def _image(self, worker: int) -> str:
        """At which image a worker is, in words."""
        samples, index = _real(self.samples), self._at[worker]
        if index == NOWHERE:
            return ""
        if index < 0:
            return " at a pseudo-labelled test image"
        place = samples.place[index % len(samples.place)]
        return f" at image {samples.cache.ids[samples.indices[place]]!r}"

    def _made(self, workers: DataLoader[Sample]) -> Iterator[Sample]:
        """The batches of the worker processes; none of them may take too long."""
        workers.timeout = self._limit() or 0.0
        batches = iter(workers)
        for number, batch in enumerate(batches, 1):
            if not self._moves and number == workers.num_workers:  # each was heard of
                self._moves = True
                workers.timeout = batches._timeout = self._limit() or 0.0
            yield batch

    def _prefetched(self) -> Iterator[Sample]:
        """Make batches in one thread, a few ahead. Its exceptions are raised here; leaving early stops it."""
        plan = list(self._plan)
        ready: queue.Queue[Sample | BaseException] = queue.Queue(PREFETCH)
        stop = threading.Event()

        def work() -> None:
            try:
                for keys in plan:
                    made = []
                    for key in keys:
                        self._at[0] = key[1]
                        made.append(self.samples[key])
                    self._at[0] = NOWHERE
                    batch = collate(made)
                    if self.pin_memory:
                        batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
                    if not _put(ready, batch, stop):
                        return
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                _put(ready, error, stop)

        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        hung = False
        try:
            for _ in plan:
                try:
                    made = ready.get(timeout=self._limit())
                except queue.Empty:
                    hung = True
                    raise self._hung(f"the prefetch thread{self._image(0)}") from None
                if isinstance(made, BaseException):
                    raise made
                self._moves = True
                yield made
        finally:
            stop.set()
            if not hung:
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
    faulthandler.enable()
    for name in ("SIGINT", "SIGHUP", "SIGUSR2"):  # to the whole group; the job's parent decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: object) -> None:
    signal.alarm(STOP_SECONDS)


def _real(samples: Any) -> TrainSamples:
    """The fold's own training samples, without the pseudo-labelled ones that are mixed in."""
    real: TrainSamples = getattr(samples, "real", samples)
    return real


def _processes(iterator: Any) -> list[Any]:
    """The worker processes of torch's iterator, which has no public way to them."""
    return list(getattr(iterator, "_workers", ()))


def _end_hung(process: Any) -> None:
    """Have a worker write its stack to the log that it shares with its job, then kill it."""
    with contextlib.suppress(OSError):
        if hasattr(signal, "SIGUSR1"):
            os.kill(process.pid, signal.SIGUSR1)
            time.sleep(TRACE_SECONDS)
    with contextlib.suppress(RuntimeError):  # by which torch says that a worker was killed
        process.kill()
        process.join(TRACE_SECONDS)


def _say_end(code: int) -> str:
    """Put a worker's exit code in words."""
    if code > 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed by signal {-code} {name}{WHY.get(name, '')}"


def train_loader(samples: TrainSamples, train: Train, device: torch.device) -> TrainLoader:
    """Make the loader of a fold's training, as `train` says: batch_size, seed, workers.

    Workers 0 is a prefetch thread in this process, the best on a CPU; n is that many processes,
    started by `spawn` and kept over all epochs. On CUDA the batches lie in pinned memory.

    Returns:
        `loader.epoch(e)` yields the batches of one epoch; `loader.close()` ends the workers.
    """
    return TrainLoader(samples, train.batch_size, train.seed, train.workers, device.type == "cuda")
