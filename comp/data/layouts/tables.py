"""Layouts without mask files: a table of run-length codes, or COCO JSON, is the only truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comp.config import Pairs
from comp.data.layouts.found import Found, plain_pattern
from comp.data.layouts.pairing import extension, split_of
from comp.data.layouts.tree import Tree, join, split_folder, stem
from comp.data.sources.coco import CocoTable, looks_like_coco, read_coco
from comp.data.sources.tables import Shape, Table, code_shape, heads_of, is_sample, read_tables
from comp.data.sources.truth import coco_keys
from comp.errors import DataError, some

# ------------------------------------------------------------------------------------ run-length codes


def rle_table(tree: Tree) -> list[Found]:
    """A CSV of run-length codes whose ids are the images of one folder: Severstal, Airbus, Clouds, ..."""
    tables = read_tables(tree.root, [])
    found = []
    for table in tables:
        if is_sample(table.name):
            continue
        best = _folder_of(tree, table)
        if best is not None:
            folder, whole, shape = best
            found.append(_by_table(tree, table, folder, whole, shape, tables))
    keys = [one for one in found if _is_test(one.place)]
    return [one for one in found if one not in keys] or found


def _is_test(folder: str) -> bool:
    return any("test" in part.lower() for part in folder.split("/"))


def _folder_of(tree: Tree, table: Table) -> tuple[str, bool, Shape] | None:
    """(folder, ids are whole file names, shape) of the images that the table speaks of most."""
    best: tuple[int, str, bool, Shape] | None = None
    cells = {cell for column in table.frame.columns for cell in table.frame[column]}
    cells |= heads_of(cells)
    for folder, names in sorted(tree.images.items()):
        for whole in (False, True):
            ids = {name if whole else stem(name) for name in names}
            if len(ids) < len(names) or not ids & cells:
                continue
            shape = code_shape(table.frame, ids)
            n = len(ids & set(shape.ids)) if shape is not None else 0
            if shape is not None and n and (best is None or n > best[0]):
                best = (n, folder, whole, shape)
    if best is None or 2 * best[0] < len(best[3].ids):
        return None
    return best[1:]


def _by_table(
    tree: Tree, table: Table, folder: str, whole: bool, shape: Shape, tables: Sequence[Table]
) -> Found:
    if shape.doubt:
        raise DataError(f"{table.name}: {shape.doubt}")
    images = join(folder, "{id}") if whole else plain_pattern(tree, folder)
    data: dict[str, Any] = {"train_rle": {"file": table.name, **rle_keys(shape)}}
    above = split_folder(folder)[0]
    tests = [f for f in sorted(tree.images) if f != folder and _is_test(f)]
    sample = next((t for t in tables if is_sample(t.name)), None)
    test = _test_folder(tree, tests, sample, whole)
    listed = set(shape.ids)
    ids = [name if whole else stem(name) for name in tree.images[folder]]
    absent = [i for i in ids if i not in listed]
    notes = [f"{table.name}: the only truth, {shape.told}, read as it is"]
    if absent:
        notes.append(
            f"{table.name}: {len(absent)} of {len(ids)} images have no row: {some(absent)}"
        )
    values: dict[str, Any] = {}
    if shape.class_cells:
        values["class_cells"] = list(shape.class_cells)
    return Found(
        "rle_table",
        folder or above,
        (Pairs(images=images, rle=True),),
        None,
        test_pattern=None
        if test is None
        else join(test, "{id}")
        if whole
        else plain_pattern(tree, test),
        claims=frozenset({(folder, table.name)}),
        data=data,
        values=values,
        notes=tuple(notes),
    )


def rle_keys(shape: Shape) -> dict[str, Any]:
    values: dict[str, Any] = {"id_column": shape.id_column, "rle_column": shape.rle_column}
    if shape.class_column is not None:
        values["class_column"] = shape.class_column
    if shape.class_in_id:
        values["class_in_id"] = True
    if shape.code != "pairs":
        values["code"] = shape.code
    return {**values, "row": shape.row, "empty": shape.empty}


def _test_folder(tree: Tree, tests: Sequence[str], sample: Table | None, whole: bool) -> str | None:
    """The folder of test images: named so, and, where there is a sample, with its ids."""
    if sample is None or not tests:
        return tests[0] if tests else None
    cells = {cell for column in sample.frame.columns for cell in sample.frame[column]}
    cells |= heads_of(cells)
    n_of = {
        f: sum((name if whole else stem(name)) in cells for name in tree.images[f]) for f in tests
    }
    best = max(tests, key=lambda f: n_of[f])
    return best


# ------------------------------------------------------------------------------------------------ COCO


@dataclass(frozen=True)
class Annotated:
    """One COCO JSON: its path, what it holds, the folder of its images, and its part."""

    path: str
    table: CocoTable
    folder: str
    split: str


def coco(tree: Tree) -> list[Found]:
    """COCO JSON, one for all or one a part: instances_train.json, train/_annotations.coco.json.

    Raises:
        DataError: several of one part, or of different categories; images that are nowhere.
    """
    files = tree.files(".json", ".jsonl", ".ndjson")
    every = [_annotated(tree, path) for path in files if _is_coco(tree, path)]
    used = [one for one in every if one.split != "test"]
    tests = [_pattern_of(tree, one) for one in every if one.split == "test"]
    if not used:
        return []
    if len({one.split for one in used}) < len(used):
        raise DataError(
            f"{tree.root}: {some(one.path for one in used)} are each a COCO JSON, and nothing says"
            " which to take: keep one, or name them train and val"
        )
    if len({one.table.categories for one in used}) > 1:
        raise DataError(f"{some(one.path for one in used)}: their categories differ")
    pairs, notes = [], []
    for one in sorted(used, key=lambda one: one.split == "val"):
        absent = _absent(tree, one)
        pairs.append(
            Pairs(
                images=_pattern_of(tree, one),
                coco=one.path,
                absent="leave_out" if absent else "refuse",
                split="val" if one.split == "val" else "train",
            )
        )
        notes += _told(one, absent)
    classes = list(used[0].table.categories)
    task = "binary" if len(classes) == 1 else "multilabel"
    return [
        Found(
            "coco",
            "",
            tuple(pairs),
            None,
            test_pattern=tests[0] if tests else _test_images(tree, {one.folder for one in used}),
            claims=frozenset((one.folder, one.path) for one in used),
            values={"task": task, "classes": classes},
            notes=tuple(notes),
        )
    ]


def _is_coco(tree: Tree, path: str) -> bool:
    return looks_like_coco(tree.root / path)


def _annotated(tree: Tree, path: str) -> Annotated:
    table = read_coco(tree.root / path)
    folder = _folder_of_coco(tree, path, table)
    if folder is None:
        raise DataError(
            f"{path}: none of the images it names are below {tree.root}: {some(table.images)}"
        )
    above, name = split_folder(path)
    words = [*re.split(r"[-_. 0-9]+", stem(name)), split_folder(above)[1]]
    split = next((said for word in words if (said := split_of(word))), "train")
    if not any(image.annotations for image in table.images.values()):
        split = "test"
    return Annotated(path, table, folder, split)


def _told(one: Annotated, absent: int) -> list[str]:
    images = one.table.images.values()
    n = sum(len(image.annotations) for image in images)
    notes = [f"{one.path}: {len(images)} images, {n} objects, read as it is"]
    if absent:
        notes.append(f"{one.path}: does not name {absent} images that are there: left out")
    if any(a.crowd for image in images for a in image.annotations):
        notes.append(f"{one.path}: crowds are neither trained nor scored")
    return notes


def _test_images(tree: Tree, used: set[str]) -> str | None:
    tests = [f for f in sorted(tree.images) if f not in used and _is_test(f)]
    return plain_pattern(tree, tests[0]) if tests else None


def _folder_of_coco(tree: Tree, path: str, table: CocoTable) -> str | None:
    """The folder below which most of the images that the JSON names are found; nearest first."""
    here = split_folder(path)[0]
    folders = sorted(
        {*tree.images, *tree.children},
        key=lambda f: (f != here, not f.startswith(here), f.count("/"), f),
    )
    best: tuple[int, str] | None = None
    for folder in folders:
        n = len(_named(tree, folder, table))
        if n and (best is None or n > best[0]):
            best = (n, folder)
    return None if best is None else best[1]


def _named(tree: Tree, folder: str, table: CocoTable) -> list[str]:
    """The files below `folder` that the JSON names, relative to it."""
    if not table.by_stem:
        return [name for name in table.images if join(folder, name) in tree.image_set]
    here = tree.images.get(folder, [])
    return [name for name in here if stem(name) in table.images]


def _pattern_of(tree: Tree, one: Annotated) -> str:
    """The pattern of the images; {dir} where the JSON names them with folders of more than one name."""
    named = _named(tree, one.folder, one.table)
    above = {split_folder(name)[0] for name in named}
    inside = above.pop() if len(above) == 1 else "{dir}"
    return join(join(one.folder, inside), f"{{id}}.{extension(named)}")


def _absent(tree: Tree, one: Annotated) -> int:
    """Images beside the named ones of which the JSON says nothing."""
    beside = {
        join(one.folder, split_folder(name)[0]) for name in _named(tree, one.folder, one.table)
    }
    found = [join(f, name) for f in beside for name in tree.images.get(f, [])]
    return len(found) - len(coco_keys(one.table, {path: path for path in found}))
