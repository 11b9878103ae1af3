"""`comp cv --pseudo`: the road with pseudo-labels, its identity, what a crash leaves, and what is fold-safe."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.commands import cv, ensemble
from comp.config import Competition
from comp.errors import ConfigError, JobsFailedError, RunMismatchError, StoppedError
from comp.files import Workspace, read_json
from comp.store import ProbsWriter, read_run, write_result
from tests.test_road import hashes, make_toy

SURE = "train.pseudo={share: 0.5, confidence: [0.45, 0.55]}"
HOW: dict[str, Any] = {"executor": "serial", "device": "cpu"}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time and are looked at elsewhere."""
    monkeypatch.setattr("comp.reports.plot_learning_curves", lambda *args: None)
    monkeypatch.setattr("comp.reports.write_cases", lambda *args: None)
    monkeypatch.setattr("comp.commands.cv.draw_samples", lambda *args: None)


def first(root: Path, task: str = "binary") -> tuple[Workspace, Competition]:
    workspace, competition = make_toy(root, task)
    cv.run(workspace, competition, ["small.yaml"], ["train.epochs=1"], **HOW)
    return workspace, competition


def second(
    workspace: Workspace, competition: Competition, source: str = "small", **more: Any
) -> Any:
    asked = {**HOW, "name": "second", "pseudo": source, **more}
    return cv.run(workspace, competition, ["small.yaml"], [SURE], **asked)["second"]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_from_a_run_to_one_trained_on_its_labels(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, competition = first(tmp_path, task)
    capsys.readouterr()
    report = second(workspace, competition)
    said = capsys.readouterr().out
    assert (
        "pseudo-labels: 50 % of a batch from 3 test images as fold 1 of run small sees them" in said
    )
    assert report["complete"] and report["pseudo"]["run"] == "small"
    text = (workspace.run("second") / "cv.md").read_text()
    assert "## Pseudo-labels" in text and "by run `small`: 50 % of every batch" in text
    assert "0.45 and 0.55 ignored" in text and "small (none), small (hflip)" in text
    meta = read_json(workspace.run("second") / "config.json")
    assert meta["pseudo"]["run"] == "small"
    assert meta["config"]["train"]["pseudo"] == {"share": 0.5, "confidence": [0.45, 0.55]}
    assert not list(workspace.run("second").glob("fold*/pseudo.*"))
    assert "pseudo" not in read_run(workspace, "small").cv  # type: ignore[operator]
    assert "Pseudo" not in (workspace.run("small") / "cv.md").read_text()
    second(workspace, competition)
    assert "2 of 2 folds are done and skipped" in capsys.readouterr().out


def test_fold_k_does_not_depend_on_what_other_folds_say_of_the_test_images(tmp_path: Path) -> None:
    workspace, competition = first(tmp_path / "a")
    shutil.copytree(workspace.root, tmp_path / "b")
    second(workspace, competition)
    other = Workspace(tmp_path / "b", competition.name)
    folder, run = other.fold("small", 1), read_run(other, "small")
    for views in ("none", "hflip"):  # of the model that saw the truth of fold 0
        probs = run.test(1, views)
        shapes = {image_id: probs.shape(image_id) for image_id in probs.ids}
        with ProbsWriter(folder / f"test.{views}") as writer:
            for image_id, shape in shapes.items():
                writer.append(image_id, np.full(shape, 255, np.uint8))
            writer.commit()
    said = read_json(folder / "result.json")
    write_result(folder, {k: v for k, v in said.items() if k != "files"}, list(said["files"]))
    second(other, competition)
    ends = [hashes(place, "second") for place in (workspace, other)]
    weights = "weights.last.safetensors"
    assert ends[0][f"0/{weights}"] == ends[1][f"0/{weights}"]
    assert ends[0][f"1/{weights}"] != ends[1][f"1/{weights}"]


def test_from_an_ensemble(tmp_path: Path) -> None:
    workspace, competition = first(tmp_path)
    recipe = ensemble.run(workspace, competition, ["small"], "one")
    report = second(workspace, competition, "one", only=[0])
    assert report["pseudo"]["ensemble"] == "one"
    (views,) = [member["views"] for member in recipe["members"]]
    assert list(report["pseudo"]["members"]) == [f"small ({views})"]
    assert "by ensemble `one`" in (workspace.run("second") / "cv.md").read_text()


def test_an_interrupted_fold_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comp.train import loop

    golden, competition = first(tmp_path / "golden")
    second(golden, competition)
    broken, competition = first(tmp_path / "broken")
    plain, calls = loop.run_epoch, []

    def run_epoch(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop, "run_epoch", run_epoch)
        with pytest.raises(JobsFailedError, match="1 of 2 jobs failed"):
            second(broken, competition)
    assert len(list(broken.fold("second", 0).glob("checkpoint.*.pt"))) == 2
    second(broken, competition)
    assert hashes(broken, "second") == hashes(golden, "second")


def test_it_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    workspace, competition = first(tmp_path)
    with pytest.raises(ConfigError, match=r"train\.pseudo: whose labels\? Add --pseudo RUN"):
        cv.run(workspace, competition, ["small.yaml"], [SURE], name="second", **HOW)
    assert not workspace.run("second").exists()
    second(workspace, competition, only=[0])
    with pytest.raises(RunMismatchError, match=r"pseudo: \{'run': 'small'.* -> None"):
        cv.run(workspace, competition, ["small.yaml"], name="second", **HOW)
    cv.run(
        workspace,
        competition,
        ["small.yaml"],
        ["train.epochs=1", "train.seed=9"],
        name="third",
        **HOW,
    )
    with pytest.raises(RunMismatchError, match=r"pseudo\.run: 'small' -> 'third'"):
        second(workspace, competition, "third")
    plain = read_json(workspace.run("small") / "config.json")
    assert "pseudo" not in plain and "pseudo" not in plain["config"]["train"]
