"""Processes named so that another process, later, knows whether they still live: pid, host, time of birth."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

TRACE_SECONDS = 1.0  # for faulthandler to write where a hung process stands


def describe_process(pid: int | None = None) -> dict[str, Any]:
    """Name a process of this machine (default: this one) so that `is_alive` knows it again."""
    pid = os.getpid() if pid is None else pid
    return {"pid": pid, "host": socket.gethostname(), "born": _stat(pid)[1]}


def describe_owner() -> dict[str, Any]:
    """Name the process that started this one as its worker; this one, when nobody did."""
    parent = parent_process()
    return describe_process(None if parent is None else parent.pid)


def is_alive(who: dict[str, Any]) -> bool | None:
    """Whether a process that `describe_process` named still runs; None: it is on another host."""
    if who.get("host") != socket.gethostname():
        return None
    pid = who.get("pid")
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's: there
        pass
    state, born = _stat(pid)
    return state not in ("Z", "X") and (born is None or who.get("born") in (None, born))


def _stat(pid: int) -> tuple[str, int | None]:
    """State letter and time of birth (ticks since boot) of a process; ("", None) where nobody tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        rest = text.rpartition(")")[2].split()
        return rest[0], int(rest[19])
    except (OSError, ValueError, IndexError):
        return "", None


def children_of(pid: int) -> list[int]:
    """The processes below `pid`, however deep; none where the system does not tell."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            rest = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(rest[1]), []).append(int(path.parent.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def hush_tracker() -> None:
    """Let multiprocessing not warn, at the very end, of semaphores that a killed worker left: they are freed."""
    quiet = "ignore:resource_tracker:UserWarning"
    if quiet not in sys.warnoptions:
        sys.warnoptions.append(quiet)  # the tracker's process is started with these


def kill_hung(pid: int) -> None:
    """Kill a worker that no longer answers, with its loader processes.

    First it is asked for its stack, which goes to the end of its log (see `worker.job_log`).
    """
    if hasattr(signal, "SIGUSR1"):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGUSR1)
            time.sleep(TRACE_SECONDS)
    below = children_of(pid)
    for each in (pid, *below):
        with contextlib.suppress(OSError):
            os.kill(each, getattr(signal, "SIGKILL", signal.SIGTERM))
