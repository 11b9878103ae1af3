"""The process behind a slot: takes jobs one after another, tells what happens, dies with its parent.

Importing this module imports no torch: threads are set before that happens. A job is anything with a
`label`, a `folder` for its log, and `work(device, emit) -> result`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from comp.errors import CompError

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
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent decides
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
        with job_log(log_path(job)):
            end = run_job(job, device, connection.send)
        with contextlib.suppress(BrokenPipeError):
            connection.send(end)


def run_job(job: Any, device: str, send: Any) -> dict[str, Any]:
    """Run one job; an error becomes one line, and a traceback at the end of the job's log."""
    try:
        return {"type": "done", "result": job.work(device, send)}
    except CompError as error:
        trace, kind = traceback.format_exc(), type(error).__name__
        end = {"type": "failed", "error": str(error), "error_class": kind, "bug": False}
    except Exception as error:
        trace, kind = traceback.format_exc(), type(error).__name__
        said = f"{kind}: {error}".splitlines()[0]
        end = {"type": "failed", "error": said, "error_class": kind, "bug": True}
    with contextlib.suppress(OSError), open(log_path(job), "a", encoding="utf-8") as log:
        log.write(trace)
    return end


def log_path(job: Any) -> Path:
    """The log of a job."""
    path: Path = job.folder / "log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def job_log(path: Path) -> Iterator[None]:
    """Send stdout and stderr, also of native code, to the end of `path` while the block runs."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(path, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        faulthandler.enable()
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def die_with_parent() -> None:
    """End this process when the parent is gone, even by kill -9."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
