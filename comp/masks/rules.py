"""The rules by which a decision is cleaned up, as plain values, in the order in which they are applied.

The smallest object's area stands beside them, since every recipe has one; its place is before `keep`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ANY_AREA = 1 << 40  # larger than any hole
LARGEST_SQUARE = 255


@dataclass(frozen=True)
class Rules:
    """What is done to a decision beyond removing small objects; the defaults do nothing.

    Of multilabel masks each plane is cleaned by itself, but for `exclusive`. Multiclass masks take no rule.

    Args:
        exclusive: where several planes are foreground, the most probable alone is (the first on a tie);
            what later rules add goes to no pixel that another plane has, and to the first of several.
        sure, image_px: a plane with fewer than `image_px` pixels at its probability in `sure` or more
            is empty.
        presence: a plane whose class the auxiliary classifiers give less than this is empty; 0: no rule.
        top, core_px: hysteresis, the threshold being the lower bound: a connected part stays only with
            `core_px` pixels at its plane's probability in `top` or more.
        open_px, close_px: opened, then closed, with a square of this odd side; 0: no rule. What lies
            outside the picture neither erodes nor grows.
        fill_px: holes of at most this area are filled. A hole is background, connected by sides, that
            does not reach the border.
        keep: only this many largest parts stay (the first by its first pixel along the rows on a tie);
            0: all.
    """

    exclusive: bool = False
    sure: tuple[float, ...] | None = None
    image_px: int = 0
    presence: float = 0.0
    top: tuple[float, ...] | None = None
    core_px: int = 0
    open_px: int = 0
    close_px: int = 0
    fill_px: int = 0
    keep: int = 0

    def __bool__(self) -> bool:
        """True when anything is asked."""
        return self != NO_RULES

    @property
    def reshapes(self) -> bool:
        """True when parts do not only stay or go, but change."""
        return bool(self.open_px or self.close_px or self.fill_px)

    def to_json(self) -> dict[str, Any]:
        """Plain values with the sentences that say them; nothing for no rules."""
        if not self:
            return {}
        said = {k: v for k, v in dataclasses.asdict(self).items() if v}
        return said | {"words": in_words(self)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Rules:
        """Undo `to_json`.

        Raises:
            TypeError: an unknown key, or a value that is none.
        """
        given = {k: v for k, v in value.items() if k != "words"}
        for key in ("sure", "top"):
            if given.get(key) is not None:
                given[key] = tuple(given[key])
        return Rules(**given)


NO_RULES = Rules()


def problems_of(rules: Rules, task: str, n_planes: int) -> list[str]:
    """What no rules can be, in words."""
    said = []
    if rules and task == "multiclass":
        said.append("clean_up: multiclass masks take no rules")
    if rules.exclusive and task != "multilabel":
        said.append("clean_up.exclusive is a rule of multilabel masks")
    if type(rules.exclusive) is not bool:
        said.append(f"clean_up.exclusive must be true or false, got {rules.exclusive!r}")
    for key in ("image_px", "core_px", "open_px", "close_px", "fill_px", "keep"):
        value = getattr(rules, key)
        if type(value) is not int or value < 0:
            said.append(f"clean_up.{key} must be an integer >= 0, got {value!r}")
        elif key in ("open_px", "close_px") and value and (value % 2 == 0 or not 1 < value <= 255):
            said.append(
                f"clean_up.{key} must be odd, from 3 to {LARGEST_SQUARE}, or 0, got {value}"
            )
    for key, of in (("sure", "image_px"), ("top", "core_px")):
        levels: Sequence[Any] | None = getattr(rules, key)
        if (levels is None) != (not getattr(rules, of)):
            said.append(f"clean_up.{key} and clean_up.{of} are one rule; one of them is missing")
        elif levels is not None and (
            len(levels) != n_planes or any(not _is_share(level) for level in levels)
        ):
            said.append(f"clean_up.{key}: expected {n_planes} between 0 and 1, got {list(levels)}")
    if rules.presence != 0 and not _is_share(rules.presence):
        said.append(f"clean_up.presence must be between 0 and 1, got {rules.presence!r}")
    return said


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1


def in_words(rules: Rules, min_area_px: int = 0) -> list[str]:
    """One sentence a rule, in their order."""
    said = []
    if rules.exclusive:
        said.append("a pixel of several classes goes to the most probable one")
    if rules.image_px:
        said.append(
            f"a mask with fewer than {rules.image_px} px at {_levels(rules.sure)} or more is empty"
        )
    if rules.presence:
        said.append(
            f"a mask whose class the auxiliary classifier gives less than {rules.presence:.3g} is empty"
        )
    if rules.core_px:
        said.append(
            f"objects with fewer than {rules.core_px} px at {_levels(rules.top)} or more removed "
            "(hysteresis)"
        )
    if rules.open_px:
        said.append(f"opened with a square of {rules.open_px} px")
    if rules.close_px:
        said.append(f"closed with a square of {rules.close_px} px")
    if rules.fill_px:
        up_to = "" if rules.fill_px >= ANY_AREA else f" up to {rules.fill_px} px"
        said.append(f"holes{up_to} filled")
    if min_area_px > 1:
        said.append(f"objects below {min_area_px} px removed")
    if rules.keep:
        said.append(
            "only the largest object kept"
            if rules.keep == 1
            else f"only the {rules.keep} largest objects kept"
        )
    return said


def _levels(levels: Sequence[float] | None) -> str:
    return " / ".join(f"{level:.3g}" for level in levels or ())
