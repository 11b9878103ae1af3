"""The real `comp cv` on a disk that is full, read-only or broken: one line, exit code 4, nothing lost."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comp.files import Workspace
from tests.faults import jobs
from tests.faults.nursery import Nursery

pytestmark = pytest.mark.faults
FILLED = (  # after this is written the disk is full: the next file meets it
    *("config.yaml", "checkpoint.0.json", "checkpoint.1.pt", "weights.best_metric.safetensors"),
    *("weights.last.safetensors", "history.csv", "oof.none.npy", "oof.none.counts.csv"),
    *("test.none.csv", "cv.json"),
)
REFUSED = [
    *("before open checkpoint.1.pt 1 ENOSPC", "before open oof.none.npy 2 EDQUOT"),
    *("before open result.json 1 EROFS", "before open config.json 1 EACCES"),
    *("before fsync checkpoint.0.pt 2 EIO", "before fsync fold[01] 0 EIO"),
    *("before fsync weights.best_loss.safetensors 2 EIO", "before fsync test.none.npy 1 EIO"),
    *("before fsync result.json 1 EIO", "before fsync cv.json 1 EIO"),
    *("before replace checkpoint.0.json 2 EACCES", "before replace result.json 2 EACCES"),
    *("before replace oof.none.npy 1 EXDEV", "before replace cv.md 1 EACCES"),
    *("before unlink checkpoint.1.json 1 EIO", "before replace toy.csv 1 EACCES"),
    *("before replace toy.json 1 EACCES", "before open weights.last.safetensors 1 EMFILE"),
]


@pytest.fixture(scope="module")
def golden(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    workspace = jobs.make(tmp_path_factory.mktemp("golden"))
    start = nursery.run(workspace.root, *jobs.SERIAL)
    assert start.code == 0, start.said
    return jobs.outcome(workspace)


def mount(folder: Path, *options: str) -> None:
    """Put a file system into memory there; needs the rights."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose `runs` is a disk of 4 MB."""
    workspace = jobs.make(tmp_path)
    runs = tmp_path / "runs"
    mount(runs, "size=4m")
    yield workspace
    subprocess.run(["umount", "-l", str(runs)], check=True)


def check_rest(nursery: Nursery, workspace: Workspace, golden: dict[str, Any], said: str) -> None:
    again = nursery.run(workspace.root, *jobs.SERIAL)
    assert again.code == 0, again.said
    assert not jobs.done_jobs(said) & jobs.begun_jobs(again.said)
    assert jobs.outcome(workspace) == golden
    assert not jobs.left_over(workspace)


@pytest.mark.parametrize("name", FILLED)
def test_a_disk_that_gets_full(
    name: str, nursery: Nursery, golden: dict[str, Any], disk: Workspace
) -> None:
    hit = nursery.run(disk.root, *jobs.SERIAL, fault=f"after replace {name} 1 FILL")
    assert hit.code == 4 and "Traceback" not in hit.said, hit.said
    assert "disk full writing" in hit.said and " MB are free): free space and run again" in hit.said
    (disk.root / "runs" / "ballast").unlink()
    check_rest(nursery, disk, golden, hit.said)


@pytest.mark.parametrize("fault", REFUSED)
def test_a_disk_that_refuses(
    fault: str, nursery: Nursery, golden: dict[str, Any], tmp_path: Path
) -> None:
    workspace = jobs.make(tmp_path)
    hit = nursery.run(workspace.root, *jobs.SERIAL, fault=fault)
    assert hit.code == 4 and "Traceback" not in hit.said, hit.said
    assert ("disk full writing" if fault[-1] in "CT" else "cannot ") in hit.said
    check_rest(nursery, workspace, golden, hit.said)


@pytest.mark.parametrize("fault", ["before open status.json 0 ENOSPC", "before open .lock 0 EROFS"])
def test_words_and_locks(
    fault: str, nursery: Nursery, golden: dict[str, Any], tmp_path: Path
) -> None:
    """A status that cannot be written stops nothing; a lock that cannot be had stops all, at once."""
    workspace = jobs.make(tmp_path)
    hit = nursery.run(workspace.root, *jobs.SERIAL, fault=fault)
    if "lock" in fault:
        assert hit.code == 4 and "cannot write" in hit.said and "starts on" not in hit.said
        hit = nursery.run(workspace.root, *jobs.SERIAL)
    assert hit.code == 0, hit.said
    assert jobs.outcome(workspace) == golden


