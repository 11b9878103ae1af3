"""Names of classes in a text file beside the data: classes.txt, a name a line; labelmap.txt as CVAT writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from comp.config import IGNORE
from comp.data.images.palette import grey
from comp.data.intake.colors import VOC_BORDER, colored_table
from comp.data.intake.mask_facts import MaskFacts
from comp.data.intake.mask_rules import BACKGROUND_NAMES, ClassTable, MaskRule, the_ignored
from comp.data.intake.masks import choose_rule
from comp.data.layouts.tree import Tree, join, split_folder
from comp.data.sources.patterns import is_image_name
from comp.errors import some

FILES = ("labelmap.txt", "label_map.txt", "classes.txt", "class_names.txt", "labels.txt", "names.txt")  # fmt: skip
MAX_BYTES = 1 << 16
COLORED = re.compile(r"(.+?):(\d{1,3}),(\d{1,3}),(\d{1,3})(?::.*)?")
NUMBERED = re.compile(r"\d+\s*[:,.\s]\s*(.*\D.*)")


@dataclass(frozen=True)
class NameList:
    """Names in the file's order.

    Args:
        source: the file, relative to the data's root.
        colors: 0xrrggbb of each name; empty: the file has none.
    """

    source: str
    names: tuple[str, ...]
    colors: tuple[int, ...] = ()


def read_names(tree: Tree, place: str) -> NameList | None:
    """The first list of class names in `place` or in a folder above it, up to the root."""
    folders = [place]
    while place:
        place = split_folder(place)[0]
        folders.append(place)
    for folder in folders:
        held = {name.lower(): name for name in tree.others.get(folder, [])}
        for name in FILES:
            if name in held and (found := _read(tree, join(folder, held[name]))) is not None:
                return found
    return None


def _read(tree: Tree, path: str) -> NameList | None:
    """None: no list of different names."""
    file = tree.root / path
    try:
        if file.stat().st_size > MAX_BYTES:
            return None
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    hits = [COLORED.fullmatch(line) for line in lines]
    colors: tuple[int, ...] = ()
    if lines and all(hits):
        parts = [hit.groups() for hit in hits if hit is not None]
        lines = [name.strip() for name, *_ in parts]
        if any(int(x) > 255 for _, *rgb in parts for x in rgb):
            return None
        colors = tuple(int(r) << 16 | int(g) << 8 | int(b) for _, r, g, b in parts)
    elif lines and all(NUMBERED.fullmatch(line) for line in lines):
        lines = [NUMBERED.sub(r"\1", line).strip() for line in lines]
    if not 1 <= len(lines) <= IGNORE or len(set(lines)) < len(lines):
        return None
    if any("/" in line and is_image_name(line) for line in lines) or is_image_name(lines[0]):
        return None  # a list of files
    return NameList(path, tuple(lines), colors if len(set(colors)) == len(colors) else ())


def rule_with_names(facts: MaskFacts, listed: NameList, layout: str) -> MaskRule:
    """The rule of the masks with the names of the list; where they do not fit, that is a problem.

    Raises:
        DataError: as `choose_rule`.
    """
    if listed.colors:
        return choose_rule(facts, _colored(listed, facts), layout)
    first = listed.names[0].lower() in BACKGROUND_NAMES
    if len(listed.names) == 1 + first:
        rule = choose_rule(facts, None, layout)
        if rule.task == "binary":
            return replace(rule, classes=listed.names[-1:], source=listed.source)
    table = _numbered(listed, facts)
    if table is not None:
        return choose_rule(facts, table, layout)
    rule = choose_rule(facts, None, layout)
    seen = "colours" if facts.colored else f"the values {some(facts.values, 8)}"
    told = (
        f"{listed.source}: {len(listed.names)} names, not used: the masks hold {seen}; name the"
        " classes in the competition file"
    )
    return replace(rule, problems=(*rule.problems, told))


def _colored(listed: NameList, facts: MaskFacts) -> ClassTable:
    """The list as a table by colour and by number; Pascal's border colour and 255 are ignored."""
    table = colored_table(listed.source, list(listed.names), list(listed.colors), None)
    ignore = table.ignore
    white = all(grey(value) in table.colors for value in facts.values)  # 255 is a named colour then
    alone = set(facts.values) <= {0, IGNORE}  # 255 beside nothing else: foreground
    beside = IGNORE in facts.values and not white and not alone
    if ignore is None and (beside or VOC_BORDER in facts.colors):
        ignore = IGNORE
    colors = {VOC_BORDER: IGNORE, **table.colors} if ignore == IGNORE else table.colors
    return replace(table, ignore=ignore, colors=colors)


def _numbered(listed: NameList, facts: MaskFacts) -> ClassTable | None:
    """Names numbered from 0, or from 1 with a background before them; None: the masks' values do not fit."""
    values = [v for v in facts.values if v not in {IGNORE, *facts.strays(0.02, 0.05)}]
    if facts.colored or not values or max(values) > len(listed.names):
        return None
    if set(values) <= {0} and IGNORE in facts.values:
        return None  # 0 and 255: one class, not several
    names = listed.names
    if max(values) == len(names):
        if names[0].lower() in BACKGROUND_NAMES:
            return None
        names = ("background", *names)
    ignored = the_ignored(listed.source, dict(enumerate(names)))
    ignore = IGNORE if IGNORE in facts.values else ignored
    if ignore == IGNORE and ignored in values:
        return None  # two values to ignore
    kept = {k: name for k, name in enumerate(names) if k != ignored}
    return ClassTable(listed.source, kept, ignore)
