"""The options that make averaged weights: what belongs together, and what old runs are called."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from comp.config import ModelConfig, resolved


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"predict": {"weights": "ema"}}, "ema is made by train.ema: 0.999, which is not set"),
        ({"predict": {"weights": "top"}}, "top is made by train.average_top: 3"),
        ({"predict": {"weights": "soup"}}, "soup is made by train.soup: 5"),
        ({"predict": {"weights": "snapshots"}}, "snapshots is made by train.snapshots: 3"),
        ({"train": {"snapshots": 3}}, "only schedule.name: restarts has"),
        ({"train": {"average_top": 1}}, "greater than or equal to 2"),
        ({"train": {"ema": 1.0}}, "less than 1"),
        (
            {"model": {"encoder_name": None}, "optim": {"layer_decay": 0.7}},
            "optim.layer_decay: the model has no encoder",
        ),
    ],
)
def test_what_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(values)


@pytest.mark.parametrize("schedule", ["restarts", "CosineAnnealingWarmRestarts"])
def test_what_belongs_together(schedule: str) -> None:
    values = {
        "train": {"ema": 0.99, "snapshots": 2},
        "schedule": {"name": schedule, "cycles": 2},
        "predict": {"weights": "snapshots"},
    }
    config = ModelConfig.model_validate(values)
    assert ModelConfig.model_validate(resolved(config)) == config


def test_a_config_that_says_none_of_it_has_the_identity_it_had() -> None:
    said = resolved(ModelConfig())
    assert "layer_decay" not in said["optim"]
    assert not {"ema", "ema_batches", "average_top", "soup", "snapshots"} & set(said["train"])
    further = resolved(ModelConfig.model_validate({"optim": {"betas": [0.9, 0.99]}}))
    assert further["optim"]["betas"] == [0.9, 0.99]
