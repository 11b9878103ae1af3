"""A training whose forward goes through torch.compile: the same bits, the same names, and a way back.

The backend `eager` traces as the real one does, and then runs the very operations of the network, so that
on a CPU every bit can be compared with the training that compiles nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import comp.models.probe as probe_module
from comp.commands import cv
from comp.models import compiling
from comp.models.compiling import CompiledOutputs
from comp.models.compute import Compute, decide_compute
from comp.models.segmenter import Segmenter
from comp.store.runs import read_result
from comp.train import loop as loop_module
from comp.train import saving as saving_module
from tests.test_road import hashes, make_toy

HOW: dict[str, Any] = {"executor": "serial", "device": "cpu", "only": [0]}
BASE = ["train.batch_size=2", "predict.tta=[none]", "train.epochs=2", "predict.weights=last"]
HEADS = (
    "model={arch: Unet, encoder_name: resnet18, encoder_depth: 3, decoder_channels: [16, 8, 8],"
    " deep_supervision: 0.5, aux_params: {weight: 0.3, dropout: 0.1}}"
)
KINDS = {
    "averages": ["model.dropout=0.3", "train.ema=0.9", "train.ema_batches=1", "train.soup=2"],
    "heads": [HEADS, "train.accumulate=2", "model.freeze_batchnorm=1", "model.freeze_encoder=1"],
}


class Killed(BaseException):
    """Nothing catches it but the test."""


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From here on every run is compiled; returns what is written down at each compiled call."""
    calls: list[str] = []
    plain = CompiledOutputs.__call__

    def called(self: CompiledOutputs, x: torch.Tensor) -> Any:
        outputs = plain(self, x)
        calls.append(self.mode)
        return outputs

    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(CompiledOutputs, "__call__", called)
    monkeypatch.setattr(probe_module, "decide", force)
    return calls


def force(config: Any, device_type: str, *_: Any, **more: Any) -> tuple[Compute, str]:
    return decide_compute(config, device_type).compiled("default"), ""


def train(root: Path, *more: str) -> Any:
    workspace, competition = make_toy(root)
    cv.run(workspace, competition, ["small.yaml"], [*BASE, *more], **HOW)
    return workspace


def train_plain(root: Path, *more: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_module, "decide", lambda c, d, *_, **__: (decide_compute(c, d), ""))
        return train(root, *more)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_killed_and_resumed_it_ends_as_the_plain_training(
    kind: str, tmp_path: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = train_plain(tmp_path / "golden", *KINDS[kind])
    assert not compiled
    write, made = saving_module.write_checkpoint, []

    def write_checkpoint(folder: Path, state: Any, epoch: int, step: int = 0) -> None:
        write(folder, state, epoch, step)
        made.append((epoch, step, list(state["model"])))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(saving_module, "write_checkpoint", write_checkpoint)
        with pytest.raises(Killed):
            train(tmp_path / "broken", *KINDS[kind])
    assert compiled and made[0][:2] != (2, 0)
    assert not [name for name in made[0][2] if "_orig_mod" in name]
    before = len(compiled)
    broken = train(tmp_path / "broken", *KINDS[kind])
    assert len(compiled) > before
    assert hashes(broken, "small") == hashes(golden, "small")


def test_the_run_says_that_it_is_compiled_and_a_plain_one_says_nothing(
    tmp_path: Path, compiled: list[str]
) -> None:
    said = (train(tmp_path / "one", "train.epochs=1").run("small") / "config.json").read_text()
    assert '"compile": "default"' in said
    said = (
        train_plain(tmp_path / "two", "train.epochs=1").run("small") / "config.json"
    ).read_text()
    assert '"compile"' not in said


def test_a_compiler_that_fails_is_left_and_no_step_is_lost(
    tmp_path: Path,
    compiled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(graph: Any, inputs: Any, **more: Any) -> Any:
        raise RuntimeError("no such instruction")

    golden = train_plain(tmp_path / "golden")
    capsys.readouterr()
    monkeypatch.setattr(compiling, "BACKEND", broken)
    found = train(tmp_path / "broken")
    log = capsys.readouterr().out
    assert log.count("torch.compile failed: ") == 1 and "no such instruction" in log
    assert "not compiled from here on" in log
    assert not compiled and hashes(found, "small") == hashes(golden, "small")


def test_memory_that_runs_out_first_ends_the_compiling_then_cuts_the_batch(
    tmp_path: Path,
    compiled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(CompiledOutputs, "__call__", full)
    plain = Segmenter.outputs

    def outputs(self: Segmenter, x: torch.Tensor) -> Any:
        return plain(self, x) if len(x) == 1 else full(self, x)

    monkeypatch.setattr(Segmenter, "outputs", outputs)
    workspace = train(tmp_path / "full", "train.epochs=1")
    log = capsys.readouterr().out
    assert log.index("torch.compile failed: CUDA out of memory") < log.index("batches of 1 instead")
    result = read_result(workspace.fold("small", 0))
    assert result is not None
    assert result["out_of_memory"] == {"batch_size": 1, "accumulate": 2}


def full(self: Any, x: torch.Tensor) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory (a fake)")


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", compiling.GRAPHS])
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_it_trains_through_the_real_compiler(
    mode: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def forced(config: Any, device_type: str, *_: Any, **more: Any) -> tuple[Compute, str]:
        return decide_compute(config, device_type).compiled(mode), ""

    monkeypatch.setattr(probe_module, "decide", forced)
    monkeypatch.setitem(HOW, "device", "cuda")
    more = [m for m in KINDS[kind] if not m.startswith("train.accumulate")]
    workspace = train(tmp_path, *more)
    assert "torch.compile failed" not in capsys.readouterr().out
    names = load_file(next(workspace.fold("small", 0).glob("weights.last*")))
    assert not [name for name in names if "_orig_mod" in name]
