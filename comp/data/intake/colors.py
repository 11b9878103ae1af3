"""Masks that name their classes by colour -> the rule that reads them: class tables, palettes, plain RGB."""

from __future__ import annotations

from collections import Counter

from comp.config import IGNORE
from comp.data.images.palette import grey, spelled
from comp.data.intake.mask_facts import MaskFacts
from comp.data.intake.mask_rules import (
    BACKGROUND_NAMES,
    VOC_CLASSES,
    ClassTable,
    MaskRule,
    looks_like_pascal,
    the_ignored,
)
from comp.errors import DataError, some

MOST_CLASSES = 64  # more colours than this are no classes but edges, compression or a photograph
APART = 48  # colours nearer than this, in each of r, g, b, are one class smeared by compression
SMEARED = 128  # the distance that is then allowed
NAMES = {
    0x000000: "background", 0xFF0000: "red", 0x00FF00: "green", 0x0000FF: "blue",
    0xFFFF00: "yellow", 0x00FFFF: "cyan", 0xFF00FF: "magenta", 0xFFFFFF: "white",
}  # fmt: skip
VOC_BORDER = 0xE0E0C0


def rule_by_colors(facts: MaskFacts, table: ClassTable | None, layout: str) -> MaskRule | None:
    """The rule where colours decide; None: the numbers do.

    Raises:
        DataError: too many colours for classes, or colours that the class table does not name.
    """
    few = facts.n_files >= 3 and len(facts.colored) <= max(1, facts.n_files // 20)
    if table is not None and table.colors and _table_speaks_of_colors(facts, table):
        return _by_table(facts, table)
    if facts.colored and not few:
        return _by_voc(facts) if layout == "voc" and _is_voc(facts) else _guessed(facts, "")
    if table is None and (told := _told_shift(facts)):
        used = {color for colors in facts.index_colors.values() for color in colors}
        if len(used) <= len(facts.index_colors):
            return _guessed(facts, told + "the classes are taken by colour")
    return None


def palette_notes(facts: MaskFacts) -> list[str]:
    """What is told where palettes differ and the numbers are taken all the same."""
    told = _told_shift(facts)
    tail = "the classes are taken by index; data.mask_colors takes them by colour"
    return [told + tail] if told else []


def _told_shift(facts: MaskFacts) -> str:
    """Which index has two colours, and where; nothing when none has."""
    for index, colors in sorted(facts.index_colors.items()):
        if len(colors) > 1:
            a, b = sorted(colors)[:2]
            return (
                f"palettes differ from file to file (index {index} is {spelled(a)} in"
                f" {facts.color_first[a]}, {spelled(b)} in {facts.color_first[b]}): "
            )
    return ""


def _table_speaks_of_colors(facts: MaskFacts, table: ClassTable) -> bool:
    """True when the masks hold the table's colours rather than its numbers."""
    if facts.colored:
        return True
    if facts.index_colors:
        same = all(
            {table.colors.get(color) for color in colors} == {index}
            for index, colors in facts.index_colors.items()
        )
        inside = all(c in table.colors for colors in facts.index_colors.values() for c in colors)
        return inside and not same
    known = {*table.names, table.ignore}
    strange = not set(facts.values) <= known
    return strange and all(v < 256 and grey(v) in table.colors for v in facts.values)


def _by_table(facts: MaskFacts, table: ClassTable) -> MaskRule:
    """Classes as the table names them, by colour."""
    place = {value: k for k, value in enumerate(table.names)}
    names = tuple(table.names.values())
    colors = {c: place.get(value, IGNORE) for c, value in table.colors.items()}
    task = "multiclass"
    if len(names) == 1:
        task, colors = "binary", {0: 0, **{c: 1 if k == 0 else k for c, k in colors.items()}}
    elif len(names) == 2 and names[0].lower() in BACKGROUND_NAMES:
        task, names = "binary", names[1:]
    foreign = {c: n for c, n in facts.colors.items() if c not in colors}
    total = sum(facts.colors.values())
    smeared = bool(facts.n_lossy) or len(foreign) > 4 * len(colors)
    problems: tuple[str, ...] = ()
    if foreign and not smeared:
        most = sorted(foreign, key=lambda c: (-foreign[c], c))
        told = (
            f"masks hold the colour {some(map(spelled, most))} (first in"
            f" {facts.color_first[most[0]]}, {foreign[most[0]]} pixels), which {table.source} does not"
            " name; add it there (a class named ignore is not scored)"
        )
        if sum(foreign.values()) > 0.02 * total:
            raise DataError(told)
        problems = (told + ", or mend the files; until then it is an error",)
    notes: tuple[str, ...] = ("classes by colour",)
    if foreign and smeared:
        notes += (
            f"{len(foreign)} colours lie between those of the classes: each pixel takes the nearest,"
            f" at most {SMEARED} away",
        )
    return MaskRule(
        task,
        names,
        IGNORE if IGNORE in colors.values() else None,
        mask_colors={spelled(c): k for c, k in sorted(colors.items(), key=lambda p: (p[1], p[0]))},
        mask_color_distance=SMEARED if foreign and smeared else 0,
        notes=notes,
        problems=problems,
        source=table.source,
    )


def _guessed(facts: MaskFacts, note: str) -> MaskRule:
    """Classes by colour without a table: black first, the others in order; their names are to be given."""
    total = sum(facts.colors.values())
    chosen, distance = sorted(facts.colors), 0
    problems: tuple[str, ...] = ()
    if len(chosen) > MOST_CLASSES:
        chosen, distance = _peaks(facts.colors), SMEARED
        if not 2 <= len(chosen) <= MOST_CLASSES:
            raise DataError(
                f"colour masks of {len(facts.colors)} colours, which are no classes (first:"
                f" {facts.colored[0] if facts.colored else facts.color_first[0]}). Decide by adding"
                " classes.csv (Name,r,g,b) to the data, or write configs/competition.yaml by hand"
                ' with data.mask_colors, such as {"#000000": 0, "#ff0000": 1}'
            )
        problems = (
            f"masks hold {len(facts.colors)} colours: the {len(chosen)} with most pixels are taken as"
            f" classes, others as the nearest of them (data.mask_color_distance: {distance}); check that",
        )
    else:
        rare = [
            c
            for c in chosen
            if facts.n_files >= 3
            and facts.colors[c] <= 1e-4 * total
            and facts.color_files[c] <= max(1, facts.n_files // 100)
        ]
        if rare and len(chosen) - len(rare) >= 2:
            chosen = [c for c in chosen if c not in rare]
            problems = tuple(
                f"mask colour {spelled(c)}: {facts.colors[c]} pixels in {facts.color_files[c]} of"
                f" {facts.n_files} masks, first in {facts.color_first[c]}: a mistake, or a class? Mend"
                " the file, or name the colour in data.mask_colors; until then it is an error"
                for c in rare
            )
    names = tuple(NAMES.get(c, f"color_{c:06x}") for c in chosen)
    colors = {spelled(c): k for k, c in enumerate(chosen)}
    notes = (note,) if note else (f"colour masks of {len(chosen)} colours",)
    if len(chosen) == 2 and chosen[0] == 0:
        return MaskRule(
            "binary", ("object",), mask_colors=colors, mask_color_distance=distance,
            notes=notes, problems=problems, source="the mask colours",
        )  # fmt: skip
    if len(chosen) < 2:
        raise DataError(f"every mask is {spelled(chosen[0])} all over: nothing can be learned")
    notes = (notes[0] + "; give the classes names",)
    return MaskRule(
        "multiclass", names, mask_colors=colors, mask_color_distance=distance,
        notes=notes, problems=problems, source="the mask colours",
    )  # fmt: skip


def _peaks(colors: Counter[int]) -> list[int]:
    """Colours that stand out of a smear: each has a share of its own, and together they cover nearly all."""
    total = sum(colors.values())
    cores: list[int] = []
    mass: Counter[int] = Counter()
    for color, n in sorted(colors.items(), key=lambda pair: (-pair[1], pair[0])):
        home = next((core for core in cores if _apart(core, color) <= APART), None)
        if home is None and len(cores) < 4 * MOST_CLASSES:
            cores.append(color)
            home = color
        if home is not None:
            mass[home] += n
    kept = [core for core in cores if mass[core] >= 0.005 * total]
    return sorted(kept) if sum(mass[core] for core in kept) >= 0.8 * total else []


def _apart(a: int, b: int) -> int:
    return max(abs((a >> shift & 255) - (b >> shift & 255)) for shift in (16, 8, 0))


def voc_colors(n: int) -> list[int]:
    """The first n colours of Pascal VOC's map: bit k of a class goes to bit 7 - k/3 of r, g, b in turn."""
    found = []
    for number in range(n):
        code = 0
        for bit in range(8):
            if number >> bit & 1:
                code |= 1 << (7 - bit // 3) << (16, 8, 0)[bit % 3]
        found.append(code)
    return found


def _is_voc(facts: MaskFacts) -> bool:
    return set(facts.colors) <= {*voc_colors(len(VOC_CLASSES)), VOC_BORDER}


def _by_voc(facts: MaskFacts) -> MaskRule:
    """Pascal's names where the set looks like it; else its colours, numbered."""
    known = voc_colors(len(VOC_CLASSES))
    used = [k for k, c in enumerate(known) if c in facts.colors]
    names: tuple[str, ...] = VOC_CLASSES
    source = "Pascal VOC's list"
    note = "colours of the 21 classes of Pascal VOC; #e0e0c0 marks their borders, not scored"
    if not looks_like_pascal(used):
        names = tuple(f"class_{k}" for k in range(max(2, max(used) + 1)))
        source = "the mask colours"
        note = (
            "colours of Pascal VOC's map; #e0e0c0 marks borders, not scored; give the classes names"
        )
    colors = {spelled(c): k for k, c in enumerate(known[: len(names)])}
    return MaskRule(
        "multiclass", names, IGNORE, mask_colors={**colors, spelled(VOC_BORDER): IGNORE},
        notes=(note,), source=source,
    )  # fmt: skip


def colored_table(
    source: str, names: list[str], colors: list[int], numbers: list[int] | None
) -> ClassTable:
    """A class table with colours, one row a class.

    Args:
        numbers: the mask value of each row; None: the rows are numbered from 0.

    Raises:
        DataError: a name or a number twice, or several classes to ignore.
    """
    values = numbers if numbers is not None else list(range(len(names)))
    if len(set(values)) < len(values) or len(set(names)) < len(names):
        raise DataError(f"{source}: a number or a name stands there twice")
    pairs = dict(sorted(zip(values, names, strict=True)))
    ignore = the_ignored(source, pairs)
    kept = {v: name for v, name in pairs.items() if v != ignore}
    return ClassTable(
        source,
        kept,
        ignore,
        dict(zip(colors, values, strict=True)),
    )
