"""Real kills and real refusals of the disk at every system call of the toy fold; needs strace for the sweep.

COMP_TEST_KILLS=200 kills as often at random, instead of 40 times.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOY = [sys.executable, "-B", str(Path(__file__).with_name("toy.py"))]
CALLS = ("write", "fsync", "rename", "unlink", "ftruncate")
ERRORS = {"write": ("ENOSPC", "EIO"), "fsync": ("ENOSPC", "EIO"), "rename": ("ENOSPC", "EIO")}
KILLS = int(os.environ.get("COMP_TEST_KILLS", "0"))
can_trace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def run(folder: Path, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(prefix or []), *TOY, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def inject(call: str, what: str, when: int) -> list[str]:
    hit = f"inject={call}:{what}:when={when}"
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", hit]


def steps(word: str, out: str) -> list[int]:
    return [int(n) for n in re.findall(rf"^{word} (\d+)$", out, re.MULTILINE)]


def check_after(folder: Path, said: str, golden: str, where: str) -> None:
    """The same command again goes on from what was said, and ends as a run that nothing happened to."""
    again = run(folder)
    assert again.returncode == 0, f"{where}: {again.stdout}{again.stderr}"
    assert again.stdout.splitlines()[-1] == golden, where
    committed, resumed = steps("COMMIT", said), steps("RESUME", again.stdout)
    if committed and "DONE" not in said and steps("COMMIT", again.stdout):
        assert resumed and resumed[0] >= committed[-1], where
    assert not [p.name for p in folder.iterdir() if "tmp" in p.name or "checkpoint" in p.name], (
        where
    )


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> str:
    done = run(tmp_path_factory.mktemp("golden") / "fold")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@can_trace
@pytest.mark.faults
@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_every_call(call: str, golden: str, tmp_path: Path) -> None:
    points = 0
    for when in range(1, 500):
        folder = tmp_path / f"{when}"
        hit = run(folder, inject(call, "signal=SIGKILL", when))
        if hit.returncode == 0:
            break
        assert "Traceback" not in hit.stderr
        folder.mkdir(exist_ok=True)
        check_after(folder, hit.stdout, golden, f"{call} {when}")
        points += 1
    print(f"{call}: {points} kills, 0 failures")
    assert points or call == "ftruncate"


@can_trace
@pytest.mark.faults
@pytest.mark.parametrize(
    ("call", "error"), [(call, error) for call, errors in ERRORS.items() for error in errors]
)
def test_a_disk_that_refuses_at_every_call(
    call: str, error: str, golden: str, tmp_path: Path
) -> None:
    points = 0
    for when in range(1, 500):
        folder = tmp_path / f"{when}"
        hit = run(folder, inject(call, f"error={error}", when))
        if hit.returncode == 0:
            break
        points += 1
        if call == "write" and "error:" not in hit.stderr:
            assert hit.returncode  # stdout itself was refused
        else:
            assert hit.returncode == 4, f"{call} {when}: {hit.stderr}"
            assert "disk full" in hit.stderr or "cannot write" in hit.stderr
            assert "Traceback" not in hit.stderr
        check_after(folder, hit.stdout, golden, f"{call} {error} {when}")
    print(f"{call} {error}: {points} refusals, 0 failures")
    assert points


@pytest.mark.faults
def test_kills_at_random(golden: str, tmp_path: Path) -> None:
    draw, killed, wanted = random.Random(5), 0, KILLS or 40
    folder = tmp_path / "fold0"
    for number in range(wanted):
        process = subprocess.Popen(
            [*TOY, str(folder)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(draw.randrange(0, 4))]
        try:
            process.wait(draw.uniform(0, 0.003) if said else draw.uniform(0, 0.5))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        out = "".join(said) + process.stdout.read()
        process.wait()
        process.stdout.close()
        if draw.random() < 0.3 or "DONE" in out:
            folder.mkdir(exist_ok=True)
            check_after(folder, out, golden, f"kill {number}")
            folder = tmp_path / f"fold{number + 1}"
    print(f"{killed} kills, 0 failures")
    assert killed > wanted // 4
