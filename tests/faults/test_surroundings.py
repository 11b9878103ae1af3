"""The real commands while the world around them changes: readers, moved folders, clocks, images, links, versions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from comp.files import Workspace, read_json
from tests.faults import jobs
from tests.faults.nursery import REPOSITORY, Nursery

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def done(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose runs are done; tests copy it or only read it."""
    workspace = jobs.make(tmp_path_factory.mktemp("golden"))
    start = nursery.run(workspace.root, *jobs.SERIAL)
    assert start.code == 0, start.said
    return workspace


@pytest.fixture(scope="module")
def golden(done: Workspace) -> dict[str, Any]:
    return jobs.outcome(done)


def check_rest(nursery: Nursery, workspace: Workspace, golden: dict[str, Any]) -> str:
    again = nursery.run(workspace.root, *jobs.SERIAL)
    assert again.code == 0, again.said
    assert jobs.outcome(workspace) == golden
    assert not jobs.left_over(workspace)
    return again.said


def copy(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.root, root, symlinks=True)
    return Workspace(root, workspace.competition)


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_run_folder_that_goes_while_it_runs(how: str, nursery: Nursery, tmp_path: Path) -> None:
    workspace = jobs.make(tmp_path)
    start = nursery.begin(workspace.root, *jobs.SERIAL, "-o", "train.epochs=12")
    start.until("small/fold0  epoch 1/")
    folder = workspace.run("small")
    if how == "moved":
        folder.rename(tmp_path / "elsewhere")
    else:
        folder.rename(tmp_path / "going")
        shutil.rmtree(tmp_path / "going")
    assert start.end() == 4 and "Traceback" not in start.said, start.said
    assert jobs.done_jobs(start.said) == {"other/fold0", "other/fold1"}
    assert re.search(
        r"small/fold0  FAILED: .*small/fold0 is gone: it was moved or deleted", start.said
    )
    assert not folder.exists() or not list(folder.rglob("checkpoint*"))


def test_a_clock_that_jumps(nursery: Nursery, golden: dict[str, Any], tmp_path: Path) -> None:
    workspace = jobs.make(tmp_path)
    hit = nursery.run(workspace.root, *jobs.SERIAL, fault="CLOCK")
    assert hit.code == 0, hit.said
    assert jobs.outcome(workspace) == golden
    assert not re.search(r"-\d+(\.\d)? s\b", hit.said), hit.said
    for number, path in enumerate(p for p in workspace.root.rglob("*") if p.is_file()):
        if "data" not in path.parts:
            os.utime(path, (2e9 * (number % 2), 2e9 * (number % 2)))  # 1970, or 2033
    status = nursery.run(workspace.root, "status", "--json")
    found = json.loads(status.said)
    assert found["counts"]["done"] == 4 and "-" not in str(found["seconds_left"])
    again = nursery.run(workspace.root, *jobs.SERIAL)
    assert again.code == 0 and "nothing to do" in again.said


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_an_image_that_changes_while_it_runs(
    how: str, nursery: Nursery, golden: dict[str, Any], tmp_path: Path
) -> None:
    workspace = jobs.make(tmp_path)
    image = sorted((workspace.root / "data" / "images").iterdir())[0]
    kept, times = image.read_bytes(), image.stat()
    start = nursery.begin(workspace.root, *jobs.SERIAL)
    start.until("small/fold0  starts on")
    if how == "gone":
        image.unlink()
    else:
        pixels = cv2.imread(str(image))
        assert pixels is not None and cv2.imwrite(str(image), np.ascontiguousarray(pixels[::-1]))
    assert start.end() in (1, 3), start.said
    assert "Traceback" not in start.said
    words = "training images changed since" if how == "changed" else "1 mask without an image"
    assert re.search(rf"other/fold1  FAILED: .*{words}", start.said), start.said
    image.write_bytes(kept)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    check_rest(nursery, workspace, golden)


def test_links_are_not_followed(nursery: Nursery, golden: dict[str, Any], tmp_path: Path) -> None:
    workspace = jobs.make(tmp_path / "work")
    outside = tmp_path / "outside"
    outside.mkdir()
    fold = workspace.fold("small", 0)
    fold.mkdir(parents=True)
    names = ["checkpoint.0.pt", "checkpoint.1.pt", "weights.last.safetensors", "oof.none.npy"]
    names += [".oof.none.npy.1.2.tmp", "status.json", "../config.yaml", "../cv.md"]
    for number, name in enumerate(names):
        (outside / f"{number}").write_text("mine")
        (fold / name).symlink_to(outside / f"{number}")
    check_rest(nursery, workspace, golden)
    lock = workspace.run("small") / ".lock"
    lock.unlink()
    lock.symlink_to(outside / "0")
    hit = nursery.run(workspace.root, *jobs.SERIAL)
    assert hit.code == 4 and "cannot write" in hit.said and ".lock" in hit.said, hit.said
    assert {p.read_text() for p in outside.iterdir()} == {"mine"}
    assert len(list(outside.iterdir())) == len(names)


