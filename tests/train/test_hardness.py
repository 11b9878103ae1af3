"""Training by the last known loss of each image, on mixed samples: what is noted, saved, and resumed bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from comp.commands import cv
from comp.config import LossTerm
from comp.errors import JobsFailedError, StoppedError
from comp.files import Workspace
from comp.models.losses import Target, build_loss, make_target
from comp.train import epoch as epoch_module
from comp.train import loop as loop_module
from comp.train.hardness import Hardness
from tests.test_road import hashes, make_toy

HARD = [
    "train.epochs=4",
    "train.batch_size=2",
    "train.accumulate=2",
    "train.ema=0.9",
    "train.ema_batches=1",
    "train.sampler={by: loss, share: 0.8, samples: 40}",
    "train.mix={until: 0.75, mosaic: 0.3, copy_paste: 0.5, cutmix: 0.5, mixup: 0.5}",
]
TERMS = {"bce": LossTerm(weight=0.5), "dice": LossTerm(weight=0.5)}


def hardness_of(n: int = 5) -> Hardness:
    return Hardness(n, build_loss(TERMS, task="binary", head="sigmoid"))


def batch_of(seed: int, n: int = 3) -> tuple[torch.Tensor, Target]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n, 6, 6), generator=generator, dtype=torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    return torch.randn(n, 1, 6, 6, generator=generator), make_target(labels, "binary", 1)


def test_the_loss_of_each_image_by_itself() -> None:
    hardness = hardness_of()
    logits, target = batch_of(0)
    logits.requires_grad_()  # as in a training
    hardness.note(torch.tensor([4, 0, 2]), logits, target)
    assert np.isnan(hardness.losses).all()  # an epoch is drawn by what was known before it
    hardness.end_epoch()
    for place, number in enumerate([4, 0, 2]):
        one = slice(place, place + 1)
        total, _ = hardness.loss(logits[one], Target(target.planes[one], target.valid[one]))
        assert hardness.losses[number] == pytest.approx(total.item(), rel=1e-6)
    assert np.isnan(hardness.losses[[1, 3]]).all() and logits.grad is None


def test_the_mean_of_an_epoch_is_kept_until_the_next_time() -> None:
    hardness, alone = hardness_of(), []
    for seed, number in ((1, 2), (2, 2), (3, -1), (4, 0)):
        logits, target = batch_of(seed, 1)
        hardness.note(torch.tensor([number]), logits, target)
        alone.append(float(hardness.loss(logits, target)[0]))
    logits, target = batch_of(5, 1)
    hardness.note(torch.tensor([0]), logits * torch.nan, target)  # no number says nothing
    hardness.end_epoch()
    wanted = [alone[3], np.nan, (alone[0] + alone[1]) / 2, np.nan, np.nan]
    np.testing.assert_allclose(hardness.losses, wanted, rtol=1e-6)
    hardness.note(torch.tensor([4]), *batch_of(6, 1))
    hardness.end_epoch()
    hardness.end_epoch()
    np.testing.assert_allclose(hardness.losses[:3], wanted[:3], rtol=1e-6)
    assert not np.isnan(hardness.losses[4])
    other = hardness_of()
    other.load(hardness.state())
    np.testing.assert_array_equal(other.losses, hardness.losses)


def test_what_is_done_again_is_noted_once() -> None:
    hardness, once = hardness_of(), hardness_of()
    for one in (hardness, once):
        one.note(torch.tensor([0]), *batch_of(1, 1))
        if one is hardness:
            mark = one.mark()
            one.note(torch.tensor([1]), *batch_of(7, 1))
            one.rewind(mark)
        one.note(torch.tensor([1]), *batch_of(2, 1))
        one.end_epoch()
    np.testing.assert_array_equal(hardness.losses, once.losses)


# a whole training


def train(workspace: Workspace, competition: Any, *more: str) -> None:
    options: dict[str, Any] = {"executor": "serial", "device": "cpu", "only": [0]}
    cv.run(workspace, competition, ["small.yaml"], [*HARD, *more], **options)


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    workspace, competition = make_toy(tmp_path_factory.mktemp("golden"))
    log: list[str] = []
    numbers: list[list[int]] = []
    losses: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    indices: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comp.jobs.watch.print", lambda line, **_: log.append(line), raising=False)
        plain = epoch_module.train_epoch

        def watched(loop: Any, loader: Any, epoch: int) -> Any:
            numbers.append([n for b in loader.epoch(epoch) for n in b["number"].tolist()])
            losses.append(loop.hardness.losses.copy())
            indices[:] = loader.samples.indices
            weights.append(loader.samples.drawing.weights(epoch, losses[-1][indices]))
            return plain(loop, loader, epoch)

        patch.setattr(epoch_module, "train_epoch", watched)
        train(workspace, competition)
    found = {"numbers": numbers, "losses": losses, "weights": weights, "indices": indices}
    return SimpleNamespace(workspace=workspace, log=log, **found)


def test_it_says_what_it_does_and_draws_by_what_it_learnt(golden: Any) -> None:
    log = "\n".join(golden.log)
    assert "80 % by the last known loss of each" in log
    assert "mixup 50 % of the samples in the first 3 of 4 epochs" in log
    assert np.isnan(golden.losses[0]).all()
    for epoch in range(1, 4):
        seen = set(golden.numbers[epoch - 1])
        known = set(np.flatnonzero(~np.isnan(golden.losses[epoch])).tolist())
        assert seen <= known
        assert known == seen | set(np.flatnonzero(~np.isnan(golden.losses[epoch - 1])).tolist())
        times = np.bincount(golden.numbers[epoch], minlength=8)
        assert np.abs(times[golden.indices] - 40 * golden.weights[epoch]).max() < 1
        assert np.ptp(golden.weights[epoch]) > 0.01  # not as the images are


@pytest.mark.parametrize("killed_at", ["epoch 2", "epoch 3", "the end"])
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
    train(workspace, competition)
    assert hashes(workspace, "small") == hashes(golden.workspace, "small")


@pytest.mark.slow
def test_loader_processes_end_the_same(golden: Any, tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    train(workspace, competition, "train.workers=2")
    name = "0/weights.last.safetensors"
    assert hashes(workspace, "small")[name] == hashes(golden.workspace, "small")[name]


def test_too_little_memory_notes_each_sample_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second batch of a step does not fit: both are learnt again, in parts, and counted once."""
    workspace, competition = make_toy(tmp_path)
    plain, noted, failed = Hardness.note, [], []

    def note(self: Any, numbers: torch.Tensor, *more: Any) -> None:
        if len(self._noted) == 3 and not failed:
            failed.append(self.mark())
            raise torch.OutOfMemoryError("CUDA out of memory")
        plain(self, numbers, *more)

    ended = Hardness.end_epoch

    def end_epoch(self: Any) -> None:
        noted.append([n for numbers, _ in self._noted for n in numbers.tolist()])
        ended(self)

    monkeypatch.setattr(Hardness, "note", note)
    monkeypatch.setattr(Hardness, "end_epoch", end_epoch)
    batches: list[int] = []
    plain_epoch = epoch_module.train_epoch

    def watched(loop: Any, loader: Any, epoch: int) -> Any:
        if not epoch:
            batches.extend(n for b in loader.epoch(epoch) for n in b["number"].tolist())
        return plain_epoch(loop, loader, epoch)

    monkeypatch.setattr(epoch_module, "train_epoch", watched)
    train(workspace, competition, "train.epochs=1", "train.mix=null", "train.ema=null")
    assert failed and noted[0] == batches
