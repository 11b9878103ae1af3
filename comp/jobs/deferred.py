"""Jobs that are made only when a slot is free for them: what a trial is may depend on how others ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from comp.errors import CompError, StoppedError

TICK = {"type": "tick"}


class Deferred(Protocol):
    """Stands in the list of jobs for one that does not exist yet.

    Attributes:
        label: how logs name it until it begins.
        run: its group for the estimates, see `schedule.expect`.
    """

    @property
    def label(self) -> str: ...

    @property
    def run(self) -> str: ...

    def begin(self) -> Any | None:
        """Make the job, in the parent; called once. None: nothing is left to do.

        Raises:
            CompError: why there can be none; this is then how the job failed.
        """


def begin(jobs: list[Any], number: int) -> dict[str, Any] | None:
    """Put the job that a deferred one begins in its place; others stay.

    Returns:
        its end, where there is nothing to run: done without a result, or failed; None: it can run.
    """
    make = getattr(jobs[number], "begin", None)
    if make is None:
        return None
    try:
        job = make()
    except StoppedError:  # a signal that came just now
        raise
    except CompError as error:
        kind = type(error).__name__
        return {"type": "failed", "error": str(error), "error_class": kind, "bug": False}
    if job is None:
        return {"type": "done", "result": None}
    jobs[number] = job
    return None


class Ticks:
    """Tells `on_event` now and then that time passes, where that was asked for: (None, TICK)."""

    def __init__(
        self, on_event: Callable[[Any, dict[str, Any]], None], wanted: bool, seconds: float
    ) -> None:
        self.on_event, self.wanted, self.seconds = on_event, wanted, seconds
        self.last = -1e9

    def __call__(self) -> None:
        now = time.monotonic()
        if self.wanted and now - self.last >= self.seconds:
            self.last = now
            self.on_event(None, dict(TICK))