def test_a_checkpoint_of_another_version(
    nursery: Nursery, golden: dict[str, Any], tmp_path: Path
) -> None:
    workspace = jobs.make(tmp_path)
    hit = nursery.run(workspace.root, *jobs.SERIAL, fault="after replace checkpoint.1.json 1 KILL")
    assert hit.code == -9
    for path in workspace.fold("small", 0).glob("checkpoint.*.json"):
        said = read_json(path)
        path.write_text(json.dumps(said | {"versions": {"comp": "0.0.1", "torch": "1.0"}}))
    told = check_rest(nursery, workspace, golden)
    words = (
        r"small/fold0  the checkpoint of epoch \d.* is by comp 0.0.1 \(now .*\), torch 1.0 \(now"
    )
    assert re.search(words + r".*resumed, but not bit for bit", told)


def test_readers_see_the_old_or_the_new(nursery: Nursery, tmp_path: Path) -> None:
    """`status`, `leaderboard` and `ensemble` in a loop while runs are written: an answer or a plain refusal."""
    workspace = jobs.make(tmp_path / "work")
    with Nursery(tmp_path / "reader") as reader:
        start = nursery.begin(workspace.root, *jobs.SERIAL, "-o", "train.epochs=10")
        start.until("model check")
        codes: set[tuple[str, int]] = set()
        while Path(f"/proc/{start.pid}").exists():
            for command in ("status", "leaderboard", "ensemble"):
                looked = reader.run(workspace.root, command)
                assert looked.code in (0, 2, 3), looked.said
                assert "Traceback" not in looked.said
                codes.add((command, looked.code))
        assert start.end() == 0, start.said
        looked = reader.run(workspace.root, "ensemble")
        assert looked.code == 0, looked.said
    assert ("status", 0) in codes and any(c == "ensemble" and n for c, n in codes)


@pytest.mark.parametrize("text", ["", "{"])
def test_a_damaged_report_is_written_again(
    text: str, nursery: Nursery, done: Workspace, golden: dict[str, Any], tmp_path: Path
) -> None:
    workspace = copy(done, tmp_path / "work")
    (workspace.run("small") / "cv.json").write_text(text)
    hit = nursery.run(workspace.root, "ensemble")
    assert hit.code in (2, 3) and "small" in hit.said and "Traceback" not in hit.said, hit.said
    assert "nothing to do" in check_rest(nursery, workspace, golden)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_kill_while_the_submission_is_written(
    when: str, kind: str, nursery: Nursery, done: Workspace, tmp_path: Path
) -> None:
    workspace = copy(done, tmp_path / "work")
    for command in ("ensemble", "submit"):
        start = nursery.run(workspace.root, command)
        assert start.code == 0, start.said
    (first,) = workspace.submissions.glob("*.csv")
    before = {p: p.read_bytes() for p in workspace.submissions.iterdir()}
    hit = nursery.run(workspace.root, "submit", fault=f"{when} replace *.{kind} 1 KILL")
    assert hit.code == -9, hit.said
    assert {p: p.read_bytes() for p in before} == before
    assert nursery.run(workspace.root, "submit").code == 0
    whole = [p.read_bytes() for p in workspace.submissions.glob("*.csv")]
    assert len(whole) > 1 and set(whole) == {before[first]}
    assert nursery.run(workspace.root, "leaderboard").code == 0


def test_nothing_to_print_to(golden: dict[str, Any], tmp_path: Path) -> None:
    """All three streams closed, and nobody at home."""
    workspace = jobs.make(tmp_path)
    command = [sys.executable, "-m", "comp", *jobs.CV, "--slots", "1"]
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PATH", "OMP_"))}
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command],
        cwd=workspace.root,
        env={**kept, "LC_ALL": "C", "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert ended.returncode == 0
    assert jobs.outcome(workspace) == golden


def test_shared_memory_without_room(tmp_path: Path) -> None:
    """Said before a loader process hangs on it."""
    workspace = jobs.make(tmp_path)
    command = [sys.executable, "-m", "comp", *jobs.SERIAL]
    command += ["-o", "train.size=[256,256]", "-o", "train.workers=1"]
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command],
        cwd=workspace.root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in ended.stderr or "mount" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 4 and "starts on" not in ended.stdout, ended.stdout + ended.stderr
    assert "shared memory will be full: the batches of train.workers=1 need 3.1" in ended.stderr
