"""The status file of a job: what it says while the job runs and after its end, and what costs it nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comp.errors import DataError, DiskError, StoppedError
from comp.files import read_json
from comp.jobs import status
from comp.jobs.executors import EXECUTORS
from comp.jobs.slots import Slot
from comp.jobs.status import announce, end_orphans, note_end, read_status, write_status
from comp.jobs.worker import LOG_BYTES, begin_log, run_job
from comp.progress import beat
from tests.jobs.toy import ToyJob
from tests.processes import REPOSITORY, run_python


class Job:
    """A job that does what it is told."""

    label = "net/fold0"
    competition = SimpleNamespace(metric_name="iou")

    def __init__(self, folder: Path, act: Any) -> None:
        self.folder, self.act = folder, act

    def work(self, device: str, emit: Any) -> dict[str, Any]:
        self.act(emit)
        return {"score": 0.75, "seconds": 4.0}


def test_the_file_follows_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "WRITE_SECONDS", 0)
    monkeypatch.setattr(status, "WRITE_SHARE", 0)
    monkeypatch.setattr(status, "TELL_SECONDS", 0)
    seen: list[dict[str, Any]] = []

    def act(emit: Any) -> None:
        assert read_json(tmp_path / "status.json")["stage"] == "starts"
        beat("steps", 3, 10, epoch=1, epochs=2, samples=24)
        said = read_json(tmp_path / "status.json")
        assert (said["stage"], said["step"], said["steps"]) == ("trains", 3, 10)
        assert (said["epoch_now"], said["epochs"], said["device"]) == (1, 2, "cuda:1")
        beat("images", 1, 5)
        assert read_json(tmp_path / "status.json")["stage"] == "validates"
        emit({"type": "epoch", "epoch": 1, "epochs": 2, "val_iou": 0.5, "seconds": 8.0})
        said = read_json(tmp_path / "status.json")
        assert said["value"] == 0.5 and 7 < said["left"] <= 8
        emit({"type": "predict"})
        beat("images", 2, 5)
        assert read_json(tmp_path / "status.json")["stage"] == "predicts"

    end = run_job(Job(tmp_path, act), "cuda:1", seen.append)
    assert end == {"type": "done", "result": {"score": 0.75, "seconds": 4.0}}
    said = read_json(tmp_path / "status.json")
    assert said["state"] == "done" and said["score"] == 0.75 and said["left"] is None
    kinds = [event["type"] for event in seen]
    assert kinds == ["step", "step", "epoch", "predict", "step"]
    beat("steps", 1, 1)  # nobody listens any more


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DataError("image 'a' is unreadable"), "failed"),
        (ZeroDivisionError("one over nothing"), "failed"),
        (StoppedError("stopped by SIGTERM", 15), "stopped"),
    ],
)
def test_how_it_ended_and_why(error: Exception, state: str, tmp_path: Path) -> None:
    def act(emit: Any) -> None:
        raise error

    run_job(Job(tmp_path, act), "cpu", lambda event: None)
    said = read_json(tmp_path / "status.json")
    assert said["state"] == state and str(error) in said["error"]


def test_a_status_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: Any) -> Path:
        raise DiskError("disk full")

    monkeypatch.setattr(status, "write_json", full)
    assert run_job(Job(tmp_path, lambda emit: None), "cpu", lambda e: None)["type"] == "done"
    monkeypatch.undo()
    write_status(tmp_path, {"value": float("nan")})  # no number of JSON
    assert read_status(tmp_path) is None
    write_status(tmp_path / "taken away", {})
    assert not (tmp_path / "taken away").exists()
    for text in ("", "{", "[]", '{"process": 3}'):
        (tmp_path / "status.json").write_text(text)
        assert read_status(tmp_path) is None


def test_a_slow_disk_is_written_to_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written = [0.0], []

    def slow(folder: Path, said: dict[str, Any]) -> None:
        clock[0] += 0.5
        written.append(clock[0])

    monkeypatch.setattr(status.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(status, "write_status", slow)
    report = status.Reporter(Job(tmp_path, None), "cpu", lambda event: None)
    for _ in range(1000):
        clock[0] += 1
        report.hear("steps", 1, 2, {})
    assert 9 <= len(written) <= 11


def test_steps_are_told_now_and_then(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    run_job(
        Job(tmp_path, lambda emit: [beat("steps", n, 10**5) for n in range(10**5)]),
        "cpu",
        seen.append,
    )
    assert 1 <= len(seen) < 50


def test_jobs_wait_and_those_that_were_killed_have_failed(tmp_path: Path) -> None:
    todo = [ToyJob(tmp_path / "killed", 0, "kill"), ToyJob(tmp_path / "fine", 1)]
    announce(todo)
    assert read_status(todo[0].folder)["state"] == "waiting"  # type: ignore[index]
    from comp.jobs.watch import Watch

    watch = Watch("iou", 2, live=False)

    def on_event(job: Any, event: dict[str, Any]) -> None:
        if event["type"] != "done":  # a toy has no score
            watch(job, event)

    EXECUTORS["local"](todo, [Slot(0, "cpu")], on_event)
    said = [read_status(job.folder) or {} for job in todo]
    assert [s["state"] for s in said] == ["failed", "done"]
    assert "signal 9" in said[0]["error"]
    note_end(todo[1], {"type": "failed", "error": "later"})  # it could say its end by itself
    assert read_status(todo[1].folder)["state"] == "done"  # type: ignore[index]


def test_a_long_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    begin_log(log, "cpu")
    begin_log(log, "cuda:0")
    said = log.read_text().splitlines()
    assert len(said) == 2 and said[0].startswith("--- ") and said[1].endswith(", cuda:0")
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    begin_log(log, "cpu")
    assert log.read_text().count("\n") == 1
    assert (tmp_path / "log.1.txt").stat().st_size == LOG_BYTES + 1


def test_a_crash_of_native_code_leaves_its_stack_in_the_log(tmp_path: Path) -> None:
    ends = EXECUTORS["local"](
        [ToyJob(tmp_path / "job", 0, "segv")], [Slot(0, "cpu")], lambda job, event: None
    )
    assert "SIGSEGV" in ends[0]["error"]
    log = (tmp_path / "job" / "log.txt").read_text()
    assert "Segmentation fault" in log and "toy.py" in log and "note 0" in log


ORPHAN = """
import json, subprocess, sys
from pathlib import Path
from comp.jobs.processes import describe_process
from comp.jobs.status import write_status
child = subprocess.Popen([sys.executable, "-c", {code!r}])
folder = Path({folder!r})
folder.mkdir(parents=True)
said = {{"job": "net/fold0", "state": "running", "process": describe_process(child.pid)}}
write_status(folder, said | {{"owner": describe_process()}})
"""


@pytest.mark.parametrize(("seconds", "killed"), [(0.5, True), (20.0, False)])
def test_a_worker_that_outlived_its_parent_is_waited_for_or_killed(
    seconds: float, killed: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "fold0"
    sleep = 60 if killed else 2
    code = f"import os, time; [os.close(n) for n in (1, 2)]; time.sleep({sleep})"
    run_python(ORPHAN.format(code=code, folder=str(folder)), cwd=REPOSITORY)
    pid = json.loads((folder / "status.json").read_text())["process"]["pid"]
    said: list[str] = []
    end_orphans(tmp_path, said.append, seconds)
    assert f"net/fold0: pid {pid} of an earlier start still runs, its parent is gone" in said[0]
    assert [line for line in said[1:] if "was killed" in line] == (said[1:] if killed else [])
    end_orphans(tmp_path, said.append)
    assert len(said) == 1 + killed
