"""Executors: `serial` runs the jobs in this process, `local` in one warm spawned process a slot, `ray` on a cluster.

One failed job never stops the others; its slot gets a new process. Which job is next, and which is tried
again, `comp.jobs.schedule` says.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from comp.errors import CompError, DiskError, JobsFailedError, StoppedError
from comp.files import Workspace
from comp.jobs.deferred import Deferred as Deferred
from comp.jobs.deferred import Ticks, begin
from comp.jobs.local import STOP_SECONDS, LocalRun
from comp.jobs.schedule import lighten
from comp.jobs.slots import Slot
from comp.jobs.watchdog import LOOK_SECONDS, guard
from comp.jobs.worker import run_job
from comp.train import stopping

OnEvent = Callable[[Any, dict[str, Any]], None]


class Executor(Protocol):
    """Runs every job and returns, a job, its last event: `done` or `failed`.

    Args:
        jobs: a `Deferred` one is begun when a slot is free for it; from then on `on_event` is told of the
            job that it began.
        seconds: each job's estimate, None where unknown; without any, jobs begin in their order.
        address: of a cluster, for executors that have one.
        n_slots: jobs at once that were asked for; None: as many as there is room for.
        ticks: tell ``on_event(None, {"type": "tick"})`` about every LOOK_SECONDS (serial: between jobs).
    """

    def __call__(
        self,
        jobs: Sequence[Any],
        slots: Sequence[Slot],
        on_event: OnEvent,
        *,
        seconds: Sequence[float | None] | None = None,
        address: str | None = None,
        n_slots: int | None = None,
        ticks: bool = False,
    ) -> list[dict[str, Any]]: ...


def run_serial(
    jobs: Sequence[Any],
    slots: Sequence[Slot],
    on_event: OnEvent,
    *,
    seconds: Sequence[float | None] | None = None,
    address: str | None = None,
    n_slots: int | None = None,
    ticks: bool = False,
) -> list[dict[str, Any]]:
    """Run the jobs one after another in this process, in their order, on the first slot's device."""
    todo = list(jobs)
    ends: list[dict[str, Any]] = []
    tick = Ticks(on_event, ticks, 0.0)
    with stopping.listening():
        for number in range(len(todo)):
            tick()
            nothing = begin(todo, number)
            job = todo[number]
            if nothing is not None:
                on_event(job, nothing)
                ends.append(nothing)
                continue
            end = attempt(job, slots[0].device, on_event)
            if end.get("again") and stopping.asked() is None:
                again = f"{end['error']}: tried once more{lighten(todo, number, end)}"
                job = todo[number]
                on_event(job, {"type": "note", "text": again})
                end = attempt(job, slots[0].device, on_event)
            on_event(job, end)
            ends.append(end)
            if (asked := stopping.asked()) is not None and end["type"] == "failed":
                raise StoppedError(str(end["error"]), asked)
            stopping.check()
    return ends


def attempt(job: Any, device: str, on_event: OnEvent) -> dict[str, Any]:
    """Do a job in this very process, and return its last event."""
    on_event(job, {"type": "start", "device": device})
    with guard(job) as heard:

        def send(event: dict[str, Any]) -> None:
            heard(event)
            on_event(job, event)

        return run_job(job, device, send)


def run_local(
    jobs: Sequence[Any],
    slots: Sequence[Slot],
    on_event: OnEvent,
    *,
    seconds: Sequence[float | None] | None = None,
    address: str | None = None,
    n_slots: int | None = None,
    ticks: bool = False,
) -> list[dict[str, Any]]:
    """Run the jobs, the longest first, each on the first free slot.

    Raises:
        StoppedError: on a signal that asks to stop, after the workers were ended.
    """
    run = LocalRun(jobs, [group_of(job) for job in jobs], slots, on_event, seconds)
    tick = Ticks(on_event, ticks, LOOK_SECONDS)
    with on_stop_signals(stop):
        try:
            while any(end is None for end in run.ends):
                run.hand_out()
                run.listen(LOOK_SECONDS)
                run.look()
                tick()
        finally:
            with on_stop_signals(signal.SIG_IGN):  # a second Ctrl-C must not leave workers behind
                run.close()
    return [end for end in run.ends if end is not None]


def run_ray(
    jobs: Sequence[Any],
    slots: Sequence[Slot],
    on_event: OnEvent,
    *,
    seconds: Sequence[float | None] | None = None,
    address: str | None = None,
    n_slots: int | None = None,
    ticks: bool = False,
) -> list[dict[str, Any]]:
    """Run the jobs as tasks of Ray, the longest first; on the kind of device that the slots are.

    Args:
        address: of the cluster; None: Ray is started here, on these slots, and ended afterwards.

    Raises:
        UsageError: Ray is not installed, nothing answers, or the cluster lacks such devices.
        StoppedError: on a signal that asks to stop.
    """
    from comp.jobs.cluster import RayRun, make_room, start_ray

    end_ray = start_ray(address, slots)
    try:
        import ray

        gpu = slots[0].device != "cpu"
        room = make_room(gpu, ray.cluster_resources(), n_slots if address else len(slots))
        run = RayRun(jobs, [group_of(job) for job in jobs], room, on_event, seconds)
        tick = Ticks(on_event, ticks, LOOK_SECONDS)
        with on_stop_signals(stop):
            try:
                while any(end is None for end in run.ends):
                    run.hand_out()
                    run.listen()
                    run.look()
                    tick()
            finally:
                with on_stop_signals(signal.SIG_IGN):
                    run.close(STOP_SECONDS)
    finally:
        end_ray()
    return [end for end in run.ends if end is not None]


def group_of(job: Any) -> str:
    """Jobs of one group take about equally long: the folds of a run."""
    return str(getattr(job, "run", job.label))


def describe_failures(
    workspace: Workspace, jobs: Sequence[Any], ends: Sequence[dict[str, Any]]
) -> CompError | None:
    """The error that names every job that failed, of the kind that gives the exit code; None without any."""
    failed = [(job, end) for job, end in zip(jobs, ends, strict=True) if end["type"] == "failed"]
    if not failed:
        return None
    lines = []
    for job, end in failed:
        folder = getattr(job, "folder", None)  # one that never began has none
        log = "" if folder is None else f" (log: {workspace.relative(folder / 'log.txt')})"
        lines.append(f"{job.label}: {end['error']}{log}")
    text = f"{len(failed)} of {len(jobs)} job{'s' * (len(jobs) != 1)} failed:\n  " + "\n  ".join(
        lines
    )
    full = any(end.get("error_class") == DiskError.__name__ for _, end in failed)
    return DiskError(text) if full else JobsFailedError(text)


def stop(number: int, frame: Any) -> None:
    """Signal handler: say what is kept and how to go on."""
    raise StoppedError(
        f"stopped by {signal.Signals(number).name}: finished folds are kept, the others go on "
        "from the step that they saved; "
        "run the same command to go on",
        number,
    )


@contextlib.contextmanager
def on_stop_signals(handler: Any) -> Iterator[None]:
    """Answer signals that ask to stop with `handler` while the block runs (main thread only)."""
    try:
        kept = {n: signal.signal(n, handler) for n in stopping.heeded()}
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)


EXECUTORS: dict[str, Executor] = {"serial": run_serial, "local": run_local, "ray": run_ray}
