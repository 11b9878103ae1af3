"""`comp leaderboard`: every run, ensemble and submission in one place; what cannot be read is named."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from comp.commands import ensemble, leaderboard, submit
from comp.data.folds.table import write_folds
from comp.files import read_json, write_json
from comp.jobs.processes import describe_process
from comp.store.history import note_run
from tests.processes import REPOSITORY, run_comp

spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
assert spec is not None and spec.loader is not None
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Two runs, one incomplete one, an ensemble, two submissions of which one is scored."""
    workspace, competition = fake.make_competition(tmp_path_factory.mktemp("board"))
    table = fake.make_folds(workspace, competition)
    for name, noise in (("good", 0.8), ("bad", 2.0)):
        fake.make_run(workspace, competition, table, name, noise)
    fake.make_run(workspace, competition, table, "half", 1.0, folds=[1])
    ensemble.run(workspace, competition, ["good", "bad"], "both")
    submit.run(workspace, competition)
    path = submit.run(workspace, competition, run_name="good").with_suffix(".json")
    metric = {"iou_image_mean": 0.1234, "dice_dataset": 0.5}
    parts = {"public": metric, "private": {"iou_image_mean": 0.2345}}
    kept = {"metric": "iou_image_mean", "scores": parts, "n_images": {"public": 2}}
    card = read_json(path) | {"scores": kept}
    write_json(path, card)
    return workspace, competition


def test_everything_is_listed_best_first(filled, capsys):
    board = leaderboard.run(*filled)
    assert [row["name"] for row in board["runs"]] == ["good", "half", "bad"]
    assert [row["complete"] for row in board["runs"]] == [True, False, True]
    assert [row["name"] for row in board["ensembles"]] == ["both"]
    assert board["problems"] == []
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert any(line.startswith("half") and "1/3 incomplete" in line for line in lines)
    assert any("public" in line and "private" in line for line in lines)
    scored = next(line for line in lines if "-good" in line and ".csv" in line)
    assert "0.1234" in scored and "0.2345" in scored
    assert "0.5000" not in scored


def test_json(filled, tmp_path):
    board = leaderboard.run(*filled, tmp_path / "board.json")
    assert json.loads((tmp_path / "board.json").read_text()) == board
    scored = [row for row in board["submissions"] if row["scores"]]
    assert [row["scores"] for row in scored] == [{"public": 0.1234, "private": 0.2345}]
    assert {row["ensemble"] for row in board["submissions"]} == {"both", None}


def test_an_empty_workspace_says_what_to_do(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path)
    leaderboard.run(workspace, competition)
    said = capsys.readouterr().out
    for way in ("comp cv --config A", "comp ensemble", "comp submit"):
        assert f"none yet: {way}" in said


def test_what_cannot_be_read_is_named_and_hides_nothing(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition)
    fake.make_run(workspace, competition, table, "good", 1.0)
    fake.make_run(workspace, competition, table, "torn", 1.0)
    (workspace.fold("torn", 0) / "oof.none.npy").unlink()
    workspace.ensemble("e").mkdir(parents=True)
    (workspace.ensemble("e") / "recipe.json").write_text("{}")
    workspace.submissions.mkdir()
    (workspace.submissions / "x.json").write_text('{"competition": "toy"}')
    (workspace.submissions / "other.json").write_text('{"competition": "else"}')
    (workspace.submissions / "y.json").write_text("{")
    board = leaderboard.run(workspace, competition)
    assert [row["name"] for row in board["runs"]] == ["good"]
    assert [p.split(":")[0] for p in board["problems"]] == [
        "run torn", "ensemble e", "card y.json", "card x.json",
    ]  # fmt: skip
    assert "cannot be read:" in capsys.readouterr().out


def test_a_submission_whose_file_is_gone_is_marked(filled, capsys):
    workspace, competition = filled
    cards = [read_json(p) for p in workspace.submissions.glob("*.json")]
    name = next(card["submission"] for card in cards if card["ensemble"] == "both")
    content = (workspace.submissions / name).read_bytes()
    (workspace.submissions / name).unlink()
    leaderboard.run(workspace, competition)
    (workspace.submissions / name).write_bytes(content)
    assert f"{name} (file gone)" in capsys.readouterr().out


def test_scores_of_other_shapes():
    assert leaderboard.flat_scores({"all": 0.5, "public": {"m": 1}}, "m") == {
        "all": 0.5,
        "public": 1,
    }
    assert leaderboard.flat_scores({"all": {"x": 1}, "note": "typed"}, "m") == {"all": None}


def test_ensembles_are_ranked_by_their_cross_fitted_number(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition)
    for name in ("a", "b"):
        fake.make_run(workspace, competition, table, name, 1.2)
    for name, cross, used in (("low", 0.4, 0.9), ("high", 0.6, 0.5), ("none", None, 0.7)):
        ensemble.run(workspace, competition, name=name)
        path = workspace.ensemble(name) / "recipe.json"
        recipe = read_json(path)
        recipe["scores"] |= {"cross_fitted": cross, "used": used}
        write_json(path, recipe | {"chosen": "single"})
    capsys.readouterr()
    board = leaderboard.run(workspace, competition)
    assert [row["name"] for row in board["ensembles"]] == ["high", "low", "none"]
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("high"))
    assert line.split()[:5] == ["high", "0.6000", "best", "single", "0.5000"]


