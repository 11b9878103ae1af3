"""Batches: the same whatever makes them, resumed in the middle, closed early."""

from __future__ import annotations

import os
import re
import signal
import threading
from typing import Any

import numpy as np
import pytest
import torch

from comp.config import Train
from comp.data.samples.loader import LoaderError, TrainLoader, train_loader
from comp.data.samples.train import TrainSamples
from comp.errors import DataError
from tests.data.samples.test_train import CROP, EVERY, SOFT, epoch_of, equal, samples_of

MIXED = {**CROP, "mix": EVERY, "sampler": {"by": "loss", "share": 0.8, "samples": 14}}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("options", "workers"),
    [(CROP, 2), (MIXED, 2), pytest.param(SOFT, 3, marks=pytest.mark.slow)],
)
def test_any_number_of_workers_gives_the_same_data(make_toy, options: Any, workers: int) -> None:
    """Bit for bit: prefetch thread and spawned workers, epochs in any order, from the middle too."""
    samples = samples_of(make_toy(n=14), options)
    alone = TrainLoader(samples, 4, seed=5)
    losses = np.arange(14.0)  # heeded by MIXED alone
    alone.heed(losses)
    expected = {epoch: epoch_of(alone, epoch) for epoch in range(3)}
    assert len(alone) == len(expected[0]) == 3
    loader = TrainLoader(samples, 4, 5, workers)
    loader.heed(losses)
    try:
        for epoch in (0, 2, 1):
            got = epoch_of(loader, epoch)
            assert len(got) == 3
            assert all(equal(a, b) for a, b in zip(got, expected[epoch], strict=True))
        rest = epoch_of(loader, 1, start=2)
        assert all(equal(a, b) for a, b in zip(rest, expected[1][2:], strict=True))
    finally:
        loader.close()
    seen = [batch["image"].numpy().tobytes() for epoch in expected.values() for batch in epoch]
    assert len(set(seen)) == len(seen)  # workers and epochs differ


def test_an_epoch_resumes_in_the_middle(make_toy) -> None:
    loader = TrainLoader(samples_of(make_toy(), CROP), 4, 0)
    whole = epoch_of(loader, 2)
    rest = epoch_of(loader, 2, start=1)
    assert len(rest) == len(whole) - 1 == 2
    assert all(equal(a, b) for a, b in zip(rest, whole[1:], strict=True))


@pytest.mark.parametrize(
    ("n", "batch", "sizes"), [(12, 5, [5, 5]), (3, 5, [3]), (5, 5, [5]), (6, 5, [5])]
)
def test_an_incomplete_last_batch_is_left_out_unless_it_is_the_only_one(
    make_toy, n: int, batch: int, sizes: list[int]
) -> None:
    loader = TrainLoader(samples_of(make_toy(), CROP, indices=range(n)), batch, 0)
    assert [len(b["image"]) for b in loader.epoch(0)] == sizes
    assert len(loader) == len(sizes)


class Broken(TrainSamples):
    def __getitem__(self, key: tuple[int, int]) -> Any:
        if key[1] == 7:
            raise DataError("sample 7 is broken")
        return super().__getitem__(key)


def test_an_exception_in_the_thread_is_raised_where_batches_are_taken(make_toy) -> None:
    samples = samples_of(make_toy(), CROP)
    samples.__class__ = Broken
    with pytest.raises(DataError, match="sample 7 is broken"):
        epoch_of(TrainLoader(samples, 3, 0), 0)
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


class Fatal(TrainSamples):
    """At image 7 of epoch 1 what `how` says befalls the process, or the thread, that makes it."""

    how = ""
    release = threading.Event()

    def __getitem__(self, key: Any) -> Any:
        if key[0] == 1 and self.indices[self.place[key[1]]] == 7:
            if self.how == "hangs":
                self.release.wait(60)
            os.kill(os.getpid(), getattr(signal, self.how))
        return super().__getitem__(key)


