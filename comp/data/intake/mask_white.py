"""Masks in tif files whose 0 is white: read as they are shown, white the largest number; what is told of it.

Where the numbers as stored are class numbers all the same, the rule is written for them turned over.
"""

from __future__ import annotations

from dataclasses import replace

from comp.config import IGNORE
from comp.data.intake.mask_facts import MaskFacts
from comp.data.intake.mask_numbers import MOST_CLASSES
from comp.data.intake.mask_rules import MaskRule
from comp.errors import some


def stored_numbers(facts: MaskFacts) -> tuple[MaskFacts, int] | None:
    """The facts by the numbers as stored, and what they are turned over by; None: shades, as shown.

    Class numbers are small; a picture of black and white holds the largest number.
    """
    tops = set(facts.white.values())
    if len(tops) != 1 or facts.bits or facts.colored or len(facts.white) < len(facts.tops):
        return None
    (top,) = tops
    stored = {top - value for value in facts.pixels}
    if stored <= {0, top} or max(stored - {IGNORE}, default=0) >= MOST_CLASSES:
        return None
    both = len([1 for v in (1, IGNORE) if v in stored]) == 2
    return replace(
        facts,
        pixels=type(facts.pixels)({top - v: n for v, n in facts.pixels.items()}),
        files=type(facts.files)({top - v: n for v, n in facts.files.items()}),
        first={top - v: path for v, path in facts.first.items()},
        one_with_255=min(facts.files[top - 1], facts.files[top - IGNORE]) if both else 0,
        marked=[],
        tops=dict.fromkeys(facts.tops, top),
        by_depth={},
        white={},
    ), top


def turned_over(rule: MaskRule, top: int) -> MaskRule:
    """A rule of numbers as stored, for the numbers as they are read."""
    values = rule.mask_values
    if values is None:
        n = len(rule.classes) + (rule.task == "binary")
        values = {k: k for k in range(n)}
    kept = {top - value: k for value, k in values.items() if value != rule.ignore_index}
    ignore = None if rule.ignore_index is None else top - rule.ignore_index
    return replace(rule, mask_values=kept, ignore_index=ignore)


def white_notes(facts: MaskFacts, stored: bool) -> tuple[str, ...]:
    """What is told of files whose 0 is white."""
    if not facts.white:
        return ()
    which = f"{len(facts.white)} of {facts.n_files} masks ({some(p.name for p in facts.white)})"
    top = max(facts.white.values())
    told = (
        f"{which} are tif files whose 0 is white (MINISWHITE): read as they are shown, 0 -> {top}"
    )
    if stored:
        return (told + "; their numbers as stored are taken as class numbers, so data.mask_values"
                f" names each as {top} less it",)  # fmt: skip
    return (told + f", {top} -> 0",)
