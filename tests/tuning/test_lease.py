"""Which leases are stale: a process is looked at here, a beat is watched elsewhere, no clocks are compared."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from comp.tuning.lease import STALE_SECONDS, Watch, make_lease


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Our own monotonic time, as the test sets it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def why(watch: Watch, lease: Any, beat: int = 0, token: str = "t") -> str | None:
    return watch.why_stale(token, lease, beat)


def test_a_living_process_of_this_machine_is_never_stale(clock: list[float]) -> None:
    watch = Watch(one_machine=True)
    assert why(watch, make_lease()) is None
    clock[0] += 100 * STALE_SECONDS
    assert why(watch, make_lease()) is None


def test_a_process_that_ended_is_stale_at_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    from comp.jobs.processes import describe_process

    lease = {**make_lease(), **describe_process(child.pid)}
    watch = Watch(one_machine=False)
    assert why(watch, lease) is None
    child.kill()
    child.communicate()
    assert why(watch, lease) == f"pid {child.pid} on {lease['host']} ended"


def test_another_process_of_the_same_number_is_not_it() -> None:
    lease = make_lease()
    assert str(why(Watch(True), {**lease, "born": (lease["born"] or 0) - 1})).endswith(" ended")


def test_elsewhere_only_a_beat_that_stands_still_is_stale(clock: list[float]) -> None:
    watch = Watch(one_machine=False)
    far = {**make_lease(), "host": "far.example", "pid": 1}
    for beat in range(5):  # it lives, however far its clock is off
        assert why(watch, far, beat) is None
        clock[0] += STALE_SECONDS - 1
    assert why(watch, far, 4) is None
    clock[0] += 2
    assert why(watch, far, 4) == f"pid 1 on far.example gave no sign for {STALE_SECONDS + 1:.0f} s"
    assert why(watch, far, 5) is None  # it had only been slow
    assert why(Watch(one_machine=False), far, 4) is None  # who has just come waits as long


def test_beats_of_two_trials_are_watched_each_for_itself(clock: list[float]) -> None:
    watch = Watch(one_machine=False)
    far = {**make_lease(), "host": "far.example"}
    assert why(watch, far, 3, "a") is None
    clock[0] += STALE_SECONDS
    assert why(watch, far, 3, "b") is None
    assert why(watch, far, 3, "a") is not None


def test_another_boot_is_the_past_of_this_machine_and_perhaps_a_namesake_over_a_network() -> None:
    lease = {**make_lease(), "boot": "00000000-0000"}
    assert str(why(Watch(one_machine=True), lease)).endswith("ended: the machine was started anew")
    assert why(Watch(one_machine=False), lease) is None


def test_no_lease_is_stale() -> None:
    assert why(Watch(True), None) == "it has no lease"
