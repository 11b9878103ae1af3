"""Real runs, watched and disturbed: readers that go away, parents that are killed, starts that meet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from comp.commands import cv, status
from comp.config import load_competition
from comp.files import Workspace, read_json
from comp.jobs.processes import is_alive
from comp.store import read_run
from tests.processes import REPOSITORY, run_comp
from tests.test_road import hashes, make_toy

CV = [sys.executable, "-m", "comp", "cv", "--config", "small.yaml", "--device", "cpu"]


def begin(workspace: Workspace, *options: str, **more: Any) -> subprocess.Popen[str]:
    """Start `comp cv` as the head of a process group of its own."""
    return subprocess.Popen(
        [*CV, *options],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **more,
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What the process prints up to a line with these words."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was never said:\n{said}")


def state_of(workspace: Workspace, fold: int) -> dict[str, Any]:
    found: dict[str, Any] = status.look(workspace)["jobs"][fold]
    return found


def test_a_reader_that_goes_away_and_a_bare_environment_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, competition = make_toy(tmp_path)
    for folder in ("images", "masks"):
        path = tmp_path / "data" / folder / "p_000.png"
        path.rename(path.with_name("zähne_ß.png"))
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PATH", "OMP_", "HF_", "COMP_"))}
    bare = {**kept, "LANG": "C", "LC_ALL": "C", "PYTHONPATH": str(REPOSITORY)}
    with begin(workspace, "--slots=1", "-o", "train.epochs=1", env=bare) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
    assert process.returncode == 0
    run = read_run(workspace, "small")
    assert run.complete and any("zähne_ß" in run.oof(k, "none").ids for k in (0, 1))
    found = status.look(workspace)
    assert found["counts"]["done"] == 2 and found["seconds_left"] is None
    # started again: nothing to do, and so it says
    cv.run(workspace, competition, ["small.yaml"], ["train.epochs=1"], device="cpu")
    assert "2 of 2 folds are done and skipped: nothing to do" in capsys.readouterr().out
    # another reader that goes away, of a command that has nothing to finish
    with subprocess.Popen(
        [sys.executable, "-m", "comp", "status"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout is not None and reader.stderr is not None
        reader.stdout.close()
        said = reader.stderr.read()
    assert "Traceback" not in said and "BrokenPipe" not in said


@pytest.mark.faults
def test_a_killed_parent_leaves_no_second_writer(tmp_path: Path) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    more = ["train.epochs=60"]
    cv.run(golden, competition, ["small.yaml"], more, executor="serial", device="cpu")
    workspace, competition = make_toy(tmp_path / "killed")
    with begin(workspace, "--slots=1", "-o", *more) as process:
        read_until(process, "small/fold0  epoch 3/60")
        running = state_of(workspace, 0)
        assert running["state"] == "running" and running["alive"] is True
        assert state_of(workspace, 1)["state"] == "waiting"
        said = read_json(workspace.fold("small", 0) / "status.json")
        assert said["owner"]["pid"] == process.pid != said["process"]["pid"]
        os.kill(said["process"]["pid"], signal.SIGSTOP)  # it cannot notice by itself
        os.kill(process.pid, signal.SIGKILL)  # not its worker
    assert is_alive(said["process"])
    with begin(workspace, "--slots=1", "-o", *more) as process:
        assert process.stdout is not None
        told = process.stdout.read()
    pid = said["process"]["pid"]
    assert f"small/fold0: pid {pid} of an earlier start still runs, its parent is gone" in told
    assert f"pid {pid} did not end by itself and was killed" in told
    assert process.returncode == 0, told
    assert not is_alive(said["process"])
    assert hashes(workspace, "small") == hashes(golden, "small")
    # killed after the last commit, or long after it: nothing to do, the same outputs
    before = hashes(workspace, "small")
    for _ in range(2):
        again = run_comp(*CV[3:], "-o", *more, cwd=workspace.root)
        assert again.returncode == 0 and "nothing to do" in again.stdout
        assert hashes(workspace, "small") == before


@pytest.mark.faults
def test_of_eight_starts_one_wins_and_the_others_say_who(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    run_comp("folds", cwd=tmp_path)
    starts = [begin(workspace, "--slots=1", "-o", "train.epochs=100000") for _ in range(8)]
    losers = []
    deadline = time.monotonic() + 600
    while len(losers) < 7 and time.monotonic() < deadline:
        losers = [process for process in starts if process.poll() is not None]
        time.sleep(0.2)
    (winner,) = (process for process in starts if process.poll() is None)
    os.killpg(winner.pid, signal.SIGKILL)
    for process in losers:
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.returncode == 75, said
        assert "Traceback" not in said and f"is used by pid {winner.pid} on " in said
        assert " since 20" in said
    for process in starts:
        process.communicate()
    # kill -9 leaves no lock behind, and what it was at is told
    assert state_of(workspace, 0)["state"] == "killed"
    assert state_of(workspace, 1)["state"] == "not started"
    found = run_comp("status", cwd=tmp_path)
    assert "1 killed" in found.stdout and "gone" in found.stdout
    assert load_competition(tmp_path).name == competition.name


BARRIER = """
import os, sys, time
from pathlib import Path
from comp.errors import CompError
from comp.files import lock
here = Path({here!r})
(here / f"ready{{os.getpid()}}").touch()
while not (here / "go").exists():
    time.sleep(0.002)
time.sleep({stagger} * int(sys.argv[1]) / 1000)
try:
    with lock(here / "run" / ".lock", wait_seconds=0.3):
        (here / "won").open("a").write(f"{{os.getpid()}}\\n")
        time.sleep(4)
except CompError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("stagger", [0, 60])
def test_of_eight_processes_at_one_lock_one_wins(stagger: int, tmp_path: Path) -> None:
    code = BARRIER.format(here=str(tmp_path), stagger=stagger)
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(n)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        for n in range(8)
    ]
    while len(list(tmp_path.glob("ready*"))) < 8:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    said = [process.communicate()[0] for process in starts]
    assert sorted(process.returncode for process in starts) == [0, *[75] * 7]
    (won,) = (tmp_path / "won").read_text().split()
    assert sum(f"is used by pid {won} on " in text and " since 20" in text for text in said) == 7


WRITER = """
import time
from pathlib import Path
from comp.files import write_json
folder = Path({folder!r})
print("ready", flush=True)
n, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    n += 1
    write_json(folder / "cv.json", {{"n": n, "rows": [n] * 2000}})
"""


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    write = [sys.executable, "-c", WRITER.format(folder=str(tmp_path))]
    seen = []
    with subprocess.Popen(write, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline()
        while not (tmp_path / "cv.json").exists():
            time.sleep(0.001)
        while writer.poll() is None:
            said = json.loads((tmp_path / "cv.json").read_text())
            assert said["rows"] == [said["n"]] * 2000
            seen.append(said["n"])
    assert seen == sorted(seen) and len(set(seen)) > 5
