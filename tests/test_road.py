"""The whole road on a toy competition: cv, ensemble, submit, score; and what a rerun and a crash leave."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from comp.commands import cv, ensemble, score, submit
from comp.config import Competition, load_competition
from comp.errors import (
    ConfigError,
    DiskError,
    JobsFailedError,
    RunMismatchError,
    StoppedError,
    UsageError,
)
from comp.files import Workspace, commit, read_json, sha256, write_json
from comp.store import read_run
from tests.drawn import draw_kaggle

COMPETITION = """
name: toy
task: {task}
classes: {classes}
ignore_index: {ignore}
data:
  root: data
  train: [{{images: "images/{{id}}.png", masks: "masks/{{id}}.png"}}]
  test: test/images/{{id}}.png
folds: {{scheme: kfold, n_splits: 2}}
submission: {submission}
"""
MODEL = """
model: {{arch: PlainUnet, encoder_name: null, filters: 4, depth: 2, normalize: unit}}
loss: {{{loss}: 1.0, dice: 1.0}}
optim: {{name: AdamW, lr: 1e-2}}
train: {{epochs: 3, batch_size: 4, size: [32, 32], precision: fp32, channels_last: false, fused: false}}
augment: [HorizontalFlip: {{p: 0.5}}]
predict: {{tta: [none, hflip]}}
"""


def make_toy(root: Path, task: str = "binary") -> tuple[Workspace, Competition]:
    """A workspace with eight drawn pictures and two model configs."""
    draw_kaggle(root / "data", n=8, task=task, size=(40, 48), n_test=3)
    many = task == "multiclass"
    text = COMPETITION.format(
        task=task,
        classes="[ground, disc, bar]" if many else "[thing]",
        ignore="255" if many else "null",
        submission="{sample: sample_submission.csv, row: image_class, class_column: ClassId}"
        if many
        else "{sample: sample_submission.csv}",
    )
    commit(root / "configs" / "competition.yaml", text)
    commit(root / "configs" / "small.yaml", MODEL.format(loss="ce" if many else "bce"))
    commit(root / "configs" / "other.yaml", "extends: small.yaml\ntrain: {seed: 1}\n")
    competition = load_competition(root)
    return Workspace(root, competition.name), competition


def hashes(workspace: Workspace, name: str) -> dict[str, str]:
    """sha256 of everything a run's result files name."""
    run = read_run(workspace, name)
    return {
        f"{k}/{f}": said["sha256"]
        for k, r in run.folds.items()
        for f, said in r["files"].items()
        if f != "history.csv"
    }


