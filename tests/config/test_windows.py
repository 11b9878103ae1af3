"""`predict.window` and its kin: what they accept, and that runs made before them keep their identity."""

from __future__ import annotations

import pytest

from comp.config import ModelConfig, check, config_hash, resolved
from comp.errors import ConfigError

LATER = {"window", "overlap", "blend"}


def test_defaults_are_not_in_the_resolved_config() -> None:
    """The hash is that of a config from before there were windows."""
    assert not LATER & set(resolved(ModelConfig())["predict"])
    said = ModelConfig.model_validate({"predict": {"window": None, "overlap": 0.25}})
    assert config_hash(said) == config_hash(ModelConfig())


def test_what_is_asked_for_is_in_it() -> None:
    config = check(ModelConfig, {"predict": {"window": [512, 640], "blend": "spline"}}, "m.yaml")
    found = resolved(config)["predict"]
    assert found["window"] == [512, 640] and found["blend"] == "spline" and "overlap" not in found
    assert ModelConfig.model_validate(resolved(config)) == config


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"predict": {"window": [0, 8]}}, r"predict\.window"),
        ({"predict": {"overlap": 0.95}}, r"predict\.overlap"),
        ({"predict": {"blend": "hann"}}, r"predict\.blend.*'gaussian', 'spline' or 'flat'"),
        (
            {"predict": {"window": [8, 8]}, "train": {"mode": "resize"}},
            r"predict\.window: a model of train\.mode resize sees the whole image",
        ),
    ],
)
def test_mistakes_are_named(values: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(ModelConfig, values, "m.yaml")
