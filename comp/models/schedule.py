"""Sets every group's learning rate before each optimizer step: its own rate times one factor.

The factor's shapes are in `rates`. Resuming needs the number of steps done, and a plateau's memory.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from comp.config import Schedule as ScheduleConfig
from comp.errors import ConfigError
from comp.models.rates import SCHEDULES, Factor, Plateau, Restarts, Span
from comp.registry import unknown

__all__ = ["SCHEDULES", "Schedule", "build_schedule", "check_schedule"]


class Schedule:
    """Sets the learning rate of every group of an optimizer.

    Args:
        shape: factor after the warm-up, or the state of a plateau.
        warmup_steps: the rate climbs linearly to `optim.lr` over these.
        monitor: loss or metric; `greater_is_better` is the metric's direction.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        shape: Factor | Plateau,
        warmup_steps: float = 0.0,
        monitor: str = "loss",
        greater_is_better: bool = True,
    ) -> None:
        self.optimizer, self.shape, self.warmup_steps = optimizer, shape, warmup_steps
        self.monitor, self.greater_is_better = monitor, greater_is_better
        self.step = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._apply()

    def factor(self) -> float:
        """What every group's own rate is multiplied with for the next step."""
        warm = min(1.0, (self.step + 1) / self.warmup_steps) if self.warmup_steps > 0 else 1.0
        if isinstance(self.shape, Plateau):
            return warm * self.shape.scale
        if warm < 1.0:
            return warm * self.shape(0.0)
        return self.shape(max(0.0, self.step - self.warmup_steps))

    @property
    def lr(self) -> float:
        """The decoder's rate (the last group's) for the next step."""
        return float(self.optimizer.param_groups[-1]["lr"])

    @property
    def cycles_ended(self) -> int:
        """How many cycles of `restarts` are over; 0 for every other schedule."""
        if not isinstance(self.shape, Restarts):
            return 0
        return self.shape.ended(self.step - self.warmup_steps)

    def step_batch(self) -> None:
        """Call after every optimizer step."""
        self.step += 1
        self._apply()

    def step_epoch(self, val_loss: float | None, val_metric: float | None = None) -> None:
        """Call after every validation; only `plateau` listens."""
        if not isinstance(self.shape, Plateau):
            return
        value = val_loss if self.monitor == "loss" else val_metric
        if value is not None:
            self.shape.see(float(value), self.monitor == "metric" and self.greater_is_better)
            self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        state: dict[str, Any] = {"step": self.step}
        if isinstance(self.shape, Plateau):
            state |= {k: getattr(self.shape, k) for k in ("best", "bad", "cooling", "scale")}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; the optimizer's groups are set again."""
        self.step = int(state["step"])
        if isinstance(self.shape, Plateau):
            for key in ("best", "bad", "cooling", "scale"):
                setattr(self.shape, key, state[key])
        self._apply()

    def _apply(self) -> None:
        factor = self.factor()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


def build_schedule(
    schedule: ScheduleConfig,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    steps_per_epoch: int,
    greater_is_better: bool = True,
) -> Schedule:
    """Make the schedule of the config's `schedule` section.

    Args:
        steps_per_epoch: optimizer steps an epoch (batches / accumulate).
        greater_is_better: direction of the validation metric, for `monitor: metric`.

    Raises:
        ConfigError: unknown name or argument, or a value that makes no sense.
    """
    decoder = optimizer.param_groups[-1]
    lr = float(decoder.get("initial_lr", decoder["lr"]))
    problems = check_schedule(schedule, epochs=epochs, lr=lr)
    if problems:
        raise ConfigError(problems)
    warmup = schedule.warmup_epochs * steps_per_epoch
    span = Span(epochs * steps_per_epoch - warmup, steps_per_epoch, lr)
    shape = SCHEDULES[canonical(schedule.name)](span, **schedule.kwargs)
    return Schedule(optimizer, shape, warmup, schedule.monitor, greater_is_better)


def check_schedule(schedule: ScheduleConfig, *, epochs: int, lr: float) -> list[str]:
    """Every mistake of the `schedule` section, one line each."""
    name = canonical(schedule.name)
    if name not in SCHEDULES:
        return [
            f"schedule.name: {unknown(schedule.name, [*SCHEDULES, *ALIASES.values()], 'schedule')}"
        ]
    make = SCHEDULES[name]
    known = [k for k, p in inspect.signature(make).parameters.items() if p.kind is p.KEYWORD_ONLY]
    fields = [*known, *type(schedule).model_fields]
    problems = [
        f"schedule.{k}: {unknown(k, fields, 'argument of ' + name)}"
        for k in schedule.kwargs
        if k not in known
    ]
    if schedule.warmup_epochs and name == "onecycle":
        problems.append(
            "schedule.warmup_epochs: onecycle warms up by itself (pct_start); leave it 0"
        )
    elif schedule.warmup_epochs >= epochs:
        problems.append(
            f"schedule.warmup_epochs: {schedule.warmup_epochs} of {epochs} epochs leave nothing after them; "
            "for a short trial say -o schedule.warmup_epochs=0"
        )
    if not problems:
        try:
            make(Span(epochs * 10, 10, lr), **schedule.kwargs)
        except (ValueError, TypeError) as error:
            problems.append(f"schedule.{error}")
    return problems


def canonical(name: str) -> str:
    """The table's name of what the user wrote: ReduceLROnPlateau is plateau."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    return {alias.lower(): known for known, alias in ALIASES.items()}.get(plain, plain)


ALIASES = {  # torch's names
    "constant": "ConstantLR",
    "cosine": "CosineAnnealingLR",
    "restarts": "CosineAnnealingWarmRestarts",
    "poly": "PolynomialLR",
    "onecycle": "OneCycleLR",
    "step": "StepLR",
    "plateau": "ReduceLROnPlateau",
}
