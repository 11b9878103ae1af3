"""YAML -> frozen, checked objects. Imports nothing of the package below errors, registry and files."""

from comp.config.competition import (
    BACKGROUND_NAMES,
    IGNORE,
    Competition,
    Folds,
    Pairs,
    Rle,
    Submission,
)
from comp.config.loading import (
    check,
    config_hash,
    data_root,
    differences,
    find_config,
    load_competition,
    load_model,
    resolved,
)
from comp.config.model import (
    LossTerm,
    Mix,
    Model,
    ModelConfig,
    Optim,
    Predict,
    Pseudo,
    Sampler,
    Schedule,
    Train,
)
from comp.config.reading import parse_yaml, read_mapping

__all__ = [
    "BACKGROUND_NAMES",
    "IGNORE",
    "Competition",
    "Folds",
    "LossTerm",
    "Mix",
    "Model",
    "ModelConfig",
    "Optim",
    "Pairs",
    "Predict",
    "Pseudo",
    "Rle",
    "Sampler",
    "Schedule",
    "Submission",
    "Train",
    "check",
    "config_hash",
    "data_root",
    "differences",
    "find_config",
    "load_competition",
    "load_model",
    "parse_yaml",
    "read_mapping",
    "resolved",
]
