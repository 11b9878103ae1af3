"""A run's directory: made, found the same, taken over while nothing in it is finished, else refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comp.config import ModelConfig
from comp.data.samples.pseudo import PseudoMember, PseudoSource
from comp.errors import RunMismatchError
from comp.files import Workspace, commit, read_json
from comp.jobs.plan import PlannedRun, prepare_run
from comp.store.history import HISTORY, list_history
from comp.store.started import read_started


def planned(epochs: int) -> PlannedRun:
    config = ModelConfig.model_validate({"train": {"epochs": epochs}})
    return PlannedRun("net", config, {"device_type": "cpu"}, {"folds_hash": "f"})


def test_a_run_without_a_finished_fold_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path, "toy")
    folder = workspace.run("net")
    prepare_run(workspace, planned(3))
    left = [folder / "fold0" / "checkpoint.0.pt", folder / "fold1" / "checkpoint.1.json"]
    left += [folder / "samples.png", folder / "cv.json"]
    kept = folder / "fold0" / "log.txt"
    for path in (*left, kept):
        commit(path, "x")
    prepare_run(workspace, planned(3))
    assert capsys.readouterr().out == "" and all(path.exists() for path in left)
    prepare_run(workspace, planned(4))
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "config.train.epochs: 3 -> 4" in said
    assert "net: no fold was finished, so its new config is taken over and checkpoints" in said
    assert not any(path.exists() for path in left) and kept.exists()
    meta = read_json(folder / "config.json")
    assert meta["config"]["train"]["epochs"] == 4 and meta["config_hash"] == planned(4).hash
    assert "epochs: 4" in (folder / "config.yaml").read_text()


@pytest.mark.parametrize("left", ["result.json", "weights.last.safetensors"])
def test_a_run_with_a_finished_fold_is_never_taken_over(tmp_path: Path, left: str) -> None:
    workspace = Workspace(tmp_path, "toy")
    prepare_run(workspace, planned(3))
    checkpoint = commit(workspace.fold("net", 0) / "checkpoint.0.pt", "x")
    commit(workspace.fold("net", 4) / left, "{}")
    with pytest.raises(RunMismatchError, match=r"config\.train\.epochs: 3 -> 4\nuse --name"):
        prepare_run(workspace, planned(4))
    assert checkpoint.exists()
    assert read_json(workspace.run("net") / "config.json")["config"]["train"]["epochs"] == 3


def test_pseudo_labels_are_part_of_what_a_run_is(tmp_path: Path) -> None:
    plain = planned(3)
    source = PseudoSource("first", "run", (PseudoMember("first", "none", "h", {"a": "1"}),))
    other = PseudoSource("first", "run", (PseudoMember("first", "none", "h", {"a": "2"}),))
    runs = [plain, replace(plain, pseudo=source), replace(plain, pseudo=other)]
    assert len({run.hash for run in runs}) == 3 and "pseudo" not in plain.identity
    said = ("pseudo: None -> {'run': 'first'", "pseudo.members.first (none).files: ", "-> None")
    for before, now, part in zip(runs, [*runs[1:], plain], said, strict=True):
        workspace = Workspace(tmp_path, f"toy{runs.index(before)}")
        prepare_run(workspace, before)
        commit(workspace.fold("net", 0) / "result.json", "{}")
        prepare_run(workspace, before)
        with pytest.raises(RunMismatchError) as caught:
            prepare_run(workspace, now)
        assert part in str(caught.value)


def test_what_a_run_was_started_with_stands_beside_it_and_is_no_part_of_it(tmp_path: Path) -> None:
    workspace, problems = Workspace(tmp_path, "toy"), list[str]()
    folder = workspace.run("net")
    prepare_run(workspace, planned(3))
    said = read_started(folder)
    assert (
        said is not None
        and said["devices"]
        and {"python", "comp", "torch"} <= set(said["versions"])
    )
    assert read_json(folder / "config.json") == {
        **planned(3).identity,
        "config_hash": planned(3).hash,
    }
    prepare_run(workspace, planned(3))
    assert read_started(folder) == said
    prepare_run(workspace, planned(4))  # taken over: another config of the same run
    again = read_started(folder)
    assert again is not None and again["id"] == said["id"]
    [row] = list_history(workspace, problems)
    assert row["id"] == said["id"] and row["config_hash"] == planned(4).hash and not row["gone"]
    (folder / "config.json").unlink()
    (folder / "started.json").unlink()
    prepare_run(workspace, planned(4))
    assert [row["gone"] for row in list_history(workspace, problems)] == [False, True]
    assert problems == []


def test_trials_leave_no_history(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "toy", "study")
    prepare_run(workspace, planned(3))
    assert read_started(workspace.run("net")) and not (workspace.runs / HISTORY).exists()
