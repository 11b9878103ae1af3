"""Lists beside folders that pair by themselves: they divide the set, or agree, or their contradictions are said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comp.data.layouts.found import Found
from comp.data.layouts.lists import Listed, read_csv_lists, read_text_lists
from comp.data.layouts.pairing import split_of
from comp.data.layouts.path_lists import read_lines
from comp.data.layouts.tree import Tree, split_folder, stem
from comp.data.sources.manifest import Row
from comp.data.sources.records import Record, Records, files_of, match
from comp.errors import DataError, some


@dataclass
class Divided:
    """What the lists say of images that folders pair.

    Args:
        rows: the manifest's, where lists divide the set as no pattern can; else none.
        sources: the lists that were used.
    """

    rows: tuple[Row, ...] = ()
    sources: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def row_of(record: Record, root: Path, split: str | None = None) -> Row:
    """The manifest's row of a record."""
    images = tuple(file.relative_to(root).as_posix() for file in files_of(record.image))
    masks = tuple(file.relative_to(root).as_posix() for file in record.masks)
    split = split or record.split
    return Row(record.image_id, split, images, () if split == "test" else masks)


def divide_by_lists(tree: Tree, found: Found, records: Records) -> Divided:
    """Compare every list below the root with the pairs; let them divide pairs that no folder divides.

    Raises:
        DataError: a list pairs images with other masks than the folders do.
    """
    said = Divided()
    pairs = {row_of(r, tree.root).images[0]: r for r in records.train}
    splits: dict[str, str] = {}
    for one in (*read_csv_lists(tree), *read_text_lists(tree)):
        if one.masks is not None:
            _compare_pairs(tree, found, one, pairs)
            _take(said, one.source, _splits(one), splits, pairs)
    names = {name: image for image, r in pairs.items() for name in _names(image, r.image_id)}
    others = _images_without_masks(tree, found, pairs)
    for source, split, lines in _id_lists(tree, said):
        told = {}
        lost = []
        for line in lines:
            token = line.split()[0] if line not in names and line.split() else line
            image = _find(token, names) or (_find(token, others) if split == "test" else None)
            if image is None:
                lost.append(token)
            else:
                told[image] = split
        if lost:
            known = "image" if split == "test" else "pair of image and mask"
            said.problems.append(
                f"{source}: {len(lost)} of {len(lines)} lines name no {known}: {some(lost)}"
            )
        _take(said, source, told, splits, pairs)
    _decide(said, tree, pairs, splits)
    return said


def _splits(one: Listed) -> dict[str, str]:
    return {i: s for i, s in zip(one.images, one.splits, strict=True) if i is not None and s}


def _compare_pairs(tree: Tree, found: Found, one: Listed, pairs: Mapping[str, Record]) -> None:
    """Refuse a list that pairs otherwise than the folders."""
    for number, (image, mask) in enumerate(zip(one.images, one.masks or (), strict=True), 1):
        if image is None or mask is None or image not in pairs:
            continue
        by_folders = row_of(pairs[image], tree.root).masks
        if mask not in by_folders:
            kind = "csv_paths" if ".csv" in one.source else "text_lists"
            raise DataError(
                f"{one.source}, row {number}, pairs {image} with {mask}; layout {found.layout} with"
                f" {by_folders[0]}. Decide with `comp init --layout {kind}` or"
                f" `--layout {found.layout}`"
            )


def _take(
    said: Divided,
    source: str,
    told: Mapping[str, str],
    splits: dict[str, str],
    pairs: Mapping[str, Record],
) -> None:
    """Add one list's parts; one that contradicts another, or the folders, is a problem."""
    against = [i for i, s in told.items() if splits.get(i, s) != s]
    if against:
        said.problems.append(
            f"{source}: {len(against)} images are {told[against[0]]} here and"
            f" {splits[against[0]]} in another list: {some(against)}; validated on, not trained on"
        )
    divided = len({record.split for record in pairs.values()}) > 1
    wrong = [i for i, s in told.items() if divided and i in pairs and pairs[i].split != s]
    if wrong:
        said.problems.append(
            f"{source}: {len(wrong)} images are {told[wrong[0]]} there, but lie in the folders of"
            f" {pairs[wrong[0]].split}: {some(wrong)}; the folders count"
        )
    if told:
        said.sources.append(source)
    for image, split in told.items():
        splits[image] = "val" if image in against else split


def _decide(
    said: Divided, tree: Tree, pairs: Mapping[str, Record], splits: Mapping[str, str]
) -> None:
    """Rows where the lists name a validation part and the folders do not; else what they leave out."""
    divided = len({record.split for record in pairs.values()}) > 1
    listed = {i: s for i, s in splits.items() if s != "test"}
    alone = [image for image in pairs if image not in splits]
    sources = some(said.sources, 8)
    if divided or "val" not in listed.values():
        if splits and alone:
            said.problems.append(
                f"{sources}: {len(alone)} of {len(pairs)} pairs are not listed: {some(alone)};"
                " they are taken all the same"
            )
        return
    rows = [row_of(pairs[i], tree.root, s) for i, s in listed.items()]
    for image, split in splits.items():
        if split == "test":
            image_id = pairs[image].image_id if image in pairs else stem(split_folder(image)[1])
            rows.append(Row(image_id, "test", (image,)))
    said.rows = tuple(sorted(rows, key=lambda row: row.image_id))
    said.notes.append(f"divided by {sources}")
    if alone:
        said.notes.append(f"left out, {len(alone)} pairs that stand in no list: {some(alone)}")


def _names(image: str, image_id: str) -> set[str]:
    """All that a list may call an image."""
    parts = image.split("/")
    return {image_id, stem(parts[-1]), *("/".join(parts[n:]) for n in range(len(parts)))} | {
        stem("/".join(parts[n:])) for n in range(len(parts))
    }


def _find(token: str, names: Mapping[str, str]) -> str | None:
    parts = token.replace("\\", "/").split("/")
    return next((names[t] for n in range(len(parts)) if (t := "/".join(parts[n:])) in names), None)


def _images_without_masks(tree: Tree, found: Found, pairs: Mapping[str, Record]) -> dict[str, str]:
    """Every spelling of the images that have no mask: a list of test images may name them."""
    names: dict[str, str] = {}
    for one in found.train:
        if one.images is None or "{band}" in one.images:
            continue
        for image_id, files in match(tree.root, one.images).items():
            image = files[0].relative_to(tree.root).as_posix()
            names |= dict.fromkeys(_names(image, image_id), image)
    return names


def _id_lists(tree: Tree, said: Divided) -> list[tuple[str, str, list[str]]]:
    """(file, split, lines) of the text lists that divide by id, of one folder of them."""
    folders: dict[str, list[tuple[str, str, list[str]]]] = {}
    for path in tree.files(".txt", ".lst"):
        folder, name = split_folder(path)
        split = split_of(stem(name).lower())
        if split and path not in said.sources and (lines := read_lines(tree, path)):
            folders.setdefault(folder, []).append((path, split, lines))
    if not folders:
        return []
    chosen = min(
        folders, key=lambda f: ("seg" not in f.lower(), "main" in f.lower(), f.count("/"), f)
    )
    if len(folders) > 1:
        said.notes.append(
            f"lists are taken from {chosen or '.'}, not from {some(f or '.' for f in folders if f != chosen)}"
        )
    return folders[chosen]
