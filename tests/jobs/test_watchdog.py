"""A job that no longer moves is killed and tried once more; one that moves slowly is let alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comp.config import ModelConfig, config_hash, resolved
from comp.jobs.executors import EXECUTORS
from comp.jobs.processes import children_of, describe_process, is_alive
from comp.jobs.slots import Slot
from comp.jobs.status import read_status
from comp.jobs.watchdog import Watchdog
from tests.jobs.toy_hanging import HangingJob
from tests.processes import REPOSITORY

JOB = SimpleNamespace(hang_seconds=10)
STEP = {"type": "step", "stage": "trains", "epoch_now": 3, "step": 7, "steps": 40}


def test_silence_is_measured_from_the_last_word() -> None:
    now = [0.0]
    killed: list[int] = []
    dog = Watchdog(lambda: now[0], killed.append)
    for now[0] in range(0, 60, 9):  # slow, but it moves
        dog.heard(0, STEP)
        dog.look({0: (JOB, 11)})
    assert not killed
    for now[0] in range(60, 75):
        dog.look({0: (JOB, 11), 1: (SimpleNamespace(), 12)})  # the other may be silent for ever
    assert killed == [11]
    why = dog.why(0)
    assert why is not None and "no progress for 10 s after epoch 3 step 7/40" in why
    assert "train.hang_seconds" in why and dog.why(0) is None
    for now[0] in range(75, 370):  # its next attempt begins anew, and a start takes its time
        dog.look({0: (JOB, 13)})
    assert killed == [11]
    for now[0] in range(370, 380):
        dog.look({0: (JOB, 13)})
    assert killed == [11, 13] and "after its start" in str(dog.why(0))


def test_a_pause_of_this_process_counts_for_nobody() -> None:
    now = 0.0
    killed: list[int] = []
    dog = Watchdog(lambda: now, killed.append)
    dog.heard(0, STEP)
    dog.look({0: (JOB, 11)})
    now = 5000.0  # Ctrl-Z, and fg the next day
    dog.look({0: (JOB, 11)})
    assert not killed
    now += 9
    dog.look({0: (JOB, 11)})
    assert not killed
    now += 2
    dog.look({0: (JOB, 11)})
    assert killed == [11]


@pytest.mark.parametrize("how", ["loader", "gil", "stopped"])
def test_a_hung_job_is_killed_and_goes_on(how: str, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    ends = EXECUTORS["local"](
        [HangingJob(tmp_path / "hung", how), HangingJob(tmp_path / "fine", "no")],
        [Slot(0, "cpu"), Slot(1, "cpu")],
        lambda job, event: seen.append({"label": job.label, **event}),
    )
    assert [end["type"] for end in ends] == ["done", "done"]
    assert ends[0]["result"]["attempt"] == 2 and ends[1]["result"]["attempt"] == 1
    notes = " ".join(e.get("text", "") for e in seen if e["label"] == "toy/hung")
    assert "no progress for" in notes and "after epoch 1 step 3/9" in notes
    if how != "stopped":  # a stopped process writes nothing
        log = (tmp_path / "hung" / "log.txt").read_text()
        assert "most recent call first" in log and "toy_hanging.py" in log
    if how == "loader":
        child = int((tmp_path / "hung" / "child").read_text())
        assert not is_alive({**describe_process(child), "born": None})


def test_a_job_that_hangs_again_has_failed(tmp_path: Path) -> None:
    ends = EXECUTORS["local"](
        [HangingJob(tmp_path / "hung", "always")], [Slot(0, "cpu")], lambda job, event: None
    )
    assert ends[0]["type"] == "failed" and "killed as hung" in ends[0]["error"]


SERIAL = """
import sys
from pathlib import Path
from comp.jobs.executors import run_serial
from comp.jobs.slots import Slot
from tests.jobs.toy_hanging import HangingJob
from tests.jobs.toy import ToyJob
folder = Path(sys.argv[1])
jobs = [ToyJob(folder / "first", 0), HangingJob(folder / "hung", "loader"), ToyJob(folder / "last", 2)]
run_serial(jobs, [Slot(0, "cpu")], lambda job, event: print(job.label, event["type"], flush=True))
"""


def run_serially(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SERIAL, str(folder)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def test_serial_ends_itself_where_its_job_hangs(tmp_path: Path) -> None:
    job = tmp_path / "hung"
    job.mkdir()
    ended = run_serially(tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "toy/0 done" in ended.stdout and "toy/2" not in ended.stdout
    assert ended.stderr.startswith("error: toy/hung: no progress for")
    assert "Traceback" not in ended.stderr
    assert "after epoch 1 step 3/9" in ended.stderr
    assert ended.stderr.endswith("run the same command to go on from its checkpoint\n")
    log = (job / "log.txt").read_text()
    assert "most recent call first" in log and "toy_hanging.py" in log
    status = read_status(job)
    assert status is not None and status["state"] == "failed" and "hung" in status["error"]
    child = {**describe_process(int((job / "child").read_text())), "born": None}
    deadline = time.monotonic() + 10  # killed with it, but by the kernel's leave
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)
    again = run_serially(tmp_path)
    assert again.returncode == 0 and "toy/2 done" in again.stdout


def test_processes_are_known_again() -> None:
    here = describe_process()
    assert is_alive(here) is True
    assert is_alive({**here, "born": 1}) is False  # its number was given to another
    assert is_alive({**here, "host": "elsewhere"}) is None
    assert is_alive({**here, "pid": 2**22 + 1}) is False
    assert children_of(2**22 + 1) == []


def test_the_limit_is_no_part_of_what_a_run_is() -> None:
    plain = ModelConfig()
    other = ModelConfig.model_validate({"train": {"hang_seconds": 60}})
    assert other.train.hang_seconds == 60 and plain.train.hang_seconds == 1800
    assert config_hash(plain) == config_hash(other)
    assert "hang_seconds" not in resolved(other)["train"]
