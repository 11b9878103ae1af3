"""`train.sampler` in YAML: one number or two, what belongs together, and runs made before it."""

from __future__ import annotations

from typing import Any

import pytest

from comp.config import ModelConfig, Sampler, Train, check, config_hash, resolved
from comp.errors import ConfigError


def test_one_number_is_first_and_last() -> None:
    assert Sampler(by="emptiness", share=0.7).share == (0.7, 0.7)
    assert Sampler.model_validate({"by": "class", "share": [1, 0]}).share == (1.0, 0.0)
    assert Sampler(positive_share=1).positive_share == (1.0, 1.0)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({}, "expected by and share, positive_share, or samples; null for no sampler"),
        ({"by": "class"}, "by and share belong together"),
        ({"share": 0.5}, "by and share belong together"),
        ({"by": "classes", "share": 0.5}, "train.sampler.by"),
        ({"by": "class", "share": 1.5}, "train.sampler.share"),
        ({"by": "class", "share": [0.1, 0.2, 0.3]}, "train.sampler.share"),
        ({"by": "class", "share": True}, "train.sampler.share"),
        ({"samples": 0}, "train.sampler.samples"),
        ({"positiv_share": 0.5}, "unknown key; did you mean 'positive_share'"),
        ({"by": "emptiness", "share": [0.9, 0.5], "positive_share": 0.6}, "positive_share is above share"),
    ],
)  # fmt: skip
def test_mistakes_are_named(sampler: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(ModelConfig, {"train": {"sampler": sampler}}, "model.yaml")
    assert message in str(caught.value) and "model.yaml: train.sampler" in str(caught.value)


def test_positive_crops_need_crops() -> None:
    with pytest.raises(
        ConfigError, match=r"sampler\.positive_share is for mode crop; whole images"
    ):
        check(Train, {"mode": "resize", "sampler": {"positive_share": 0.5}}, "x")
    check(Train, {"mode": "resize", "sampler": {"by": "emptiness", "share": 0.5}}, "x")


def test_runs_made_before_it_keep_their_identity() -> None:
    plain = ModelConfig()
    assert "sampler" not in resolved(plain)["train"]
    sampled = plain.model_copy(
        update={"train": Train(sampler=Sampler(by="class", share=0.5, samples=90))}
    )
    assert config_hash(sampled) != config_hash(plain)
    assert resolved(sampled)["train"]["sampler"]["share"] == [0.5, 0.5]
    assert check(ModelConfig, resolved(sampled), "again") == sampled
