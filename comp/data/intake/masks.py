"""What stands in all mask files -> task, classes and the rule that reads them, or a refusal.

The best guess is made, and what does not fit it is listed as a problem with file and value: reading
refuses such values until they are settled. Two readings as good as each other are an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from comp.config import IGNORE
from comp.data.intake.colors import palette_notes, rule_by_colors
from comp.data.intake.mask_facts import MaskFacts, look_at_masks
from comp.data.intake.mask_numbers import (
    MOST_CLASSES,
    numbers_from_one,
    numbers_from_zero,
    two_numbers,
)
from comp.data.intake.mask_rules import (
    BACKGROUND_NAMES,
    IGNORE_NAMES,
    VOC_CLASSES,
    ClassTable,
    MaskRule,
    looks_like_pascal,
    may_be_ignored,
)
from comp.data.intake.mask_white import stored_numbers, turned_over, white_notes
from comp.errors import DataError, some

__all__ = [
    "IGNORE_NAMES",
    "VOC_CLASSES",
    "ClassTable",
    "MaskFacts",
    "MaskRule",
    "choose_rule",
    "look_at_masks",
]


def choose_rule(facts: MaskFacts, table: ClassTable | None, layout: str) -> MaskRule:
    """Settle task, classes and rule.

    Raises:
        DataError: no mask can be read, or what they hold allows more than one reading.
    """
    if not facts.pixels and not facts.bits and not facts.colored:
        raise DataError("no mask can be read: " + some(facts.faults, 2))
    found = stored_numbers(facts)
    if found is not None:
        stored, top = found
        turned = turned_over(choose_rule(stored, table, layout), top)
        return replace(turned, notes=(*turned.notes, *white_notes(facts, True)))
    rule = rule_by_colors(facts, table, layout)
    if rule is None:
        rule = _by_table(facts, table) if table is not None else _by_values(facts, layout)
        rule = replace(rule, notes=(*rule.notes, *palette_notes(facts)))
        if facts.colored:
            told = (
                f"{len(facts.colored)} colour masks among masks of one band: {some(facts.colored)}"
            )
            rule = replace(rule, problems=(*rule.problems, told))
    doubts = (*_inverted(facts, rule), *_beyond_threshold(facts, rule))
    notes = (*rule.notes, *white_notes(facts, False))
    return replace(rule, notes=notes, problems=(*rule.problems, *doubts))


def _by_values(facts: MaskFacts, layout: str) -> MaskRule:
    """The rule of numbers alone; where files of 8 and of 16 bits need two rules, most files decide."""
    try:
        rule = _by_all_values(facts, layout)
        if rule.mask_threshold is None or not facts.by_depth:
            return rule
    except DataError:
        if not facts.by_depth:
            raise
    n_of = {deep: sum(top > 0 for top in one.tops.values()) for deep, one in facts.by_depth.items()}
    if len(set(n_of.values())) < 2:
        return _by_all_values(facts, layout)
    most = max(n_of, key=lambda deep: n_of[deep])
    rule = _by_all_values(facts.by_depth[most], layout)
    fewer = [path for path, top in facts.by_depth[not most].tops.items() if top]
    told = (
        f"{len(fewer)} of {len(facts.tops)} masks are of {'8' if most else '16'} bits (values up to"
        f" {max(facts.by_depth[not most].values)}), the others of {'16' if most else '8'}, which"
        f" decide: {some(map(_short, fewer))}; save them as the others"
    )
    return replace(rule, problems=(*rule.problems, told))


def _beyond_threshold(facts: MaskFacts, rule: MaskRule) -> list[str]:
    """Masks of a scale below the threshold, which reads them as empty."""
    under = [p for p, top in facts.tops.items() if 0 < top < (rule.mask_threshold or 0)]
    if not under:
        return []
    return [
        f"{len(under)} masks hold values, up to {max(facts.tops[p] for p in under)}, but none from"
        f" {rule.mask_threshold} on, and are read as empty: {some(map(_short, under))}"
    ]


def _by_all_values(facts: MaskFacts, layout: str) -> MaskRule:
    """The rule of numbers alone; rare values that disturb it are left out of it and listed."""
    for share, of_files in ((1e-3, 0.02), (0.02, 0.05)):
        strays = facts.strays(share, of_files)
        found = _fitting(facts, layout) if not _odd(facts, strays, layout) else None
        if found is not None:
            return found
        for n in range(1, len(strays) + 1):
            left = facts.without(strays[:n])
            found = _fitting(left, layout) if left.pixels else None
            if found is not None and not _odd(left, strays[n:], layout):
                return _with_strays(found, facts, strays[:n])
    found = _fitting(facts, layout)
    if found is not None:
        return found
    values = facts.values
    raise DataError(
        f"masks hold {len(values)} values ({some(values, 12)}; {values[-1]} first in"
        f" {facts.first[values[-1]]}), which can be read in more than one way. Decide by adding"
        " classes.csv (ClassId,Name; a class named ignore is not scored) to the data; or write"
        " configs/competition.yaml by hand with data.mask_values, such as {0: 0, 128: 1, 255: 2},"
        " or data.mask_threshold for soft binary masks"
    )


def _odd(facts: MaskFacts, strays: Sequence[int], layout: str) -> bool:
    """True when a rare value stands apart from the others, or turns two classes into three."""
    values = [v for v in facts.values if v != IGNORE]
    rare = [v for v in strays if v in facts.pixels]
    if not rare or layout == "voc" or set(facts.values) <= {0, 1, IGNORE, 65535}:
        return False
    kept = [v for v in values if v not in rare]
    if kept[:1] == [0] and len(kept) <= 2:
        return True
    return any(v > max(kept, default=0) + 1 for v in rare if v != IGNORE)


def _with_strays(rule: MaskRule, facts: MaskFacts, strays: Iterable[int]) -> MaskRule:
    """The rule with a problem for each value that was left out of it."""
    if rule.mask_threshold is not None:
        return rule  # a threshold reads every value
    told = [
        f"mask value {v}: {facts.pixels[v]} pixels in {facts.files[v]} of {facts.n_files} masks, first"
        f" in {facts.first[v]}: a mistake, or a class? Mend the file, or name the value in"
        " data.mask_values; until then it is an error"
        for v in sorted(strays)
    ]
    return replace(rule, problems=(*rule.problems, *told))


def _fitting(facts: MaskFacts, layout: str) -> MaskRule | None:
    """The one reading of these numbers; None: there is none, or more than one."""
    values = facts.values
    if layout == "voc" and looks_like_pascal([v for v in values if v != IGNORE]):
        note = "classes 0..20 of Pascal VOC, 255 marks their borders: nothing is scored there"
        return MaskRule(
            "multiclass", VOC_CLASSES, IGNORE, notes=(note,), source="Pascal VOC's list"
        )
    if set(values) <= {0, 1, IGNORE, 65535}:
        return _binary(facts)
    inner = [v for v in values if v != IGNORE]
    if len(inner) == 2 and inner[0] == 0 and (inner == values or inner[1] < MOST_CLASSES):
        return two_numbers(inner[1], IGNORE in values)
    if max(inner) < MOST_CLASSES and min(inner) >= 0 and 2 * len(inner) > max(inner):
        return (
            numbers_from_one(facts, inner)
            if inner[0] > 0
            else numbers_from_zero(inner, IGNORE in values)
        )
    soft = len(values) > 32 or (len(values) > (4 if facts.n_lossy else 16) and _mostly_top(facts))
    if soft and _two_peaks(facts):
        threshold = (max(values) + 1) // 2
        note = f"soft edges ({len(values)} values up to {max(values)}): foreground from {threshold}"
        return MaskRule("binary", ("object",), mask_threshold=threshold, notes=(note,))
    return None


def _binary(facts: MaskFacts) -> MaskRule | None:
    """Masks of 0 against one of 1, 255, 65535; in 0, 1 and 255 together, 255 is ignored.

    None: 255 is alone in many masks and beside 1 in many.
    """
    on = [v for v in facts.values if v != 0]
    if not on and not facts.bits:
        note = "every mask is empty: nothing can be learned from them"
        return MaskRule("binary", ("object",), mask_values={0: 0, 1: 1}, notes=(note,))
    if facts.one_with_255:
        if IGNORE in on and facts.files[IGNORE] > facts.one_with_255 + facts.n_files // 2:
            return _ones_beside_255(facts)
        note = f"255 stands beside 1 in {facts.one_with_255} masks: taken as ignore, not scored"
        rule = {0: 0, 1: 1, IGNORE: IGNORE}
        return MaskRule("binary", ("object",), IGNORE, mask_values=rule, notes=(note,))
    notes = (f"masks of different scales: each of {on} is foreground",) if len(on) > 1 else ()
    on = on or [1]  # the set bit
    return MaskRule("binary", ("object",), mask_values={0: 0, **dict.fromkeys(on, 1)}, notes=notes)


def _ones_beside_255(facts: MaskFacts) -> MaskRule:
    """255 is foreground in most masks; what 1 means beside it is asked."""
    alone = facts.files[IGNORE] - facts.one_with_255
    told = (
        f"255 stands beside 1 in {facts.one_with_255} masks and without it in {alone}: 255 is taken"
        f" as foreground, and 1 (first in {facts.first[1]}) is an error until it is settled: mend the"
        " files, or name 1 in data.mask_values (255: 255 with ignore_index: 255, were 255 to be ignored)"
    )
    on = {v: 1 for v in facts.values if v not in (0, 1)}
    return MaskRule("binary", ("object",), mask_values={0: 0, **on}, problems=(told,))


def _by_table(facts: MaskFacts, table: ClassTable) -> MaskRule:
    """Classes as the table names them; values that it does not name are problems, or refused.

    255 that it does not name is what is not scored; beside 0 alone, it is the one class.
    """
    strays = set(facts.strays(0.02, 0.05))
    unnamed = [v for v in facts.values if v not in {*table.names, table.ignore}]
    note = ""
    if unnamed == [IGNORE] and table.ignore is None:
        one = _only_class(table)
        if set(facts.values) <= {0, IGNORE} and one is not None:
            note = f"masks hold 0 and 255: 255 is {table.names[one]}, {one} in {table.source}"
            names = {IGNORE if v == one else v: name for v, name in table.names.items()}
            table, unnamed = replace(table, names=names), []
        elif not set(facts.values) <= {0, IGNORE, *strays}:
            note = (
                f"{table.source} does not name 255: taken as ignore; were it a class, name it there"
            )
            table, unnamed = replace(table, ignore=IGNORE), []
    if unnamed and not set(unnamed) <= strays:
        raise DataError(
            f"masks hold value {some(unnamed)} (first in {facts.first[unnamed[0]]}), which"
            f" {table.source} does not name; add it there (a class named ignore is not scored)"
        )
    rule = _table_rule(facts, table)
    notes = (*([note] if note else []), *rule.notes)
    return _with_strays(replace(rule, notes=notes), facts, unnamed)


def _only_class(table: ClassTable) -> int | None:
    """The value of the one class beside the background; None: there are more, or none."""
    objects = [v for v, name in table.names.items() if name.lower() not in BACKGROUND_NAMES]
    return objects[0] if len(objects) == 1 and len(table.names) <= 2 else None


def _table_rule(facts: MaskFacts, table: ClassTable) -> MaskRule:
    """The rule of a table that names all.

    Raises:
        DataError: it names no class but the background.
    """
    names = tuple(table.names.values())
    if not [name for name in names if name.lower() not in BACKGROUND_NAMES[:2]]:
        raise DataError(
            f"{table.source}: names no class to learn but {some(names) or 'what is ignored'}: name the"
            " objects there, with the value that the masks hold for them"
        )
    doubts = tuple(
        f"{name!r} ({v}) is kept as a class; name it ignore in {table.source} if it is not to be"
        " trained and scored"
        for v, name in table.names.items()
        if v and v in facts.pixels and may_be_ignored(name, v)
    )
    plain = list(table.names) == list(range(len(names)))
    values = None if plain else {v: k for k, v in enumerate(table.names)}
    if values is not None and table.ignore is not None:
        values[table.ignore] = table.ignore
    if len(names) == 2 and names[0].lower() in BACKGROUND_NAMES:
        one = {v: k for k, v in enumerate(table.names)}
        return MaskRule(
            "binary", names[1:], table.ignore, mask_values=one, notes=doubts, source=table.source
        )
    if len(names) == 1:
        one = {0: 0, next(iter(table.names)): 1}
        return MaskRule("binary", names, table.ignore, mask_values=one, source=table.source)
    absent = [name for v, name in table.names.items() if v not in facts.pixels]
    notes = (*doubts, *([f"no mask holds {some(absent)}"] if absent else []))
    return MaskRule(
        "multiclass", names, table.ignore, mask_values=values, notes=notes, source=table.source
    )


def _two_peaks(facts: MaskFacts) -> bool:
    """True when nearly all pixels lie near 0 or near the top: a blurred or compressed binary mask."""
    top = max(facts.values)
    ends = sum(n for v, n in facts.pixels.items() if v <= top // 4 or v >= top - top // 4)
    in_scale = 128 <= top <= 255 or top >= 32768
    return in_scale and ends >= 0.8 * sum(facts.pixels.values())


def _mostly_top(facts: MaskFacts) -> bool:
    """True when what is not near 0 is mostly near the top: few values between are edges, not classes."""
    top = max(facts.values)
    above = sum(n for v, n in facts.pixels.items() if v > top // 4)
    return 2 * sum(n for v, n in facts.pixels.items() if v >= top - top // 4) > above


def _inverted(facts: MaskFacts, rule: MaskRule) -> list[str]:
    """What speaks for masks that mark the background, and how to turn them; never acted on."""
    if rule.task != "binary" or not facts.marked:
        return []
    partly = [(path, on, border) for path, on, border in facts.marked if 0 < on < 1]
    if not partly:
        return []
    mean = sum(on for _, on, _ in partly) / len(partly)
    large = [path for path, on, _ in partly if on > 0.6]
    if len(large) > 0.8 * len(partly) and len(large) > 2:
        how = "data.mask_invert: true"
        if rule.mask_values and len(rule.mask_values) == 2:
            turned = {value: 1 - k for value, k in sorted(rule.mask_values.items())}
            how += f" (or data.mask_values: {turned})"
        return [
            f"inverted? The foreground is {mean:.0%} of a mask on average: if that is the background, set {how}"
        ]
    turned_over = [path for path, on, border in partly if on > 0.6 and border > 0.9]
    usual = [on for path, on, _ in partly if path not in set(turned_over)]
    if turned_over and len(partly) >= 10 and len(turned_over) <= 0.2 * len(partly):
        middle = sorted(usual)[len(usual) // 2]
        if middle < 0.3:
            return [
                f"inverted? {len(turned_over)} masks are mostly foreground up to their border, while"
                f" half of the others have less than {middle:.0%}: look at"
                f" {some(map(_short, turned_over))}"
            ]
    return []


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
