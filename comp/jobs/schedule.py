"""Which job runs next, on which device, and what becomes of one that failed: no process, no clock, no torch.

The executors and `benchmarks/schedule.py` run this code, with real slots and with simulated ones. Jobs go
longest first, by what is known of them; what is known grows while they run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

DEVICE_ERRORS = ("CUDA error", "CUDNN_STATUS", "cuBLAS error", "CUBLAS_STATUS", "NCCL error")
CLOSED_AFTER = 2  # device errors in a row, then a GPU gets no more jobs


def fill_in(seconds: Sequence[float | None]) -> list[float]:
    """Estimates without gaps: an unknown one is the median of the known, 1 where none is known."""
    known = [s for s in seconds if s is not None and math.isfinite(s) and s > 0]
    usual = statistics.median(known) if known else 1.0
    return [
        s if s is not None and math.isfinite(s) and s > 0 else usual for s in seconds
    ]  # a job that is all but done is short, never of no length


def expect(prior: Sequence[float], groups: Sequence[str], seen: Mapping[int, float]) -> list[float]:
    """Seconds of every job, by estimates made before and by what jobs of its group really took.

    Args:
        prior: seconds, above 0, as estimated before the start.
        groups: of each job: jobs of a group (the folds of a model) are off by the same factor.
        seen: job -> seconds that it took, or will take by its pace so far.

    Returns:
        seconds a job: `seen` where there is one, else the estimate times its group's factor. A group of
        which nothing was seen has the geometric mean of the others' factors and of 1.
    """
    logs: dict[str, list[float]] = {}
    for job, seconds in seen.items():
        logs.setdefault(groups[job], []).append(math.log(max(seconds, 1e-9) / prior[job]))
    factors = {group: sum(each) / len(each) for group, each in logs.items()}
    usual = sum(factors.values()) / (len(factors) + 1)
    return [
        seen.get(job, seconds * math.exp(factors.get(group, usual)))
        for job, (seconds, group) in enumerate(zip(prior, groups, strict=True))
    ]


def longest_first(seconds: Sequence[float]) -> list[int]:
    """Positions by falling seconds; equal ones keep their order."""
    return sorted(range(len(seconds)), key=lambda job: -seconds[job])


def share_out(seconds: Sequence[float], n: int) -> list[list[int]]:
    """Cut a list of jobs into `n` shares of about equal seconds: disjoint, together all, always the same.

    Returns:
        positions of each share's jobs, in the order of the list; a share may be empty.
    """
    shares: list[list[int]] = [[] for _ in range(n)]
    loads = [0.0] * n
    for job in longest_first(seconds):
        lightest = min(range(n), key=lambda share: (loads[share], share))
        shares[lightest].append(job)
        loads[lightest] += seconds[job]
    return [sorted(share) for share in shares]


def lighten(jobs: list[Any], number: int, event: Mapping[str, Any]) -> str:
    """Give a job fewer loader processes for its next attempt, where its end says that this may help.

    Returns:
        what was changed, to follow "tried once more".
    """
    make = getattr(jobs[number], "with_fewer_workers", None)
    lighter = make() if make is not None and event.get("fewer_workers") else None
    if lighter is None:
        return ""
    before, jobs[number] = jobs[number], lighter
    now, then = lighter.config.train.workers, before.config.train.workers
    return f" with {now or 'no'} loader process{'es' * (now > 1)} instead of {then}"


def is_device_error(event: Mapping[str, Any], device: str) -> bool:
    """True where a job's end says that its GPU, not the job, may be broken; lack of memory is the job's."""
    error = str(event.get("error", ""))
    if not device.startswith("cuda") or "out of memory" in error.lower():
        return False
    return any(text in error for text in DEVICE_ERRORS)


class Queue:
    """The jobs that wait, and what is known of those that run and have run.

    Args:
        groups: of each job, see `expect`.
        seconds: each job's estimate; None: not known; without any, jobs go in the order of the list.
        devices: of the slots; a device may stand there several times.
    """

    def __init__(
        self,
        groups: Sequence[str],
        seconds: Sequence[float | None] | None = None,
        devices: Sequence[str] = (),
    ) -> None:
        self.groups = list(groups)
        self.prior = fill_in([None] * len(self.groups) if seconds is None else seconds)
        self.waiting = list(range(len(self.groups)))
        self.open = list(dict.fromkeys(devices))
        self.seen: dict[int, float] = {}
        self._first: dict[
            int, int
        ] = {}  # running job -> epochs it had when it told of itself first
        self._errors: dict[str, int] = {}  # device -> device errors in a row
        self._barred: dict[int, str] = {}  # job -> the device that it failed on
        self._tries: dict[int, int] = {}  # job -> times it was put back

    def take(self, device: str) -> int | None:
        """The job to run now on a free slot of `device`, no longer waiting; None: none for this slot."""
        if device not in self.open:
            return None
        able = [job for job in self.waiting if self._barred.get(job) != device]
        if not able:
            return None
        seconds = expect(self.prior, self.groups, self.seen)
        job = max(able, key=lambda job: (seconds[job], -job))
        self.waiting.remove(job)
        return job

    def tell(self, job: int, event: Mapping[str, Any], elapsed: float) -> None:
        """Learn from what a running job says.

        Args:
            event: of type epoch: ``epoch`` of ``epochs`` are done; others tell nothing.
            elapsed: seconds since the job began.
        """
        if event.get("type") != "epoch" or elapsed <= 0:
            return
        first = self._first.setdefault(job, event["epoch"] - 1)
        share = (event["epoch"] - first) / max(1, event["epochs"] - first)
        self.seen[job] = elapsed / share

    def end(self, job: int, device: str, event: Mapping[str, Any], elapsed: float) -> str | None:
        """Take a job's end.

        Args:
            event: done; or failed, with ``again``: how many times a job that ends so is tried again.

        Returns:
            why the job waits again, in words; None: this is its end.
        """
        self._first.pop(job, None)
        if event["type"] == "done":
            self._errors.pop(device, None)
            self.seen[job] = elapsed
            return None
        self.seen.pop(job, None)
        if is_device_error(event, device):
            self._errors[device] = self._errors.get(device, 0) + 1
            if self._errors[device] >= CLOSED_AFTER and device in self.open:
                self.open.remove(device)
            elsewhere = any(other != device for other in self.open)
            if not elsewhere or job in self._tries:
                return None
            self._barred[job] = device
            return self._again(job, f"{event['error']}: tried once more on another device")
        if self._tries.get(job, 0) >= event.get("again", 0) or not self.open:
            return None
        return self._again(job, f"{event['error']}: tried once more")

    def _again(self, job: int, why: str) -> str:
        self._tries[job] = self._tries.get(job, 0) + 1
        self.waiting.append(job)
        return why

    def closed(self, device: str) -> bool:
        """True when a device gets no more jobs."""
        return device not in self.open

    def stranded(self) -> list[int]:
        """Jobs that wait for a device that no longer comes; they wait no more."""
        lost = [
            job
            for job in self.waiting
            if not any(self._barred.get(job) != device for device in self.open)
        ]
        self.waiting = [job for job in self.waiting if job not in lost]
        return lost
