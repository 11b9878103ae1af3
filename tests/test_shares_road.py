"""Jobs in any order, on any number of slots, in any number of shares: the same hashes; shares meet."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from comp.commands import cv
from comp.errors import JobsFailedError, LockedError, RunMismatchError, UsageError
from comp.files import lock, read_json
from comp.jobs import executors
from comp.jobs.shares import Share
from comp.store import read_run
from tests.test_road import hashes, make_toy

BOTH = ["small.yaml", "other.yaml"]
ONE = ["train.epochs=1"]
SERIAL: dict[str, Any] = {"executor": "serial", "device": "cpu"}
ALL = {"small/fold0", "small/fold1", "other/fold0", "other/fold1"}


def test_neither_slots_nor_order_change_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    cv.run(golden, competition, BOTH, ONE, **SERIAL, n_slots=2)
    assert re.search(r"\n4 folds in \d+ s on 1 slot\n", capsys.readouterr().out)
    began: list[str] = []

    def reversed_order(
        jobs: Sequence[Any], slots: Sequence[Any], on_event: Any, **more: Any
    ) -> list[dict[str, Any]]:
        began.extend(job.label for job in jobs)
        return executors.run_local(jobs[::-1], slots, on_event)[::-1]

    monkeypatch.setitem(executors.EXECUTORS, "reversed", reversed_order)
    for name, n_slots in (("reversed", 1), ("local", 2)):
        workspace, competition = make_toy(tmp_path / name)
        capsys.readouterr()
        cv.run(workspace, competition, BOTH, ONE, executor=name, device="cpu", n_slots=n_slots)
        said = capsys.readouterr().out
        assert ("the longest begin first" in said) == (n_slots == 2)
        for run in ("small", "other"):
            assert hashes(workspace, run) == hashes(golden, run)
    assert set(began) == ALL


def test_shares_make_the_whole_and_the_last_one_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    cv.run(golden, competition, BOTH, ONE, **SERIAL)
    workspace, competition = make_toy(tmp_path / "shared")
    began: list[list[str]] = []
    for number in (3, 1, 2):
        capsys.readouterr()
        cv.run(workspace, competition, BOTH, ONE, share=Share(number, 3), **SERIAL)
        said = capsys.readouterr().out
        began.append([job for job in sorted(ALL) if f"{job}  starts" in said])
        missing = ALL - {job for share in began for job in share}
        last = said.splitlines()[-1]
        if missing:
            assert last.startswith(f"share {number}/3 is done; missing, of other shares: ")
            assert all(job in last for job in missing)
        else:
            assert last == f"share {number}/3 is done, and so are all others"
    assert sorted(job for share in began for job in share) == sorted(ALL) and all(began)
    for run in ("small", "other"):
        assert hashes(workspace, run) == hashes(golden, run)
        assert read_run(workspace, run).complete
        assert read_json(workspace.run(run) / "cv.json")["pooled"] is not None
    capsys.readouterr()
    cv.run(workspace, competition, BOTH, ONE, share=Share(3, 3), **SERIAL)
    assert "nothing to do" in capsys.readouterr().out


def test_shares_started_at_once_meet(tmp_path: Path) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    cv.run(golden, competition, BOTH, ONE, **SERIAL)
    workspace, competition = make_toy(tmp_path / "shared")
    command = [sys.executable, "-m", "comp", "cv", "--root", str(workspace.root)]
    command += ["-c", "small.yaml", "-c", "other.yaml", "-o", ONE[0], "--executor", "serial"]
    command += ["--device", "cpu"]
    started = [
        subprocess.Popen(
            [*command, "--jobs", f"{n}/2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for n in (1, 2)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert any("and so are all others" in text for text in said), said  # whoever reports last
    for run in ("small", "other"):
        assert hashes(workspace, run) == hashes(golden, run)
        assert read_run(workspace, run).complete


def test_a_share_and_the_whole_do_not_run_together(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    share = Share(1, 2)
    with lock(workspace.run("small") / ".lock"), pytest.raises(LockedError, match="pid"):
        cv.run(workspace, competition, ["small.yaml"], ONE, share=share, **SERIAL)
    with lock(workspace.run("small") / ".lock", shared=True):
        with pytest.raises(LockedError, match="pid"):
            cv.run(workspace, competition, ["small.yaml"], ONE, **SERIAL)
        with (
            lock(workspace.fold("small", 0) / ".lock"),
            pytest.raises(LockedError, match="fold0 is used by pid"),
        ):
            cv.run(workspace, competition, ["small.yaml"], ONE, share=share, **SERIAL)
        cv.run(workspace, competition, ["small.yaml"], ONE, share=share, **SERIAL)


def test_another_config_does_not_take_over_a_run_that_others_are_at(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    with pytest.raises(JobsFailedError):
        cv.run(workspace, competition, ["small.yaml"], ["optim.lr=1e30"], **SERIAL)
    share = Share(1, 2)
    with (
        lock(workspace.run("small") / ".lock", shared=True),
        pytest.raises(RunMismatchError, match=r"train\.epochs: 3 -> 1"),
    ):
        cv.run(workspace, competition, ["small.yaml"], ONE, share=share, **SERIAL)
    cv.run(workspace, competition, ["small.yaml"], ONE, share=share, **SERIAL)


@pytest.mark.ray
def test_ray_gives_the_hashes_of_serial(tmp_path: Path) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    cv.run(golden, competition, ["small.yaml"], ONE, **SERIAL)
    workspace, competition = make_toy(tmp_path / "ray")
    cv.run(workspace, competition, ["small.yaml"], ONE, executor="ray", device="cpu", n_slots=2)
    assert hashes(workspace, "small") == hashes(golden, "small")


def test_an_address_is_for_ray(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    with pytest.raises(UsageError, match="--address auto: is for --executor ray"):
        cv.run(workspace, competition, ["small.yaml"], address="auto", **SERIAL)
