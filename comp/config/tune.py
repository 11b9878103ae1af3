"""`tune` and `tuned` of a model YAML: what comp tune searches, and what it chose. Neither makes another model.

Whether a path leads anywhere, and whether the config is valid at its bounds, is asked by `tuning.space`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from comp.config.section import PositiveInt, Section

EXPECTED = "expected {low: 1e-4, high: 1e-2, log: true}, or a list of values"
STEP_TOLERANCE = 1e-8  # of a step: what decimals lose in binary


class Searched(Section):
    """What one dotted path is searched over: a range of numbers, or a list of values."""

    low: int | float | None = Field(None, description="the least value tried")
    high: int | float | None = Field(None, description="the greatest value tried")
    log: StrictBool = Field(False, description="evenly in the logarithm: for rates and weights")
    step: int | float | None = Field(None, description="only low, low + step, ..., high")
    type: Literal["int", "float"] | None = Field(
        None, description="whole numbers or fractions; default: what the bounds and the key take"
    )
    choices: tuple[Any, ...] | None = Field(
        None, description="values tried, whatever YAML has; a list alone is short for it"
    )

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return {"choices": value}
        if not isinstance(value, dict | Searched):
            raise ValueError(f"{EXPECTED}; got {value!r}")
        nested = isinstance(value, dict) and any(isinstance(v, dict | list) for v in value.values())
        if nested and not set(value) & set(cls.model_fields):
            raise ValueError(
                f"a path is written whole, such as optim.lr: {{low: 1e-4, high: 1e-2}}; got {value!r}"
            )
        return value

    @field_validator("low", "high", "step", mode="before")
    @classmethod
    def _is_a_number(cls, value: Any) -> Any:
        if value is None or (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and abs(value) < 2**63  # what Optuna and its storages hold as a whole number
        ):
            return value
        raise ValueError(f"expected a number, got {value!r}")

    @model_validator(mode="after")
    def _can_be_searched(self) -> Searched:
        wrong = self._wrong_list() if self.choices is not None else self._wrong_range()
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _wrong_list(self) -> list[str]:
        assert self.choices is not None
        beside = [key for key in ("low", "high", "log", "step", "type") if getattr(self, key)]
        if beside:
            return [f"either choices or a range, got choices and {', '.join(beside)}"]
        if len(self.choices) < 2:
            return [f"expected at least two values to choose among, got {list(self.choices)}"]
        strange = [value for value in self.choices if not _is_plain(value)]
        return [f"expected text, numbers, lists and mappings, got {v!r}" for v in strange]

    def _wrong_range(self) -> list[str]:
        low, high, step = self.low, self.high, self.step
        if low is None or high is None:
            missing = " and ".join(key for key in ("low", "high") if getattr(self, key) is None)
            return [f"{missing} missing; {EXPECTED}"]
        wrong = []
        if low >= high:
            wrong.append(f"empty range: expected low < high, got low {low:g}, high {high:g}")
        if self.log and low <= 0:
            wrong.append(f"log: true needs low > 0, got {low:g}")
        if self.log and step is not None:
            wrong.append("either log: true or a step, got both")
        if self.type == "int":
            wrong += [
                f"type: int needs a whole {key}, got {value:g}"
                for key, value in (("low", low), ("high", high), ("step", step))
                if value is not None and not float(value).is_integer()
            ]
        if step is not None and low < high:
            wrong += _wrong_step(low, high, step)
        return wrong


def _wrong_step(low: float, high: float, step: float) -> list[str]:
    if step <= 0:
        return [f"step: expected more than 0, got {step:g}"]
    steps = (high - low) / step
    if steps < 1 - STEP_TOLERANCE:
        return [f"step {step:g} is wider than the range {low:g} .. {high:g}"]
    if not on_grid(low, high, step):
        fits = [low + math.floor(steps) * step, low + math.ceil(steps) * step]
        return [
            f"step {step:g} from low {low:g} does not meet high {high:g}; "
            f"take high {fits[0]:.6g} or {fits[1]:.6g}"
        ]
    return []


def on_grid(low: float, value: float, step: float) -> bool:
    """True where `value` is a whole number of steps from `low`."""
    steps = (value - low) / step
    return abs(steps - round(steps)) <= STEP_TOLERANCE * max(1.0, abs(steps))


def _is_plain(value: Any) -> bool:
    """True for what JSON holds: no dates, no infinities, no keys but text."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or (
        isinstance(value, str | bool | int | float)
        and (not isinstance(value, float) or math.isfinite(value))
    )


class Tuned(Section):
    """Which study chose the values of this config, and on which folds: their scores flatter it."""

    LATER: ClassVar[frozenset[str]] = frozenset({"confirmed"})

    study: str
    trials: PositiveInt = Field(description="configs that the choice was among")
    folds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, description="folds that the choice was made on"
    )
    folds_hash: str = Field(description="of the folds file that these are folds of")
    confirmed: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="folds that the best of the confirmed trials was chosen on, if any"
    )
