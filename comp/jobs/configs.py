"""The configs that `comp cv` names, loaded and looked up; every mistake of all of them comes out in one list.

Structure and types are checked by `config`; names in the tables of models, losses, transforms, ...
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from comp.config import Competition, ModelConfig, check, find_config
from comp.config.loading import PartlyWrongError
from comp.config.reading import key_of, override_of, read_layers
from comp.data.folds.check import check_competition
from comp.errors import ConfigError, UsageError
from comp.files import check_name

# What the names of a section are judged by, beside their own keys: wrong there, nothing is said of them.
LEANS_ON = {
    "loss": ("model.arch", "model.head"),
    "optim": ("model.encoder_name",),
    "schedule": ("train.epochs", "optim.lr"),
    "augment": ("train.size", "train.mode", "train.soft_masks"),
    "train": ("model.arch",),
    "submission": ("submission",),
}


def load_configs(
    root: Path,
    arguments: Sequence[str],
    overrides: Sequence[str],
    name: str | None,
    look_up: Callable[[ModelConfig], list[str]] | None = None,
    found_before: Sequence[str] = (),
) -> dict[str, ModelConfig]:
    """Load every `--config`, keyed by run name (the file's stem, or --name for a single config).

    Args:
        look_up: config -> the names in it that no table holds, each problem beginning with its key; asked
            of what is left of a config with other mistakes too.
        found_before: mistakes that are told with those of the configs.

    Raises:
        ConfigError: the mistakes of all files together.
        UsageError: two configs with one name; --name with several configs.
    """
    if name is not None and len(arguments) != 1:
        raise UsageError(f"--name {name}: needs exactly one --config, got {len(arguments)}")
    configs: dict[str, ModelConfig] = {}
    problems = list(found_before)
    for argument in arguments:
        try:
            path = find_config(root, argument)
            run = check_name(name or path.stem, "run name")
            if run in configs:
                raise UsageError(
                    f"two configs are named {run!r}; rename one, or run them apart with --name"
                )
            layers = read_layers(path, overrides)
            configs[run] = config = check(ModelConfig, layers.values, layers)
            if look_up is not None:
                problems += [layers.blame(problem) for problem in look_up(config)]
        except ConfigError as error:
            problems += error.problems
            if look_up is not None and isinstance(error, PartlyWrongError):
                problems += _look_up_part(error, look_up)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))  # an override may be wrong in each config
    return configs


def _look_up_part(
    wrong: PartlyWrongError, look_up: Callable[[ModelConfig], list[str]]
) -> list[str]:
    """The unknown names in what is left of a config with other mistakes."""
    if not isinstance(wrong.part, ModelConfig):
        return []
    found = [p for p in look_up(wrong.part) if wrong.can_judge(p, LEANS_ON)]
    return [wrong.layers.blame(problem) for problem in found]


def look_up_competition(wrong: PartlyWrongError) -> list[str]:
    """The unknown names in what is left of a competition with other mistakes."""
    if not isinstance(wrong.part, Competition):
        return []
    head = f"competition {wrong.part.name}: "
    found = [problem.removeprefix(head) for problem in check_competition(wrong.part)]
    return [wrong.layers.blame(p) for p in found if wrong.can_judge(p, LEANS_ON)]


def blame_overrides(
    problems: Sequence[str], competition: str, overrides: Sequence[str]
) -> list[str]:
    """Problems of `check_competition` with ``-o key=value`` named as the source of those it made."""
    head = f"competition {competition}: "
    said = []
    for problem in problems:
        plain = problem.removeprefix(head)
        override = override_of(key_of(plain), overrides)
        said.append(problem if override is None else f"-o {override}: {plain}")
    return said


def look_up_names(
    config: ModelConfig, competition: Competition, root: Path, weights: bool = True
) -> list[str]:
    """Look every name of a config up in its table; all that is unknown, each problem beginning with its key.

    Args:
        weights: also look whether a local file of pretrained weights is there.
    """
    from comp.data.samples.augment import check_augment
    from comp.data.samples.sampling import check_sampler
    from comp.data.samples.train import train_recipe
    from comp.models.check import check_model

    channels = competition.data.channels
    task, n_classes = competition.task, competition.n_classes
    found = check_model(config, task, n_classes, channels, root=root, weights=weights)
    planes = competition.task == "multilabel" or train_recipe(config.train).soft
    found += check_augment(config.augment, config.train.size, channels, planes=planes)
    found += check_sampler(config.train, competition.task)
    if config.train.tensorboard and importlib.util.find_spec("tensorboard") is None:
        found.append('train.tensorboard: needs tensorboard: pip install "comp[tb]", or false')
    return found


def find_mistakes(
    root: Path,
    wrong: PartlyWrongError,
    configs: Sequence[str],
    overrides: Sequence[str],
    name: str | None,
) -> list[str]:
    """The mistakes of the model configs beside a competition that is `wrong` itself, as far as it can be read."""
    look_up = None
    sure = ("data", "channels") not in wrong.unsure
    if sure and isinstance(wrong.part, Competition):
        competition = wrong.part

        def look_up(config: ModelConfig) -> list[str]:
            return look_up_names(config, competition, root)

    try:
        load_configs(root, configs, overrides, name, look_up)
    except ConfigError as error:
        return error.problems
    except UsageError:
        pass  # said when the competition is right
    return []
