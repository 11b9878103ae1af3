"""The status file of each job: what `comp status` reads from another shell, also after a kill -9.

Written whole or not at all, by the process that does the job; `log.txt` stands beside it. Nothing but
words for people depends on it: a status that cannot be written stops no training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from comp.errors import CompError, StoppedError
from comp.files import read_json, write_json
from comp.jobs.pace import Pace
from comp.jobs.processes import describe_owner, describe_process, is_alive, kill_hung
from comp.progress import listening

STATUS = "status.json"
WRITE_SECONDS = 5.0  # at most so often to disk
WRITE_SHARE = 200  # and no more than one part in so many of the time, on a slow disk
TELL_SECONDS = 0.5  # at most so often to the parent
LIVING = ("running", "waiting")
SILENT_SECONDS = 600.0  # a job on another host that wrote nothing for so long is not known to run
Send = Callable[[dict[str, Any]], None]


class Reporter:
    """One attempt at one job: hands its events on with the time that is left, and keeps its status file.

    Args:
        send: gets every event; a `step` event tells of progress inside an epoch or a prediction.
    """

    def __init__(self, job: Any, device: str, send: Send) -> None:
        self.job, self.send, self.pace = job, send, Pace()
        metric = getattr(getattr(job, "competition", None), "metric_name", None)
        self.said: dict[str, Any] = {
            "job": job.label,
            "state": "running",
            "stage": "starts",
            "device": device,
            "process": describe_process(),
            "owner": describe_owner(),
            "metric": metric,
            "started": time.time(),
        }
        self.written = self.told = -1e9
        self.rest = WRITE_SECONDS

    def work(self) -> dict[str, Any]:
        """Do the job and return its result; what it raises is the caller's to note."""
        self.write()
        with listening(self.hear):
            result: dict[str, Any] = self.job.work(self.said["device"], self.emit)
        return result

    def emit(self, event: dict[str, Any]) -> None:
        """Take an event of the job."""
        kind = event["type"]
        if kind == "epoch":
            self.pace.end_epoch(event["epoch"], event["epochs"], event.get("seconds"))
            event = {**event, "left": self.pace.left()}
            for key in ("epoch", "epochs", "images_per_second", "left"):
                self.said[key] = event.get(key)
            if (value := event.get(f"val_{self.said['metric']}")) is not None:
                self.said["value"] = value if value == value else None
            self.said |= {"stage": "trains", "step": None, "steps": None}
        elif kind == "predict":
            self.said |= {"stage": "predicts", "step": None, "steps": None, "left": None}
        elif kind == "note":
            self.said["note"] = event.get("text")
        self.send(event)
        self.write_now_and_then()

    def hear(self, stage: str, done: int, of: int, said: dict[str, int]) -> None:
        """Take a beat: told and written now and then."""
        now = time.monotonic()
        self.pace.step(stage, done, of, said, now)
        if now - self.told < TELL_SECONDS:
            return
        self.told = now
        if stage == "steps":
            named = "trains"
        else:
            named = "predicts" if self.said["stage"] == "predicts" else "validates"
        event = {"type": "step", "stage": named, "step": done, "steps": of}
        event |= {"left": self.pace.left()}
        if stage == "steps":
            event |= {"epochs": said.get("epochs"), "epoch_now": said.get("epoch")}
            if (speed := self.pace.speed()) is not None:
                event["images_per_second"] = speed
        self.said |= {k: v for k, v in event.items() if k != "type"}
        self.send(event)
        self.write_now_and_then()

    def end(self, event: dict[str, Any]) -> None:
        """Note how it ended."""
        state = event["type"]
        if event.get("error_class") == StoppedError.__name__:
            state = "stopped"
        ended = {"state": state, "left": None, "ended": time.time()}
        if "error" in event:
            ended["error"] = event["error"]
        result = event.get("result")
        if isinstance(result, dict):
            ended |= {k: result.get(k) for k in ("score", "seconds")}
        self.said |= ended
        self.write()

    def write_now_and_then(self) -> None:
        if time.monotonic() - self.written >= self.rest:
            self.write()

    def write(self) -> None:
        began = time.monotonic()
        write_status(self.job.folder, self.said)
        self.written = time.monotonic()
        self.rest = max(WRITE_SECONDS, WRITE_SHARE * (self.written - began))


def write_status(folder: Path, said: dict[str, Any]) -> None:
    """Write a job's status; its folder is not made again when somebody took it away."""
    try:
        if folder.is_dir():
            write_json(folder / STATUS, {**said, "updated": time.time()})
    except StoppedError:  # a signal that came just now
        raise
    except (
        CompError,
        OSError,
        ValueError,
    ):  # a full disk, a number that is none: only words are lost
        return


def read_status(folder: Path) -> dict[str, Any] | None:
    """A job's status; None where there is none that can be read."""
    try:
        said = read_json(folder / STATUS)
    except CompError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("process"), dict) else None


def judge(said: dict[str, Any] | None, done: bool) -> str:
    """The state of a job: one of STATES of `comp status`.

    Args:
        said: its status file.
        done: its result is there.
    """
    if said is None:
        return "done" if done else "not started"
    state, living = said.get("state"), is_alive(said["process"])
    if state in LIVING:
        if living is None and state == "running":
            silent = time.time() - float(said.get("updated", 0)) > SILENT_SECONDS
            return "silent" if silent else "running"
        if living is not False:
            return str(state)
        if done:
            return "done"
        return "killed" if state == "running" else "not started"
    if state in ("failed", "stopped"):
        return str(state)
    return "done" if done else "not started"


def announce(jobs: Iterable[Any]) -> None:
    """Say of every job that it waits for a slot of this process."""
    for job in jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
        said = {"job": job.label, "state": "waiting", "process": describe_process()}
        write_status(job.folder, said)


def note_end(job: Any, event: dict[str, Any]) -> None:
    """Note the end of a job whose process could not: it was killed."""
    said = read_status(job.folder)
    if said is not None and said.get("state") in ("running", "waiting"):
        ended = {"state": event["type"], "error": event.get("error"), "left": None}
        write_status(job.folder, {**said, **ended, "ended": time.time()})


def end_orphans(
    folder: Path, say: Callable[[str], None], seconds: float = 10.0, jobs: str = "fold*"
) -> None:
    """Wait for jobs of a run whose workers outlived a killed `comp cv`, then kill them: one writer a job.

    Args:
        folder: of the run.
        say: told of each.
        seconds: that they are given to notice by themselves that their parent is gone.
        jobs: pattern of the folders in it that are looked at.
    """
    for path in sorted(folder.glob(f"{jobs}/{STATUS}")):
        said = read_status(path.parent)
        if said is None or said.get("state") != "running":
            continue
        process, owner = said["process"], said.get("owner") or said["process"]
        if process == owner or is_alive(owner) is not False or not is_alive(process):
            continue
        pid, label = int(process["pid"]), said.get("job", path.parent.name)
        say(
            f"{label}: pid {pid} of an earlier start still runs, its parent is gone: waiting for its end"
        )
        deadline = time.monotonic() + seconds
        while is_alive(process) and time.monotonic() < deadline:
            time.sleep(0.1)
        if is_alive(process):
            kill_hung(pid)
            while is_alive(process):
                time.sleep(0.05)
            say(f"{label}: pid {pid} did not end by itself and was killed")
