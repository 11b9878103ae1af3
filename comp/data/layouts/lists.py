"""Layouts that a list spells out: a CSV with a column of image and one of mask paths, or text lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from comp.data.layouts.found import Found
from comp.data.layouts.pairing import MASK_WORD, role_of, split_of
from comp.data.layouts.path_lists import (
    MAX_LIST_BYTES,
    guess_separator,
    read_lines,
    resolve,
    split_line,
)
from comp.data.layouts.tree import Tree, join, split_folder, stem
from comp.data.sources.manifest import Row
from comp.errors import DataError, some
from comp.formats.table import read_table

MASK_COLUMN = re.compile(rf"(?i).*(?:{MASK_WORD}).*|y")
IMAGE_COLUMN = re.compile(r"(?i).*(?:im(?:a)?ge?s?|file|path|input|picture|photo).*|x")
ID_COLUMN = re.compile(r"(?i)(?:image)?_?id")
LOOKED_AT = 40  # lines of a text list
SPLIT_COLUMN = re.compile(r"(?i)split|set|subset|part|phase|fold")


@dataclass(frozen=True)
class Listed:
    """What one list says: a row an image.

    Args:
        images, masks: paths relative to the root; None: named but not there; "": left blank; no
            masks: test images.
        splits: train, val, test, or "" where the list does not say.
        ids: where the list gives them.
        dropped: prefix of its paths that is no folder here.
    """

    source: str
    images: list[str | None]
    masks: list[str | None] | None
    splits: list[str]
    ids: list[str] | None
    dropped: str


def csv_paths(tree: Tree) -> list[Found]:
    """A CSV (or several: train.csv, val.csv) with a column of image paths and one of mask paths."""
    return _found(tree, "csv_paths", read_csv_lists(tree))


def text_lists(tree: Tree) -> list[Found]:
    """`train.txt` with `image mask` on each line, or `images.txt` beside `masks.txt`, line by line."""
    return _found(tree, "text_lists", read_text_lists(tree))


def read_csv_lists(tree: Tree) -> list[Listed]:
    """Every CSV, at most one folder deep, that names image files."""
    found = []
    for path in tree.files(".csv", ".csv.gz"):
        if path.count("/") > 1 or (tree.root / path).stat().st_size > MAX_LIST_BYTES:
            continue
        try:
            frame = read_table(tree.root / path)
        except DataError:
            continue  # said by read_tables
        columns = {c: frame[c].tolist() for c in frame.columns}
        paths = {c: r for c, cells in columns.items() if (r := resolve(cells, tree, path))}
        if not paths:
            continue
        image, mask = _roles(list(paths), path)
        by_file = split_of(stem(split_folder(path)[1].lower().removesuffix(".gz")))
        splits = split_words(columns) or [by_file] * len(frame)
        ids = next((c for c in columns if ID_COLUMN.fullmatch(c) and c not in paths), None)
        unique = ids is not None and len(set(columns[ids])) == len(frame)
        found.append(
            Listed(
                path,
                paths[image].paths,
                None if mask is None else paths[mask].paths,
                splits,
                columns[ids] if ids is not None and unique else None,
                paths[image].dropped,
            )
        )
    return found


def split_words(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """train, val, test or "" for each row, from the first column that says so; [] where none does."""
    for column, cells in columns.items():
        if SPLIT_COLUMN.fullmatch(column.strip()):
            words = [split_of(cell.strip()) for cell in cells]
            if any(words):
                return words
    return []


def _roles(columns: Sequence[str], source: str) -> tuple[str, str | None]:
    """(image column, mask column) among the columns that hold paths.

    Raises:
        DataError: their names do not say which is which.
    """
    masks = [c for c in columns if MASK_COLUMN.fullmatch(c)]
    images = [c for c in columns if c not in masks]
    named = [c for c in images if IMAGE_COLUMN.fullmatch(c)]
    images = named or images
    if len(columns) == 1 and not masks:
        return columns[0], None
    if len(masks) != 1 or len(images) != 1:
        raise DataError(
            f"{source}: the columns {some(columns)} hold paths of images; which are the images and"
            " which the masks? Name one column image and one mask"
        )
    return images[0], masks[0]


def read_text_lists(tree: Tree) -> list[Listed]:
    """Every text file with two paths a line, and pairs of files with one path a line."""
    found: list[Listed] = []
    single: dict[str, dict[str, tuple[str, list[str | None]]]] = {}
    for path in tree.files(".txt", ".lst"):
        lines = read_lines(tree, path)
        if not lines:
            continue
        folder, name = split_folder(path)
        halves = _halves(lines, tree, path)
        if halves is not None:
            split = split_of(stem(name)) or split_of(split_folder(folder)[1])
            found += _two_columns(halves, tree, path, split)
        elif (whole := resolve(lines, tree, path)) is not None:
            kind, rest = role_of(stem(name))
            single.setdefault(join(folder, rest), {})[kind] = (path, whole.paths)
    return found + _line_by_line(single)


def _halves(lines: Sequence[str], tree: Tree, path: str) -> list[tuple[str, str]] | None:
    """The two paths of each line; None: lines hold one, or none."""
    mark = guess_separator(lines, tree, path)
    if mark is not None:
        parts = [line.partition(mark) for line in lines]
        return [(a, b) for a, _, b in parts]
    halves = [split_line(line, tree, path) for line in lines[:LOOKED_AT]]
    if not any(halves):
        return None
    return [split_line(line, tree, path) or (line, "") for line in lines]


def _two_columns(
    halves: Sequence[tuple[str, str]], tree: Tree, path: str, split: str
) -> list[Listed]:
    first = resolve([a for a, _ in halves], tree, path)
    second = resolve([b for _, b in halves], tree, path)
    if first is None or second is None:
        return []
    images, masks = first.paths, second.paths
    if _all_masks(images) and not _all_masks(masks):
        images, masks = masks, images
    return [Listed(path, images, masks, [split] * len(halves), None, first.dropped)]


def _line_by_line(single: dict[str, dict[str, tuple[str, list[str | None]]]]) -> list[Listed]:
    """`images.txt` and `masks.txt`: the same line of each is one pair.

    Raises:
        DataError: they have different numbers of lines.
    """
    found = []
    for key, kinds in single.items():
        images = kinds.get("image") or kinds.get("")
        if images is None or "mask" not in kinds:
            continue
        (source, files), (other, masks) = images, kinds["mask"]
        if len(files) != len(masks):
            raise DataError(
                f"{source} has {len(files)} lines and {other} {len(masks)};"
                " expected one mask an image"
            )
        split = split_of(split_folder(key)[1])
        found.append(Listed(source, files, masks, [split] * len(files), None, ""))
    return found


def _all_masks(paths: Sequence[str | None]) -> bool:
    """True where the folders or names say that these are masks."""
    said = [p for p in paths if p]
    return bool(said) and all(
        any(role_of(part)[0] == "mask" for part in (*p.split("/")[:-1], stem(p.split("/")[-1])))
        for p in said[:100]
    )


def _found(tree: Tree, layout: str, lists: list[Listed]) -> list[Found]:
    if not any(one.masks for one in lists):
        return []
    rows, notes, problems = rows_of(lists)
    if not any(row.split != "test" for row in rows):
        return []
    place = ", ".join(one.source for one in lists)
    return [Found(layout, place, (), rows=rows, notes=tuple(notes), problems=tuple(problems))]


def rows_of(lists: Sequence[Listed]) -> tuple[tuple[Row, ...], list[str], list[str]]:
    """The rows of all lists together, each image once, sorted by id.

    Returns:
        rows, lines for the report, problems: files that are not there, images in two parts.
    """
    notes: list[str] = []
    problems: list[str] = []
    rows: dict[str, Row] = {}
    said: dict[str, str] = {}  # image -> the split that a list names for it
    for one in lists:
        if one.dropped:
            notes.append(f"{one.source}: its paths begin with {one.dropped}/, which is left out")
        masks = one.masks or [None] * len(one.images)
        lost = []
        for n, (image, mask) in enumerate(zip(one.images, masks, strict=True)):
            split = one.splits[n]
            if not image or (mask is None and one.masks is not None):
                lost.append(n + 1)
                continue
            if mask is None and split != "test":
                continue
            image_id = one.ids[n] if one.ids else image
            row = Row(image_id, split or "train", (image,), (mask,) if mask else ())
            other = rows.setdefault(image, row)
            if other.masks and row.masks and other.masks != row.masks:
                problems.append(
                    f"{one.source}: {image} with {mask}, elsewhere with {other.masks[0]}"
                )
            elif split and split != said.setdefault(image, split):
                problems.append(
                    f"{one.source}: {image} is {split} here and {said[image]} elsewhere"
                )
            if said.get(image, row.split) != other.split:
                rows[image] = row
        if lost:
            problems.append(
                f"{one.source}: {len(lost)} rows name a file that is not there, or no image, and are"
                f" left out: rows {some(lost)}"
            )
    found = list(rows.values())
    if len({row.image_id for row in found}) < len(found):
        notes.append("ids repeat from list to list: the images' paths are the ids")
        found = [replace(row, image_id=row.images[0]) for row in found]
    return tuple(short_ids(found)), notes, problems


def short_ids(rows: list[Row]) -> list[Row]:
    """Ids of paths made short: the stem where all differ, else the path below the folder they share."""
    if not any(row.image_id == row.images[0] for row in rows):
        return sorted(rows, key=lambda row: row.image_id)
    stems = [stem(split_folder(row.image_id)[1]) for row in rows]
    if len(set(stems)) == len(rows):
        ids = stems
    else:
        parts = [row.image_id.split("/") for row in rows]
        n = 0
        while all(len(p) > n + 1 for p in parts) and len({p[n] for p in parts}) == 1:
            n += 1
        ids = [stem("/".join(p[n:])) for p in parts]
        if len(set(ids)) < len(ids):
            ids = ["/".join(p[n:]) for p in parts]
    made = [
        Row(i, row.split, row.images, row.masks) if row.image_id == row.images[0] else row
        for i, row in zip(ids, rows, strict=True)
    ]
    return sorted(made, key=lambda row: row.image_id)
