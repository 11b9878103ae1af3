"""`tune:` of a model YAML -> the search space. Every mistake of config and space is told at once, before any work.

A path is right exactly when `-o path=value` is: each bound and each value is laid over the config alone
and goes through the same checks as in `comp cv`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comp.config import Competition, ModelConfig, check, resolved
from comp.config.loading import PartlyWrongError
from comp.config.reading import Layers, apply_overrides, read_layers
from comp.config.tune import Searched
from comp.errors import ConfigError
from comp.jobs.configs import LEANS_ON, look_up_names
from comp.tuning.knobs import Knob, Space, as_json, is_whole, plain, value_at

__all__ = ["Knob", "Space", "read_space", "trial_config", "trial_layers"]

HELD = {
    "train.seed": "noise is measured by confirming with other seeds",
    "train.epochs": "trials are compared at the same epoch; `comp tune --epochs` sets it for all",
}
SPAN = 10  # default ranges: a value's tenth to ten times it


def read_space(
    source: Path | Layers,
    config: ModelConfig | None,
    competition: Competition,
    root: Path,
    overrides: Sequence[str] = (),
    found_before: Sequence[str] = (),
) -> Space:
    """The search space of a model YAML; of one without `tune:`, learning rates and loss weights.

    Args:
        source: the YAML, or what was read of it (then `overrides` are laid over it already).
        config: what it says, checked and looked up before; None: that is done here too.
        root: the workspace.
        found_before: mistakes that are told with those of the space.

    Raises:
        ConfigError: the mistakes of the config and of its space together, each with its file and key.
    """
    layers = source if isinstance(source, Layers) else read_layers(source, overrides)
    values = layers.values
    problems: list[str] = []
    if config is None:
        config, values, problems = _check_config(layers, competition, root)
    problems = [*found_before, *problems]
    if config.tune is None and problems:
        raise ConfigError(problems)
    defaulted = config.tune is None
    searched = default_ranges(config) if config.tune is None else dict(config.tune)
    found: dict[str, list[str]] = {path: _wrong_path(path, searched) for path in searched}
    tries = _Tries(values, config, competition, root)
    knobs = []
    for path, wanted in searched.items():
        if not found[path]:
            knob = _make_knob(path, wanted, tries)
            found[path] = _wrong_values(knob, tries)
            knobs.append(knob)
    if one_too_many := _loss_to_hold(config, list(searched), values):
        path, why = one_too_many
        found[path] = [*found[path], why]
    for path, wrong in found.items():
        where = "default range" if defaulted else f"{layers.source_of(('tune', path))}: tune"
        problems += [f"{where}.{path}: {problem}" for problem in wrong]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return Space(tuple(knobs), defaulted)


def trial_layers(layers: Layers, space: Space, params: Mapping[str, Any]) -> Layers:
    """The untuned config's layers with a trial's values laid over them, as by `-o`."""
    mine = space.overrides(params)
    values, problems = apply_overrides(layers.values, mine)
    return Layers(
        layers.files,
        (*layers.overrides, *mine),
        values,
        (*layers.problems, *problems),
    )


def trial_config(layers: Layers, space: Space, params: Mapping[str, Any]) -> ModelConfig:
    """The config of a trial.

    Args:
        params: path -> value as Optuna has it; knobs that are left out keep the untuned config's value.

    Raises:
        ConfigError: values that do not go together.
    """
    whole = trial_layers(layers, space, params)
    return check(ModelConfig, whole.values, whole)


def default_ranges(config: ModelConfig) -> dict[str, Searched]:
    """What is searched without a `tune:` section: learning rates, and the loss weights but one."""
    optim = config.optim
    floor = config.schedule.kwargs.get("min_lr")
    least = float(floor) if isinstance(floor, int | float) and 0 < floor <= optim.lr else 0.0
    found = {"optim.lr": _around(optim.lr, least)}
    if config.model.encoder_name is not None and optim.encoder_lr is not None:
        found["optim.encoder_lr"] = _around(optim.encoder_lr)
    weighty = [name for name, term in config.loss.items() if term.weight > 0]
    for name in weighty[1:]:
        found[f"loss.{name}.weight"] = _around(config.loss[name].weight)
    return found


def _around(value: float, least: float = 0.0) -> Searched:
    low, high = (float(f"{bound:.6g}") for bound in (value / SPAN, value * SPAN))
    return Searched(low=max(low, least), high=high, log=True)


def _check_config(
    layers: Layers, competition: Competition, root: Path
) -> tuple[ModelConfig, dict[str, Any], list[str]]:
    """The config, or what is left of it without its mistakes; its values; the mistakes."""
    try:
        config = check(ModelConfig, layers.values, layers)
    except PartlyWrongError as wrong:
        if not isinstance(wrong.part, ModelConfig):
            raise
        found = look_up_names(wrong.part, competition, root)
        judged = [layers.blame(p) for p in found if wrong.can_judge(p, LEANS_ON)]
        return wrong.part, resolved(wrong.part), [*wrong.problems, *judged]
    return (
        config,
        layers.values,
        [layers.blame(problem) for problem in look_up_names(config, competition, root)],
    )


def _wrong_path(path: str, searched: Mapping[str, Searched]) -> list[str]:
    """What forbids a path, whatever the config holds there."""
    parts = path.split(".")
    if not all(part.strip() for part in parts) or "=" in path:
        return ["expected a dotted path, as -o takes it, such as optim.lr"]
    if path in HELD:
        return [f"is the same in all trials: {HELD[path]}; drop this line"]
    if parts[0] in ("tune", "tuned"):
        return [f"{parts[0]} is no part of the model; drop this line"]
    if parts[0] in Competition.model_fields:
        return [
            f"{parts[0]} belongs to the competition, on which all trials are compared; drop this line"
        ]
    around = [
        other
        for other in searched
        if other != path and _key(path)[: len(_key(other))] == _key(other)
    ]
    if around:
        return [f"lies inside {around[0]}, which is searched as well; drop one of the two lines"]
    return []


def _key(path: str) -> list[str]:
    return path.split(".")


class _Tries:
    """Lays one value at a time over a config and asks what is wrong with it then, that was not before."""

    def __init__(
        self, values: dict[str, Any], config: ModelConfig, competition: Competition, root: Path
    ) -> None:
        self.values, self.config = values, config
        self.competition, self.root = competition, root
        self.before = set(look_up_names(config, competition, root))
        self._known: dict[str, tuple[ModelConfig | None, list[str]]] = {}

    def of(self, override: str) -> tuple[ModelConfig | None, list[str]]:
        """The config with ``path=value``, None where it cannot be made; what is wrong with it."""
        if override not in self._known:
            self._known[override] = self._try(override)
        return self._known[override]

    def _try(self, override: str) -> tuple[ModelConfig | None, list[str]]:
        values, problems = apply_overrides(self.values, [override])
        if problems:
            return None, [problem.removeprefix(f"-o {override}: ") for problem in problems]
        here = "the trial"
        try:
            config = check(ModelConfig, values, here)
        except ConfigError as error:
            return None, [problem.removeprefix(f"{here}: ") for problem in error.problems]
        found = look_up_names(config, self.competition, self.root)
        found = [problem for problem in found if problem not in self.before]
        for held, why in HELD.items():
            now, then = value_at(self.config, held), value_at(config, held)
            if now != then:
                found.append(f"makes {held} {then} instead of {now}: {why}")
        return config, found


def _make_knob(path: str, wanted: Searched, tries: _Tries) -> Knob:
    if wanted.choices is not None:
        return Knob(path, choices=tuple(map(as_json, wanted.choices)))
    assert wanted.low is not None and wanted.high is not None
    parts = _key(path)
    if len(parts) == 2 and parts[0] == "loss":  # short for its weight; its arguments stay
        path = f"{path}.weight"
    whole = _is_whole(path, wanted, tries)
    number = int if whole else float
    step = None if wanted.step is None else number(wanted.step)
    return Knob(path, number(wanted.low), number(wanted.high), wanted.log, step, whole)


def _is_whole(path: str, wanted: Searched, tries: _Tries) -> bool:
    """True where only whole numbers are searched: the key takes no fractions."""
    assert wanted.low is not None and wanted.high is not None
    if wanted.type is not None:
        return wanted.type == "int"
    if not all(map(is_whole, (wanted.low, wanted.high, wanted.step))):
        return False
    config, wrong = tries.of(f"{path}={wanted.low + 0.5!r}")
    if wrong or config is None:
        return True
    parts = _key(path)
    if parts[0] != "model" or parts[1] in type(config.model).model_fields:
        return False
    # an argument of the network, whose type is looked at only when it is built: as it is written
    written = (wanted.low, wanted.high, value_at(tries.config, path))
    return not any(isinstance(value, float) for value in written) and wanted.high - wanted.low > 1


def _wrong_values(knob: Knob, tries: _Tries) -> list[str]:
    """What is wrong with the bounds or the values of a knob, each tried alone."""
    labels = [(f"choice {plain(choice)}", knob.override(choice)) for choice in knob.choices]
    if not knob.choices:
        bounds = (("low", knob.low), ("high", knob.high))
        labels = [(f"{name} {value:g}", knob.override(value)) for name, value in bounds]
    tried = [(label, *tries.of(override)) for label, override in labels]
    shared = set.intersection(*(set(wrong) for _, _, wrong in tried))
    found = []
    for label, _, wrong in tried:
        for problem in wrong:
            text = problem.removeprefix(f"{knob.path}: ")
            found.append(text if problem in shared else f"{label}: {text}")
    return list(dict.fromkeys(found)) or _same(knob, tried)


def _same(knob: Knob, tried: Sequence[tuple[str, ModelConfig | None, list[str]]]) -> list[str]:
    """Values that make one and the same model."""
    made: dict[str, str] = {}
    found = []
    for label, config, _ in tried:
        assert config is not None
        whole = as_json(resolved(config))
        if whole not in made:
            made[whole] = label
        elif knob.choices:
            found.append(f"{label} is there twice; drop one")
        else:
            found.append("changes nothing of how the model is trained; drop this line")
    return found


def _loss_to_hold(
    config: ModelConfig, paths: Sequence[str], values: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The first loss weight, and why it must not be searched, where none with a weight is held."""
    said = values.get("loss") or {}
    if "loss" in paths or set(said) - set(config.loss):  # a wrong term may be the one that is held
        return None
    by_term = {parts[1]: path for path in paths if _is_weight(parts := _key(path))}
    if not by_term:
        return None
    if any(term.weight > 0 for name, term in config.loss.items() if name not in by_term):
        return None
    ours = [name for name in config.loss if name in by_term and config.loss[name].weight > 0]
    first = (ours or list(by_term))[0]
    now = f" at {config.loss[first].weight:g}" if first in config.loss else ""
    return by_term[first], (
        "every loss weight is searched, but only their ratio counts; drop this line: "
        f"{first} is then held{now}"
    )


def _is_weight(parts: Sequence[str]) -> bool:
    return parts[0] == "loss" and (len(parts) == 2 or parts[2:] == ["weight"])
