"""The process behind a slot: takes jobs one after another, tells what happens, dies with its parent.

Importing this module imports no torch: threads are set before that happens. A job is anything with a
`label`, a `folder` for its log, and `work(device, emit) -> result`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from comp.errors import CompError
from comp.files import known_os_error, no_follow
from comp.jobs.status import Reporter
from comp.train import stopping

LOG_BYTES = 4_000_000  # a longer log is put aside when an attempt begins; one older is kept
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def worker_main(connection: Connection, device: str) -> None:
    """Serve jobs from `connection` until it sends None.

    Sends dicts: events of the job as they come, then ``{"type": "done", "result": ...}`` or
    ``{"type": "failed", "error": one line, "error_class": its name, "bug": bool}``.
    """
    leave_to_parent(signal.SIGINT)
    if device == "cpu":
        for name in THREAD_VARIABLES:
            os.environ[name] = "1"
    die_with_parent()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return

        def send(event: dict[str, Any]) -> None:
            connection.send(event)
            log_event(event)

        with job_log(begin_log(log_path(job), device)):
            end = run_job(job, device, send)
        with contextlib.suppress(BrokenPipeError):
            connection.send(end)


def run_job(job: Any, device: str, send: Any) -> dict[str, Any]:
    """Run one job; an error becomes one line, and a traceback at the end of the job's log.

    What it is at is kept in its status file.
    """
    report = Reporter(job, device, send)
    try:
        end: dict[str, Any] = {"type": "done", "result": report.work()}
        report.end(end)
        return end
    except CompError as error:
        trace, kind = traceback.format_exc(), type(error).__name__
        end = {"type": "failed", "error": str(error), "error_class": kind, "bug": False}
        end |= getattr(error, "try_again", {})
    except Exception as error:
        trace = traceback.format_exc()
        known = known_os_error(error)
        kind = type(known or error).__name__
        said = f"{kind}: {error}".splitlines()[0] if known is None else str(known)
        end = {"type": "failed", "error": said, "error_class": kind, "bug": known is None}
    with (
        contextlib.suppress(OSError),
        open(log_path(job), "a", encoding="utf-8", opener=no_follow) as log,
    ):
        log.write(trace)
    report.end(end)
    return end


def log_path(job: Any) -> Path:
    """The log of a job."""
    path: Path = job.folder / "log.txt"
    with contextlib.suppress(OSError):  # a run that was moved away is not made again
        path.parent.mkdir(exist_ok=True)
    return path


def begin_log(path: Path, device: str) -> Path:
    """Put a long log aside as log.1.txt, and head the attempt that begins."""
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size > LOG_BYTES:
            os.replace(path, path.with_name("log.1.txt"))
        with open(path, "a", encoding="utf-8", opener=no_follow) as log:
            at = time.strftime("%Y-%m-%d %H:%M:%S")
            log.write(f"--- {at}  pid {os.getpid()} on {socket.gethostname()}, {device}\n")
    return path


def log_event(event: dict[str, Any]) -> None:
    """Print an event of the job whose log stdout is."""
    kind = event["type"]
    if kind in ("step", "value"):
        return
    numbers = {k: f"{v:.6g}" for k, v in event.items() if isinstance(v, float)}
    said = [f"{k} {v}" for k, v in numbers.items() if k not in ("left", "seconds")]
    place = f" {event['epoch']}/{event['epochs']}" if "epochs" in event else ""
    with contextlib.suppress(OSError, UnicodeError):
        print("  ".join([event.get("text", kind + place), *said]), flush=True)


@contextlib.contextmanager
def job_log(path: Path) -> Iterator[None]:
    """Send stdout and stderr, also of native code, to the end of `path` while the block runs.

    Where that cannot be written they are lost: why is said when the job writes something that counts.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    kept = os.dup(1), os.dup(2)
    try:
        file = open(path, "ab", buffering=0, opener=no_follow)  # noqa: SIM115 - closed below
    except OSError:
        file = open(os.devnull, "ab", buffering=0)  # noqa: SIM115
    with file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        faulthandler.enable()
        if hasattr(signal, "SIGUSR1"):  # asked by the parent where a job no longer moves
            faulthandler.register(signal.SIGUSR1)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def leave_to_parent(*more: signal.Signals) -> None:
    """Ignore signals that reach the whole group, as a closed terminal's do: the parent decides."""
    with contextlib.suppress(ValueError):  # not the main thread
        for number in (*stopping.ONLY_PARENT, *more):
            signal.signal(number, signal.SIG_IGN)


def die_with_parent() -> None:
    """End this process when the parent is gone, even by kill -9."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
