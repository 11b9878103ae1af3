"""How fast a job goes and how long it still needs; and how long all jobs need on their slots."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Sequence


class Pace:
    """Seconds that are left of one job, by what its last epochs and steps took."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=5)  # seconds of the last epochs
        self.done = self.epochs = 0  # of epochs
        self.ended = time.monotonic()  # when the last epoch ended
        self.stage: tuple[str, int] | None = None  # what is counted, and of which epoch
        self.first = self.last = (0.0, 0, 0)  # clock, steps and samples: at its start, and now
        self.of = 0

    def end_epoch(self, epoch: int, epochs: int, seconds: float | None) -> None:
        """An epoch is over that took `seconds` with its validation (None: since the last one)."""
        now = time.monotonic()
        self.recent.append(now - self.ended if seconds is None else seconds)
        self.done, self.epochs, self.ended, self.stage = epoch, epochs, now, None

    def step(self, stage: str, done: int, of: int, said: dict[str, int], now: float) -> None:
        """A step or an image is done."""
        place = (stage, said.get("epoch", 0))
        self.last = (now, done, said.get("samples", 0))
        self.of = of
        if place != self.stage or done < self.first[1]:
            self.stage, self.first = place, self.last
            if stage == "steps" and not self.recent:
                self.ended = now
        if stage == "steps":
            self.done, self.epochs = said.get("epoch", 1) - 1, said.get("epochs", 0)

    def speed(self) -> float | None:
        """Images a second in this epoch so far."""
        seconds = self.last[0] - self.first[0]
        return round((self.last[2] - self.first[2]) / seconds, 2) if seconds > 0 else None

    def each(self) -> float | None:
        """Seconds a step of what is counted now."""
        steps = self.last[1] - self.first[1]
        return (self.last[0] - self.first[0]) / steps if steps > 0 else None

    def left(self) -> float | None:
        """Seconds that are left: of all epochs, or of the prediction after them; None: nobody knows yet."""
        if self.epochs and self.done >= self.epochs:
            if self.stage is None or self.stage[0] != "images" or self.each() is None:
                return None
            return round((self.of - self.last[1]) * (self.each() or 0), 1)
        training = self.stage is not None and self.stage[0] == "steps"
        if self.recent:
            epoch = sum(self.recent) / len(self.recent)
        elif training and (each := self.each()) is not None:
            epoch = each * self.of
        else:
            return None
        within = min(epoch, time.monotonic() - self.ended)
        return round(max(0.0, epoch * (self.epochs - self.done) - within), 1)


def left_of_all(running: Sequence[float], waiting: Sequence[float], slots: int) -> float:
    """Seconds until the last job ends, each waiting one taken by the first slot that is free.

    Args:
        running: seconds left of each running job.
        waiting: seconds that each waiting job will take, in their order.
        slots: jobs at once.
    """
    free = sorted(running, reverse=True)[: max(1, slots)]
    free += [0.0] * (max(1, slots) - len(free))
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def say_seconds(seconds: float | None) -> str:
    """A duration in few letters: ``48 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    return (
        _two(whole, 3600, "h", 60, "min") if whole < 86400 else _two(whole, 86400, "d", 3600, "h")
    )


def _two(whole: int, size: int, name: str, small: int, few: str) -> str:
    rest = whole % size // small
    return f"{whole // size} {name}" + (f" {rest} {few}" if rest else "")
