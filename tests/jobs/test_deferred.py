"""Deferred jobs are begun when a slot is free and not earlier; ticks tell the parent that time passes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from comp.errors import StoppedError
from comp.jobs.deferred import begin
from comp.jobs.executors import EXECUTORS
from comp.jobs.slots import Slot
from tests.jobs.toy import Later, ToyJob

EVERYWHERE = ("serial", "local", pytest.param("ray", marks=pytest.mark.ray))
ONE = [Slot(0, "cpu")]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_each_begins_after_the_end_of_the_one_before(name: str, tmp_path: Path) -> None:
    begun: list[int] = []
    hows = ["job", "nothing", "refused", "job"]
    jobs = [Later(ToyJob(tmp_path / f"job{n}", n), begun, how) for n, how in enumerate(hows)]
    seen: list[tuple[str, str, int]] = []

    def on_event(job: Any, event: dict[str, Any]) -> None:
        seen.append((job.label, event["type"], len(begun)))

    ends = EXECUTORS[name](jobs, ONE, on_event)
    assert begun == [0, 1, 2, 3]
    assert [end["type"] for end in ends] == ["done", "done", "failed", "done"]
    assert [end["result"] and end["result"]["number"] for end in (ends[0], ends[3])] == [0, 3]
    assert ends[1] == {"type": "done", "result": None}
    assert ends[2]["error"] == "no parameters are left" and ends[2]["error_class"] == "DataError"
    assert seen == [
        *((("toy/0", kind, 1)) for kind in ("start", "note", "done")),
        ("later/1", "done", 2),
        ("later/2", "failed", 3),
        *((("toy/3", kind, 4)) for kind in ("start", "note", "done")),
    ]


def test_where_nothing_is_left_no_process_starts(tmp_path: Path) -> None:
    jobs = [Later(ToyJob(tmp_path / f"job{n}", n), [], "nothing") for n in range(50)]
    began = time.monotonic()
    ends = EXECUTORS["local"](jobs, ONE, lambda job, event: None)
    assert ends == [{"type": "done", "result": None}] * 50
    assert not any(tmp_path.iterdir()) and time.monotonic() - began < 0.5


def test_a_job_tried_again_is_not_begun_again(tmp_path: Path) -> None:
    begun: list[int] = []
    jobs = [
        Later(ToyJob(tmp_path / f"job{n}", n, end), begun) for n, end in enumerate(["once", "done"])
    ]
    ends = EXECUTORS["local"](jobs, ONE, lambda job, event: None)
    assert [end["type"] for end in ends] == ["done", "done"] and sorted(begun) == [0, 1]


def test_a_signal_while_one_begins_is_no_failed_job(tmp_path: Path) -> None:
    job = Later(ToyJob(tmp_path, 0), [])

    def stopped() -> None:
        raise StoppedError("stopped by SIGTERM", 15)

    job.begin = stopped  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        begin([job], 0)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_ticks_come_where_they_are_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comp.jobs.executors.LOOK_SECONDS", 0.01)
    for wanted in (False, True):
        seen: list[str] = []

        def on_event(job: Any, event: dict[str, Any], seen: list[str] = seen) -> None:
            assert (job is None) == (event == {"type": "tick"})
            seen.append(event["type"])

        jobs = [ToyJob(tmp_path / f"{wanted}{n}", n) for n in range(2)]
        EXECUTORS[name](jobs, ONE, on_event, ticks=wanted)
        assert ("tick" in seen) == wanted and seen.count("done") == 2
