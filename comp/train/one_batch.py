"""A few timed steps on one batch, and what is wrong with loss and weights after them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from comp.data.samples.loader import TrainLoader
from comp.data.samples.train import Sample
from comp.models.segmenter import Segmenter
from comp.models.step import synchronize
from comp.train.state import Loop

STEPS = 3  # timed, after one to warm up


class OneBatch:
    """A loader whose epochs end after their first batch."""

    def __init__(self, loader: TrainLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        """Yield one batch."""
        batches = self.loader.epoch(epoch, start)
        yield next(batches)
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def look_at_update(
    loop: Loop, before: dict[str, torch.Tensor], row: dict[str, Any], notes: list[str]
) -> list[str]:
    """What is wrong with loss, gradients and weights after the steps; what is odd goes to `notes`."""
    problems = [f"{k} is {v}" for k, v in row.items() if not math.isfinite(v)]
    now = dict(loop.segmenter.named_parameters())
    wrong = not_finite(loop.segmenter)
    problems += [f"{wrong} after the update"] if wrong else []
    learning = [k for k, p in now.items() if p.requires_grad]
    still = [k for k in learning if torch.equal(before[k], now[k].detach())]
    if learning and len(still) == len(learning):
        problems.append(
            "no weight moved: the gradients are zero or not finite in every step; "
            "try -o train.precision=fp32, another loss or a larger optim.lr"
        )
    elif still:
        notes.append(
            f"{len(still)} of {len(learning)} weight tensors do not learn, first {still[0]}"
        )
    return problems


def not_finite(segmenter: Segmenter) -> str:
    """Which weights are not finite, in words; "" where all are."""
    wrong = [k for k, p in segmenter.named_parameters() if not bool(torch.isfinite(p).all())]
    return f"{len(wrong)} weight tensors are not finite, first {wrong[0]}," if wrong else ""


def timed(
    step: Callable[[], None], device: torch.device, limit_seconds: float, began: float
) -> list[float]:
    """Seconds of each step; the first warms up and is not among them, unless the time is up by then."""
    seconds: list[float] = []
    for _ in range(STEPS + 1):
        synchronize(device)
        started = time.perf_counter()
        step()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
        if time.monotonic() - began > limit_seconds:
            break
    return seconds[1:] or seconds
