"""`comp status`: what it says of every state a job can be in, from files alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from comp.commands import status
from comp.errors import UsageError
from comp.files import Workspace, commit, write_json
from comp.jobs.processes import describe_process
from comp.jobs.status import write_status
from tests.processes import run_comp, run_python

COMPETITION = """
name: toy
task: binary
classes: [thing]
data: {root: data, train: [{images: "images/{id}.png", masks: "masks/{id}.png"}]}
folds: {scheme: kfold, n_splits: 9}
"""
GONE = {"pid": 2**22 + 1, "host": "", "born": 1}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    commit(tmp_path / "configs" / "competition.yaml", COMPETITION)
    found = Workspace(tmp_path, "toy")
    write_json(found.folds_json, {"n_splits": 9})
    write_json(found.run("net") / "config.json", {})
    return found


def say(workspace: Workspace, fold: int, state: str, process: dict[str, Any], **more: Any) -> None:
    folder = workspace.fold("net", fold)
    folder.mkdir(parents=True, exist_ok=True)
    write_status(folder, {"job": f"net/fold{fold}", "state": state, "process": process, **more})


def every_state(workspace: Workspace) -> None:
    here = describe_process()
    gone = {**GONE, "host": here["host"]}
    there = {**here, "host": "elsewhere"}
    place = {"stage": "trains", "epoch_now": 3, "epochs": 20, "step": 9, "steps": 40}
    numbers = {"metric": "iou", "value": 0.8123, "images_per_second": 41.26, "left": 200.0}
    say(workspace, 0, "running", here, started=time.time() - 30, **place, **numbers)
    say(workspace, 1, "waiting", here)
    say(workspace, 2, "running", gone, **place)
    say(workspace, 3, "failed", gone, error="disk full\nmore", **place)
    commit(workspace.fold("net", 3) / "log.txt", "Traceback")
    say(workspace, 4, "stopped", gone, **place)
    say(workspace, 5, "running", gone)
    result = {"score": 0.75, "seconds": 84.2, "metric": "iou", "epochs": 20}
    write_json(workspace.fold("net", 5) / "result.json", result)
    say(workspace, 6, "waiting", gone)
    say(workspace, 7, "running", there, **place)
    path = workspace.fold("net", 7) / "status.json"
    write_json(path, {**json.loads(path.read_text()), "updated": time.time() - 700})


def test_every_state_is_told_from_the_others(workspace: Workspace) -> None:
    every_state(workspace)
    found = status.look(workspace)
    assert [job["state"] for job in found["jobs"]] == [
        "running",
        "waiting",
        "killed",
        "failed",
        "stopped",
        "done",
        "not started",
        "silent",
        "not started",
    ]
    first = found["jobs"][0]
    assert first["alive"] is True and first["pid"] == os.getpid()
    assert 195 <= first["seconds_left"] <= 200
    # this one, then the one that waits: as long as the mean of 84 s and of 30 + 200 s
    assert found["seconds_left"] == pytest.approx(200 + (84.2 + 230) / 2, abs=5)
    write_status(workspace.fold("net", 7), json.loads(
        (workspace.fold("net", 7) / "status.json").read_text()
    ))  # fmt: skip
    assert status.look(workspace)["jobs"][7]["state"] == "running"


def test_what_a_person_reads(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert "comp cv" in status.render(status.look(Workspace(workspace.root, "other")))[0]
    every_state(workspace)
    status.run(workspace)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("toy: 9 jobs: 1 running, 1 waiting, 1 silent, 1 killed, 1 failed")
    assert lines[0].endswith("about 5 min 57 s left") or "min" in lines[0]
    assert lines[1].split() == ["job", "state", "epoch", "metric", "img/s", "left", "process"]
    running = " ".join(lines[2].split())
    assert running.startswith("net/fold0 running 3/20 step 9/40 iou 0.8123 41.3 3 min")
    assert f"pid {os.getpid()} on" in running and running.endswith("alive")
    assert lines[4].split()[:2] == ["net/fold2", "killed"] and lines[4].endswith("gone")
    assert lines[7].split()[1:4] == ["done", "20", "in"]
    assert "on elsewhere, not seen from here, last heard 11 min 40 s ago" in lines[9]
    log = os.path.join("runs", "toy", "net", "fold3", "log.txt")
    assert lines[-2] == f"net/fold3: disk full (log: {log})"
    assert lines[-1] == "the same command again goes on with what is not done"
    for columns in (10, 40, 80):
        small = status.render(status.look(workspace), columns)
        assert all(len(line) <= columns for line in small[1:11])
    assert status.fit(["a"] * 9, 4) == ["a", "a", "a", "... and 6 more lines"]


def test_files_that_nobody_can_read_are_no_obstacle(workspace: Workspace) -> None:
    for fold, text in enumerate(("", "{", "[]", '{"process": {}}', '{"process": {"pid": "x"}}')):
        commit(workspace.fold("net", fold) / "status.json", text)
    commit(workspace.fold("net", 5) / "result.json", "{")
    found = status.look(workspace)
    assert {job["state"] for job in found["jobs"]} == {"not started"}
    assert "cannot read" in found["jobs"][5]["error"]
    workspace.folds_json.unlink()
    assert len(status.look(workspace)["jobs"]) == 6


def test_one_run_and_one_that_is_not_there(workspace: Workspace) -> None:
    write_json(workspace.run("other") / "config.json", {})
    assert {job["run"] for job in status.look(workspace, ["other"])["jobs"]} == {"other"}
    with pytest.raises(UsageError, match="--run: unknown run 'nett'; did you mean 'net'"):
        status.look(workspace, ["nett"])


def test_watching_ends_with_the_last_job(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, looks = describe_process(), []
    say(workspace, 0, "running", here)

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        say(workspace, 0, "failed" if len(looks) == 2 else "running", here, error="full")

    monkeypatch.setattr(status.time, "sleep", sleep)
    found = status.run(workspace, watch=True)
    assert len(looks) == 2 and found["counts"]["failed"] == 1
    assert capsys.readouterr().out.count("toy: 9 jobs") == 3


def test_from_another_shell(workspace: Workspace) -> None:
    every_state(workspace)
    told = run_comp("status", "--json", "--run", "net", cwd=workspace.root)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["counts"]["running"] == 1
    told = run_comp("status", cwd=workspace.root)
    assert told.returncode == 0 and "net/fold2" in told.stdout
    told = run_comp("status", "--json", "--watch", cwd=workspace.root)
    assert told.returncode == 2 and "choose one" in told.stderr
    told = run_comp("status", "--run", "x", cwd=workspace.root)
    assert told.returncode == 2 and "Traceback" not in told.stderr


def test_it_starts_without_torch() -> None:
    code = "import sys, comp.commands.status; print({'torch', 'cv2', 'pandas'} & set(sys.modules))"
    assert run_python(code).strip() == "set()"
