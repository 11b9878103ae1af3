"""One batch through a config: what a sound one gives, and that every kind of trouble is listed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import comp.train.trial as trial_module
from comp.config import Competition, ModelConfig, check
from comp.data.folds.few import choose_few
from comp.data.sources.records import find_records
from comp.models.gpus import list_gpus
from comp.train.one_batch import STEPS, timed
from comp.train.trial import Trial
from tests.drawn import draw_kaggle


def make_config(**more: Any) -> ModelConfig:
    values: dict[str, Any] = {
        "model": {"arch": "PlainUnet", "encoder_name": None, "filters": 4, "depth": 2},
        "loss": {"bce": 1.0, "dice": 1.0},
        "train": {"batch_size": 2, "size": [32, 32], "epochs": 3, "crops_per_image": 2},
        "augment": [{"HorizontalFlip": {"p": 0.5}}],
    }
    return check(ModelConfig, {**values, **more}, "test")


@pytest.fixture
def competition(tmp_path: Path) -> Competition:
    draw_kaggle(tmp_path / "data", n=6, size=(40, 40), n_test=0)
    data = {"root": "data", "train": [{"images": "images/{id}.png", "masks": "masks/{id}.png"}]}
    values = {"name": "toy", "task": "binary", "classes": ["thing"], "data": data}
    values["folds"] = {"scheme": "kfold", "n_splits": 2}
    return check(Competition, values, "test")


def work(
    tmp_path: Path, competition: Competition, config: ModelConfig, data: bool = True
) -> dict[str, Any]:
    records = find_records(competition, tmp_path / "data")
    few = choose_few(competition, records, None)
    trial = Trial(
        tmp_path,
        competition,
        config,
        "toy",
        tmp_path / "log",
        tmp_path / "cache",
        few.records if data else (),
        few.n_val if data else 0,
        few.n_train,
        few.n_val_all,
        views=False,
        limit_seconds=60,
    )
    return trial.work("cpu", lambda event: None)


def test_a_sound_config_has_no_problems_and_says_its_cost(
    tmp_path: Path, competition: Competition
) -> None:
    found = work(tmp_path, competition, make_config())
    assert found["problems"] == [] and found["notes"] == []
    assert found["batch"] == [2, 3, 32, 32] and found["transforms"] == 1
    assert found["steps"] == 3 and found["epochs"] == 3  # 3 images, 2 crops each, by 2
    assert found["seconds_step"] > 0 and found["seconds_val"] > 0 and found["loss"] > 0
    assert found["parameters"] > 0 and (found["peak_bytes"] is None or found["peak_bytes"] > 1e7)


@pytest.mark.parametrize(
    "more",
    [
        {"train": {"batch_size": 2, "size": [32, 32], "mode": "resize"}},
        {"train": {"batch_size": 9, "size": [32, 32], "accumulate": 2}},
        {"train": {"batch_size": 2, "size": [32, 32], "sampler": {"positive_share": 0.5}}},
        {"model": {"arch": "PlainUnet", "encoder_name": None, "normalize": "dataset"}},
        {"schedule": {"name": "cosine", "warmup_epochs": 1}},
        {"schedule": {"name": "onecycle"}},
    ],
)
def test_other_ways_of_training_pass_too(
    tmp_path: Path, competition: Competition, more: dict[str, Any]
) -> None:
    assert work(tmp_path, competition, make_config(**more))["problems"] == []


def test_without_data_the_batch_is_of_random_pixels(
    tmp_path: Path, competition: Competition
) -> None:
    found = work(tmp_path, competition, make_config(), data=False)
    assert found["problems"] == [] and "random pixels" in found["notes"][0]
    assert found["seconds_step"] > 0 and "steps" not in found


def test_weights_that_cannot_be_had_are_named_and_the_batch_goes_on(
    tmp_path: Path, competition: Competition
) -> None:
    model = {"arch": "Unet", "encoder_name": "resnet18", "encoder_weights": "weights/none.pth"}
    found = work(tmp_path, competition, make_config(model=model))
    assert len(found["problems"]) == 1 and "weights/none.pth" in found["problems"][0]
    assert found["seconds_step"] > 0


def test_weights_that_do_not_move_or_are_not_finite_are_found(
    tmp_path: Path, competition: Competition, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trial_module.train_epoch

    def still(loop: Any, loader: Any, epoch: int) -> dict[str, Any]:
        kept = {k: v.clone() for k, v in loop.segmenter.state_dict().items()}
        row = real(loop, loader, epoch)
        loop.segmenter.load_state_dict(kept)
        return row

    monkeypatch.setattr(trial_module, "train_epoch", still)
    (problem,) = work(tmp_path, competition, make_config())["problems"]
    assert "no weight moved" in problem

    done: list[int] = []

    def broken(loop: Any, loader: Any, epoch: int) -> dict[str, Any]:
        row = real(loop, loader, epoch)
        done.append(epoch)
        if len(done) == STEPS + 1:
            with torch.no_grad():
                next(loop.segmenter.parameters()).fill_(float("inf"))
            row["train_bce"] = float("nan")
        return row

    monkeypatch.setattr(trial_module, "train_epoch", broken)
    problems = work(tmp_path, competition, make_config())["problems"]
    assert problems[0] == "train_bce is nan" and "1 weight tensors are not finite" in problems[1]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "a smaller train.batch_size"),
        (ValueError("odd\nthing"), "batch: ValueError: odd thing"),
    ],
)
def test_what_a_batch_raises_is_a_problem_and_the_rest_goes_on(
    tmp_path: Path,
    competition: Competition,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    def fails(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(trial_module, "train_epoch", fails)
    found = work(tmp_path, competition, make_config())
    assert len(found["problems"]) == 1 and said in found["problems"][0]
    assert found["transforms"] == 1 and found["steps"] == 3


def test_no_step_begins_when_the_time_is_up() -> None:
    steps: list[int] = []
    assert len(timed(lambda: steps.append(1), torch.device("cpu"), 0.0, began=0.0)) == 1
    assert len(steps) == 1


def test_memory_is_measured_and_gpus_are_listed() -> None:
    # In a process of its own: one that has freed much hands out memory that it never gave back.
    code = (
        "import torch; from comp.models.gpus import peak, reset_peak; cpu = torch.device('cpu')\n"
        "held = torch.ones(80_000_000); del held; reset_peak(cpu); before = peak(cpu)\n"
        "held = torch.ones(40_000_000); after = peak(cpu)\n"
        "print(-1 if before is None else after - before)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(said.stdout) == -1 or 0.8 * 160e6 < int(said.stdout) < 1.2 * 160e6
    assert len(list_gpus()) == torch.cuda.device_count()
