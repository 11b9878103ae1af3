"""Jobs that no longer move: neither a step nor an image for `train.hang_seconds` (faults: a hung loader
process, a deadlock, a stopped process). They are killed; a job goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from comp.errors import JobsFailedError
from comp.files import no_follow
from comp.jobs.pace import say_seconds
from comp.jobs.processes import children_of, kill_hung
from comp.jobs.status import note_end

LOOK_SECONDS = 1.0  # between two looks
START_SECONDS = 300.0  # at least, for imports, caches and loader processes before the first step
PAUSE_SECONDS = (
    30.0  # between two looks: this process itself was stopped (Ctrl-Z), and so were its jobs
)


def hang_seconds(job: Any) -> float | None:
    """How long a job may be silent; None: for ever."""
    limit: float | None = getattr(job, "hang_seconds", None)
    return limit


class Watchdog:
    """When each busy worker was last heard of.

    Args:
        clock: seconds that never jump.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, kill: Callable[[Any], None] = kill_hung
    ) -> None:
        self.clock, self.kill = clock, kill
        self.last: dict[int, tuple[float, str]] = {}  # slot -> when it was heard of, what it said
        self.moves: set[int] = set()  # slots whose job did its first step
        self.silenced: dict[int, str] = {}  # slot -> why its worker was killed
        self.looked = clock()

    def heard(self, slot: int, event: dict[str, Any]) -> None:
        """A worker told something."""
        said = self.last.get(slot, (0.0, ""))[1]
        self.last[slot] = (self.clock(), place_of(event) or said)
        if event["type"] in ("step", "epoch", "predict"):
            self.moves.add(slot)

    def why(self, slot: int) -> str | None:
        """Why the worker of a slot was killed, once; None: not by this watchdog."""
        self.last.pop(slot, None)
        self.moves.discard(slot)
        return self.silenced.pop(slot, None)

    def look(self, busy: dict[int, tuple[Any, Any]]) -> None:
        """Kill what has been silent for too long.

        Args:
            busy: slot -> its job, and what to kill: the pid of its process.
        """
        now = self.clock()
        away, self.looked = now - self.looked, now
        if away > PAUSE_SECONDS:
            self.last = {slot: (at + away, said) for slot, (at, said) in self.last.items()}
        for slot, (job, pid) in busy.items():
            limit = hang_seconds(job)
            at, said = self.last.setdefault(slot, (now, ""))
            if limit is not None and slot not in self.moves:
                limit = max(limit, START_SECONDS)
            if limit is None or slot in self.silenced or now - at < limit:
                continue
            self.silenced[slot] = (
                f"no progress for {say_seconds(now - at)} after {said or 'its start'}, so it was "
                "killed as hung; its log ends with where it stood (train.hang_seconds says how long to wait)"
            )
            self.kill(pid)


@contextlib.contextmanager
def guard(job: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Watch a job of this very process: where it hangs, its stacks go to its log and the process ends.

    A thread does it, so a job that holds the interpreter's lock for ever is not noticed.

    Yields:
        what to tell of each event.
    """

    def end(pid: int) -> None:
        path = job.folder / "log.txt"
        with (
            contextlib.suppress(OSError),
            open(path, "ab", buffering=0, opener=no_follow) as log,
        ):
            faulthandler.dump_traceback(log)
        why = str(dog.why(0))
        with contextlib.suppress(Exception):  # nobody reads it any more
            text = f"error: {job.label}: {why}; run the same command to go on from its checkpoint"
            print(text, file=sys.__stderr__, flush=True)
        note_end(job, {"type": "failed", "error": why})
        for each in children_of(pid):
            with contextlib.suppress(OSError):
                os.kill(each, getattr(signal, "SIGKILL", signal.SIGTERM))
        os._exit(JobsFailedError.exit_code)

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            dog.look({0: (job, os.getpid())})

    dog, over = Watchdog(kill=end), threading.Event()
    if hang_seconds(job) is not None:
        threading.Thread(target=watch, name="watchdog", daemon=True).start()
    try:
        yield lambda event: dog.heard(0, event)
    finally:
        over.set()


def place_of(event: dict[str, Any]) -> str:
    """Where a job is by what it said, in words; nothing where it does not tell."""
    if event["type"] == "step":
        epoch = f"epoch {event['epoch_now']} " if event.get("epoch_now") else ""
        nouns = {"validates": "validated image", "predicts": "predicted image"}
        noun = nouns.get(event["stage"], "step")
        return f"{epoch}{noun} {event['step']}/{event['steps']}"
    if event["type"] == "epoch":
        return f"epoch {event['epoch']}/{event['epochs']}"
    return {"start": "its start", "predict": "the training"}.get(event["type"], "")
