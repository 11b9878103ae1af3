"""A run on pretrained weights goes on, and predicts again, without asking for them a second time."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from comp.commands import cv
from comp.config import Competition, Model
from comp.errors import ConfigError, JobsFailedError, RunMismatchError, StoppedError
from comp.files import Workspace, commit, digest, read_json, sha256, write_json
from comp.models.build import build_model
from comp.store import read_run
from tests.test_road import hashes, make_toy

MODEL = """
model: {arch: SkipUnet, encoder_name: tu-test_resnet, encoder_weights: r160_in1k, normalize: encoder}
optim: {name: SGD, lr: 1e-2}
train: {epochs: 2, batch_size: 4, size: [32, 32], precision: fp32, channels_last: false, fused: false}
"""
HOW: dict[str, Any] = {"executor": "serial", "device": "cpu"}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time and are looked at elsewhere."""
    monkeypatch.setattr("comp.reports.plot_learning_curves", lambda *args: None)
    monkeypatch.setattr("comp.reports.write_cases", lambda *args: None)
    monkeypatch.setattr("comp.commands.cv.draw_samples", lambda *args: None)


def make(root: Path) -> tuple[Workspace, Competition, Path]:
    """A toy workspace with a file that stands in for the weights that a tag names."""
    workspace, competition = make_toy(root)
    commit(root / "configs" / "pre.yaml", MODEL)
    torch.manual_seed(5)
    net = build_model(Model(encoder_name="tu-test_resnet"), task="binary", n_classes=1, channels=3)
    file = root / "weights" / "test_resnet.r160_in1k.safetensors"
    file.parent.mkdir()
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, file)
    return workspace, competition, file


def test_it_begins_from_them_and_needs_them_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from comp.train import loop

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    golden, competition, file = make(tmp_path / "golden")
    cv.run(golden, competition, ["pre.yaml"], **HOW)
    said = capsys.readouterr().out
    assert f"model check: pre: encoder weights 'r160_in1k' are read from {file}" in said

    broken, competition, file = make(tmp_path / "broken")
    plain, calls = loop.run_epoch, []

    def run_epoch(*args: Any) -> Any:
        calls.append(args)
        if len(calls) in (2, 3):  # the second epoch of the first fold, the first of the second
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop, "run_epoch", run_epoch)
        with pytest.raises(JobsFailedError):
            cv.run(broken, competition, ["pre.yaml"], only=[0], **HOW)
    moved = file.rename(tmp_path / "away.safetensors")
    with pytest.raises(ConfigError, match=f"there is no file {file}"):
        cv.run(broken, competition, ["pre.yaml"], **HOW)  # fold 1 has not begun
    cv.run(broken, competition, ["pre.yaml"], only=[0], **HOW)
    shutil.copy(moved, file)
    cv.run(broken, competition, ["pre.yaml"], **HOW)
    assert hashes(broken, "pre") == hashes(golden, "pre")

    file.unlink()
    image = broken.root / "data" / "test" / "images"
    one = sorted(image.iterdir())[0]
    shutil.copy(one, one.with_name("new.png"))
    cv.run(broken, competition, ["pre.yaml"], **HOW)
    assert "new" in read_run(broken, "pre").test(1, "none").ids


def other_weights(file: Path) -> None:
    state = load_file(file)
    save_file({k: v + 1 if v.is_floating_point() else v for k, v in state.items()}, file)


@pytest.mark.parametrize("how_named", ["placed for a tag", "named"])
def test_the_content_of_the_file_is_part_of_what_a_run_is(how_named: str, tmp_path: Path) -> None:
    workspace, competition, file = make(tmp_path)
    name = "weights/test_resnet.r160_in1k.safetensors"
    more = ["train.epochs=1"] + ([f"model.encoder_weights={name}"] if how_named == "named" else [])
    cv.run(workspace, competition, ["pre.yaml"], more, only=[0], **HOW)
    meta = read_json(workspace.run("pre") / "config.json")
    assert meta["pretrained"] == {name: sha256(file)[:16]}
    kept = file.read_bytes()
    other_weights(file)
    for folds in ([0], [1], None):  # done, or not begun
        with pytest.raises(RunMismatchError) as caught:
            cv.run(workspace, competition, ["pre.yaml"], more, only=folds, **HOW)
        said = str(caught.value)
        assert (
            f"pretrained.{name}: {hashlib.sha256(kept).hexdigest()[:16]!r} -> {sha256(file)[:16]!r}"
            in said
        )
        assert "use --name for a new run" in said
    cv.run(workspace, competition, ["pre.yaml"], more, only=[0], name="next", **HOW)
    file.write_bytes(kept)
    assert cv.run(workspace, competition, ["pre.yaml"], more, **HOW)["pre"]["complete"]


def test_a_run_from_before_contents_were_noted_goes_on(tmp_path: Path) -> None:
    workspace, competition, file = make(tmp_path)
    one = ["train.epochs=1"]
    golden, _, _ = make(tmp_path / "golden")
    for place in (workspace, golden):
        cv.run(place, competition, ["pre.yaml"], one, only=[0], **HOW)
    path = workspace.run("pre") / "config.json"
    meta = read_json(path)
    del meta["pretrained"], meta["config_hash"]
    old = {**meta, "config_hash": digest(meta)}
    write_json(path, old)
    other_weights(file)
    cv.run(workspace, competition, ["pre.yaml"], one, only=[0], **HOW)
    file.write_bytes((golden.root / "weights" / file.name).read_bytes())
    cv.run(workspace, competition, ["pre.yaml"], one, **HOW)
    assert read_json(path) == old
    cv.run(golden, competition, ["pre.yaml"], one, **HOW)
    assert hashes(workspace, "pre") == hashes(golden, "pre")


def test_a_file_that_changes_while_a_job_waits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, competition, file = make(tmp_path)
    plain = cv.plan_jobs

    def plan_jobs(*args: Any, **more: Any) -> Any:
        other_weights(file)
        return plain(*args, **more)

    monkeypatch.setattr(cv, "plan_jobs", plan_jobs)
    with pytest.raises(JobsFailedError, match=r"pre/fold0: .* changed while the job waited"):
        cv.run(workspace, competition, ["pre.yaml"], ["train.epochs=1"], only=[0], **HOW)


def test_a_local_file_may_be_gone_when_the_run_is_complete(tmp_path: Path) -> None:
    workspace, competition, file = make(tmp_path)
    named = ["model.encoder_weights=weights/test_resnet.r160_in1k.safetensors", "train.epochs=1"]
    cv.run(workspace, competition, ["pre.yaml"], named, **HOW)
    file.unlink()
    cv.run(workspace, competition, ["pre.yaml"], named, **HOW)
    with pytest.raises(
        ConfigError, match=r"no file .*test_resnet\.r160_in1k\.safetensors: put the weights"
    ):
        cv.run(workspace, competition, ["pre.yaml"], [*named, "train.seed=1"], **HOW)
