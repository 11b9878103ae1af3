"""Executors: every job ends, failures are said in one line, one failure never stops the others."""

from pathlib import Path
from typing import Any

import pytest

from comp.jobs.executors import EXECUTORS, say_exit
from comp.jobs.slots import Slot
from tests.jobs.toy import ToyJob

SLOTS = [Slot(0, "cpu"), Slot(1, "cpu")]


def jobs(tmp_path: Path, ends: list[str]) -> list[ToyJob]:
    return [ToyJob(tmp_path / f"job{n}", n, end) for n, end in enumerate(ends)]


@pytest.mark.parametrize("name", sorted(EXECUTORS))
def test_every_job_ends_and_failures_are_one_line(name: str, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def on_event(job: Any, event: dict[str, Any]) -> None:
        seen.append((job.label, event["type"]))

    todo = jobs(tmp_path, ["done", "data", "done", "bug", "done"])
    ends = EXECUTORS[name](todo, SLOTS, on_event)
    assert [e["type"] for e in ends] == ["done", "failed", "done", "failed", "done"]
    assert ends[1]["error"] == "image 'a' is unreadable" and not ends[1]["bug"]
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