def test_held_out_scores_are_shown_where_there_are_any(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition, 2)
    folds = (-2, -2, *table.fold[2:])
    table = type(table)(table.ids, folds, table.group, table.stratum, "split", 0, 2)
    write_folds(workspace, table)
    metric = competition.metric_name
    fake.make_run(workspace, competition, table, "a", 1.2, heldout={"none": {metric: 0.4321}})
    fake.make_run(workspace, competition, table, "b", 1.2)
    result = ensemble.run(workspace, competition, ["a"], "one")
    card = read_json(submit.run(workspace, competition).with_suffix(".json"))
    final = result["heldout"][metric]
    assert card["cv"]["heldout"] == {"score": final, "n_images": 2, "of": "the blend"}
    card = read_json(submit.run(workspace, competition, run_name="a").with_suffix(".json"))
    assert card["cv"]["heldout"]["score"] == pytest.approx(0.4321)
    assert card["cv"]["heldout"]["of"] == "mean over folds"
    capsys.readouterr()
    board = leaderboard.run(workspace, competition)
    held = {row["name"]: row["heldout"] for row in board["runs"]}
    assert held == {"a": pytest.approx(0.4321), "b": None}
    assert board["ensembles"][0]["heldout"] == final
    assert {row["heldout"] for row in board["submissions"]} >= {final}
    said = capsys.readouterr().out
    assert said.count("held out") == 3 and "0.4321" in said


@pytest.fixture
def history(tmp_path):
    """Runs that are complete, incomplete, failed, running, killed, damaged, of other folds, and gone."""
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition)
    names = ("complete", "incomplete", "failed", "running", "killed", "damaged", "other", "gone")
    for number, name in enumerate(names):
        few = {"folds": [1]} if name in ("incomplete", "failed", "running", "killed") else {}
        fake.make_run(workspace, competition, table, name, 1.0 + number, **few)
        write_json(
            workspace.run(name) / "started.json",
            {
                "id": name,
                "time": f"2026-01-0{number + 1}T10:20:30.000Z",
                "git": {"commit": "abcdef0123456789", "changed": number == 0},
                "host": "h",
                "devices": ["a processor"],
                "versions": {"torch": "2.9"},
            },
        )
    me = describe_process()
    states = {"failed": ("failed", me), "running": ("running", me)}
    states["killed"] = ("running", {**me, "pid": 2**22 + 1})
    for name, (state, process) in states.items():
        said = {"state": state, "process": process, "started": 10.0, "updated": 40.0}
        write_json(workspace.fold(name, 0) / "status.json", said)
    (workspace.fold("damaged", 0) / "oof.none.npy").unlink()
    meta = workspace.run("other") / "config.json"
    write_json(meta, {**read_json(meta), "folds_hash": "0123456789abcdef"})
    note_run(workspace, "gone")
    shutil.rmtree(workspace.run("gone"))
    return workspace, competition


def test_the_history_has_a_row_a_run_newest_first(history, tmp_path, capsys):
    files = tmp_path / "h.json", tmp_path / "h.csv"
    board = leaderboard.run_history(*history, *files, price_per_hour=36.0)
    assert [(row["name"], row["state"]) for row in board["runs"]] == [
        ("gone", "gone"), ("other", "complete"), ("damaged", "damaged"), ("killed", "killed"),
        ("running", "running"), ("failed", "failed"), ("incomplete", "incomplete"), ("complete", "complete"),
    ]  # fmt: skip
    rows = {row["name"]: row for row in board["runs"]}
    assert [rows[n]["present_folds"] for n in ("complete", "other")] == [True, False]
    assert rows["failed"]["seconds"] == 1.0 and rows["failed"]["device_seconds"] == 31.0
    assert rows["failed"]["cost"] == 0.31 and len(rows["complete"]["folds"]) == 3
    assert rows["complete"]["parent"] is None and rows["incomplete"]["parent"] == "complete"
    assert {"key": "noise", "from": "1.0", "to": "2.0"} in rows["incomplete"]["changes"]
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert "noise: 1.0 -> 2.0" in lines["incomplete"] and "1/3" in lines["incomplete"]
    assert "abcdef01+" in lines["complete"] and "012345*" in lines["other"]
    assert "0.31" in lines["failed"] and "2026-01-03 10:20" in lines["failed"]
    assert "* of other folds than those of now" in said and "gone: the folder is" in said
    assert json.loads(files[0].read_text()) == json.loads(json.dumps(board))
    with open(files[1], newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["run"] for row in written] == [row["name"] for row in board["runs"]]
    assert written[-1]["torch"] == "2.9" and written[-1]["git_changed"] == "True"
    assert written[-1]["standard_error"] == str(rows["complete"]["error"])


def test_the_history_of_an_empty_workspace(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path)
    board = leaderboard.run_history(workspace, competition, None, tmp_path / "h.csv")
    assert board["runs"] == [] and "none yet: comp cv --config A" in capsys.readouterr().out
    assert (tmp_path / "h.csv").read_text() == "run\n"


def test_a_status_of_any_kind_breaks_no_listing(history):
    workspace, competition = history
    process = describe_process()
    for said in ({"state": [], "process": process}, {"process": {"pid": "x"}, "state": "running"}):
        write_json(workspace.fold("incomplete", 0) / "status.json", said)
        board = leaderboard.run_history(workspace, competition)
        assert len(board["runs"]) == 8
    far = {"state": "running", "process": {"pid": 1, "host": "far"}, "updated": "x"}
    write_json(workspace.fold("incomplete", 0) / "status.json", far)
    assert len(leaderboard.run_history(workspace, competition)["runs"]) == 8


def test_options_of_the_history_want_it(tmp_path):
    fake.make_competition(tmp_path)
    done = run_comp("leaderboard", "--csv", "x.csv", "--root", str(REPOSITORY), cwd=tmp_path)
    assert done.returncode == 2 and "--csv goes with --runs" in done.stderr
    assert not (tmp_path / "x.csv").exists()
