"""`comp cv` whose loader process, or whose job, is killed: tried once more with fewer of them, and equal in the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from comp.files import Workspace
from comp.jobs.processes import children_of
from comp.jobs.status import read_status
from tests.test_road import hashes, make_toy

COMMAND = ["cv", "--config", "small.yaml", "--device", "cpu", "--folds", "0", "--slots", "1"]
COMMAND += ["-o", "train.epochs=24", "-o", "train.batch_size=1", "-o", "train.workers=2"]

pytestmark = pytest.mark.faults


def start(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "comp", *COMMAND]
    return subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    workspace, _ = make_toy(tmp_path_factory.mktemp("golden"))
    with start(workspace.root) as process:
        out, _ = process.communicate()
    assert process.returncode == 0, out
    return hashes(workspace, "small")


def pid_of(workspace: Workspace, what: str) -> int:
    """The process of fold 0's job, or one of its loader's."""
    said = read_status(workspace.fold("small", 0))
    assert said is not None
    job = int(said["process"]["pid"])
    return job if what == "job" else children_of(job)[-1]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("job", r"killed by signal 9 SIGKILL \(likely out of memory\)"),
        (
            "loader",
            r"loader worker \d \(pid \d+\) was killed by signal 9 SIGKILL \(likely out of memory\)"
            r"( at image '\w+')?",
        ),
    ],
)
def test_what_is_killed_goes_on_with_fewer_processes(
    what: str, why: str, golden: dict[str, str], tmp_path: Path
) -> None:
    workspace, _ = make_toy(tmp_path)
    with start(workspace.root) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch 3/" in line:
                os.kill(pid_of(workspace, what), signal.SIGKILL)
                break
        out = process.stdout.read()
    assert process.returncode == 0, out
    again = f"small/fold0  {why}: tried once more with 1 loader process instead of 2"
    assert re.search(again, out), out
    assert "Traceback" not in out
    assert hashes(workspace, "small") == golden
