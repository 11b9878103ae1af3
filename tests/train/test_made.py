"""A fold trained with every kind of averaged weights: what it leaves, resuming, early stops, too little memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comp.commands import cv
from comp.config import ModelConfig, Train
from comp.errors import JobsFailedError, StoppedError
from comp.files import Workspace
from comp.models.segmenter import Segmenter
from comp.store import read_run
from comp.train import loop as loop_module
from comp.train.averaging import Averages, Ema, Picked, Snapshots
from comp.train.state import Best
from tests.test_road import hashes, make_toy

EVERY = [
    "train.epochs=4",
    "train.batch_size=2",
    "train.ema=0.9",
    "train.ema_batches=1",
    "train.average_top=2",
    "train.soup=3",
    "train.snapshots=2",
    "schedule.name=restarts",
    "schedule.cycles=2",
    "schedule.warmup_epochs=0.5",
    "predict.weights=ema",
]


def train(workspace: Workspace, competition: Any, *more: str) -> dict[str, Any]:
    """Fold 0 of the toy; its result."""
    overrides = [*EVERY, *more]
    options: dict[str, Any] = {"executor": "serial", "device": "cpu", "only": [0]}
    cv.run(workspace, competition, ["small.yaml"], overrides, **options)
    return dict(read_run(workspace, "small").folds[0])


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    workspace, competition = make_toy(tmp_path_factory.mktemp("golden"))
    log: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comp.jobs.watch.print", lambda line, **_: log.append(line), raising=False)
        result = train(workspace, competition)
    return SimpleNamespace(workspace=workspace, result=result, log=log)


def test_every_kind_is_stored_scored_and_said(golden: Any) -> None:
    result, log = golden.result, "\n".join(golden.log)
    kinds = ["best_metric", "best_loss", "last", "ema", "top", "soup", "snapshots"]
    assert list(result["scores"]) == kinds and None not in result["scores"].values()
    assert result["averaged"]["ema"] == [4] and len(result["averaged"]["top"]) == 2
    assert result["averaged"]["snapshots"] == [3, 4]  # of 0.5 + 2 x 1.75 epochs
    assert result["averaged"]["soup"][0] == result["averaged"]["top"][0]  # the best epoch
    assert result["weights"] == "ema" and result["out_of_memory"] is None
    # predicted with the views of test time, validated by the same road
    assert result["views"]["none"][result["metric"]] == pytest.approx(result["scores"]["ema"])
    folder = golden.workspace.fold("small", 0)
    states = {kind: load_file(folder / f"weights.{kind}.safetensors") for kind in kinds}
    assert all(states["last"].keys() == state.keys() for state in states.values())
    for kind in ("ema", "top", "snapshots"):
        assert any(not torch.equal(states[kind][k], v) for k, v in states["last"].items())
        assert f"weights {kind}: " in log
    assert "weights soup" in log and "which flatters" in log
    history = (folder / "history.csv").read_text().splitlines()
    assert "ema_loss" in history[0] and f"ema_{result['metric']}" in history[0]


def test_the_raw_weights_are_those_of_a_training_without_averages(
    golden: Any, tmp_path: Path
) -> None:
    workspace, competition = make_toy(tmp_path)
    off = ["ema", "average_top", "soup", "snapshots"]
    train(workspace, competition, *(f"train.{key}=null" for key in off), "predict.weights=last")
    for kind in ("last", "best_metric", "best_loss"):
        name = f"0/weights.{kind}.safetensors"
        assert hashes(workspace, "small")[name] == hashes(golden.workspace, "small")[name]


@pytest.mark.parametrize("killed_at", ["epoch 2", "epoch 4", "the end"])
def test_interrupted_it_ends_as_one_that_was_not(
    killed_at: str, golden: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, competition = make_toy(tmp_path)
    name = "make_averaged" if killed_at == "the end" else "run_epoch"
    plain: Callable[..., Any] = getattr(loop_module, name)

    def stops(loop: Any, loader: Any, *more: Any) -> Any:
        if killed_at in ("the end", f"epoch {len(loop.history) + 1}"):
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(loop, loader, *more)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop_module, name, stops)
        with pytest.raises(JobsFailedError):
            train(workspace, competition)
    result = train(workspace, competition)
    assert hashes(workspace, "small") == hashes(golden.workspace, "small")
    assert result["scores"] == golden.result["scores"]
    assert result["averaged"] == golden.result["averaged"]


def test_batchnorm_that_freezes_keeps_its_statistics_when_nothing_was_left_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed after its last epoch, the network still knows what was frozen in it."""
    plain, stop = loop_module.make_averaged, [True]

    def stops(*args: Any) -> Any:
        if stop:
            stop.clear()
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(*args)

    whole, competition = make_toy(tmp_path / "whole")
    train(whole, competition, "model.freeze_batchnorm=1")
    states = [
        load_file(whole.fold("small", 0) / f"weights.{k}.safetensors") for k in ("last", "ema")
    ]
    norms = [k for k in states[0] if k.endswith("running_mean")]
    assert norms and all(torch.equal(states[0][k], states[1][k]) for k in norms)
    broken, competition = make_toy(tmp_path / "broken")
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop_module, "make_averaged", stops)
    with pytest.raises(JobsFailedError):
        train(broken, competition, "model.freeze_batchnorm=1")
    train(broken, competition, "model.freeze_batchnorm=1")
    assert hashes(broken, "small") == hashes(whole, "small")


