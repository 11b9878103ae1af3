"""Executors: `serial` runs the jobs in this process, `local` in one warm spawned process a slot.

One failed job never stops the others; its slot gets a new process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from comp.errors import CompError, DiskError, JobsFailedError, StoppedError
from comp.files import Workspace
from comp.jobs.slots import Slot
from comp.jobs.worker import run_job, worker_main

OnEvent = Callable[[Any, dict[str, Any]], None]


class Executor(Protocol):
    """Runs every job and returns, a job, its last event: `done` or `failed`."""

    def __call__(
        self, jobs: Sequence[Any], slots: Sequence[Slot], on_event: OnEvent
    ) -> list[dict[str, Any]]: ...


def run_serial(
    jobs: Sequence[Any], slots: Sequence[Slot], on_event: OnEvent
) -> list[dict[str, Any]]:
    """Run the jobs one after another in this process, on the first slot's device."""
    ends = []
    for job in jobs:
        on_event(job, {"type": "start", "device": slots[0].device})
        end = run_job(job, slots[0].device, lambda event, job=job: on_event(job, event))
        on_event(job, end)
        ends.append(end)
    return ends


@dataclass
class _Worker:
    slot: Slot
    process: Any
    connection: Connection
    job: int | None = None


def run_local(
    jobs: Sequence[Any], slots: Sequence[Slot], on_event: OnEvent
) -> list[dict[str, Any]]:
    """Run the jobs in order, each on the first free slot.

    Raises:
        StoppedError: on SIGINT or SIGTERM, after the workers were ended.
    """
    ends: list[dict[str, Any] | None] = [None] * len(jobs)
    waiting = list(range(len(jobs)))
    workers: list[_Worker] = []
    with on_stop_signals(stop):
        try:
            for slot in slots[: len(jobs)]:
                workers.append(start_worker(slot))
            while any(end is None for end in ends):
                for n, worker in enumerate(workers):
                    if worker.job is None and waiting:
                        if not worker.process.is_alive():
                            workers[n] = worker = start_worker(worker.slot)
                        worker.job = waiting.pop(0)
                        on_event(jobs[worker.job], {"type": "start", "device": worker.slot.device})
                        with contextlib.suppress(OSError):  # died just now: `listen` will see it
                            worker.connection.send(jobs[worker.job])
                listen(workers, jobs, ends, on_event)
        finally:
            with on_stop_signals(signal.SIG_IGN):  # a second Ctrl-C must not leave workers behind
                for worker in workers:
                    if worker.job is not None:
                        worker.process.terminate()
                for worker in workers:
                    end_worker(worker)
    return [end for end in ends if end is not None]


def listen(
    workers: list[_Worker],
    jobs: Sequence[Any],
    ends: list[dict[str, Any] | None],
    on_event: OnEvent,
) -> None:
    """Take what the workers said since last time; a dead one's job has failed."""
    busy = {w.connection: w for w in workers if w.job is not None}
    for ready in wait(list(busy)):
        worker = busy[ready]  # type: ignore[index]
        assert worker.job is not None
        try:
            event = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            said = say_exit(worker.process.exitcode)
            event = {"type": "failed", "error": said, "error_class": None, "bug": True}
        on_event(jobs[worker.job], event)
        if event["type"] in ("done", "failed"):
            ends[worker.job], worker.job = event, None
            if event["type"] == "failed":
                end_worker(worker)  # memory or a device context may be spoilt


def describe_failures(
    workspace: Workspace, jobs: Sequence[Any], ends: Sequence[dict[str, Any]]
) -> CompError | None:
    """The error that names every job that failed, of the kind that gives the exit code; None without any."""
    failed = [(job, end) for job, end in zip(jobs, ends, strict=True) if end["type"] == "failed"]
    if not failed:
        return None
    lines = [
        f"{job.label}: {end['error']} (log: {workspace.relative(job.folder / 'log.txt')})"
        for job, end in failed
    ]
    text = f"{len(failed)} of {len(jobs)} job{'s' * (len(jobs) != 1)} failed:\n  " + "\n  ".join(
        lines
    )
    full = any(end.get("error_class") == DiskError.__name__ for _, end in failed)
    return DiskError(text) if full else JobsFailedError(text)


def say_exit(code: int | None) -> str:
    """Put a process's exit code in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        likely = " (likely out of memory)" if -code == signal.SIGKILL else ""
        return f"killed by signal {-code} {name}{likely}"
    return f"its process ended with exit code {code}"


def start_worker(slot: Slot) -> _Worker:
    """Start the process of a slot."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=worker_main, args=(theirs, slot.device), name=f"slot{slot.index}"
    )
    process.start()
    theirs.close()
    return _Worker(slot, process, ours)


def end_worker(worker: _Worker) -> None:
    """End a worker: asked when idle, terminated when busy, killed when deaf."""
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


def stop(number: int, frame: Any) -> None:
    """Signal handler: say what is kept and how to go on."""
    raise StoppedError(
        f"stopped by {signal.Signals(number).name}: finished folds are kept, the others go on "
        "from their last checkpoint (at most a minute and an epoch are lost); "
        "run the same command to go on",
        number,
    )


@contextlib.contextmanager
def on_stop_signals(handler: Any) -> Iterator[None]:
    """Answer SIGINT and SIGTERM with `handler` while the block runs (main thread only)."""
    try:
        kept = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)


EXECUTORS: dict[str, Executor] = {"serial": run_serial, "local": run_local}
