"""Weights made of the weights of many steps or epochs: EMA, the best epochs' mean, snapshots, greedy soup.

What is remembered while training is `Averages`, and is saved with the rest of the loop; nothing here draws
a random number, so resuming stays exact. `comp.train.made` turns it into weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from comp.config import Train
from comp.models.segmenter import Segmenter

Weights = dict[str, torch.Tensor]


@dataclass
class Ema:
    """A moving average of every parameter over the optimizer steps, on the network's device.

    Step t (the first is 1) decays by min(decay, (1 + t) / (10 + t)), so that the random start is soon
    forgotten. Buffers are not averaged: BatchNorm's statistics belong to other weights.
    """

    decay: float
    updates: int = 0
    weights: Weights = field(default_factory=dict)

    def update(self, segmenter: Segmenter) -> None:
        """Take the weights in after an optimizer step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        names, parameters = zip(*segmenter.named_parameters(), strict=True)
        with torch.no_grad():  # all at once: on a GPU each alone costs its launch
            torch._foreach_lerp_([self.weights[n] for n in names], list(parameters), 1 - decay)

    def begin(self, segmenter: Segmenter) -> None:
        """Start from the network's weights."""
        self.updates = 0
        self.weights = {n: p.detach().clone() for n, p in segmenter.named_parameters()}

    def whole(self, segmenter: Segmenter) -> Weights:
        """A state of the network with these parameters and its own buffers."""
        mine = {id(p): self.weights[n] for n, p in segmenter.named_parameters()}
        tied = dict(segmenter.named_parameters(remove_duplicate=False))
        return {
            name: (mine[id(tied[name])] if name in tied else value).detach().clone()
            for name, value in segmenter.state_dict().items()
        }

    def state(self) -> dict[str, Any]:
        return {"updates": self.updates, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        for name, value in state["weights"].items():
            self.weights[name].copy_(value)


@dataclass
class Picked:
    """The weights of one epoch, on the CPU."""

    epoch: int
    value: float  # of the validation metric; NaN where none was looked at
    weights: Weights


@dataclass
class Top:
    """The epochs of best validation metric, best first; of equals the earlier one."""

    size: int
    greater_is_better: bool
    picked: list[Picked] = field(default_factory=list)

    def offer(self, value: float, epoch: int, copy: Callable[[], Weights]) -> None:
        """Keep an epoch if it is among the best; NaN never is."""
        if math.isnan(value):
            return
        sign = -1.0 if self.greater_is_better else 1.0
        place = sum(sign * p.value <= sign * value for p in self.picked)
        if place < self.size:
            self.picked.insert(place, Picked(epoch, value, copy()))
            del self.picked[self.size :]


@dataclass
class Snapshots:
    """The weights at the ends of the last cycles."""

    size: int
    picked: list[Picked] = field(default_factory=list)

    def take(self, epoch: int, weights: Weights) -> None:
        self.picked = [*self.picked, Picked(epoch, math.nan, weights)][-self.size :]


@dataclass
class Averages:
    """What a training remembers to make averaged weights of; None: not asked for."""

    ema: Ema | None = None
    top: Top | None = None
    snapshots: Snapshots | None = None

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        if self.ema is not None:
            state["ema"] = self.ema.state()
        for name, kept in (("top", self.top), ("snapshots", self.snapshots)):
            if kept is not None:
                state[name] = [[p.epoch, p.value, p.weights] for p in kept.picked]
        return state

    def load(self, state: dict[str, Any]) -> None:
        if self.ema is not None:
            self.ema.load(state["ema"])
        for name, kept in (("top", self.top), ("snapshots", self.snapshots)):
            if kept is not None:
                kept.picked = [Picked(*values) for values in state[name]]


def make_averages(train: Train, segmenter: Segmenter, greater_is_better: bool) -> Averages:
    """What `train.ema`, `average_top`, `soup` and `snapshots` ask to be remembered."""
    ema = None
    if train.ema is not None:
        ema = Ema(train.ema)
        ema.begin(segmenter)
    size = max(train.average_top or 0, train.soup or 0)
    return Averages(
        ema,
        Top(size, greater_is_better) if size else None,
        Snapshots(train.snapshots) if train.snapshots is not None else None,
    )


def mean_weights(parts: Sequence[Weights]) -> Weights:
    """The mean of the floating tensors, summed in float64 in the order given; of others the first's."""
    mean: Weights = {}
    for name, first in parts[0].items():
        if first.is_floating_point():
            total = first.to(torch.float64)
            for part in parts[1:]:
                total = total + part[name]
            mean[name] = (total / len(parts)).to(first.dtype)
        else:
            mean[name] = first.clone()
    return mean


@contextmanager
def wearing(segmenter: Segmenter, weights: Weights) -> Iterator[None]:
    """The network with other weights for a while; its own come back bit for bit."""
    own = {name: value.detach().clone() for name, value in segmenter.state_dict().items()}
    segmenter.load_state_dict(weights)
    try:
        yield
    finally:
        segmenter.load_state_dict(own)


def reestimate(
    segmenter: Segmenter, batches: Callable[[], Iterator[Any]], forward: Callable[[Any], Any]
) -> int:
    """Take BatchNorm's statistics anew: the plain mean over the statistics of each batch.

    All else is as in prediction (no dropout). What is frozen keeps its statistics; where all is, no batch
    is drawn. Izmailov et al. 2018, section 3.2.

    Args:
        batches: gives training batches when called.
        forward: sends one through the network.

    Returns:
        how many BatchNorm layers there were.
    """
    segmenter.train()
    norms = [
        m
        for m in segmenter.modules()
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
        and m.training
        and m.track_running_stats
    ]
    segmenter.eval()
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative mean
        norm.train()
    try:
        with torch.no_grad():
            for batch in batches():
                forward(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        segmenter.eval()
    return len(norms)


def greedy_soup(
    picked: Sequence[Picked],
    judge: Callable[[Weights], tuple[Weights, float]],
    greater_is_better: bool,
) -> tuple[list[Picked], Weights, float]:
    """Those of the epochs whose joining the mean does not worsen its score (Wortsman et al. 2022).

    Args:
        picked: best first; the first is always in.
        judge: weights -> the weights as they would be used, and their score.

    Returns:
        the epochs chosen, the weights of their mean, its score.
    """
    chosen = [picked[0]]
    weights, best = judge(
        picked[0].weights
    )  # new statistics alone can change a score: like with like
    for one in picked[1:]:
        tried, score = judge(mean_weights([p.weights for p in [*chosen, one]]))
        if score >= best if greater_is_better else score <= best:
            chosen, weights, best = [*chosen, one], tried, score
    return chosen, weights, best
