"""`comp cv` asked to stop by a signal, from outside: saved, ended in time, gone on from the step."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comp.files import read_json
from tests.processes import nothing_ignored
from tests.test_road import make_toy

CASES: dict[str, Any] = {
    "local, SIGTERM to the parent": ("local", signal.SIGTERM, False),
    "local, SIGTERM to the group": ("local", signal.SIGTERM, True),
    "local, Ctrl-C": ("local", signal.SIGINT, True),
    "workers, SIGTERM to the group": ("local", signal.SIGTERM, True, "train.workers=1"),
    "workers, Ctrl-C": ("serial", signal.SIGINT, True, "train.workers=1"),
    "serial, SIGTERM": ("serial", signal.SIGTERM, False),
    "serial, Ctrl-C": ("serial", signal.SIGINT, True),
    "workers, SIGHUP to the group": ("local", signal.SIGHUP, True, "train.workers=1"),
    "workers, SIGUSR1 to the group": ("local", signal.SIGUSR1, True, "train.workers=1"),
    "local, SIGUSR2 to the parent": ("local", signal.SIGUSR2, False),
    "serial, SIGUSR1": ("serial", signal.SIGUSR1, False),
}


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    with nothing_ignored():
        yield


def start(root: Path, executor: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "comp", "cv", "--config", "small.yaml", "--device", "cpu"]
    command += ["--executor", executor, "-o", "train.epochs=5000", "-o", "train.batch_size=1"]
    command += [word for text in more for word in ("-o", text)]
    return subprocess.Popen(
        command,
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def send(process: subprocess.Popen[str], number: int, group: bool) -> None:
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)


@pytest.mark.faults
@pytest.mark.parametrize("case", CASES)
def test_the_step_is_saved_and_the_next_start_goes_on_from_it(case: str, tmp_path: Path) -> None:
    executor, number, group, *more = CASES[case]
    workspace, _ = make_toy(tmp_path)
    with start(workspace.root, executor, *more) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if "fold0  epoch 3/" in line:
                break
        began = time.monotonic()
        send(process, number, group)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 128 + number, out + err
    assert time.monotonic() - began < 30
    assert "run the same command to go on" in err and "Traceback" not in err + out
    said = re.search(
        r"small/fold0  stop requested: saved epoch (\d+)( step (\d+))? in ([\d.]+) s", out
    )
    assert said is not None, out + err
    assert float(said[4]) < 10
    folder = workspace.fold("small", 0)
    notes = [read_json(path) for path in folder.glob("checkpoint.*.json")]
    assert max((n["epoch"], n["step"]) for n in notes)[1] == int(said[3] or 0)
    assert not list(folder.glob(".*.tmp"))
    with start(workspace.root, executor, *more) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "fold0  resuming from" in line:
                os.killpg(process.pid, signal.SIGKILL)
                break
        else:
            pytest.fail("it did not resume")
    step = f", step {said[3]} of 4" if said[3] else ""
    assert line.rstrip().endswith(f"resuming from epoch {said[1]} of 5000{step}")


@pytest.mark.faults
@pytest.mark.parametrize("executor", ["local", "serial"])
def test_a_terminal_that_is_closed_is_a_stop(executor: str, tmp_path: Path) -> None:
    workspace, _ = make_toy(tmp_path)
    command = [sys.executable, "-m", "comp", "cv", "--config", "small.yaml", "--device", "cpu"]
    command += ["--executor", executor, "-o", "train.epochs=5000"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(workspace.root)
        os.execv(sys.executable, command)
    seen = b""
    while b"/5000" not in seen:  # the table shows its first epoch
        seen += os.read(terminal, 65536)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    folder = workspace.fold("small", 0)
    assert list(folder.glob("checkpoint.*.json")) and not list(folder.glob(".*.tmp"))
    assert "stop requested: saved" in read_json(folder / "status.json")["note"]
