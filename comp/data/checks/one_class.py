"""Masks that are all of one class: nothing can be learned from them, and mostly the rule that reads them is wrong."""

from __future__ import annotations

from comp.config import Competition
from comp.data.checks.scan import Scan


def all_of_one_class(train: Scan, competition: Competition) -> list[str]:
    """Say which class is every valid pixel of every mask; empty masks are warned of elsewhere."""
    if not train.n_masks:
        return []
    whole = [
        name
        for name, n, valid in zip(competition.classes, train.counts, train.valid, strict=True)
        if valid and n == valid
    ]
    lost = train.n_ignored / max(1, train.n_pixels)
    told = f"; {lost:.1%} of all pixels are ignored: are these a class?" if lost else ":"
    return [
        f"class {name!r} is 100 % of the valid pixels of every mask ({train.n_masks}), so that nothing"
        f" can be learned{told} look at classes, ignore_index and data.mask_values in the competition"
        " file"
        for name in whole
    ]
