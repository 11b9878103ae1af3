"""Jobs on the slots of this machine: one warm spawned process a slot, replaced after any failed job."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from comp.jobs.deferred import begin
from comp.jobs.processes import hush_tracker
from comp.jobs.schedule import Queue, lighten
from comp.jobs.slots import Slot
from comp.jobs.watchdog import Watchdog
from comp.jobs.worker import worker_main

STOP_SECONDS = 25.0  # for a job that was asked to stop to save its step


@dataclass
class _Worker:
    slot: Slot
    process: Any
    connection: Connection
    job: int | None = None
    since: float = 0.0  # when its job began


class LocalRun:
    """Who does what, and how each job ended.

    Args:
        groups: of each job, see `schedule.expect`.
        seconds: each job's estimate.
    """

    def __init__(
        self,
        jobs: Sequence[Any],
        groups: Sequence[str],
        slots: Sequence[Slot],
        on_event: Callable[[Any, dict[str, Any]], None],
        seconds: Sequence[float | None] | None,
    ) -> None:
        self.jobs, self.slots, self.on_event = list(jobs), slots, on_event
        self.queue = Queue(groups, seconds, [s.device for s in slots])
        self.ends: list[dict[str, Any] | None] = [None] * len(jobs)
        self.workers: dict[int, _Worker] = {}  # by slot
        self.watchdog = Watchdog()

    def hand_out(self) -> None:
        """Give every free slot a job, and a process where it has none that lives."""
        for slot in self.slots:
            worker = self.workers.get(slot.index)
            if worker is not None and worker.job is not None:
                continue
            number = self.take(slot)
            if number is None:
                continue
            if worker is None or not worker.process.is_alive():
                worker = self.workers[slot.index] = start_worker(slot)
            worker.job, worker.since = number, time.monotonic()
            self.tell(worker, {"type": "start", "device": slot.device})
            with contextlib.suppress(OSError):  # died just now: `listen` will see it
                worker.connection.send(self.jobs[number])

    def take(self, slot: Slot) -> int | None:
        """The job for a free slot, begun; those of which nothing is left to do end here."""
        while (number := self.queue.take(slot.device)) is not None:
            if (nothing := begin(self.jobs, number)) is None:
                return number
            self.on_event(self.jobs[number], nothing)
            self.ends[number] = nothing
        return None

    def listen(self, seconds: float | None = None) -> None:
        """Take what the workers say, for at most so many seconds; a dead one's job has failed."""
        busy = {w.connection: w for w in self.workers.values() if w.job is not None}
        for ready in wait(list(busy), seconds if busy else 0):
            worker = busy[ready]  # type: ignore[index]
            try:
                event = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                event = died(worker.process.exitcode, self.watchdog.why(worker.slot.index))
            self.tell(worker, event)

    def tell(self, worker: _Worker, event: dict[str, Any]) -> None:
        """Hand on an event of a worker's job; its end may put the job back into the queue."""
        number, slot = worker.job, worker.slot
        assert number is not None
        elapsed = time.monotonic() - worker.since
        self.watchdog.heard(slot.index, event)
        if event["type"] not in ("done", "failed"):
            self.queue.tell(number, event, elapsed)
            self.on_event(self.jobs[number], event)
            return
        again = self.queue.end(number, slot.device, event, elapsed)
        worker.job = None
        self.watchdog.why(slot.index)
        if again is not None:
            again += lighten(self.jobs, number, event)
            self.on_event(self.jobs[number], {"type": "note", "text": again})
        else:
            self.on_event(self.jobs[number], event)
            self.ends[number] = event
        if event["type"] == "failed":
            end_worker(worker)  # memory or a device context may be spoilt
            if self.queue.closed(slot.device):
                self.give_up(event["error"])

    def give_up(self, why: str) -> None:
        """End the jobs for which no device is left."""
        for number in self.queue.stranded():
            text = f"not begun: no GPU is left, each failed twice in a row, the last with: {why}"
            end = {"type": "failed", "error": text, "error_class": None, "bug": False}
            self.on_event(self.jobs[number], end)
            self.ends[number] = end

    def look(self) -> None:
        """Kill jobs that no longer move."""
        self.watchdog.look(
            {
                w.slot.index: (self.jobs[w.job], w.process.pid)
                for w in self.workers.values()
                if w.job is not None
            }
        )

    def close(self) -> None:
        """End all workers; a busy one is asked to stop and given time to save its step."""
        workers = list(self.workers.values())
        for worker in workers:
            if worker.job is not None:
                worker.process.terminate()
                with contextlib.suppress(OSError):
                    worker.connection.send(None)  # to be read after the job
        deadline = time.monotonic() + STOP_SECONDS
        while any(w.job is not None for w in workers) and time.monotonic() < deadline:
            busy = {w.connection: w for w in workers if w.job is not None}
            for ready in wait(list(busy), 0.5):
                worker = busy[ready]  # type: ignore[index]
                assert worker.job is not None
                try:
                    event = worker.connection.recv()
                except (EOFError, OSError):
                    event = {"type": "failed"}
                if event["type"] in ("done", "failed"):
                    worker.job = None
                else:
                    with contextlib.suppress(
                        Exception
                    ):  # a table that is gone must not keep workers
                        self.on_event(self.jobs[worker.job], event)
        for worker in workers:
            end_worker(worker)


def died(exit_code: int | None, why: str | None = None) -> dict[str, Any]:
    """The last event of a job whose process is gone: tried again once where it may be no fault of the job.

    Args:
        why: it was killed, in words; None: not by us.
    """
    killed = exit_code == -signal.SIGKILL
    return {
        "type": "failed",
        "error": why or say_exit(exit_code),
        "error_class": None,
        "bug": True,
        "again": int(killed or why is not None),
        "fewer_workers": killed and why is None,
    }


def say_exit(code: int | None) -> str:
    """Put a process's exit code in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        likely = " (likely out of memory)" if -code == signal.SIGKILL else ""
        return f"killed by signal {-code} {name}{likely}"
    return f"its process ended with exit code {code}"


def start_worker(slot: Slot) -> _Worker:
    """Start the process of a slot."""
    hush_tracker()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=worker_main, args=(theirs, slot.device), name=f"slot{slot.index}"
    )
    process.start()
    theirs.close()
    return _Worker(slot, process, ours)


def end_worker(worker: _Worker) -> None:
    """End a worker: asked when idle, terminated when busy, killed when deaf; an ended one is left alone."""
    if worker.connection.closed:
        return
    with contextlib.suppress(OSError, ValueError):
        if worker.job is None:
            worker.connection.send(None)
        else:
            worker.process.terminate()
    worker.process.join(5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.connection.close()
