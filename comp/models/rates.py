"""The shapes of a learning rate over time: what can stand under `schedule.name`.

All but `plateau` are functions of the number of optimizer steps done. A shape is a factor of the
learning rate; `min_lr` is in units of `optim.lr`, so that groups with another rate keep their ratio.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Factor = Callable[
    [float], float
]  # number of steps done, 0 at the first -> factor of the learning rate


@dataclass(frozen=True)
class Span:
    """What a schedule is stretched over, after the warm-up.

    Args:
        steps: optimizer steps; may be a fraction.
        steps_per_epoch: optimizer steps an epoch.
        lr: `optim.lr`, the highest rate of all groups.
    """

    steps: float
    steps_per_epoch: int
    lr: float

    def share(self, step: float) -> float:
        """How much of the span is done, in [0, 1]."""
        return min(1.0, step / self.steps) if self.steps > 0 else 1.0


def constant(span: Span) -> Factor:
    """Always `optim.lr`."""
    return lambda step: 1.0


def cosine(span: Span, *, min_lr: float = 0.0) -> Factor:
    """Half a cosine from `optim.lr` down to `min_lr`."""
    floor = _floor(span, min_lr)
    return lambda step: floor + (1 - floor) * (1 + math.cos(math.pi * span.share(step))) / 2


@dataclass(frozen=True)
class Restarts:
    """Cosines one after the other.

    Args:
        ends: steps done when each cycle is over.
        floor: lowest factor.
        tops: the factor that each cycle begins with.
    """

    ends: tuple[float, ...]
    floor: float
    tops: tuple[float, ...]

    def ended(self, step: float) -> int:
        """How many cycles are over after `step` steps."""
        return bisect_right(self.ends, step + 1e-6)  # ends may be fractions, summed in floats

    def __call__(self, step: float) -> float:
        n = min(self.ended(step), len(self.ends) - 1)
        start = self.ends[n - 1] if n else 0.0
        length = self.ends[n] - start
        share = min(1.0, max(0.0, step - start) / length) if length > 0 else 1.0
        return _cosine_between(self.tops[n], self.floor, share)


def restarts(
    span: Span, *, cycles: int = 3, growth: float = 1.0, decay: float = 1.0, min_lr: float = 0.0
) -> Restarts:
    """`cycles` cosines from `optim.lr` down to `min_lr`, each `growth` times as long as the one before.

    Each begins `decay` times as high as the one before. SGDR, Loshchilov and Hutter 2017, but the number
    of cycles is given and fills the training. train.snapshots takes the weights at their ends.
    """
    if isinstance(cycles, bool) or not isinstance(cycles, int) or cycles < 1:
        raise ValueError(f"cycles: expected a whole number >= 1, got {cycles!r}")
    _positive("growth", growth)
    if not 0 < decay <= 1:
        raise ValueError(f"decay: expected a number in (0, 1], got {decay!r}")
    floor = _floor(span, min_lr)
    lengths = [growth**n for n in range(cycles)]
    steps = max(0.0, span.steps)
    ends = [steps * sum(lengths[: n + 1]) / sum(lengths) for n in range(cycles - 1)]
    tops = tuple(max(floor, decay**n) for n in range(cycles))
    return Restarts((*ends, steps), floor, tops)


def poly(span: Span, *, power: float = 0.9, min_lr: float = 0.0) -> Factor:
    """(1 - share done) ** power, from `optim.lr` down to `min_lr`."""
    floor = _floor(span, min_lr)
    _positive("power", power)
    return lambda step: floor + (1 - floor) * (1 - span.share(step)) ** power


def onecycle(
    span: Span, *, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> Factor:
    """Up from optim.lr / div_factor to `optim.lr` and down to a final_div_factor of the start, in cosines.

    The rates are those of torch's OneCycleLR; momentum is left alone. It warms up by itself.
    """
    if not 0 < pct_start < 1:
        raise ValueError(f"pct_start: expected a number between 0 and 1, got {pct_start!r}")
    _positive("div_factor", div_factor)
    _positive("final_div_factor", final_div_factor)
    low, end = 1 / div_factor, 1 / div_factor / final_div_factor
    last = span.steps - 1  # torch counts to the last step, not past it
    top = pct_start * span.steps - 1

    def factor(step: float) -> float:
        if top > 0 and step <= top:
            return _cosine_between(low, 1.0, step / top)
        return _cosine_between(1.0, end, min(1.0, (step - top) / (last - top)))

    return factor


def step(span: Span, *, epochs: float | list[float] = 10, gamma: float = 0.1) -> Factor:
    """Times `gamma` every `epochs` epochs, or at each of a list of epochs (counted after the warm-up)."""
    _positive("gamma", gamma)
    if not isinstance(epochs, list | tuple):
        _positive("epochs", epochs)
        return lambda s: gamma ** math.floor(s / span.steps_per_epoch / epochs)
    at = sorted(float(e) for e in epochs)
    return lambda s: gamma ** sum(s / span.steps_per_epoch >= e for e in at)


@dataclass
class Plateau:
    """Times `factor` when the monitored value has not improved for more than `patience` validations.

    The rules are those of torch's ReduceLROnPlateau. A missing or NaN value never is an improvement.
    """

    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    floor: float
    best: float | None = None
    bad: int = 0
    cooling: int = 0
    scale: float = 1.0

    def see(self, value: float, greater_is_better: bool) -> None:
        """Take one validation's value."""
        value = -value if greater_is_better else value
        if self.best is None or value < self._goal():
            if not math.isnan(value):
                self.best, self.bad = value, 0
            else:
                self.bad += 1
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad > self.patience:
            self.scale = max(self.scale * self.factor, self.floor)
            self.cooling, self.bad = self.cooldown, 0

    def _goal(self) -> float:
        assert self.best is not None
        slack = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return self.best - slack


def plateau(
    span: Span,
    *,
    factor: float = 0.1,
    patience: int = 10,
    min_lr: float = 0.0,
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
) -> Plateau:
    """ReduceLROnPlateau on `schedule.monitor`: the validation loss or the validation metric."""
    if not 0 < factor < 1:
        raise ValueError(f"factor: expected a number between 0 and 1, got {factor!r}")
    if threshold_mode not in ("rel", "abs"):
        raise ValueError(f"threshold_mode: expected 'rel' or 'abs', got {threshold_mode!r}")
    for name, value in (("patience", patience), ("cooldown", cooldown), ("threshold", threshold)):
        if not value >= 0:
            raise ValueError(f"{name}: expected >= 0, got {value!r}")
    return Plateau(factor, patience, threshold, threshold_mode, cooldown, _floor(span, min_lr))


def _floor(span: Span, min_lr: float) -> float:
    if not 0 <= min_lr <= span.lr:
        raise ValueError(f"min_lr: expected a rate in [0, optim.lr = {span.lr:g}], got {min_lr!r}")
    return min_lr / span.lr


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: expected > 0, got {value!r}")


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, Callable[..., Any]] = {
    "constant": constant,
    "cosine": cosine,
    "restarts": restarts,
    "poly": poly,
    "onecycle": onecycle,
    "step": step,
    "plateau": plateau,
}
