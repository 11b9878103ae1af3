"""One list of all mistakes, made without building a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comp.config import Model, ModelConfig
from comp.errors import ConfigError
from comp.models.check import check_model, try_model, weights_notes


def test_a_good_config_has_none() -> None:
    assert check_model(ModelConfig(), "binary", 1, 3) == []


def test_every_section_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", refuse)
    config = ModelConfig.model_validate(
        {
            "model": {"arch": "Unet", "encoder_name": "resnet33", "decoder_chanels": [1]},
            "loss": {"bse": 1.0, "dice": {"wieght": 2}, "ce": 1},
            "optim": {"name": "Adm", "encoder_lr": 0.1},
            "schedule": {"name": "cosin"},
            "train": {"epochs": 3},
            "predict": {"tta": ["none", "d5", "hflipp"]},
        }
    )
    problems = check_model(config, "binary", 1, 3)
    starts = [p.partition(": ")[0] for p in problems]
    assert starts == [
        "model.decoder_chanels",
        "model.encoder_name",
        "loss.bse",
        "loss.dice",
        "loss.ce",
        "optim.name",
        "schedule.name",
        "predict.tta",
        "predict.tta",
    ]
    assert problems[2] == "loss.bse: unknown loss 'bse'; did you mean 'bce'?"
    assert problems[-1] == "predict.tta: unknown views 'hflipp'; did you mean 'hflip'?"


def test_parts_that_do_not_fit_each_other() -> None:
    config = ModelConfig.model_validate(
        {
            "model": {"arch": "PlainUnet", "encoder_name": None},
            "optim": {"encoder_lr": 0.1},
            "loss": {"bce": 1},
        }
    )
    problems = check_model(config, "multiclass", 3, 3)
    assert len(problems) == 2
    assert "loss.bce: needs head: sigmoid" in problems[0]
    assert problems[1] == "optim.encoder_lr: the model has no encoder"


def test_per_class_lists_are_counted() -> None:
    config = ModelConfig.model_validate({"loss": {"ce": {"class_weights": [1, 2]}}})
    assert "expected 4 numbers" in check_model(config, "multiclass", 4, 3)[0]
    assert check_model(config, "multiclass", 2, 3) == []


def test_a_batch_of_one_is_refused_where_it_cannot_be_trained_on() -> None:
    for arch, problems in (("DeepLabV3+", 1), ("Unet", 0)):
        config = ModelConfig.model_validate({"model": {"arch": arch}, "train": {"batch_size": 1}})
        found = check_model(config, "binary", 1, 3)
        assert len(found) == problems
        assert all(p.startswith("train.batch_size: DeepLabV3Plus needs at least 2") for p in found)


def test_one_batch_goes_through_the_network() -> None:
    model = Model(arch="DeepLabV3Plus", encoder_name="resnet18")
    parameters, seen, logits = try_model(model, "multiclass", 4, 5, (40, 64))
    assert parameters > 1e6 and seen == (1, 5, 40, 64) and logits == (1, 4, 40, 64)


def test_weights_that_cannot_be_had_are_said_before_any_fold(tmp_path: Path) -> None:
    model = Model(arch="Unet", encoder_name="resnet18", encoder_weights="weights/none.safetensors")
    with pytest.raises(ConfigError, match=r"none\.safetensors"):
        try_model(model, "binary", 1, 3, (32, 32), tmp_path)


def test_notes_on_pretrained_weights(tmp_path: Path) -> None:
    def notes(**model: Any) -> list[str]:
        return weights_notes(Model(**model), tmp_path)

    assert notes(encoder_name="resnet18") == notes(arch="PlainUnet", encoder_name=None) == []
    assert notes(encoder_name="resnet18", encoder_weights="imagenet") == []
    (note,) = notes(encoder_name="tu-tf_efficientnet_b0", encoder_weights="ap_in1k")
    assert "mean (0.5, 0.5, 0.5) and std (0.5, 0.5, 0.5)" in note
    assert "-o model.normalize=encoder" in note
    for normalize in ("encoder", "dataset", "unit"):
        model = {"encoder_name": "xception", "encoder_weights": "imagenet", "normalize": normalize}
        assert notes(**model) == []
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "resnet18.imagenet.bin"
    path.touch()
    (note,) = notes(encoder_name="resnet18", encoder_weights="imagenet")
    assert note == f"encoder weights 'imagenet' are read from {path}"
    assert notes(encoder_name="resnet18", encoder_weights=str(path)) == []
