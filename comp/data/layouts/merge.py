"""Readings of one layout that are one set: its parts (train, val, test), or places that look alike.

`Train/Rural/images_png`, `Train/Urban/images_png`, `Val/...`; `x_Training_Input` beside `x_Validation_Input`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from comp.config import Pairs
from comp.data.layouts.found import Found
from comp.data.layouts.pairing import best_affixes, pattern, split_of
from comp.data.layouts.tree import Tree, join, split_folder
from comp.data.sources.patterns import match
from comp.errors import some

TOKEN = re.compile(r"[A-Za-z]+")
MOST_TESTS = 4  # spellings of the word test in one tree


def split_in(path: str) -> str:
    """train, val or test where the words of a pattern's folders say one of them; else ""."""
    folders = re.sub(r"\{.*?\}", "", split_folder(path)[0])
    said = {split for word in TOKEN.findall(folders) if (split := split_of(word))}
    return said.pop() if len(said) == 1 else ""


def merge(tree: Tree, found: Sequence[Found]) -> Found | None:
    """One reading of several; None where they are not one set."""
    pairs = [p for one in found for p in one.train]
    if any(one.rows for one in found) or any(p.masks is None for p in pairs):
        return None
    if len({str((one.data, one.values)) for one in found}) > 1:
        return None
    parts: dict[str, list[Pairs]] = {}
    for one in pairs:
        split = split_in(one.images or "")
        if split_in(one.masks or "") != split:
            return None
        parts.setdefault("val" if one.split == "val" else split, []).append(one)
    if ("" in parts and len(parts) > 1) or not parts.keys() & {"", "train"}:
        return None
    merged: list[Pairs] = []
    test = None
    for split, members in parts.items():
        whole = members[0] if len(members) == 1 else _with_dir(tree, members)
        if whole is None:
            return None
        if split == "test":
            test = whole.images
        else:
            merged.append(whole.model_copy(update={"split": "val" if split == "val" else "train"}))
    merged.sort(key=lambda one: one.split == "val")
    claims = frozenset().union(*(one.claims for one in found))
    notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
    places = sorted({split_folder(p.images or "")[0] for p in pairs})
    if any("{dir}" in (p.images or "") for p in merged):
        notes += (f"{len(places)} folders alike: {some(places)}; ids carry the folder",)
    return replace(
        found[0],
        place=_shared([one.place for one in found]),
        train=tuple(merged),
        test=None,
        test_pattern=test or next((one.test_pattern for one in found if one.test_pattern), None),
        claims=claims,
        notes=notes,
    )


def _with_dir(tree: Tree, members: Sequence[Pairs]) -> Pairs | None:
    """Pairs whose folders differ in one place, the same for images and masks, as one with {dir}."""
    images = [split_folder(p.images or "")[0] for p in members]
    masks = [split_folder(p.masks or "")[0] for p in members]
    if any("{" in folder for folder in (*images, *masks)) or len(set(images)) < len(images):
        return None
    first, second = _around(images), _around(masks)
    if first is None or second is None or first[2] != second[2]:
        return None
    names = [(tree.images.get(i, []), tree.images.get(m, [])) for i, m in zip(images, masks, strict=True)]  # fmt: skip
    affix = best_affixes(names)
    if affix is None:
        return None
    folder = [join(join(before, "{dir}"), after) for before, after, _ in (first, second)]
    return Pairs(
        images=pattern(folder[0], affix[0], [n for one, _ in names for n in one]),
        masks=pattern(folder[1], affix[1], [n for _, one in names for n in one]),
    )


def _around(folders: Sequence[str]) -> tuple[str, str, list[str]] | None:
    """(what stands before, after, and between for each) of folders that differ in the middle."""
    parts = [folder.split("/") for folder in folders]
    before = _shared(folders)
    n = len(before.split("/")) if before else 0
    turned = ["/".join(p[n:][::-1]) for p in parts]
    after = "/".join(_shared(turned).split("/")[::-1])
    m = len(after.split("/")) if after else 0
    rests = ["/".join(p[n : len(p) - m]) for p in parts]
    return (before, after, rests) if all(rests) and len(set(rests)) == len(rests) else None


def _shared(folders: Sequence[str]) -> str:
    """The folder that holds them all."""
    parts = [folder.split("/") for folder in folders]
    n = 0
    while all(len(p) > n for p in parts) and len({p[n] for p in parts}) == 1:
        n += 1
    return "/".join(parts[0][:n])


def twin_of_test(tree: Tree, images: str, bands: Sequence[str] = ()) -> str | None:
    """The pattern of training images with test in place of train, where there are such files."""
    if split_in(images) != "train":
        return None
    words = {
        word: None
        for folder in sorted(tree.images)
        for word in TOKEN.findall(folder)
        if split_of(word) == "test"
    }
    folder, name = split_folder(images)
    for word in list(words)[:MOST_TESTS]:
        there = _renamed(folder, word)
        for file in dict.fromkeys((_renamed(name, word), name)):
            if match(tree.root, join(there, file), band=bands[0] if bands else ""):
                return join(there, file)
    return None


def _renamed(text: str, word: str) -> str:
    """The text with `word` in place of train, training; what stands in braces stays."""
    return re.sub(
        r"\{.*?\}|[A-Za-z]+", lambda hit: word if split_of(hit[0]) == "train" else hit[0], text
    )
