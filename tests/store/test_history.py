"""The history of runs: what stands in folders and in history.jsonl; nothing found there breaks the listing."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from comp.errors import StoppedError
from comp.files import Workspace, commit, read_json, write_json
from comp.store import history, write_result
from comp.store.history import (
    HISTORY,
    UNSET,
    add_changes,
    blank_row,
    flatten,
    list_history,
    look_at_run,
    note_run,
    read_history,
)
from comp.store.started import STARTED, git_state, read_started, write_started


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "toy")


def make_run(
    workspace: Workspace, name: str, time: str = "2026-01-01T00:00:00.000Z", **config: Any
) -> Path:
    """A run's folder with two finished folds and one that was begun."""
    folder = workspace.run(name)
    write_json(folder / STARTED, {"id": f"id-{name}", "time": time, "versions": {"torch": "2"}})
    said = {"config": config, "compute": {"device_type": "cpu"}, "data": {"content": "d1"}}
    said |= {"folds_hash": "f1", "config_hash": f"hash-{name}"}
    write_json(folder / "config.json", said)
    for fold, score in ((0, 0.5), (1, 0.7)):
        (folder / f"fold{fold}").mkdir()
        result = {"score": score, "seconds": 10.0, "metric": "m", "folds_hash": "f1"}
        write_result(folder / f"fold{fold}", result, [])
    write_json(folder / "fold2" / "status.json", {"started": 100.0, "updated": 104.0})
    return folder


def test_a_run_as_its_folder_tells_it(workspace: Workspace) -> None:
    row = look_at_run(make_run(workspace, "a", optim={"lr": 0.1}))
    assert (row["id"], row["name"], row["config_hash"]) == ("id-a", "a", "hash-a")
    assert (row["data_hash"], row["folds_hash"], row["metric"]) == ("d1", "f1", "m")
    assert row["score"] == pytest.approx(0.6) and row["folds"] == [0, 1]
    assert row["error"] == pytest.approx(math.sqrt(0.02) / math.sqrt(2))
    assert row["seconds"] == 20.0 and row["device_seconds"] == 24.0
    assert row["n_folds"] is None and row["damaged"] is None
    write_json(workspace.run("a") / "cv.json", {"n_folds": 3})
    assert look_at_run(workspace.run("a"))["n_folds"] == 3


def test_one_fold_has_no_error_and_a_score_that_is_no_number_is_left_out(
    workspace: Workspace,
) -> None:
    folder = make_run(workspace, "a")
    write_json(folder / "fold1" / "result.json", {"score": None, "seconds": 1.0})
    row = look_at_run(folder)
    assert row["score"] == 0.5 and row["error"] is None and row["seconds"] == 11.0


def test_a_deleted_run_keeps_its_row_and_a_renamed_one_is_known_again(
    workspace: Workspace,
) -> None:
    for name in ("gone", "old", "here"):
        make_run(workspace, name)
        note_run(workspace, name)
    shutil.rmtree(workspace.run("gone"))
    workspace.run("old").rename(workspace.run("new"))
    problems: list[str] = []
    rows = {row["name"]: row for row in list_history(workspace, problems)}
    assert problems == []
    assert {name: row["gone"] for name, row in rows.items()} == {
        "here": False, "new": False, "gone": True,
    }  # fmt: skip
    assert rows["gone"]["score"] == pytest.approx(0.6) and rows["new"]["id"] == "id-old"


def test_the_last_line_of_a_run_counts(workspace: Workspace) -> None:
    folder = make_run(workspace, "a")
    note_run(workspace, "a")
    (folder / "fold0" / "result.json").unlink()
    note_run(workspace, "a")
    assert len((workspace.runs / HISTORY).read_bytes().splitlines()) == 2
    assert read_history(workspace.runs / HISTORY, [])["id-a"]["score"] == 0.7


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_torn_tail_costs_its_own_line_only(workspace: Workspace, cut: int) -> None:
    for name in ("a", "b"):
        make_run(workspace, name)
        note_run(workspace, name)
    path = workspace.runs / HISTORY
    path.write_bytes(path.read_bytes()[:-cut])
    problems: list[str] = []
    whole = 2 if cut == 1 else 1  # without its line end the last line is still whole
    assert len(read_history(path, problems)) == whole
    assert problems == ([] if whole == 2 else [f"{HISTORY}: 1 damaged line left out"])
    note_run(workspace, "b")  # goes on behind it
    assert sorted(read_history(path, [])) == ["id-a", "id-b"]


