"""`--jobs i/n`: one share of the list of jobs, for the i-th of n processes that have a workspace in common.

Plain `comp cv` holds a run's lock alone. Shares hold it together, plan and report one at a time, and lock each
fold that they train.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from comp.errors import LockedError, UsageError, some
from comp.files import Workspace, lock
from comp.jobs.schedule import share_out
from comp.train.job import FoldJob

WAIT_SECONDS = 5.0  # for a lock; then who holds it is said
PLAN_SECONDS = (
    3600.0  # for another share that plans or reports: it may read and measure for minutes
)
LOCK = ".lock"
Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """Which part of the list: the `number`-th of `of`, from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def cut(self, items: Sequence[Item], seconds: Sequence[float]) -> list[Item]:
        """The items of this share, in the order of the list."""
        return [items[n] for n in share_out(seconds, self.of)[self.number - 1]]


def read_share(text: str) -> Share:
    """Read ``i/n``.

    Raises:
        UsageError: it is not of that form, or i is not one of 1 to n.
    """
    found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--jobs {text!r}: expected i/n with i from 1 to n, e.g. 1/4")
    return Share(int(found[1]), int(found[2]))


@contextlib.contextmanager
def planning(workspace: Workspace) -> Iterator[None]:
    """Hold the lock under which shares plan and report, one at a time; waiting is said."""
    path = workspace.runs / ".shares" / LOCK
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock(path, WAIT_SECONDS))
        except LockedError as error:
            print(f"waiting for another share: {str(error).partition(';')[0]}", flush=True)
            held.enter_context(lock(path, PLAN_SECONDS))
        yield


def lock_run(
    workspace: Workspace, name: str, held: contextlib.ExitStack, shared: bool = False
) -> None:
    """Hold the lock of a run until `held` is closed: alone, or together with other shares.

    Raises:
        LockedError: naming who holds it.
    """
    held.enter_context(lock(workspace.run(name) / LOCK, WAIT_SECONDS, shared=shared))


def nobody_else(workspace: Workspace, name: str) -> bool:
    """True when no other process has this run at the moment. To be called under `planning`."""
    try:
        with lock(workspace.run(name) / LOCK):
            return True
    except LockedError:
        return False


def lock_jobs(jobs: Sequence[FoldJob], held: contextlib.ExitStack) -> None:
    """Hold the lock of each fold until `held` is closed.

    Raises:
        LockedError: another process trains one of them, e.g. the same share was started twice.
    """
    for job in jobs:
        held.enter_context(lock(job.folder / LOCK, WAIT_SECONDS))


def say_missing(share: Share, reports: Mapping[str, dict[str, Any]], wanted: Sequence[int]) -> str:
    """What is not done of the whole list, after the jobs of a share.

    Args:
        reports: cv.json's value by run.
        wanted: the folds that were asked for.
    """
    missing = []
    for name, report in reports.items():
        done = {row["fold"] for row in report["folds"]}
        missing += [f"{name}/fold{fold}" for fold in wanted if fold not in done]
    if not missing:
        return f"share {share} is done, and so are all others"
    return f"share {share} is done; missing, of other shares: {some(missing)}"
