"""Executors: every job ends, failures are said in one line, one failure never stops the others."""

from pathlib import Path
from typing import Any

import pytest

from comp.files import Workspace
from comp.jobs.executors import EXECUTORS, describe_failures
from comp.jobs.local import say_exit
from comp.jobs.slots import Slot
from tests.jobs.toy import GreedyJob, ToyJob

SLOTS = [Slot(0, "cpu"), Slot(1, "cpu")]
HERE = ("local", "serial")  # `ray`: test_cluster.py


def jobs(tmp_path: Path, ends: list[str]) -> list[ToyJob]:
    return [ToyJob(tmp_path / f"job{n}", n, end) for n, end in enumerate(ends)]


@pytest.mark.parametrize("name", HERE)
def test_every_job_ends_and_failures_are_one_line(name: str, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def on_event(job: Any, event: dict[str, Any]) -> None:
        seen.append((job.label, event["type"]))

    todo = jobs(tmp_path, ["done", "data", "done", "bug", "done"])
    ends = EXECUTORS[name](todo, SLOTS, on_event)
    assert [e["type"] for e in ends] == ["done", "failed", "done", "failed", "done"]
    assert ends[1]["error"] == "image 'a' is unreadable" and not ends[1]["bug"]
    assert ends[1]["error_class"] == "DataError"
    assert ends[3]["error_class"] == "ZeroDivisionError"
    assert ends[3]["error"] == "ZeroDivisionError: one over nothing" and ends[3]["bug"]
    assert [e["result"]["number"] for e in ends if e["type"] == "done"] == [0, 2, 4]
    for job in todo:
        assert [kind for label, kind in seen if label == job.label][:2] == ["start", "note"]
    log = (tmp_path / "job3" / "log.txt").read_text()
    assert "Traceback" in log and ("job 3 runs on cpu" in log) == (name == "local")


def test_a_killed_worker_fails_its_job_only(tmp_path: Path) -> None:
    ends = EXECUTORS["local"](
        jobs(tmp_path, ["kill", "done", "exit", "done"]), SLOTS, lambda job, event: None
    )
    assert [e["type"] for e in ends] == ["failed", "done", "failed", "done"]
    assert "signal 9 SIGKILL (likely out of memory)" in ends[0]["error"]
    assert "exit code 7" in ends[2]["error"]


def test_a_cpu_slot_is_a_warm_process_of_one_thread(tmp_path: Path) -> None:
    ends = EXECUTORS["local"](jobs(tmp_path, ["done"] * 4), SLOTS[:1], lambda job, event: None)
    assert len({e["result"]["pid"] for e in ends}) == 1
    assert {e["result"]["threads"] for e in ends} == {"1"}


def test_exit_codes_are_put_in_words() -> None:
    assert say_exit(-11) == "killed by signal 11 SIGSEGV"
    assert say_exit(3) == "its process ended with exit code 3"


@pytest.mark.parametrize(
    ("kinds", "code"), [(["done", "data"], 1), (["disk", "data", "done"], 4), (["done"], None)]
)
@pytest.mark.parametrize("name", HERE)
def test_the_failures_of_jobs_are_one_error(
    name: str, kinds: list[str], code: int | None, tmp_path: Path
) -> None:
    todo = jobs(tmp_path, kinds)
    ends = EXECUTORS[name](todo, SLOTS, lambda job, event: None)
    error = describe_failures(Workspace(tmp_path, "toy"), todo, ends)
    if code is None:
        assert error is None
        return
    assert error is not None and error.exit_code == code
    assert f"toy/{kinds.index('data')}: image 'a' is unreadable (log: job" in str(error)
    assert str(error).startswith(f"{len(kinds) - 1} of {len(kinds)} jobs failed:\n")


def test_one_job_that_failed_is_one_job(tmp_path: Path) -> None:
    ends = [{"type": "failed", "error": "killed", "error_class": None, "bug": True}]
    error = describe_failures(Workspace(tmp_path, "toy"), jobs(tmp_path, ["kill"]), ends)
    assert error is not None and str(error).startswith("1 of 1 job failed:")


def test_a_job_killed_by_signal_9_is_tried_once_more(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []

    def on_event(job: Any, event: dict[str, Any]) -> None:
        said.append((job.label, event.get("text", event["type"])))

    ends = EXECUTORS["local"](jobs(tmp_path, ["once", "done"]), SLOTS, on_event)
    assert [e["type"] for e in ends] == ["done", "done"]
    told = [text for label, text in said if label == "toy/0"]
    again = "killed by signal 9 SIGKILL (likely out of memory): tried once more"
    assert told == ["start", "note 0", again, "start", "note 0", "done"]


@pytest.mark.parametrize(
    ("name", "end", "workers"),
    [("local", "kill", 3), ("local", "loader", 3), ("serial", "loader", 2)],
)
def test_where_memory_ran_out_it_is_tried_with_fewer_loader_processes(
    name: str, end: str, workers: int, tmp_path: Path
) -> None:
    said: list[str] = []
    job = GreedyJob(tmp_path / "job", 0, end, workers)
    ends = EXECUTORS[name]([job], SLOTS[:1], lambda job, e: said.append(e.get("text", "")))
    assert ends[0]["result"]["workers"] == 1
    why = "killed by signal 9 SIGKILL (likely out of memory)"
    why = why if end == "kill" else "loader worker 0 (pid 5) was killed"
    assert f"{why}: tried once more with 1 loader process instead of {workers}" in said


@pytest.mark.parametrize("name", HERE)
def test_fewer_loader_processes_are_tried_once(name: str, tmp_path: Path) -> None:
    job = GreedyJob(tmp_path / "job", 0, "loader", 8)
    ends = EXECUTORS[name]([job], SLOTS[:1], lambda job, event: None)
    assert ends[0]["type"] == "failed" and ends[0]["error"] == "loader worker 0 (pid 5) was killed"


def test_a_gpu_that_fails_twice_gets_no_more_jobs(tmp_path: Path) -> None:
    devices: dict[str, list[str]] = {}

    def on_event(job: Any, event: dict[str, Any]) -> None:
        if event["type"] == "start":
            devices.setdefault(job.label, []).append(event["device"])

    gpus = [Slot(0, "cuda:0"), Slot(1, "cuda:1")]
    todo = jobs(tmp_path, ["sick"] * 6)
    ends = EXECUTORS["local"](todo, gpus, on_event)
    assert {e["type"] for e in ends} == {"done"}
    used = [device for each in devices.values() for device in each]
    assert used.count("cuda:1") == 2 and used.count("cuda:0") == 6


def test_without_a_gpu_left_the_rest_fails_with_the_reason(tmp_path: Path) -> None:
    ends = EXECUTORS["local"](
        jobs(tmp_path, ["sick"] * 4), [Slot(0, "cuda:1")], lambda job, event: None
    )
    assert [e["type"] for e in ends] == ["failed"] * 4
    assert ends[1]["error"] == "RuntimeError: CUDA error: device-side assert triggered"
    assert ends[3]["error"].startswith("not begun: no GPU is left, each failed twice in a row")
    assert "device-side assert" in ends[3]["error"]


def test_the_longest_jobs_begin_first(tmp_path: Path) -> None:
    began: list[str] = []

    def on_event(job: Any, event: dict[str, Any]) -> None:
        if event["type"] == "start":
            began.append(job.label)

    EXECUTORS["local"](jobs(tmp_path, ["done"] * 3), SLOTS[:1], on_event, seconds=[1.0, None, 9.0])
    assert began == ["toy/2", "toy/1", "toy/0"]
