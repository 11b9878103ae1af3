"""Names and files that try to leave the workspace, to run code or to break a command, through the commands."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from comp import cli
from comp.blending.recipe import read_recipe
from comp.commands import ensemble, leaderboard, submit
from comp.errors import CompError, DataError
from comp.files import Workspace, commit, read_json, write_json

spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
assert spec is not None and spec.loader is not None
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)

LONG = "x" * 5000
COMPETITION = "name: toy\ntask: binary\nclasses: [roof]\ndata:\n  root: data\n  train: [{images: '{id}.png'}]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace in a folder of its own, so that what leaves it is seen."""
    commit(tmp_path / "ws" / "configs" / "competition.yaml", COMPETITION)
    commit(tmp_path / "ws" / "configs" / "small.yaml", "model: {arch: PlainUnet}\n")
    return tmp_path / "ws"


@pytest.mark.parametrize("name", ["../x", "/x", "..", "a\\b", "nul", LONG])
@pytest.mark.parametrize(
    "command",
    [
        ("ensemble", "--name"), ("ensemble", "--member"), ("submit", "--ensemble"), ("submit", "--run"),
        ("leaderboard", "--competition"), ("folds", "--competition"), ("cv", "--config", "small.yaml", "--name"),
    ],
)  # fmt: skip
def test_names_on_the_command_line(root: Path, command: tuple[str, ...], name: str) -> None:
    before = sorted(root.parent.rglob("*"))
    done = typer.testing.CliRunner().invoke(cli.app, [*command, name, "--root", str(root)])
    assert isinstance(done.exception, CompError) and done.exception.exit_code in (2, 3)
    assert len(str(done.exception)) < 400
    assert sorted(root.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["../x", "/x", "", "con", LONG, "a/b", "-x", "=1"])
def test_the_name_of_a_competition(root: Path, name: str) -> None:
    override = ["-o", f"name={json.dumps(name)}", "--root", str(root)]
    done = typer.testing.CliRunner().invoke(cli.app, ["folds", *override])
    assert isinstance(done.exception, CompError) and "use letters" in str(done.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["cv", "--config", LONG],
        ["folds", "-o", f"data.root={LONG}"],
        ["leaderboard", "--root", LONG],
    ],
)
def test_names_too_long_for_files_are_told_in_one_line(
    root: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.argv", ["comp", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Any]:
    """A workspace with a run, an ensemble and a submission."""
    workspace, competition = fake.make_competition(tmp_path_factory.mktemp("doors") / "ws")
    table = fake.make_folds(workspace, competition)
    fake.make_run(workspace, competition, table, "a", 1.2)
    ensemble.run(workspace, competition, ["a"], "e")
    submit.run(workspace, competition)
    return workspace, competition


RECIPES = [
    ("name", "../../out"), ("name", "/tmp/out"), ("competition", "../x"), ("run", "../../x"), ("views", "../../x"),
    ("views", "a/b"), ("name", 7), ("thresholds", ["x"]), ("weight", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), RECIPES)
def test_a_recipe_whose_names_lead_elsewhere_is_refused(
    filled: tuple[Workspace, Any], key: str, value: object
) -> None:
    workspace, competition = filled
    path = workspace.ensemble("e") / "recipe.json"
    kept = path.read_text()
    said = json.loads(kept)
    (said["members"][0] if key in ("run", "views", "weight") else said)[key] = value
    write_json(path, said)
    before = sorted(workspace.root.parent.rglob("*"))
    try:
        with pytest.raises(DataError, match=r"recipe\.json"):
            read_recipe(path)
        with pytest.raises(CompError):
            submit.run(workspace, competition)
        board = leaderboard.run(workspace, competition)
        assert board["ensembles"] == [] and len(board["problems"]) == 1
    finally:
        path.write_text(kept)
    assert sorted(workspace.root.parent.rglob("*")) == before


JUNK: list[dict[str, Any]] = [
    {"submission": "../../x"}, {"submission": "a/b"}, {"submission": 7}, {"submission": ""}, {"cv": {"used": "x"}},
    {"cv": []}, {"cv": {"used": 1, "heldout": 3}}, {"members": 3}, {"members": [3]},
    {"scores": []}, {"scores": {"scores": 3}},
]  # fmt: skip


@pytest.mark.parametrize("change", JUNK)
def test_a_card_of_any_kind_hides_nothing(
    filled: tuple[Workspace, Any], change: dict[str, Any]
) -> None:
    workspace, competition = filled
    [card] = workspace.submissions.glob("*.json")
    odd = write_json(workspace.submissions / "odd.json", read_json(card) | change)
    try:
        board = leaderboard.run(workspace, competition)
    finally:
        odd.unlink()
    names = [row["name"] for row in board["submissions"]]
    assert card.with_suffix(".csv").name in names
    assert len(names) == 2 or [p.partition(":")[0] for p in board["problems"]] == ["card odd.json"]


CVS: list[Any] = [
    [], 7, {"pooled_scores": []}, {"pooled_scores": {"iou_image_mean": "x"}}, {"folds": 3}, {"folds": [3]},
    {"seconds": "x"},    {"n_parameters": []}, {"complete": True},
]  # fmt: skip


@pytest.mark.parametrize("content", CVS)
def test_a_report_of_any_kind_hides_nothing(filled: tuple[Workspace, Any], content: Any) -> None:
    workspace, competition = filled
    path = workspace.run("a") / "cv.json"
    kept = path.read_text()
    write_json(path, {**json.loads(kept), **content} if isinstance(content, dict) else content)
    try:
        board = leaderboard.run(workspace, competition)
        history = leaderboard.run_history(workspace, competition)
    finally:
        path.write_text(kept)
    assert len(board["ensembles"]) == 1 and len(board["runs"]) + len(board["problems"]) == 1
    assert [row["name"] for row in history["runs"]] == ["a"]


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    from comp.jobs.worker import begin_log, job_log

    outside, log = commit(tmp_path / "outside", "precious"), tmp_path / "ws" / "log.txt"
    log.parent.mkdir()
    log.symlink_to(outside)
    begin_log(log, "cpu")
    with job_log(log):
        print("nowhere")
    assert outside.read_text() == "precious"