LINES = [
    b"\xff\xfe\x00", b"[]", b"7", b'"x"', b"{}", b'{"id": 1}', b"[" * 200_000, b'{"id":"x","name":"x","score":"=1"}',
    b'{"id":"x","name":"x","folds":7}', b'{"id":"x","name":"x","git":{"commit":[]}}',
    b'{"id":"x","name":"x","started":null}', b'{"id":"x","name":"x","identity":[1]}',
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_any_kind_is_left_out_and_counted(workspace: Workspace, line: bytes) -> None:
    make_run(workspace, "a")
    note_run(workspace, "a")
    path = workspace.runs / HISTORY
    path.write_bytes(line + b"\n" + path.read_bytes())
    problems: list[str] = []
    rows = list_history(workspace, problems)
    add_changes(rows)
    assert [row["name"] for row in rows] == ["a"]
    assert problems == [f"{HISTORY}: 1 damaged line left out"]


HURT = {
    "config.json": [b"", b"{", b"[]", b"7", b'{"config": 1}', b"[" * 200_000, b"\xff"],
    "config.json of odd kinds": [
        b'{"config": {}, "data": 3}', b'{"config": {}, "config_hash": {}}',
        b'{"config": {}, "folds_hash": 3}',
    ],
    "fold0/result.json": [b"", b"[]", b"{", b'{"files": 3}', b'{"files": {"x": 3}}', b'{"files": {"x": {}}}'],
}  # fmt: skip


@pytest.mark.parametrize(
    ("where", "content"), [(where, content) for where, all_ in HURT.items() for content in all_]
)
def test_a_damaged_run_is_named_and_hides_no_other(
    workspace: Workspace, where: str, content: bytes
) -> None:
    make_run(workspace, "good")
    folder = make_run(workspace, "hurt")
    note_run(workspace, "hurt")
    (folder / where.partition(" ")[0]).write_bytes(content)
    (folder / "fold0" / "x").write_bytes(b"1")
    problems: list[str] = []
    rows = {row["name"]: row for row in list_history(workspace, problems)}
    assert sorted(rows) == ["good", "hurt"] and rows["hurt"]["damaged"] and not rows["hurt"]["gone"]
    assert len(problems) == where.startswith("config")
    add_changes(list(rows.values()))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (STARTED, b"{"), (STARTED, b'{"id": "id-a", "time": 3}'), ("cv.json", b"[" * 200_000),
        ("cv.json", b'{"n_folds": "x"}'), ("fold2/status.json", b'{"started": "x", "updated": []}'),
        ("fold2/status.json", b"[" * 200_000), ("fold2/status.json", b"[1]"),
    ],
)  # fmt: skip
def test_words_beside_a_run_may_be_junk(workspace: Workspace, file: str, content: bytes) -> None:
    folder = make_run(workspace, "a")
    (folder / file).write_bytes(content)
    row = look_at_run(folder)
    assert row["damaged"] is None and row["score"] == pytest.approx(0.6)


def test_what_is_no_run_is_not_listed(workspace: Workspace) -> None:
    make_run(workspace, "a")
    (workspace.runs / ".shares").mkdir()
    (workspace.runs / "empty").mkdir()
    (workspace.runs / "note.txt").write_text("x")
    (workspace.runs / "loop").symlink_to("loop")
    (workspace.runs / "half").mkdir()
    (workspace.runs / "half" / "config.yaml").write_text("x")
    problems: list[str] = []
    rows = list_history(workspace, problems)
    assert [row["name"] for row in rows] == ["a", "half"]
    assert len(problems) == 1 and "half" in problems[0] and "config.json" in problems[0]
    assert list_history(Workspace(workspace.root, "none"), problems) == []


def test_names_of_any_bytes_can_be_written(workspace: Workspace) -> None:
    folder = make_run(workspace, "a")
    odd = os.fsencode(workspace.runs) + b"/=cmd|\xff\x1b[2J"
    os.rename(folder, odd)
    rows = list_history(workspace, [])
    assert rows[0]["name"] == "=cmd|\\udcff\x1b[2J"
    json.dumps(rows, ensure_ascii=False).encode()


