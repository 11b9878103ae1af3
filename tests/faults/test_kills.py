"""The real `comp cv` with torch, killed: at each commit, and at any moment; each ends as if nothing had been.

COMP_TEST_KILLS=200 kills as often at random, and at every call of the disk instead of the named ones.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from comp.files import Workspace
from tests.faults import jobs
from tests.faults.nursery import Nursery

KILLS = int(os.environ.get("COMP_TEST_KILLS", "0"))
COMMITS = (
    *("config.json", "checkpoint.0.pt", "checkpoint.1.json", "weights.last.safetensors"),
    *("history.csv", "oof.none.npy", "oof.none.csv", "oof.none.counts.csv", "test.none.npy"),
    *("test.none.csv", "result.json", "cv.json", "cv.md"),
)
WHEN = ("before", "after")
NAMED = ("checkpoint.0.pt", "weights.last.safetensors", "oof.none.npy", "test.none.npy")
NAMED += ("result.json", "cv.json")
POINTS = [f"before replace {name} 2 KILL" for name in COMMITS]
POINTS += [f"after replace {name} 2 KILL" for name in NAMED]
POINTS += [f"{when} replace toy.{kind} 1 KILL" for kind in ("json", "csv") for when in WHEN]
POINTS += ["before unlink checkpoint.*.json 3 KILL", "after unlink checkpoint.*.pt 3 KILL"]

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def golden(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    workspace = jobs.make(tmp_path_factory.mktemp("golden"))
    start = nursery.run(workspace.root, *jobs.SERIAL)
    assert start.code == 0, start.said
    return jobs.outcome(workspace)


def check_rest(
    nursery: Nursery, workspace: Workspace, golden: dict[str, Any], said: str, where: str
) -> None:
    """The same command again does what is left and nothing twice, and ends the same; then nothing is left to do."""
    was = jobs.committed(workspace)
    again = nursery.run(workspace.root, *jobs.SERIAL)
    assert again.code == 0, f"{where}: {again.said}"
    assert not jobs.done_jobs(said) & jobs.begun_jobs(again.said), where
    for job in jobs.begun_jobs(again.said) & set(was):
        assert f"{job}  resuming from" in again.said, f"{where}: {job} {was[job]}"
    assert jobs.outcome(workspace) == golden, where
    assert not jobs.left_over(workspace), where
    last = nursery.run(workspace.root, *jobs.SERIAL)
    assert last.code == 0 and "4 of 4 folds are done and skipped: nothing to do" in last.said, where
    assert jobs.outcome(workspace) == golden, where


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_commit(
    point: str, nursery: Nursery, golden: dict[str, Any], tmp_path: Path
) -> None:
    workspace = jobs.make(tmp_path)
    hit = nursery.run(workspace.root, *jobs.SERIAL, fault=point)
    assert hit.code == -9, hit.said
    check_rest(nursery, workspace, golden, hit.said, point)


@pytest.mark.skipif(not KILLS, reason="COMP_TEST_KILLS is not set")
@pytest.mark.parametrize("call", ["replace", "unlink", "fsync"])
def test_a_kill_at_every_call(
    call: str, nursery: Nursery, golden: dict[str, Any], tmp_path: Path
) -> None:
    count = 0
    for count in range(1, 1000):
        workspace = jobs.make(tmp_path / f"{count}")
        hit = nursery.run(workspace.root, *jobs.SERIAL, fault=f"before {call} * {count} KILL")
        if hit.code == 0:
            break
        assert hit.code == -9, hit.said
        check_rest(nursery, workspace, golden, hit.said, f"{call} {count}")
        shutil.rmtree(workspace.root)
    print(f"{call}: {count - 1} kills, 0 failures")
    assert count > 10


def test_kills_at_random(nursery: Nursery, golden: dict[str, Any], tmp_path: Path) -> None:
    """In one process, at any moment of the work; often several times before it is done."""
    draw, killed, wanted = random.Random(5), 0, KILLS or 12
    number = 0
    while killed < wanted:
        number += 1
        workspace, said = jobs.make(tmp_path / f"{number}"), ""
        for _ in range(draw.randint(1, 4)):
            start = nursery.begin(workspace.root, *jobs.SERIAL)
            start.until("model check")
            time.sleep(draw.uniform(0, 0.6))
            start.kill()
            killed += start.end() == -9
            said += start.said
        check_rest(nursery, workspace, golden, said, f"run {number}")
        shutil.rmtree(workspace.root)
    print(f"{killed} kills of {number} runs, 0 failures")


def test_kills_of_the_whole_group(nursery: Nursery, golden: dict[str, Any], tmp_path: Path) -> None:
    """`comp cv` and its workers, killed together, on two slots; the rest is done on one."""
    draw, killed, said = random.Random(7), 0, ""
    workspace = jobs.make(tmp_path)
    for _ in range(max(3, KILLS // 10)):
        start = nursery.begin(workspace.root, *jobs.CV, "--slots", "2")
        start.until("epoch 1/2" if not killed else "starts on")
        time.sleep(draw.uniform(0, 0.3))
        start.kill()
        killed += start.end() == -9
        said += start.said
    assert killed
    check_rest(nursery, workspace, golden, said, "group")