def walk(workspace: Workspace, competition: Competition, **more: Any) -> dict[str, Any]:
    cv.run(
        workspace,
        competition,
        ["small.yaml", "other.yaml"],
        executor="serial",
        device="cpu",
        **more,
    )
    recipe = ensemble.run(workspace, competition, None, "both")
    path = submit.run(workspace, competition)
    key = workspace.root / "data" / "solution.csv"
    found = score.run(path, key, competition, score.image_sizes(workspace, competition), [], None)
    return {"recipe": recipe, "submission": path, "score": found}


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_from_images_to_a_scored_submission(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, competition = make_toy(tmp_path, task)
    end = walk(workspace, competition)
    run = read_run(workspace, "small")
    assert run.complete and run.cv is not None
    assert len(run.cv["folds"]) == 2 and run.cv["std"] is not None
    assert run.cv["pooled"] > 0.05
    for name in ("cv.md", "curves.png", "best.png", "worst.png", "samples.png"):
        assert (run.dir / name).stat().st_size > 0
    assert {"as_fitted", "cross_fitted", "uniform"} <= set(end["recipe"]["scores"])
    value = end["score"]["scores"]["all"][competition.metric_name]
    assert 0 <= value <= 1
    card = read_json(end["submission"].with_suffix(".json"))
    assert card["sha256"] == sha256(end["submission"])
    assert card["scores"]["scores"]["all"][competition.metric_name] == value
    before = hashes(workspace, "small")
    capsys.readouterr()
    cv.run(workspace, competition, ["small.yaml"], executor="serial", device="cpu")
    assert "2 of 2 folds are done and skipped" in capsys.readouterr().out
    assert hashes(workspace, "small") == before


def test_two_processes_give_the_same_hashes_as_one(tmp_path: Path) -> None:
    alone, competition = make_toy(tmp_path / "a")
    cv.run(alone, competition, ["small.yaml"], executor="serial", device="cpu")
    together, competition = make_toy(tmp_path / "b")
    cv.run(together, competition, ["small.yaml"], executor="local", device="cpu", n_slots=2)
    assert hashes(alone, "small") == hashes(together, "small")


def test_an_interrupted_fold_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comp.train import loop

    golden, competition = make_toy(tmp_path / "golden")
    cv.run(golden, competition, ["small.yaml"], executor="serial", device="cpu")

    broken, competition = make_toy(tmp_path / "broken")
    plain, calls = loop.run_epoch, []

    def run_epoch(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:  # the third epoch of the first fold
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop, "run_epoch", run_epoch)
        with pytest.raises(JobsFailedError, match="1 of 2 jobs failed"):
            cv.run(broken, competition, ["small.yaml"], executor="serial", device="cpu")
    assert len(list(broken.fold("small", 0).glob("checkpoint.*.pt"))) == 2
    said: list[str] = []
    monkeypatch.setattr("comp.jobs.watch.print", lambda line, **_: said.append(line), raising=False)
    cv.run(broken, competition, ["small.yaml"], executor="serial", device="cpu")
    assert any("resuming from epoch 2 of 3" in line for line in said)
    assert hashes(broken, "small") == hashes(golden, "small")
    assert not list(broken.fold("small", 0).glob("checkpoint.*"))


def test_a_run_made_by_another_config_is_refused(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    cv.run(
        workspace, competition, ["small.yaml"], ["train.epochs=1"], executor="serial", device="cpu"
    )
    with pytest.raises(RunMismatchError, match=r"config.train.epochs: 1 -> 3") as caught:
        cv.run(workspace, competition, ["small.yaml"], executor="serial", device="cpu")
    assert "--name" in str(caught.value)


def test_a_changed_file_makes_its_fold_again(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    cv.run(
        workspace, competition, ["small.yaml"], ["train.epochs=1"], executor="serial", device="cpu"
    )
    before = hashes(workspace, "small")
    weights = workspace.fold("small", 1) / "weights.last.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    cv.run(
        workspace, competition, ["small.yaml"], ["train.epochs=1"], executor="serial", device="cpu"
    )
    assert hashes(workspace, "small") == before


def test_every_mistake_is_said_before_any_work(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    overrides = ["model.arch=PlainUnett", "loss.dize=1.0", "optim.name=Adamm", "predict.tta=[d5]"]
    with pytest.raises(ConfigError) as caught:
        cv.run(workspace, competition, ["small.yaml"], overrides, executor="serial", device="cpu")
    for near in ("PlainUnet", "dice", "Adam", "d4"):
        assert near in str(caught.value)
    assert not workspace.runs.exists() and not workspace.cache.exists()


def test_a_failed_job_is_named_and_the_other_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comp.train import epoch as one_epoch

    workspace, competition = make_toy(tmp_path)
    plain = one_epoch.train_epoch

    def train_epoch(loop_: Any, loader: Any, epoch: int) -> Any:
        if loop_.job.fold == 0:
            loop_.segmenter.load_state_dict(
                {k: v * float("nan") for k, v in loop_.segmenter.state_dict().items()}
            )
        return plain(loop_, loader, epoch)

    monkeypatch.setattr(one_epoch, "train_epoch", train_epoch)
    with pytest.raises(
        JobsFailedError, match=r"small/fold0: .*the loss is nan by epoch 1"
    ) as caught:
        cv.run(workspace, competition, ["small.yaml"], executor="serial", device="cpu")
    assert "log.txt" in str(caught.value)
    run = read_run(workspace, "small")
    assert list(run.folds) == [1] and not run.complete
    with pytest.raises(RunMismatchError, match="incomplete"):
        ensemble.run(workspace, competition, ["small"])


def test_members_trained_on_other_folds_are_refused(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    cv.run(
        workspace, competition, ["small.yaml"], ["train.epochs=1"], executor="serial", device="cpu"
    )
    shutil.rmtree(workspace.root / "folds")
    other = competition.model_copy(
        update={"folds": competition.folds.model_copy(update={"seed": 5})}
    )
    cv.run(workspace, other, ["other.yaml"], ["train.epochs=1"], executor="serial", device="cpu")
    with pytest.raises(RunMismatchError, match="folds"):
        ensemble.run(workspace, other, ["small", "other"])


def test_other_masks_make_another_run(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    one = ["train.epochs=1"]
    cv.run(workspace, competition, ["small.yaml"], one, executor="serial", device="cpu")
    mask = sorted((workspace.root / "data" / "masks").iterdir())[0]
    pixels = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    assert cv2.imwrite(str(mask), pixels[::-1])
    with pytest.raises(RunMismatchError, match=r"data\.content"):
        cv.run(workspace, competition, ["small.yaml"], one, executor="serial", device="cpu")
    with pytest.raises(RunMismatchError, match="images or masks changed"):
        ensemble.run(workspace, competition, ["small"])


def test_a_new_test_image_is_predicted_with_the_weights_that_are_there(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    one = ["train.epochs=1", "model.normalize=dataset"]
    cv.run(workspace, competition, ["small.yaml"], one, executor="serial", device="cpu")
    before = hashes(workspace, "small")
    images = workspace.root / "data" / "test" / "images"
    first = sorted(images.iterdir())[0]
    was = {
        k: np.array(read_run(workspace, "small").test(k, "none").read(first.stem)) for k in (0, 1)
    }
    shutil.copy(first, images / "zz_new.png")
    cv.run(workspace, competition, ["small.yaml"], one, executor="serial", device="cpu")
    run, after = read_run(workspace, "small"), hashes(workspace, "small")
    assert {k for k in after if before[k] != after[k]} == {
        f"{fold}/test.{views}.{end}"
        for fold in (0, 1)
        for views in ("none", "hflip")
        for end in ("npy", "csv")
    }
    for fold in (0, 1):
        probs = run.test(fold, "none")
        np.testing.assert_array_equal(probs.read(first.stem), was[fold])
        np.testing.assert_array_equal(probs.read("zz_new"), was[fold])


@pytest.mark.parametrize("mode", ["crop", "resize"])
def test_a_test_image_replaced_under_its_name_is_predicted_again(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, competition = make_toy(tmp_path)
    how: dict[str, Any] = {"executor": "serial", "device": "cpu"}
    one = ["train.epochs=1", f"train.mode={mode}"]
    cv.run(workspace, competition, ["small.yaml"], one, **how)
    before, was = hashes(workspace, "small"), read_run(workspace, "small").folds
    first = sorted((workspace.root / "data" / "test" / "images").iterdir())[0]
    kept = first.read_bytes()
    pixels = cv2.imread(str(first))
    assert cv2.imwrite(str(first), pixels[::-1])  # as large, named alike
    with pytest.raises(RunMismatchError, match="test images changed since they were predicted"):
        submit.run(workspace, competition, run_name="small")
    capsys.readouterr()
    cv.run(workspace, competition, ["small.yaml"], one, **how)
    said = capsys.readouterr().out
    old, new = (run[0]["test_content"] for run in (was, read_run(workspace, "small").folds))
    line = (
        f"test images changed (content {old}, now {new}): predicted with the weights that are there"
    )
    assert said.count(line) == 2 and "epoch 1/1" not in said
    after = hashes(workspace, "small")
    assert {k for k in after if before[k] != after[k]} == {
        f"{fold}/test.{views}.npy" for fold in (0, 1) for views in ("none", "hflip")
    }
    assert submit.run(workspace, competition, run_name="small").is_file()
    first.write_bytes(kept)
    cv.run(workspace, competition, ["small.yaml"], one, **how)
    assert hashes(workspace, "small") == before
    capsys.readouterr()
    os.utime(first)  # touched: read again, found the same
    cv.run(workspace, competition, ["small.yaml"], one, **how)
    assert "2 of 2 folds are done and skipped" in capsys.readouterr().out


def test_a_crash_while_test_images_are_predicted_again_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from comp.train import outputs

    workspace, competition = make_toy(tmp_path)
    one, how = ["train.epochs=1"], {"executor": "serial", "device": "cpu"}
    cv.run(workspace, competition, ["small.yaml"], one, **how)
    images = workspace.root / "data" / "test" / "images"
    shutil.copy(sorted(images.iterdir())[0], images / "zz_new.png")

    def write_test(*_: Any) -> Any:
        raise StoppedError("stopped by SIGTERM", 15)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_test", write_test)
        with pytest.raises(JobsFailedError):
            cv.run(workspace, competition, ["small.yaml"], one, **how)
    assert read_run(workspace, "small").complete
    with pytest.raises(RunMismatchError, match="'small' has no test probabilities of fold 0"):
        submit.run(workspace, competition, run_name="small")
    capsys.readouterr()
    cv.run(workspace, competition, ["small.yaml"], one, **how)
    said = capsys.readouterr().out
    assert said.count("its test images are not predicted: predicted with") == 2
    assert "epoch 1/1" not in said
    assert "zz_new" in read_run(workspace, "small").test(0, "none").ids


def test_a_run_from_before_contents_were_noted_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, competition = make_toy(tmp_path)
    how: dict[str, Any] = {"executor": "serial", "device": "cpu"}
    cv.run(workspace, competition, ["small.yaml"], ["train.epochs=1"], **how)
    for fold in (0, 1):
        folder = workspace.fold("small", fold)
        said = read_json(folder / "result.json")
        del said["test_content"]
        write_json(folder / "result.json", said)
    before = (workspace.fold("small", 0) / "result.json").read_bytes()
    capsys.readouterr()
    cv.run(workspace, competition, ["small.yaml"], ["train.epochs=1"], **how)
    assert "2 of 2 folds are done and skipped" in capsys.readouterr().out
    assert (workspace.fold("small", 0) / "result.json").read_bytes() == before
    assert submit.run(workspace, competition, run_name="small").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["predict.tta=[]"], "predict.tta"),
        (["predict.tta=[none,none]"], "each set of views is stored once"),
        (["optim.lr=.inf"], "optim.lr"),
        (["train.size=[64]"], "train.size"),
    ],
)
def test_what_would_fail_after_training_is_refused_before(
    overrides: list[str], message: str, tmp_path: Path
) -> None:
    workspace, competition = make_toy(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message)):
        cv.run(workspace, competition, ["small.yaml"], overrides, executor="serial", device="cpu")


def test_a_wrong_scheme_and_a_layout_without_classes_are_refused_before(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path, "multiclass")
    wrong = competition.model_copy(
        update={
            "folds": competition.folds.model_copy(update={"scheme": "kfoldd"}),
            "submission": competition.submission.model_copy(update={"class_column": None}),
        }
    )
    with pytest.raises(ConfigError) as caught:
        cv.run(workspace, wrong, ["small.yaml"], executor="serial", device="cpu")
    assert "did you mean 'kfold'" in str(caught.value) and "submission" in str(caught.value)


def test_some_folds_first_and_the_rest_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    one, how = ["train.epochs=1"], {"executor": "serial", "device": "cpu"}
    cv.run(golden, competition, ["small.yaml"], one, **how)

    workspace, competition = make_toy(tmp_path / "parts")
    with pytest.raises(UsageError, match=r"--folds: no fold 2, 7; folds/toy.csv has 0, 1$"):
        cv.run(workspace, competition, ["small.yaml"], one, only=[7, 1, 2], **how)
    capsys.readouterr()
    report = cv.run(workspace, competition, ["small.yaml"], one, only=[1], **how)["small"]
    assert not report["complete"] and [row["fold"] for row in report["folds"]] == [1]
    said = capsys.readouterr().out
    assert "1 fold in " in said and "incomplete, missing folds: 0" in said
    page = (workspace.run("small") / "cv.md").read_text()
    assert "1 of 2 folds done, missing: 0;" in page
    with pytest.raises(RunMismatchError, match="incomplete"):
        ensemble.run(workspace, competition, ["small"])
    weights = workspace.fold("small", 1) / "weights.last.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])  # damaged, and not asked for: reported as not done
    report = cv.run(workspace, competition, ["small.yaml"], one, only=[0], **how)["small"]
    assert [row["fold"] for row in report["folds"]] == [0]
    assert "incomplete, missing folds: 1" in capsys.readouterr().out
    report = cv.run(workspace, competition, ["small.yaml"], one, **how)["small"]
    said = capsys.readouterr().out
    assert report["complete"] and "1 of 2 folds is done and skipped" in said
    assert "missing" not in said
    assert hashes(workspace, "small") == hashes(golden, "small")


def test_a_full_disk_is_exit_4_and_the_other_fold_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comp.train import loop

    workspace, competition = make_toy(tmp_path)
    plain = loop.write_outputs

    def write_outputs(job: Any, *more: Any) -> Any:
        if job.fold == 0:
            raise DiskError("disk full writing weights (1.0 MB): free space and run again")
        return plain(job, *more)

    one, how = ["train.epochs=1"], {"executor": "serial", "device": "cpu"}
    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_outputs", write_outputs)
        with pytest.raises(DiskError, match=r"small/fold0: disk full writing weights") as caught:
            cv.run(workspace, competition, ["small.yaml"], one, **how)
        assert caught.value.exit_code == 4 and "1 of 2 jobs failed" in str(caught.value)
        kept = hashes(workspace, "small")
        assert kept and all(name.startswith("1/") for name in kept)
        report = read_json(workspace.run("small") / "cv.json")
        assert [row["fold"] for row in report["folds"]] == [1]

        def write_cv_report(*_: Any, **__: Any) -> Any:
            raise DiskError("disk full writing cv.md")

        patch.setattr(cv, "write_cv_report", write_cv_report)
        with pytest.raises(DiskError, match=r"(?s)small/fold0: disk full.*writing cv.md"):
            cv.run(workspace, competition, ["small.yaml"], one, **how)
    assert cv.run(workspace, competition, ["small.yaml"], one, **how)["small"]["complete"]
    assert hashes(workspace, "small").items() >= kept.items()


def test_an_interrupted_run_takes_a_new_config_over_until_a_fold_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from comp.train import loop

    golden, competition = make_toy(tmp_path / "golden")
    one, how = ["train.epochs=1"], {"executor": "serial", "device": "cpu"}
    cv.run(golden, competition, ["small.yaml"], one, **how)
    workspace, competition = make_toy(tmp_path / "broken")
    plain = loop.run_epoch

    def run_epoch(loop_: Any, loader: Any, epoch: int, indices: Any) -> Any:
        if epoch == 2:
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(loop_, loader, epoch, indices)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop, "run_epoch", run_epoch)
        with pytest.raises(JobsFailedError, match="2 of 2 jobs failed"):
            cv.run(workspace, competition, ["small.yaml"], **how)
    assert list(workspace.run("small").rglob("checkpoint.*"))
    capsys.readouterr()
    cv.run(workspace, competition, ["small.yaml"], one, **how)
    said = capsys.readouterr().out
    assert "small: no fold was finished, so its new config is taken over" in said
    assert "config.train.epochs: 3 -> 1" in said and "resuming" not in said
    assert hashes(workspace, "small") == hashes(golden, "small")
    with pytest.raises(RunMismatchError, match=r"config\.train\.epochs: 1 -> 3"):
        cv.run(workspace, competition, ["small.yaml"], **how)


def test_overrides_are_named_in_mistakes_of_names(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    wrong = competition.model_copy(update={"metric": "iuo"})
    with pytest.raises(ConfigError) as caught:
        cv.run(
            workspace, wrong, ["small.yaml"], ["loss.dize=1"], competition_overrides=["metric=iuo"]
        )
    assert [line.partition(": ")[0] for line in caught.value.problems] == [
        "-o metric=iuo",
        "-o loss.dize=1",
    ]


@pytest.mark.faults
def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(tmp_path: Path) -> None:
    broken, _ = make_toy(tmp_path)
    command = [sys.executable, "-m", "comp", "cv", "--config", "small.yaml", "--device", "cpu"]
    command += ["-o", "train.epochs=500"]
    with subprocess.Popen(
        command,
        cwd=broken.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if "epoch 1/500" in line:
                process.send_signal(signal.SIGTERM)
                break
        process.stdout.read()
        assert "run the same command to go on" in process.stderr.read()
    assert process.returncode == 143
