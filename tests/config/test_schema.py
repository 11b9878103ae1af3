"""The JSON schema that editors read comes from the same classes."""

from __future__ import annotations

import json

import pytest

from comp.config import Competition, ModelConfig


@pytest.mark.parametrize("kind", [Competition, ModelConfig])
def test_the_schema_is_json_and_closed(kind: type[Competition] | type[ModelConfig]) -> None:
    schema = kind.model_json_schema()
    json.dumps(schema)
    assert schema["additionalProperties"] is False


def test_the_schema_describes_keys() -> None:
    train = ModelConfig.model_json_schema()["$defs"]["Train"]["properties"]
    assert "native scale" in train["mode"]["description"]