def test_the_parent_is_the_earlier_run_most_like_it(workspace: Workspace) -> None:
    times = [f"2026-01-0{day}T00:00:00.000Z" for day in range(1, 5)]
    make_run(workspace, "first", times[0], optim={"lr": 0.1}, train={"epochs": 1}, augment=[])
    make_run(workspace, "other", times[1], optim={"lr": 0.9}, train={"epochs": 9})
    flip = [{"Flip": {"p": 0.5}}]
    make_run(workspace, "third", times[2], optim={"lr": 0.3}, train={"epochs": 1}, augment=flip)
    make_run(workspace, "again", times[3], optim={"lr": 0.3}, train={"epochs": 1}, augment=flip)
    rows = list_history(workspace, [])
    add_changes(rows)
    assert [row["name"] for row in rows] == ["again", "third", "other", "first"]
    assert [row["parent"] for row in rows] == ["third", "first", "first", None]
    assert rows[0]["changes"] == [] and rows[3]["changes"] is None
    assert rows[1]["changes"] == [
        {"key": "augment.0.Flip.p", "from": UNSET, "to": "0.5"},
        {"key": "optim.lr", "from": "0.1", "to": "0.3"},
    ]


def test_of_runs_equally_near_the_latest_is_the_parent() -> None:
    rows = []
    for name, day, lr in (("c", "3", 3), ("b", "2", 2), ("a", "1", 1)):
        identity = {"config": {"lr": lr}, "compute": {"threads": 1}}
        rows.append(blank_row(name, name) | {"started": day, "identity": identity})
    add_changes(rows)
    assert [row["parent"] for row in rows] == ["b", "a", None]


def test_flatten() -> None:
    value = {"a": {"b": 1e-5, "c": None}, "l": [1, 2], "m": [{"x": "t"}, [3]], "e": {}, "t": True}
    assert flatten(value) == {
        "a.b": "1e-05", "a.c": "null", "l": "[1, 2]", "m.0.x": "t", "m.1": "[3]", "t": "true",
    }  # fmt: skip


def test_a_history_that_cannot_be_written_stops_nothing(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(workspace, "a")
    (workspace.runs / HISTORY).mkdir()
    note_run(workspace, "a")
    assert "a: not added to runs/toy/history.jsonl" in capsys.readouterr().out
    problems: list[str] = []
    assert len(list_history(workspace, problems)) == 1 and len(problems) == 1


def test_what_a_killed_writer_left_goes_and_a_signal_is_heard(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(workspace, "a")
    stale = commit(workspace.runs / f".{HISTORY}.1.2.tmp", "x")
    note_run(workspace, "a")
    assert not stale.exists()

    def stop(*_: Any) -> None:
        raise StoppedError("stopped", 15)

    monkeypatch.setattr(history, "commit", stop)
    with pytest.raises(StoppedError):
        note_run(workspace, "a")
    assert len((workspace.runs / HISTORY).read_bytes().splitlines()) == 1


def test_writers_at_once_lose_no_line(workspace: Workspace) -> None:
    for n in range(12):
        make_run(workspace, f"r{n}")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: note_run(workspace, f"r{n}"), range(12)))
    assert len(read_history(workspace.runs / HISTORY, [])) == 12


def test_trials_of_a_study_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "look_at_run", lambda folder: pytest.fail("looked at"))
    note_run(Workspace(tmp_path, "toy", "study"), "trial")


def test_what_a_run_was_started_with(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "toy" / "a"
    said = write_started(folder, tmp_path, ["a processor"])
    assert read_started(folder) == said == read_json(folder / STARTED)
    assert {"python", "comp", "numpy"} <= set(said["versions"]) and said["devices"]
    again = write_started(folder, tmp_path, ["other"])
    assert again["id"] == said["id"] and again["time"] >= said["time"]
    assert write_started(folder.with_name("b"), tmp_path, [])["id"] != said["id"]


def test_asking_git_starts_no_program_that_a_repository_names(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    commit(tmp_path / "note.txt", "one")
    subprocess.run([*git, "add", "note.txt"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/PWNED\n")
    hook.chmod(0o755)
    subprocess.run([*git, "config", "core.fsmonitor", str(hook)], check=True)
    subprocess.run([*git, "status"], check=True, capture_output=True)
    assert (tmp_path / "PWNED").exists()  # git itself would
    (tmp_path / "PWNED").unlink()
    state = git_state(tmp_path)
    assert state is not None and state["changed"] is False and len(state["commit"]) == 40
    assert not (tmp_path / "PWNED").exists()
    assert git_state(tmp_path / "none") is None
