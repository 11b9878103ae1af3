"""A table of codes whose ids are made of folders' and files' names: `case1_day0_slice_0001` for
`case1/case1_day0/scans/slice_0001_266_266.png`. One rule must give every image an id of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from comp.config import Pairs
from comp.data.layouts.found import Found
from comp.data.layouts.pairing import split_of
from comp.data.layouts.tables import rle_keys
from comp.data.layouts.tree import Tree, split_folder, stem
from comp.data.sources.manifest import Row
from comp.data.sources.tables import Table, code_shape, heads_of, is_sample, read_tables
from comp.errors import some

LOOKED_AT = 200  # images that a rule is tried on
MOST_CUTS = 8  # parts of a name that may be left away at its end
MOST_DEEP = 6

Rule = Callable[[str], str]


def joined_codes(tree: Tree) -> list[Found]:
    """A CSV of run-length codes whose ids some rule makes of the paths of the images: UW-Madison, ..."""
    images = sorted(tree.image_set)
    tables = [table for table in read_tables(tree.root, []) if not is_sample(table.name)]
    found = [_by_rule(tree, table, images) for table in tables] if images else []
    return [one for one in found if one is not None]


def _by_rule(tree: Tree, table: Table, images: Sequence[str]) -> Found | None:
    cells = {cell for column in table.frame.columns for cell in table.frame[column]}
    cells |= heads_of(cells)
    sample = images[:: max(1, len(images) // LOOKED_AT)]
    best = max(_rules(sample), key=lambda rule: sum(rule(i) in cells for i in sample), default=None)
    if best is None:
        return None
    tests = [i for i in images if any(split_of(p) == "test" for p in i.split("/")[:-1])]
    ids = {image: best(image) for image in images if image not in set(tests)}
    named = [image for image, image_id in ids.items() if image_id in cells]
    if 2 * len(named) < len(ids) or len(set(ids.values())) < len(ids):
        return None
    shape = code_shape(table.frame, set(ids.values()))
    if shape is None or shape.doubt or 2 * len(named) < len(shape.ids):
        return None
    rows = [Row(image_id, "train", (image,)) for image, image_id in ids.items()]
    test_ids = {image: best(image) for image in tests}
    if len({*test_ids.values(), *ids.values()}) == len(images):
        rows += [Row(image_id, "test", (image,)) for image, image_id in test_ids.items()]
    first = named[0]
    return Found(
        "rle_table",
        _shared(list(ids)),
        (Pairs(images="{dir}/{id}.*", rle=True),),
        rows=tuple(sorted(rows, key=lambda row: row.image_id)),
        claims=frozenset({("", table.name)}),
        data={"train_rle": {"file": table.name, **rle_keys(shape)}},
        values={"class_cells": list(shape.class_cells)} if shape.class_cells else {},
        notes=(
            f"{table.name}: the only truth, {shape.told}, read as it is; its ids are made of folders and"
            f" names: {some([f'{ids[first]} is {first}'])}",
        ),
    )


def _rules(sample: Sequence[str]) -> Iterator[Rule]:
    """Folders that stand in a row, joined by one mark, before a name that may lose parts at its end."""
    depth = min(min(path.count("/") for path in sample), MOST_DEEP)
    cuts = min(min(stem(split_folder(path)[1]).count("_") for path in sample), MOST_CUTS)
    spans = [(0, 0), *((a, b) for a in range(-depth, 0) for b in range(a + 1, 1))]
    for a, b in spans:
        for cut in range(cuts + 1):
            for mark in ("_", "-", "/", ""):
                if (a, b) != (0, 0) or mark == "_":
                    yield _rule(a, b, cut, mark)


def _rule(a: int, b: int, cut: int, mark: str) -> Rule:
    """Folders `a` to before `b`, counted from the last one, and the name without its last `cut` parts."""

    def made(path: str) -> str:
        folder, name = split_folder(path)
        folders = folder.split("/") if folder else []
        chosen = folders[len(folders) + a : len(folders) + b] if a else []
        return mark.join([*chosen, stem(name).rsplit("_", cut)[0] if cut else stem(name)])

    return made


def _shared(images: Sequence[str]) -> str:
    """The folder that holds them all."""
    first, last = min(images).split("/")[:-1], max(images).split("/")[:-1]
    n = 0
    while n < min(len(first), len(last)) and first[n] == last[n]:
        n += 1
    return "/".join(first[:n])
