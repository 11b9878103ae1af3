"""The executor `ray`: one task a job on a Ray cluster, or on a Ray that is started here for the run.

Every node must see the workspace at the same path and have `comp` installed. Ray places the jobs and
counts their devices; which job is next, and which is tried again, is said here as for `local`.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from comp.errors import CompError, DataError, UsageError
from comp.files import lock
from comp.jobs.deferred import begin
from comp.jobs.processes import kill_hung
from comp.jobs.schedule import Queue, lighten
from comp.jobs.slots import Slot
from comp.jobs.watchdog import Watchdog
from comp.jobs.worker import begin_log, job_log, leave_to_parent, log_path, run_job

ANYWHERE = "ray"  # the one device of the queue: Ray chooses the real ones
LISTEN_SECONDS = 0.2
KILL_SECONDS = 30.0  # for a task that kills another one
WRITER_SECONDS = 60.0  # a task whose node was lost may hold its job's lock a while
OF_A_NODE, OF_A_WORKER = 3, 1  # times that a job is tried again whose node or worker was lost


@dataclass(frozen=True)
class Room:
    """How many jobs run at once, and what each of them takes."""

    at_once: int
    num_cpus: float
    num_gpus: float

    @property
    def device(self) -> str:
        """As a task sees it: of GPUs only its own."""
        return "cuda:0" if self.num_gpus else "cpu"


def make_room(wants_gpu: bool, resources: dict[str, float], n_slots: int | None) -> Room:
    """What a cluster has room for.

    Args:
        resources: `ray.cluster_resources()`.
        n_slots: jobs at once; more than there are GPUs share them in equal parts. None: one a GPU or core.

    Raises:
        UsageError: no such device in the cluster; Ray would wait for one for ever.
    """
    kind = "GPU" if wants_gpu else "CPU"
    there = int(resources.get(kind, 0))
    if there < 1:
        raise UsageError(
            f"--executor ray: the cluster has no {kind}; use --device {'cpu' if wants_gpu else 'cuda'}"
        )
    if wants_gpu:
        sharing = math.ceil((n_slots or there) / there)
        return Room(n_slots or there, 0.0, 1 / sharing)
    return Room(min(n_slots or there, there), 1.0, 0.0)


class _Mailbox:
    """An actor: what the tasks tell, until the driver takes it."""

    def __init__(self) -> None:
        self.mail: list[tuple[int, dict[str, Any]]] = []

    def put(self, number: int, event: dict[str, Any]) -> None:
        self.mail.append((number, event))

    def take(self) -> list[tuple[int, dict[str, Any]]]:
        taken, self.mail = self.mail, []
        return taken


def work(job: Any, number: int, device: str, mailbox: Any) -> dict[str, Any]:
    """One task: do a job on this node, and return its last event."""
    import ray

    sent: list[Any] = []

    def send(event: dict[str, Any]) -> None:
        sent[:] = [mailbox.put.remote(number, event)]

    leave_to_parent()
    where = f"{device} on {socket.gethostname()}"
    process = (os.getpid(), ray.get_runtime_context().get_node_id())
    send({"type": "start", "device": where, "process": process})
    try:
        if not job.folder.parent.is_dir():
            raise DataError(
                f"no folder {job.folder.parent} on {socket.gethostname()}: every node of a Ray cluster "
                "must see the workspace at the same path"
            )
        # Never two writers: a node that Ray holds for lost may still be at it.
        with (
            lock(job.folder / ".ray" / ".lock", WRITER_SECONDS),
            job_log(begin_log(log_path(job), where)),
        ):
            end = run_job(job, device, send)
    except CompError as error:
        end = {"type": "failed", "error": str(error), "error_class": type(error).__name__}
        end["bug"] = False
    ray.get(sent)
    return end


def start_ray(address: str | None, slots: Sequence[Slot]) -> Callable[[], None]:
    """Connect to a cluster, or start Ray on this machine's slots; returns what ends it.

    Raises:
        UsageError: Ray is not installed, or nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError('--executor ray needs Ray: pip install "comp[ray]"') from None
    if ray.is_initialized():
        return lambda: None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except Exception as error:  # noqa: BLE001 - Ray raises what its transport raises
            said = " ".join(str(error).split())[:200]
            raise UsageError(
                f"--address {address}: no Ray cluster answers there: {said}"
            ) from error
        return ray.shutdown
    gpus = sorted({slot.device.partition(":")[2] for slot in slots if slot.device != "cpu"})
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    ray.init(
        address="local",
        num_cpus=len(slots),
        num_gpus=len(gpus),
        include_dashboard=False,
        **quiet,
    )
    return ray.shutdown


