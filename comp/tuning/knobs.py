"""The search space: knobs by dotted path, as Optuna's distributions and as the overrides that `-o` takes.

Values of a list are told to Optuna as JSON, which YAML reads back as they were.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from comp.config import ModelConfig, check, resolved
from comp.config.reading import apply_overrides
from comp.config.tune import on_grid
from comp.errors import ConfigError
from comp.files import digest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 4  # significant ones of a rounded value


@dataclass(frozen=True)
class Knob:
    """What one dotted path of a model config is searched over: a range of numbers, or a list of values.

    Args:
        low, high: both tried; None for a list.
        log: evenly in the logarithm.
        step: only low, low + step, ..., high; None: everything between.
        whole: whole numbers only.
        choices: the values of a list, each as JSON; () for a range.
    """

    path: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()

    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.low is None or self.high is None:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(
                int(self.low), int(self.high), log=self.log, step=int(self.step or 1)
            )
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def override(self, value: Any) -> str:
        """``path=value`` for what Optuna proposes; numbers with every digit."""
        return f"{self.path}={self._text(value)}"

    def _text(self, value: Any) -> str:
        if self.choices:
            return str(value)
        return str(int(value)) if self.whole else repr(float(value))

    def has(self, value: Any) -> bool:
        """True for a number that lies in the range and on its steps."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        if self.low is None or self.high is None or not self.low <= value <= self.high:
            return False
        step = self.step or (1 if self.whole else None)
        return step is None or on_grid(self.low, value, step)

    def round(self, value: Any) -> Any:
        """A fraction with four significant digits, inside the range; everything else as it is."""
        if self.low is None or self.high is None or self.whole:
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def describe(self) -> str:
        """``0.0001 .. 0.01, log``, or the values of the list."""
        if self.low is None or self.high is None:
            return " | ".join(map(plain, self.choices))
        kind = "whole numbers" if self.whole else ""
        step = f"in steps of {self.step:g}" if self.step is not None else ""
        parts = [f"{self.low:.6g} .. {self.high:.6g}", kind, step, "log" if self.log else ""]
        return ", ".join(filter(None, parts))


def plain(choice: str) -> str:
    """A value of a list as a person writes it: text without quotation marks."""
    value = json.loads(choice)
    return value if isinstance(value, str) and value else choice


def as_json(value: Any) -> str:
    """A value of a list as Optuna knows it, and as YAML reads it back."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class Space:
    """All that is searched.

    Args:
        knobs: in the order of the config; at least one.
        defaulted: True where the config has no `tune:` section.
    """

    knobs: tuple[Knob, ...]
    defaulted: bool = False

    def distributions(self) -> dict[str, BaseDistribution]:
        """Path -> Optuna's distribution, by path: the same whatever order the config has."""
        knobs = sorted(self.knobs, key=lambda knob: knob.path)
        return {knob.path: knob.distribution() for knob in knobs}

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """``path=value`` for `-o`, of the knobs that `params` has.

        Raises:
            ConfigError: a parameter that is not in the space.
        """
        if strange := sorted(set(params) - {knob.path for knob in self.knobs}):
            raise ConfigError(f"not in the search space: {', '.join(strange)}")
        return [knob.override(params[knob.path]) for knob in self.knobs if knob.path in params]

    def rounded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """`params` with fractions of four significant digits: to confirm, and then to write down."""
        by_path = {knob.path: knob for knob in self.knobs}
        return {path: by_path[path].round(value) for path, value in params.items()}

    def baseline(self, config: ModelConfig) -> dict[str, Any]:
        """The values that `config` itself has, as parameters; those outside of the space are left out."""
        found: dict[str, Any] = {}
        for knob in self.knobs:
            if knob.choices:
                same = [c for c in knob.choices if _is_same(config, knob.override(c))]
                if same:
                    found[knob.path] = same[0]
            elif knob.has(value := value_at(config, knob.path)):
                found[knob.path] = int(value) if knob.whole else float(value)
        return found

    def outside(self, config: ModelConfig) -> list[str]:
        """The knobs whose value in `config` is not in the space, one line each."""
        inside = self.baseline(config)
        return [
            f"{knob.path}: {_said(value_at(config, knob.path))}, which is not among {knob.describe()}"
            for knob in self.knobs
            if knob.path not in inside
        ]

    @property
    def hash(self) -> str:
        """Short, of what is searched; the order of the knobs does not matter."""
        return digest(sorted((asdict(knob) for knob in self.knobs), key=lambda k: str(k["path"])))

    def describe(self, config: ModelConfig | None = None) -> list[str]:
        """What is searched, in words: a head and one line a knob.

        Args:
            config: the untuned one, whose values are said too.
        """
        head = f"searched ({len(self.knobs)}):"
        if self.defaulted:
            head = (
                "the config has no tune: section, so the learning rates and the weights of all losses but "
                "the first (only their ratio counts) are searched from a tenth to ten times their values:"
            )
        lines = {knob.path: knob.describe() for knob in self.knobs}
        if config is not None:
            inside = self.baseline(config)
            for path in lines:
                where = "" if path in inside else ", which lies outside"
                lines[path] += f"; now {_said(value_at(config, path))}{where}"
        wide = max(map(len, lines))
        return [head, *(f"  {path:<{wide}}  {text}" for path, text in lines.items())]


class _Nothing:
    """A key that the config does not have."""


NOTHING = _Nothing()


def value_at(config: BaseModel, path: str) -> Any:
    """The value that a config has at a dotted path; NOTHING where it says none."""
    node: Any = config
    for part in path.split("."):
        if isinstance(node, BaseModel):
            known = part in type(node).model_fields
            node = getattr(node, part) if known else (node.model_extra or {}).get(part, NOTHING)
        elif isinstance(node, dict):
            node = node.get(part, NOTHING)
        elif isinstance(node, list | tuple) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return NOTHING
    return node


def _said(value: Any) -> str:
    if value is NOTHING or value is None:
        return "not set"
    if isinstance(value, BaseModel):
        value = {k: v for k, v in resolved(value).items() if k in value.model_fields_set}
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else as_json(value)


def _is_same(config: ModelConfig, override: str) -> bool:
    """True where an override changes nothing of a config."""
    before = resolved(config)
    values, problems = apply_overrides(before, [override])
    try:
        return not problems and resolved(check(ModelConfig, values, "")) == before
    except ConfigError:
        return False


def is_whole(value: float | None) -> bool:
    """True for None and for a number without a fraction."""
    return value is None or math.floor(value) == value
