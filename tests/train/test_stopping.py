"""Signals that ask to stop: noted while a job runs, and left alone where they are another's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from comp.errors import StoppedError
from comp.train import stopping
from tests.processes import nothing_ignored, run_python


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    with nothing_ignored():
        yield


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_is_noted_and_answered_at_the_next_check(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with stopping.listening():
        stopping.check()
        os.kill(os.getpid(), number)
        assert stopping.asked() == number
        with pytest.raises(StoppedError, match=f"stopped by {name}: run the same") as caught:
            stopping.check()
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_what_is_ignored_stays_ignored() -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in stopping.heeded() and signal.SIGTERM in stopping.heeded()
        with stopping.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stopping.asked() is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_a_worker_sigusr1_asks_for_its_stack_and_stops_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    run_python(f"""
import os, signal
from pathlib import Path
from comp.jobs.worker import job_log, leave_to_parent
from comp.train import stopping
leave_to_parent()
for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    os.kill(os.getpid(), number)
for job in range(2):
    with job_log(Path({str(log)!r})), stopping.listening():
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        assert stopping.asked() is None
""")
    assert log.read_text().count("most recent call first") == 2
