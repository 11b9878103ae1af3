"""`comp tune` from config to tuned config: a whole study, gone on with, cut short by kills, and refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from comp.commands import cv, tune
from comp.config import load_competition
from comp.errors import (
    CompError,
    ConfigError,
    DiskError,
    JobsFailedError,
    RunMismatchError,
    UsageError,
)
from comp.files import Workspace, commit, read_json
from comp.tuning.trials import Trials
from comp.tuning.wanted import Wanted, choose_config, read_duration
from tests.test_road import make_toy

SEARCHED = """extends: small.yaml
tune:
  optim.lr: {low: 1e-3, high: 1e-1, log: true}
  loss.dice.weight: {low: 0.1, high: 10, log: true}
  optim.name: [AdamW, SGD]
"""


def make(root: Path) -> tuple[Workspace, Any]:
    workspace, competition = make_toy(root)
    commit(root / "configs" / "searched.yaml", SEARCHED)
    return workspace, competition


def wanted(**more: Any) -> Wanted:
    options: dict[str, Any] = {"config": "searched.yaml", "trials": 4, "epochs": 2, "confirm": 0}
    return Wanted(**{**options, "device": "cpu", "executor": "serial", **more})


def table(value: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What two studies are compared by: each trial without its times."""
    keys = ("index", "state", "params", "scores", "pruned_at")
    return [tuple(repr(row[key]) for key in keys) for row in value["trials"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A study of four trials with its best ones run again, and its value."""
    root = tmp_path_factory.mktemp("whole")
    workspace, competition = make(root)
    return root, tune.run(workspace, competition, wanted(confirm=2))


def test_a_study_ends_with_a_report_and_a_tuned_config(whole: tuple[Path, dict[str, Any]]) -> None:
    root, value = whole
    assert [row["index"] for row in value["trials"]] == [0, 1, 2, 3]
    first = value["trials"][0]
    assert first["params"]["optim.lr"] == 0.01 and first["params"]["optim.name"] == '"AdamW"'
    folder = root / "studies" / "toy" / "searched"
    names = {path.name for path in folder.iterdir()}
    assert {"study.db", "study.json", "report.md", "history.png", "slices.png"} <= names
    assert read_json(folder / "study.json")["trials"][0]["params"] == first["params"]
    text = (folder / "report.md").read_text()
    assert "## Verdict" in text and "0 (untuned)" in text
    confirmed = value["confirmed"]
    assert confirmed["folds"] == [0, 1] and len(confirmed["seeds"]) == 2
    assert all(len(rows) == 2 == len(rows[0]) for rows in confirmed["scores"].values())
    written = (root / value["tuned"]).read_text()
    assert "extends: small.yaml" in written or "extends: searched.yaml" in written
    assert "study: searched" in written and confirmed["sentence"] in " ".join(written.split("# "))


def test_the_tuned_config_runs_and_its_report_says_where_it_comes_from(
    whole: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, value = whole
    competition = load_competition(root)
    name = Path(value["tuned"]).name
    cv.run(Workspace(root, "toy"), competition, [name], executor="serial", device="cpu")
    said = "selected on these folds: 0, 1"
    assert said in capsys.readouterr().out
    assert said in (root / "runs" / "toy" / Path(name).stem / "cv.md").read_text()


def test_again_it_is_all_done_and_more_trials_go_on(
    whole: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, value = whole
    workspace, competition = Workspace(root, "toy"), load_competition(root)
    again = tune.run(workspace, competition, wanted(confirm=2))
    assert again == value
    assert "epoch" not in capsys.readouterr().out.replace("epochs", "")
    more = tune.run(workspace, competition, wanted(trials=5))
    assert table(more)[:4] == table(value) and len(more["trials"]) == 5


def test_one_that_is_killed_ends_as_one_that_was_not(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, value = whole
    make(tmp_path)
    command = [sys.executable, "-m", "comp", "tune", "--config", "searched.yaml", "--trials", "4"]
    command += ["--epochs", "2", "--confirm", "0", "--device", "cpu", "--slots", "1"]
    for line in ("trial0  epoch 2/", "trial2  epoch 3/"):
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            assert process.stdout is not None
            for text in process.stdout:
                if line in text:
                    break
            else:
                pytest.fail(f"{line!r} was never said")
            os.killpg(process.pid, signal.SIGKILL)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = read_json(tmp_path / "studies" / "toy" / "searched" / "study.json")
    assert table(found) == table(value)
    assert sum(row["attempts"] for row in found["trials"]) == 6


def test_ctrl_c_gives_the_trial_back(tmp_path: Path) -> None:
    make(tmp_path)
    command = [sys.executable, "-m", "comp", "tune", "--config", "searched.yaml", "--trials", "2"]
    command += ["--epochs", "4000", "--confirm", "0", "--device", "cpu", "--slots", "1"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for text in process.stdout:
            if "trial0  epoch 3/" in text:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        said = process.stderr.read()
    assert process.returncode == 130 and "run the same command to go on" in said
    assert time.monotonic() - began < 30
    from comp.tuning.storage import sqlite_url
    from comp.tuning.study import Study

    study = Study.load(
        sqlite_url(tmp_path / "studies" / "toy" / "searched" / "study.db"), "searched"
    )
    (row,) = study.rows()
    study.close()
    assert row.state == "STALE" and row.reported


def test_another_space_or_other_folds_are_another_study(
    whole: tuple[Path, dict[str, Any]],
) -> None:
    root, _ = whole
    workspace, competition = Workspace(root, "toy"), load_competition(root)
    with pytest.raises(RunMismatchError, match=r"folds.*--study NAME"):
        tune.run(workspace, competition, wanted(folds=[0]))
    with pytest.raises(RunMismatchError, match="epochs"):
        tune.run(workspace, competition, wanted(epochs=3))


def test_a_fold_of_its_own_is_confirmed_on(tmp_path: Path) -> None:
    workspace, competition = make(tmp_path)
    value = tune.run(workspace, competition, wanted(trials=3, folds=[1], confirm=1, epochs=1))
    assert value["confirmed"]["folds"] == [0]
    assert "comp cv --config" in (tmp_path / "studies/toy/searched/report.md").read_text()


def test_a_trial_that_fails_is_a_row_and_five_in_a_row_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, competition = make(tmp_path)
    from comp.train import loop

    train, broken = loop.run_epoch, {1, 3}

    def run_epoch(of: Any, *rest: Any) -> Any:
        if int(of.job.run.removeprefix("trial")) in broken:
            raise CompError("the loss is nan by epoch 1 step 1")
        return train(of, *rest)

    monkeypatch.setattr(loop, "run_epoch", run_epoch)
    value = tune.run(workspace, competition, wanted(trials=5, epochs=1))
    states = [row["state"] for row in value["trials"]]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert value["trials"][1]["error"] == "the loss is nan by epoch 1 step 1"
    broken |= set(range(99))
    with pytest.raises(JobsFailedError, match="5 trials failed one after another"):
        tune.run(workspace, competition, wanted(trials=19, epochs=1, study="broken"))


def test_what_is_no_fault_of_a_trial_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, competition = make(tmp_path)
    from comp.train import loop

    train, full = loop.run_epoch, [True]

    def run_epoch(of: Any, *rest: Any) -> Any:
        if of.job.run == "trial1" and full[0]:
            raise DiskError("disk full")
        return train(of, *rest)

    monkeypatch.setattr(loop, "run_epoch", run_epoch)
    with pytest.raises(DiskError, match="trial 1: disk full"):
        tune.run(workspace, competition, wanted(trials=3, epochs=1))
    said = read_json(tmp_path / "studies" / "toy" / "searched" / "study.json")
    assert [row["state"] for row in said["trials"]] == [
        "COMPLETE",
        "STALE",
    ]  # reported all the same
    full[0] = False
    value = tune.run(workspace, competition, wanted(trials=3, epochs=1))
    assert [row["state"] for row in value["trials"]] == ["COMPLETE"] * 3
    assert value["trials"][1]["params"] == said["trials"][1]["params"]


def test_a_trial_whose_machine_is_gone_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, competition = make(tmp_path)
    from comp.tuning import claims, lease, searching

    monkeypatch.setattr(lease, "STALE_SECONDS", 2.0)
    monkeypatch.setattr(searching, "STALE_SECONDS", 2.0)
    here = lease.make_lease()
    monkeypatch.setattr(claims, "make_lease", lambda: {**here, "host": "elsewhere"})
    with monkeypatch.context() as patch:
        patch.setattr(Trials, "give_back", lambda self: None)
        patch.setattr("comp.train.loop.run_epoch", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune.run(workspace, competition, wanted(trials=2, epochs=1))
    monkeypatch.setattr(claims, "make_lease", lambda: here)
    value = tune.run(workspace, competition, wanted(trials=2, epochs=1))
    assert [row["state"] for row in value["trials"]] == ["COMPLETE", "COMPLETE"]
    assert value["trials"][0]["attempts"] == 2
    assert "waiting to see whether trial 0 still run" in capsys.readouterr().out


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_leftovers_of_another_study_are_not_taken_for_its_own(tmp_path: Path) -> None:
    workspace, competition = make(tmp_path)
    tune.run(workspace, competition, wanted(trials=2, epochs=1))
    with pytest.raises(UsageError, match="cannot learn from itself"):
        tune.run(workspace, competition, wanted(trials=2, epochs=1, earlier=("searched",)))
    (tmp_path / "studies" / "toy" / "searched" / "study.db").unlink()
    with pytest.raises(
        RunMismatchError, match=r"holds trials of a study that is gone.*--study NAME"
    ):
        tune.run(workspace, competition, wanted(trials=2, epochs=2))


def test_a_network_that_cannot_be_built_is_said_before_any_training(tmp_path: Path) -> None:
    workspace, competition = make(tmp_path)
    commit(
        tmp_path / "configs" / "wide.yaml",
        "extends: small.yaml\ntune: {model.filters: [4, x]}\n",
    )
    with pytest.raises(ConfigError, match=r'tune.model.filters: choice "x"'):
        tune.run(workspace, competition, wanted(config="wide.yaml"))
    assert not list((tmp_path / "studies").glob("**/result.json"))


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    workspace, competition = make(tmp_path)
    value = tune.run(
        workspace, competition, wanted(objectives=("score", "seconds"), epochs=1, trials=3)
    )
    assert value["greater_is_better"] == [True, False] and value["front"]
    assert all(len(row["values"]) == 2 for row in value["trials"])
    assert (tmp_path / "studies" / "toy" / "searched" / "pareto.png").is_file()


def test_what_an_earlier_study_learnt_joins(
    whole: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = whole
    workspace, competition = Workspace(root, "toy"), load_competition(root)
    tune.run(
        workspace,
        competition,
        wanted(study="second", earlier=("searched",), trials=2, epochs=1, folds=[0]),
    )
    assert "--from searched:" in capsys.readouterr().out


def test_which_config_is_tuned(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    with pytest.raises(UsageError, match=r"no config has a tune: section.*other.yaml.*small.yaml"):
        choose_config(workspace, None)
    commit(tmp_path / "configs" / "searched.yaml", SEARCHED)
    assert choose_config(workspace, None).name == "searched.yaml"
    commit(tmp_path / "configs" / "more.yaml", SEARCHED)
    with pytest.raises(UsageError, match=r"2 configs have a tune: section.*more.yaml"):
        choose_config(workspace, None)
    commit(tmp_path / "configs" / "more.yaml", "extends: searched.yaml\ntuned: {}\n")
    assert (
        choose_config(workspace, None).name == "searched.yaml"
    )  # what it found is no search of its own
    cv.run(workspace, competition, ["other.yaml"], executor="serial", device="cpu")
    assert choose_config(workspace, None).name == "other.yaml"


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"objectives": ("seconds",)}, UsageError, "--objectives seconds: expected score"),
        ({"objectives": ("score", "beauty")}, UsageError, "--objectives score,beauty"),
        ({"folds": [5]}, UsageError, "--folds: no fold 5"),
        ({"confirm_folds": [7], "confirm": 1}, UsageError, "--confirm-folds: no fold 7"),
        ({"sampler": "tpx"}, CompError, "tpx"),
        ({"pruner": "medain"}, CompError, "median"),
        ({"storage": "mysql://host/db"}, UsageError, "postgresql"),
        ({"storage": "postgresql://nobody@127.0.0.1:1/none"}, UsageError, "127.0.0.1"),
        ({"study": "../out"}, UsageError, "study name"),
        ({"overrides": ("optim.lr=0.5e-9", "optm.lr=1")}, ConfigError, "optm"),
        ({"address": "auto"}, UsageError, "--executor ray"),
        ({"max_seconds": 0.0}, UsageError, "--max-seconds 0: expected more than 0"),
        ({"timeout": 0.0}, UsageError, "--timeout 0: expected more than 0"),
        ({"earlier": ("never",)}, CompError, "never"),
    ],
)
def test_bad_input_is_one_clear_message(
    more: dict[str, Any], error: type[CompError], says: str, tmp_path: Path
) -> None:
    workspace, competition = make(tmp_path)
    with pytest.raises(error, match=says.replace("(", r"\(")):
        tune.run(workspace, competition, wanted(trials=1, epochs=1, **more))


def test_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert [read_duration(t) for t in ("600", "90m", "8h", "1.5h", "2d")] == [
        600,
        5400,
        28800,
        5400,
        172800,
    ]
    with pytest.raises(UsageError, match="600, 90m or 8h"):
        read_duration("soon")
