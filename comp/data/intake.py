"""Patterns -> records: every image found, paired with its mask, its id spelled as on disk.

Nothing is dropped silently: an image without a mask, a mask without an image and two files of one
id are refused together, with counts. The only code that matches patterns against folders.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from comp.config import Competition, Pairs
from comp.data.decode import EXTENSIONS
from comp.errors import DataError, some

LITTER = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}


@dataclass(frozen=True)
class Record:
    """One image.

    Args:
        image_id: the key of the sample everywhere, spelled as in the file name.
        masks: one file; multilabel with ``{class}``: one a class, in class order; test: none.
        split: "train", "val" (the predefined validation part) or "test".
    """

    image_id: str
    image: Path
    masks: tuple[Path, ...] = ()
    split: str = "train"


@dataclass(frozen=True)
class Records:
    """All images of a competition, each tuple sorted by image_id.

    Args:
        left_out: image files that stand beside those taken but match no pattern.
    """

    train: tuple[Record, ...]
    test: tuple[Record, ...] = ()
    left_out: tuple[Path, ...] = ()


Found = dict[str, list[Path]]  # id -> every file that claims it


def find_records(competition: Competition, data_root: Path) -> Records:
    """Find and pair every image of the competition.

    Raises:
        DataError: every unmatched or doubled file, with the first five and the count of each kind.
    """
    records, problems = look_for_records(competition, data_root)
    if problems:
        raise DataError("\n".join(problems))
    return records


def look_for_records(competition: Competition, data_root: Path) -> tuple[Records, list[str]]:
    """As `find_records`, but the problems are returned, beside the records that are whole."""
    problems: list[str] = []
    train: dict[str, Record] = {}
    taken: set[Path] = set()
    for pairs in competition.data.train:
        for record in _paired(pairs, competition, data_root, problems, taken):
            other = train.setdefault(record.image_id, record)
            if other is not record:
                files = f"{other.image} and {record.image}"
                problems.append(f"id {record.image_id!r} is used by two images: {files}")
    test: dict[str, Path] = {}
    if competition.data.test is not None:
        found = match(data_root, competition.data.test)
        if not found:
            problems.append(_nothing("test image", data_root, competition.data.test))
        test = _one_each(found, "test image", problems)
        taken |= _files(found)
    beside = {path for folder in {p.parent for p in taken} for path in image_files(folder)}
    return Records(
        tuple(train[i] for i in sorted(train)),
        tuple(Record(i, test[i], (), "test") for i in sorted(test)),
        tuple(sorted(beside - taken)),
    ), problems


def _paired(
    pairs: Pairs, competition: Competition, root: Path, problems: list[str], taken: set[Path]
) -> list[Record]:
    """The whole records of one `Pairs`; adds to `problems` and `taken`."""
    found = match(root, pairs.images)
    masks: list[tuple[str, Found]] = []
    if pairs.masks is not None:
        names = competition.classes if "{class}" in pairs.masks else ("",)
        masks = [(name, match(root, pairs.masks, name)) for name in names]
        _share_one_folder(found, [table for _, table in masks], pairs)
    taken |= _files(found).union(*(_files(table) for _, table in masks))
    if not found:
        problems.append(_nothing("image", root, pairs.images))
    images = _one_each(found, "image", problems)
    each = [_one_each(table, "mask", problems) for _, table in masks]
    for name, table in masks:
        of = f" of class {name!r}" if name else ""
        if alone := [found[i][0] for i in sorted(found) if i not in table]:
            problems.append(
                f"{len(alone)} image{'s' * (len(alone) > 1)} without a mask{of}"
                f" (expected {pairs.masks}): {some(alone)}"
            )
        if alone := [table[i][0] for i in sorted(table) if i not in found]:
            problems.append(
                f"{len(alone)} mask{'s' * (len(alone) > 1)}{of} without an image"
                f" (expected {pairs.images}): {some(alone)}"
            )
    whole = [i for i in images if all(i in table for table in each)]
    return [Record(i, images[i], tuple(t[i] for t in each), pairs.split) for i in whole]


def _share_one_folder(images: Found, masks: list[Found], pairs: Pairs) -> None:
    """Where one file fits both patterns, the pattern that says more takes it."""
    both = _files(images) & set().union(*(_files(table) for table in masks))
    masks_say_more = len((pairs.masks or "").replace("{class}", "")) > len(pairs.images)
    for table in [images] if masks_say_more else masks:
        for i in [i for i, paths in table.items() if both.intersection(paths)]:
            table[i] = [path for path in table[i] if path not in both]
            if not table[i]:
                del table[i]


def _files(found: Found) -> set[Path]:
    return {path for paths in found.values() for path in paths}


def _one_each(found: Found, what: str, problems: list[str]) -> dict[str, Path]:
    """Ids that have exactly one file; the others go to `problems`, naming the files."""
    doubled = {i: sorted(paths) for i, paths in sorted(found.items()) if len(paths) > 1}
    if doubled:
        listed = some(f"{i!r} ({' and '.join(map(str, p))})" for i, p in doubled.items())
        ids = "id has" if len(doubled) == 1 else "ids have"
        problems.append(f"{len(doubled)} {ids} more than one {what} file: {listed}; keep one")
    return {i: paths[0] for i, paths in sorted(found.items()) if len(paths) == 1}


def _nothing(what: str, root: Path, pattern: str) -> str:
    """Say that a pattern matches no file, and what stands where it points."""
    folder = root
    for part in pattern.split("/")[:-1]:
        if "{" in part or not (folder / part).is_dir():
            break
        folder = folder / part
    names = [name for name, _ in entries(folder)]
    seen = f"holds {some(names)}" if names else "is empty" if folder.is_dir() else "is missing"
    return f"no {what} matches {pattern!r} in {root}: {folder} {seen}"


def match(root: Path, pattern: str, class_name: str = "") -> Found:
    """Find the files of a pattern.

    Args:
        pattern: relative to `root`, with ``{id}``; a final ``.*`` is any image extension; the case
            of letters counts, except in the extension.
        class_name: stands for ``{class}``.

    Returns:
        id -> files, ids as spelled on disk.

    Raises:
        DataError: a pattern that leaves `root` or has ``*`` elsewhere; an unreadable folder.
    """
    parts = pattern.split("/")
    if pattern.startswith("/") or ".." in parts:
        raise DataError(f"pattern {pattern!r}: expected a path below data.root, without '..'")
    places: list[tuple[str, Path]] = [("", root)]
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        rule = _rule(part.replace("{class}", class_name), last)
        following: list[tuple[str, Path]] = []
        for image_id, folder in places:
            for name, is_folder in entries(folder):
                hit = rule.fullmatch(name) if is_folder != last else None
                if hit:
                    following.append((hit.groupdict().get("id") or image_id, folder / name))
        places = following
    found: Found = {}
    for image_id, path in places:
        found.setdefault(image_id, []).append(path)
    return found


def _rule(part: str, last: bool) -> re.Pattern[str]:
    """One component of a pattern as a regular expression."""
    stem, dot, extension = part.rpartition(".") if last else (part, "", "")
    if not dot or "{id}" in extension:
        stem, dot, extension = part, "", ""
    if "*" in stem or ("*" in extension and extension != "*"):
        raise DataError(f"pattern part {part!r}: '*' stands for a whole extension only: '{{id}}.*'")
    tail = "|".join(EXTENSIONS) if extension == "*" else re.escape(extension)
    before, has_id, after = stem.partition("{id}")
    body = re.escape(before) + ("(?P<id>.+)" if has_id else "") + re.escape(after)
    return re.compile(body + (rf"\.(?i:{tail})" if dot else ""), re.DOTALL)


def is_litter(name: str) -> bool:
    """True for what operating systems leave in folders: hidden files, Thumbs.db, __MACOSX, ..."""
    return name.startswith((".", "~$")) or name.lower() in LITTER


def entries(folder: Path) -> list[tuple[str, bool]]:
    """(name, is a folder) of everything in `folder` but litter, sorted; links are followed."""
    try:
        with os.scandir(folder) as found:
            return sorted((e.name, e.is_dir()) for e in found if not is_litter(e.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror or error}") from error


def is_image_name(name: str) -> bool:
    """True for a name with an image's extension, in any case."""
    return name.lower().rpartition(".")[2] in EXTENSIONS and "." in name


def image_files(folder: Path) -> list[Path]:
    """Files directly in `folder` that are named like images, sorted by name."""
    return [folder / name for name, sub in entries(folder) if not sub and is_image_name(name)]
