"""Masks of a few small numbers -> the rule that reads them: two numbers, classes from 0, classes without a 0."""

from __future__ import annotations

from comp.config import IGNORE
from comp.data.intake.mask_facts import MaskFacts
from comp.data.intake.mask_rules import MaskRule
from comp.errors import some

MOST_CLASSES = 64  # larger numbers are shades or ids


def two_numbers(on: int, ignored: bool) -> MaskRule:
    """0 against one other number."""
    told = "; 255 is taken as ignore (nothing trained or scored there)" if ignored else ""
    note = f"masks hold 0 and {on} and no other class: background and one object{told}"
    rule = {0: 0, on: 1, **({IGNORE: IGNORE} if ignored else {})}
    return MaskRule(
        "binary", ("object",), IGNORE if ignored else None, mask_values=rule, notes=(note,)
    )


def numbers_from_zero(inner: list[int], ignored: bool) -> MaskRule:
    """Class numbers from 0; those that no mask holds keep their places."""
    names = tuple(f"class_{k}" for k in range(max(inner) + 1))
    told = "; 255 is taken as ignore (nothing trained or scored there)" if ignored else ""
    notes = [f"values are taken as class numbers 0..{max(inner)}{told}; give the classes names"]
    if absent := [k for k in range(len(names)) if k not in inner]:
        notes.append(
            f"no mask holds {some(absent, 8)}: {some([names[k] for k in absent], 8)} kept, so that numbers"
            " stay classes; to leave them out, number the others anew in data.mask_values"
        )
    return MaskRule("multiclass", names, IGNORE if ignored else None, notes=tuple(notes))


def numbers_from_one(facts: MaskFacts, inner: list[int]) -> MaskRule | None:
    """Class numbers without a 0 in any mask: two are background and object, more are classes from the least.

    None: only one number (and 255) stands in all of them.
    """
    ignore = IGNORE if IGNORE in facts.values else None
    if len(inner) < 2:
        return None
    last = {} if ignore is None else {IGNORE: IGNORE}
    values = {value: k for k, value in enumerate(inner)} | last
    if len(inner) > 2:
        names = tuple(f"class_{v}" for v in inner)
        note = (
            f"no mask holds 0: the numbers {some(inner, 8)} are taken as the classes; give them names;"
            " 0, should it mean something, must be named in data.mask_values"
        )
        return MaskRule("multiclass", names, ignore, mask_values=values, notes=(note,))
    low, high = inner
    most = max(inner, key=lambda v: facts.pixels[v])
    share = facts.pixels[most] / sum(facts.pixels[v] for v in inner)
    other = high if most == low else low
    told = (
        f"masks hold {low} and {high} and no 0: {most} ({share:.0%} of their pixels) is taken as background"
        f" and {other} as the object; were it the other way, exchange them in data.mask_values; were both"
        f" classes, set task: multiclass, two classes and data.mask_values: {{{low}: 0, {high}: 1}}"
    )
    return MaskRule(
        "binary", ("object",), ignore, mask_values={most: 0, other: 1} | last, problems=(told,)
    )