def full_at(limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on a network in training has memory for `limit` pictures; returns the batches it got."""
    seen: list[int] = []
    plain = Segmenter.forward

    def forward(self: Segmenter, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory (a fake)")
        if self.training:
            seen.append(len(x))
        return plain(self, x)

    monkeypatch.setattr(Segmenter, "forward", forward)
    return seen


def test_out_of_memory_halves_the_batch_says_so_and_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without BatchNorm and with losses that are means over pictures, parts give the batch's gradient.
    plain = ["train.epochs=2", "train.batch_size=4", "model.freeze_batchnorm=0", "loss.dice=0"]
    plain += ["predict.weights=last", "optim.name=SGD"]
    roomy, competition = make_toy(tmp_path / "roomy")
    train(roomy, competition, *plain)
    tight, competition = make_toy(tmp_path / "tight")
    log: list[str] = []
    monkeypatch.setattr("comp.jobs.watch.print", lambda line, **_: log.append(line), raising=False)
    seen = full_at(2, monkeypatch)
    result = train(tight, competition, *plain)
    assert result["out_of_memory"] == {"batch_size": 2, "accumulate": 2}
    assert set(seen) == {2} and len([line for line in log if "out of memory" in line]) == 1
    assert any("batches of 2 instead of 4" in line for line in log)
    name = "weights.last.safetensors"
    a, b = (load_file(where.fold("small", 0) / name) for where in (roomy, tight))
    for key, value in a.items():
        torch.testing.assert_close(b[key], value, rtol=1e-4, atol=1e-5)


def test_a_cut_batch_is_resumed_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_at(1, monkeypatch)
    whole, competition = make_toy(tmp_path / "whole")
    train(whole, competition, "train.accumulate=2")
    broken, competition = make_toy(tmp_path / "broken")
    plain = loop_module.run_epoch

    def stops(loop: Any, *more: Any) -> Any:
        if len(loop.history) == 2:
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(loop, *more)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop_module, "run_epoch", stops)
        with pytest.raises(JobsFailedError):
            train(broken, competition, "train.accumulate=2")
    result = train(broken, competition, "train.accumulate=2")
    assert result["out_of_memory"] == {"batch_size": 1, "accumulate": 4}
    assert hashes(broken, "small") == hashes(whole, "small")


def stopping(
    metric: list[float],
    ema: list[float] | None = None,
    cycles: list[int] | None = None,
    greater: bool = True,
) -> bool:
    """Whether a training with these validations stops now, with patience 2."""
    averages = Averages(
        Ema(0.9) if ema is not None else None,
        None,
        Snapshots(9, [Picked(e, 0.0, {}) for e in cycles]) if cycles is not None else None,
    )
    best = Best(greater)
    rows: list[dict[str, Any]] = []
    for epoch, value in enumerate(metric, 1):
        if best.epoch == 0 or (value > best.value if greater else value < best.value):
            best.value, best.epoch = value, epoch
        rows.append({"epoch": epoch, "val_loss": 1.0, "val_m": value})
        if ema is not None:
            rows[-1]["ema_m"] = ema[epoch - 1]
    early: Any = {"patience": 2, "monitor": "metric"}
    loop: Any = SimpleNamespace(
        job=SimpleNamespace(config=ModelConfig(train=Train(early_stop=early))),
        eyes=SimpleNamespace(competition=SimpleNamespace(metric_name="m")),
        best_metric=best,
        best_loss=Best(False),
        history=rows,
        averages=averages,
    )
    return loop_module.stops_early(loop)


def test_a_training_goes_on_while_its_average_improves() -> None:
    raw = [0.5, 0.4, 0.4]
    assert stopping(raw)
    assert not stopping(raw, [0.1, 0.2, 0.3])
    assert stopping(raw, [0.3, 0.2, 0.2])
    assert stopping(raw, [0.3, 0.3, 0.3])  # as good is not better
    assert stopping(raw, [float("nan")] * 3)
    assert not stopping([0.4, 0.5, 0.5], [0.3, 0.2, 0.1], greater=False)
    assert stopping([0.4, 0.5, 0.5], [0.1, 0.2, 0.3], greater=False)


def test_no_cycle_is_left_half_done() -> None:
    raw = [0.5, 0.4, 0.4]
    assert stopping(raw, cycles=[3])
    assert not stopping(raw, cycles=[2]) and not stopping(raw, cycles=[])
