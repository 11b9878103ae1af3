"""When the state of a training is saved: now and then, and when a signal asks to stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from comp.errors import CompError, StoppedError
from comp.store.generations import Position
from comp.train import stopping
from comp.train.checkpoint import write_checkpoint

if TYPE_CHECKING:
    from comp.train.state import Loop

SHARE = 0.02  # of the time that saving may take: a slow disk is written to less often


class Saver:
    """Saves the checkpoints of a loop, and knows which is the last.

    Args:
        every: seconds from one to the next, more where saving takes long; 0: after every step.
    """

    def __init__(self, loop: Loop, every: float) -> None:
        self.loop, self.every = loop, every
        self.spent = loop.seconds
        self.started = self.written = time.monotonic()
        self.cost = 0.0
        self.last: Position | None = loop.position if loop.resumed else None
        loop.after_batch = self.after_batch

    def seconds(self) -> float:
        """Spent on the training so far, by earlier attempts too."""
        return self.spent + time.monotonic() - self.started

    def after_batch(self, updated: bool) -> None:
        """Save where it is time to, and stop where that is asked for.

        Args:
            updated: the optimizer made its step; in between only a stop saves, gradients and all.
        """
        stopping.check()
        if updated:
            self.now_and_then()

    def now_and_then(self) -> None:
        """Save where the last time is long ago; never a state whose loss is no number."""
        wait = max(self.every, self.cost / SHARE) if self.every else 0.0
        if time.monotonic() - self.written < wait:
            return
        loss = self.loop.within.sums.get("loss")
        if loss is None or bool(torch.isfinite(loss)):
            self.save()

    def save(self) -> None:
        """Commit the state as it is now, unless that was done."""
        loop, began = self.loop, time.monotonic()
        loop.seconds = self.seconds()
        at = loop.position
        if at == self.last:
            return
        write_checkpoint(loop.job.folder, loop.state(), at.epochs, at.step)
        self.last, self.written = at, time.monotonic()
        self.cost = self.written - began

    def stop(self, error: StoppedError) -> StoppedError:
        """Save, and return what to raise: what was saved, and how to go on."""
        label, began = self.loop.job.label, time.monotonic()
        reason = str(error).partition(":")[0]
        try:
            self.save()
        except CompError as failed:
            text = f"{reason}, and the step could not be saved: {failed}"
            return StoppedError(f"{label}: {text}", error.exit_code - 128)
        seconds = stopping.seconds_since() or time.monotonic() - began
        self.loop.say(f"stop requested: saved {self.loop.position} in {seconds:.1f} s")
        return StoppedError(
            f"{label}: {reason}: saved {self.loop.position} in {seconds:.1f} s; "
            "run the same command to go on",
            error.exit_code - 128,
        )