def fatal(samples: TrainSamples, how: str) -> TrainSamples:
    samples.__class__ = Fatal
    samples.how = how  # type: ignore[attr-defined]
    return samples


@pytest.mark.parametrize(
    ("how", "said", "fewer"),
    [
        (
            "SIGKILL",
            r"was killed by signal 9 SIGKILL \(likely out of memory\) at image 't007'",
            True,
        ),
        pytest.param(
            "SIGSEGV",
            "was killed by signal 11 SIGSEGV at image 't007'",
            True,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "SIGBUS",
            r"was killed by signal 7 SIGBUS \(likely /dev/shm is full\) at image 't007'",
            True,
            marks=pytest.mark.slow,
        ),
        ("SIGSTOP", r"no batch for 0.8 s: worker \d \(pid \d+\) at image 't007'", False),
    ],
)
def test_a_worker_that_dies_or_hangs_is_named_with_its_image(
    make_toy, how: str, said: str, fewer: bool
) -> None:
    samples = fatal(samples_of(make_toy(), {**CROP, "hang_seconds": 1}), how)
    loader = TrainLoader(samples, 2, 0, workers=2)
    try:
        epoch_of(loader, 0)
        workers = list(loader._workers._iterator._workers)  # type: ignore[union-attr]
        with pytest.raises(RuntimeError, match="DataLoader") as caught:
            epoch_of(loader, 1)
        error = loader.explain(caught.value)
    finally:
        loader.close()
    assert isinstance(error, LoaderError) and re.search(said, str(error)), error
    assert error.try_again == {"again": 1, "fewer_workers": fewer}
    for worker in workers:
        worker.join(5)
        assert not worker.is_alive()


def test_a_thread_that_hangs_is_named_with_its_image(make_toy) -> None:
    samples = fatal(samples_of(make_toy(), {**CROP, "hang_seconds": 1}), "hangs")
    loader = TrainLoader(samples, 2, 0)
    epoch_of(loader, 0)
    try:
        with pytest.raises(LoaderError, match=r"s: the prefetch thread at image 't007'; its log"):
            epoch_of(loader, 1)
    finally:
        Fatal.release.set()
    other = RuntimeError("a loss that fails")
    assert loader.explain(other) is other


def test_leaving_early_stops_the_thread(make_toy) -> None:
    loader = TrainLoader(samples_of(make_toy(n=30), CROP), 1, 0)
    batches = loader.epoch(0)
    next(batches)
    assert "prefetch" in {thread.name for thread in threading.enumerate()}
    batches.close()
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


def test_train_loader_reads_the_config(make_toy) -> None:
    samples = samples_of(make_toy(), CROP)
    loader = train_loader(
        samples, Train(**{**CROP, "batch_size": 6, "seed": 4}), torch.device("cpu")
    )
    assert (loader.batch_size, loader.sampler.seed, loader.pin_memory, len(loader)) == (
        6,
        4,
        False,
        2,
    )
    loader.close()


@pytest.mark.gpu
def test_batches_are_pinned_for_cuda(make_toy) -> None:
    samples = samples_of(make_toy(), CROP)
    for workers in (0, 1):
        loader = train_loader(samples, Train(**{**CROP, "workers": workers}), torch.device("cuda"))
        assert all(b["image"].is_pinned() for b in loader.epoch(0))
        loader.close()


def test_losses_are_of_the_cache_and_told_to_the_sampler_by_place(make_toy) -> None:
    samples = samples_of(make_toy(), MIXED, indices=[2, 5, 7])
    loader = TrainLoader(samples, 4, 0)
    losses = np.full(12, np.nan)
    losses[[2, 5, 7]] = [0.0, 0.0, 3.0]
    before = list(loader._plan)
    loader.heed(losses)
    assert loader.sampler.losses is not None and loader.sampler.losses.tolist() == [0.0, 0.0, 3.0]
    drawn = [samples.place[key[1] % 3] for batch in loader._plan for key in batch]
    assert drawn.count(2) > 0.7 * len(drawn) and list(loader._plan) != before
