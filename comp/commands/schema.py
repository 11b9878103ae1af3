"""`comp schema`: JSON schemas of competition.yaml and of model YAML files."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from comp.config import Competition, ModelConfig
from comp.files import write_json

SCHEMAS: dict[str, type[BaseModel]] = {
    "competition.schema.json": Competition,
    "model.schema.json": ModelConfig,
}


def run(directory: Path | None) -> None:
    """Print both schemas as one JSON object, or write each to its file in `directory`."""
    schemas = {name: model.model_json_schema() for name, model in SCHEMAS.items()}
    for name, section in schemas.items():
        if name.startswith("model"):
            section["properties"]["extends"] = {
                "type": "string",
                "description": "a YAML beside this one, laid below it",
            }
    if directory is None:
        print(json.dumps(schemas, indent=2))
        return
    for name, section in schemas.items():
        print(f"wrote {write_json(directory / name, section)}")
