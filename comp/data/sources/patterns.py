"""Names on disk: what a folder holds, litter aside, and which files a pattern means.

The only code that matches patterns against folders. Links are followed; one that leads back to a
folder above itself is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from comp.data.images.decode import EXTENSIONS
from comp.errors import DataError

LITTER = {"thumbs.db", "desktop.ini", "__macosx", "icon\r"}
MAX_DEPTH = 8  # folders below the root that are looked into
MAX_FOLDERS = 300_000  # more of them are a mistake or a trap

Found = dict[str, list[Path]]  # id -> every file that claims it


def is_litter(name: str) -> bool:
    """True for what operating systems leave in folders: hidden files, Thumbs.db, __MACOSX, ..."""
    return name.startswith((".", "~$")) or name.lower() in LITTER


def entries(folder: Path) -> list[tuple[str, bool]]:
    """(name, is a folder) of everything in `folder` but litter, sorted; links are followed."""
    try:
        with os.scandir(folder) as found:
            return sorted((e.name, _is_folder(e)) for e in found if not is_litter(e.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror or error}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: no folder, and no file that can be read
        return False


def is_image_name(name: str) -> bool:
    """True for a name with an image's extension, in any case."""
    return name.lower().rpartition(".")[2] in EXTENSIONS and "." in name


def image_files(folder: Path) -> list[Path]:
    """Files directly in `folder` that are named like images, sorted by name."""
    return [folder / name for name, sub in entries(folder) if not sub and is_image_name(name)]


def folders_below(root: Path) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Every folder at or below `root` with its entries, at most `MAX_DEPTH` deep, in no stated order.

    Yields:
        (path relative to `root` with '/', "" for `root`; `entries` of it).

    Raises:
        DataError: a link that leads back to a folder above itself; more than `MAX_FOLDERS` folders.
    """
    todo: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(root),))]
    n = 0
    while todo:
        folder, above = todo.pop()
        held = entries(root / folder)
        yield folder, held
        if len(above) > MAX_DEPTH:
            continue
        for name, is_folder in held:
            if not is_folder:
                continue
            below = f"{folder}/{name}" if folder else name
            here = _identity(root / below)
            if here in above:
                raise DataError(
                    f"{root / below}: a link that leads back to a folder above itself; remove it,"
                    " or name a folder below it as the data"
                )
            n += 1
            if n > MAX_FOLDERS:
                raise DataError(
                    f"{root}: more than {MAX_FOLDERS} folders; name the one with the data"
                )
            todo.append((below, (*above, here)))


def _identity(folder: Path) -> tuple[int, int]:
    try:
        found = folder.stat()
    except OSError:
        return (-1, -1)
    return (found.st_dev, found.st_ino) if found.st_ino else (hash(folder.resolve()), 0)


def match(root: Path, pattern: str, class_name: str = "", band: str = "") -> Found:
    """Find the files of a pattern.

    Args:
        pattern: relative to `root`, with ``{id}``, again where a folder and a file carry the same one;
            ``{dir}``: one folder or more; ``{object}``: anything; a final ``.*`` is any image
            extension; the case of letters counts, except in the extension.
        class_name: stands for ``{class}``.
        band: stands for ``{band}``.

    Returns:
        id (with ``{dir}``: ``dir/id``) -> files, ids as spelled on disk.

    Raises:
        DataError: a pattern that leaves `root` or has ``*`` elsewhere; an unreadable folder.
    """
    parts = pattern.split("/")
    if pattern.startswith("/") or ".." in parts:
        raise DataError(f"pattern {pattern!r}: expected a path below data.root, without '..'")
    places: list[tuple[str, str, Path]] = [("", "", root)]
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        following: list[tuple[str, str, Path]] = []
        if part == "{dir}" and not last:
            for _, image_id, folder in places:
                below = (name for name, _ in folders_below(folder) if name)
                following += [(name, image_id, folder / name) for name in below]
            places = sorted(following)
            continue
        rule = _rule(part.replace("{class}", class_name).replace("{band}", band), last)
        for directory, image_id, folder in places:
            for name, is_folder in entries(folder):
                hit = rule.fullmatch(name) if is_folder != last else None
                if hit is None:
                    continue
                said = hit.groupdict().get("id")
                if said is None or not image_id or said == image_id:
                    following.append((directory, said or image_id, folder / name))
        places = following
    found: Found = {}
    for directory, image_id, path in places:
        found.setdefault(f"{directory}/{image_id}" if directory else image_id, []).append(path)
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
    body = _escaped(before) + ("(?P<id>.+)" if has_id else "") + _escaped(after)
    return re.compile(body + (rf"\.(?i:{tail})" if dot else ""), re.DOTALL)


def _escaped(text: str) -> str:
    return ".+".join(re.escape(piece) for piece in text.split("{object}"))
