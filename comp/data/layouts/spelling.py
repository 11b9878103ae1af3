"""Names that look the same and are not: composed Unicode (NFC) beside decomposed (NFD, as macOS writes)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from comp.data.layouts.tree import Tree, stem
from comp.data.sources.tables import read_tables
from comp.errors import some


def spelled_apart(tree: Tree) -> str:
    """What is told where files of two folders, or files and a table, would pair but for their spelling."""
    for folder, names in sorted(tree.images.items()):
        apart = {stem(name) for name in names if not unicodedata.is_normalized("NFC", name)}
        if not apart:
            continue
        others = {f"{other}/": map(stem, held) for other, held in tree.images.items()}
        for place, texts in others.items():
            if place != f"{folder}/" and (both := _same(apart, texts)):
                return _told(folder, place, both)
        for table in read_tables(tree.root, []):
            cells = [cell for column in table.frame.columns for cell in table.frame[column]]
            if both := _same(apart, [*cells, *map(stem, cells)]):
                return _told(folder, table.name, both)
    return ""


def _same(apart: set[str], texts: Iterable[str]) -> list[str]:
    composed = {unicodedata.normalize("NFC", name): name for name in apart}
    return sorted(composed[text] for text in set(texts) if text in composed)


def _told(folder: str, place: str, names: list[str]) -> str:
    return (
        f" {len(names)} names in {folder or '.'}/ and {place} look the same and are not ({some(names, 3)}):"
        f" those in {folder or '.'}/ are in decomposed Unicode (NFD, as macOS writes). Rename them to NFC"
        " (convmv -f utf8 -t utf8 --nfc --notest -r DIR) and begin again."
    )
