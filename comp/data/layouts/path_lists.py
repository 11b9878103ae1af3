"""Lists of paths in CSV and text files -> the files below the data's root that they mean.

A list made on another machine begins its paths elsewhere: one prefix for the whole list is dropped,
and said. Paths that climb out of the root are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comp.data.layouts.tree import Tree, join, split_folder
from comp.errors import DataError

MAX_LIST_BYTES = 64 << 20
SAMPLE = 40  # cells looked at before the whole column is
BLANKS = ("nan", "none", "null", "na", "n/a", "<na>", "-")  # as tables are written without a value


@dataclass(frozen=True)
class Resolved:
    """A column of paths.

    Args:
        paths: the file of each cell, relative to the root; "": a blank cell; None: it is not there.
        dropped: what every cell began with that is no folder here.
    """

    paths: list[str | None]
    dropped: str


def resolve(cells: Sequence[str], tree: Tree, source: str) -> Resolved | None:
    """Find the files of a column; None: it holds no paths of images.

    Args:
        source: the list's own path, for messages; its folder is where paths may begin too.

    Raises:
        DataError: a path with '..' among paths of images.
    """
    split = [_parts(cell) for cell in cells]
    filled = [parts for parts in split if parts]
    step = max(1, len(filled) // SAMPLE)
    sample = filled[::step][:SAMPLE]
    if not sample or not any("." in parts[-1] for parts in sample):
        return None
    folder = split_folder(source)[0]
    best: tuple[int, str, int] | None = None
    for base in dict.fromkeys(("", folder)):
        for drop in range(min(len(parts) for parts in sample)):
            n = sum(_file(parts, base, drop) in tree.image_set for parts in sample)
            if n and (best is None or n > best[0]):
                best = (n, base, drop)
    if best is None or best[0] * 2 < len(sample):
        return None
    _, base, drop = best
    for cell, parts in zip(cells, split, strict=True):
        if ".." in parts:
            raise DataError(f"{source}: {cell!r} leaves the data's root; expected paths below it")
    named = [_file(parts, base, drop) if len(parts) > drop else "" for parts in split]
    paths: list[str | None] = [name if name in tree.image_set else None for name in named]
    for n, parts in enumerate(split):
        if not parts:
            paths[n] = ""
    return Resolved(paths, "/".join(filled[0][:drop]))


def _parts(cell: str) -> list[str]:
    if cell.strip().lower() in BLANKS:
        return []
    return [p for p in cell.strip().replace("\\", "/").split("/") if p not in ("", ".")]


def _file(parts: list[str], base: str, drop: int) -> str:
    return join(base, "/".join(parts[drop:]))


def read_lines(tree: Tree, path: str) -> list[str]:
    """The lines of a text list that are not blank and no remark; [] for what is no short text."""
    file = tree.root / path
    try:
        if file.stat().st_size > MAX_LIST_BYTES:
            return []
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def split_line(line: str, tree: Tree, source: str) -> tuple[str, str] | None:
    """The two paths of a line, set apart by a tab, comma, semicolon or space, names with spaces among them."""
    for mark in ("\t", ",", ";", " "):
        places = [n for n, c in enumerate(line) if c == mark]
        for n in places[:64]:
            a, b = line[:n].strip(), line[n + 1 :].strip()
            if a and b and resolve([a], tree, source) and resolve([b], tree, source):
                return a, b
    return None


def guess_separator(lines: Sequence[str], tree: Tree, source: str) -> str | None:
    """The mark between the two paths of nearly every line, where each line holds it once.

    A line without it names an image alone: its mask is left blank.
    """
    for mark in ("\t", ",", ";", " "):
        once = [line for line in lines if line.count(mark) == 1]
        none = sum(mark not in line for line in lines)
        if (
            once
            and len(once) + none >= 0.9 * len(lines)
            and (split_line(once[0], tree, source) or split_line(once[-1], tree, source))
        ):
            return mark
    return None