def test_too_little_room_is_refused_before_training(nursery: Nursery, tmp_path: Path) -> None:
    workspace = jobs.make(tmp_path)
    mount(tmp_path / "runs", "size=512k")
    try:
        hit = nursery.run(workspace.root, *jobs.SERIAL)
        assert hit.code == 4 and "starts on" not in hit.said, hit.said
        assert "the disk will be full: 4 jobs will write at least" in hit.said
        assert "/runs/toy has 0.4" in hit.said and "predict.tta" in hit.said
        subprocess.run(["mount", "-o", "remount,size=4m", str(tmp_path / "runs")], check=True)
        assert nursery.run(workspace.root, *jobs.SERIAL).code == 0
        fill = tmp_path / "runs" / "ballast"
        fill.write_bytes(bytes(2_000_000))
        subprocess.run(["mount", "-o", "remount,size=3400k", str(tmp_path / "runs")], check=True)
        again = nursery.run(workspace.root, *jobs.SERIAL)  # done: it needs no room
        assert again.code == 0 and "nothing to do" in again.said, again.said
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "runs")], check=True)


@pytest.mark.parametrize("begun", [False, True])
def test_a_read_only_disk_is_said_before_training(
    begun: bool, nursery: Nursery, golden: dict[str, Any], disk: Workspace
) -> None:
    said = ""
    if begun:
        hit = nursery.run(disk.root, *jobs.SERIAL, fault="after replace result.json 2 KILL")
        assert hit.code == -9
        said = hit.said
    runs = str(disk.root / "runs")
    subprocess.run(["mount", "-o", "remount,ro", runs], check=True)
    hit = nursery.run(disk.root, *jobs.SERIAL)
    assert hit.code == 4 and "starts on" not in hit.said, hit.said
    assert f"cannot write {runs}/toy/small/.lock: Read-only file system" in hit.said
    subprocess.run(["mount", "-o", "remount,rw", runs], check=True)
    check_rest(nursery, disk, golden, said)


def test_a_fold_that_cannot_be_written(
    nursery: Nursery, golden: dict[str, Any], disk: Workspace
) -> None:
    """Its own disk, read-only: said of this fold, and the others are done."""
    fold = disk.fold("small", 1)
    mount(fold, "size=1m")
    try:
        subprocess.run(["mount", "-o", "remount,ro", str(fold)], check=True)
        hit = nursery.run(disk.root, *jobs.SERIAL)
        assert hit.code == 4 and "Traceback" not in hit.said, hit.said
        assert f"cannot remove {fold}" in hit.said and "Read-only file system" in hit.said
        assert jobs.done_jobs(hit.said) == set(jobs.JOBS) - {"small/fold1"}
    finally:
        subprocess.run(["umount", "-l", str(fold)], check=True)
    check_rest(nursery, disk, golden, hit.said)


def test_runs_on_another_disk_than_everything_else(
    nursery: Nursery, golden: dict[str, Any], disk: Workspace, tmp_path: Path
) -> None:
    """No file is made on one disk and moved to another."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (disk.root / "runs" / "toy").mkdir()
    small = disk.root / "runs" / "toy" / "small"
    small.symlink_to(elsewhere)  # the user's own link, to where there is room
    done = nursery.run(disk.root, *jobs.SERIAL)
    assert done.code == 0, done.said
    assert jobs.outcome(disk) == golden and small.is_symlink()


def test_few_open_files(nursery: Nursery, golden: dict[str, Any], tmp_path: Path) -> None:
    """Thirty are enough for two slots; where they are not, that is said."""
    workspace = jobs.make(tmp_path)
    for most, code in ((12, 4), (30, 0)):
        start = nursery.begin(workspace.root, *jobs.CV, "--slots", "2")
        resource.prlimit(start.pid, resource.RLIMIT_NOFILE, (most, most))
        assert start.end() == code, start.said
        assert "Traceback" not in start.said
        assert "too many open files" in start.said or not code
    assert jobs.outcome(workspace) == golden