class RayRun:
    """Jobs on a cluster: who runs, and how each ended.

    Args:
        on_event: told what jobs say, as other executors tell it.
    """

    def __init__(
        self,
        jobs: Sequence[Any],
        groups: Sequence[str],
        room: Room,
        on_event: Callable[[Any, dict[str, Any]], None],
        seconds: Sequence[float | None] | None,
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.at_node = NodeAffinitySchedulingStrategy
        self.ray, self.jobs, self.room, self.on_event = ray, list(jobs), room, on_event
        self.queue = Queue(groups, seconds, [ANYWHERE])
        self.ends: list[dict[str, Any] | None] = [None] * len(jobs)
        self.running: dict[Any, int] = {}  # task -> job
        self.since: dict[int, float] = {}
        self.process: dict[int, tuple[int, str]] = {}  # running job -> its pid and node
        self.watchdog = Watchdog(kill=self.kill)
        here = self.at_node(ray.get_runtime_context().get_node_id(), soft=False)
        self.mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(_Mailbox).remote()
        self.task = ray.remote(
            num_cpus=room.num_cpus, num_gpus=room.num_gpus, max_retries=0, max_calls=0
        )(work)

    def hand_out(self) -> None:
        """Send jobs as long as there is room for them."""
        while len(self.running) < self.room.at_once:
            number = self.queue.take(ANYWHERE)
            if number is None:
                return
            if (nothing := begin(self.jobs, number)) is not None:
                self.on_event(self.jobs[number], nothing)
                self.ends[number] = nothing
                continue
            self.since[number] = time.monotonic()
            task = self.task.remote(self.jobs[number], number, self.room.device, self.mailbox)
            self.running[task] = number

    def listen(self) -> None:
        """Take what tasks told, then the ends of those that are over."""
        if not self.running:
            return
        over, _ = self.ray.wait(
            list(self.running), num_returns=len(self.running), timeout=LISTEN_SECONDS
        )
        for number, event in self.ray.get(self.mailbox.take.remote()):
            if number not in self.running.values():  # said late
                continue
            if event["type"] == "start":
                self.since[number] = time.monotonic()
                self.process[number] = event.pop("process")
            self.watchdog.heard(number, event)
            self.queue.tell(number, event, time.monotonic() - self.since[number])
            self.on_event(self.jobs[number], event)
        for task in over:
            number = self.running.pop(task)
            self.process.pop(number, None)
            end = self.end_of(task, self.watchdog.why(number))
            again = self.queue.end(number, ANYWHERE, end, time.monotonic() - self.since[number])
            if again is not None:
                again += lighten(self.jobs, number, end)
                self.on_event(self.jobs[number], {"type": "note", "text": again})
            else:
                self.on_event(self.jobs[number], end)
                self.ends[number] = end

    def look(self) -> None:
        """Kill jobs that have begun and no longer move."""
        tasks = {number: task for task, number in self.running.items() if number in self.process}
        self.watchdog.look(
            {n: (self.jobs[n], (task, *self.process[n])) for n, task in tasks.items()}
        )

    def kill(self, who: tuple[Any, int, str]) -> None:
        """Kill a task where it runs, with its loader processes and with its stack in its log.

        Ray's own way asks the worker itself, which one that is stopped does not hear; it comes after.
        """
        task, pid, node = who
        with contextlib.suppress(Exception):  # the node may be gone too
            there = self.at_node(node, soft=False)
            killed = self.ray.remote(num_cpus=0, max_retries=0)(kill_hung)
            self.ray.get(
                killed.options(scheduling_strategy=there).remote(pid), timeout=KILL_SECONDS
            )
        with contextlib.suppress(Exception):
            self.ray.cancel(task, force=True)

    def end_of(self, task: Any, why: str | None = None) -> dict[str, Any]:
        """The last event of a task's job; made here when the task is lost.

        Args:
            why: it was killed, in words; None: not by us.
        """
        try:
            end: dict[str, Any] = self.ray.get(task)
            return end
        except self.ray.exceptions.RayTaskError as error:  # of `work` itself: comp is not there
            said, again = f"its Ray task failed: {str(error).splitlines()[-1]}", 0
        except self.ray.exceptions.NodeDiedError:
            said, again = "its Ray node died", OF_A_NODE
        except self.ray.exceptions.RayError as error:
            name = type(error).__name__
            said, again = why or f"its Ray worker died ({name}; likely out of memory)", OF_A_WORKER
        end = {"type": "failed", "error": said, "error_class": None, "bug": True, "again": again}
        return end | {"fewer_workers": again == OF_A_WORKER and why is None}

    def close(self, seconds: float) -> None:
        """Ask what still runs to stop, and give it so long to save its step."""
        for task in self.running:
            with contextlib.suppress(Exception):
                self.ray.cancel(task, force=False)
        if self.running:
            with contextlib.suppress(Exception):
                self.ray.wait(list(self.running), num_returns=len(self.running), timeout=seconds)
