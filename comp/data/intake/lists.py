"""Lists beside folders that pair by themselves: they divide the set, or agree, or their contradictions are said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comp.data.images.bands import files_of
from comp.data.layouts.found import Found
from comp.data.layouts.lists import Listed, read_csv_lists, read_text_lists, split_words
from comp.data.layouts.pairing import split_of
from comp.data.layouts.path_lists import MAX_LIST_BYTES, read_lines
from comp.data.layouts.tree import Tree, split_folder, stem
from comp.data.sources.manifest import Row
from comp.data.sources.records import Record, Records, match
from comp.data.sources.tables import is_sample
from comp.errors import DataError, some
from comp.formats.table import read_table


@dataclass
class Divided:
    """What the lists say of images that folders pair.

    Args:
        rows: the manifest's, where lists divide the set as no pattern can; else none.
        bare: the images among the rows that are to be trained or validated on and have no mask.
        sources: the lists that were used.
    """

    rows: tuple[Row, ...] = ()
    bare: tuple[str, ...] = ()
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
    names = _names_of({image: r.image_id for image, r in pairs.items()})
    others = _names_of(_images_without_masks(tree, found, records, pairs))
    bare = _bare_images(tree, found, records, pairs)
    bare_names = _names_of(bare)
    for source, tokens in (*_text_id_lists(tree, said), *_csv_id_lists(tree, said, names)):
        told: dict[str, str] = {}
        lost = []
        for token, split in tokens:
            image = _find(token, names) or _find(token, others if split == "test" else bare_names)
            if image is None:
                lost.append(token)
            else:
                told[image] = split
        if lost:
            tests = all(split == "test" for _, split in tokens)
            known = "image" if tests else "pair of image and mask"
            said.problems.append(
                f"{source}: {len(lost)} of {len(tokens)} lines name no {known}: {some(lost)}"
            )
        _take(said, source, told, splits, pairs)
    _decide(said, tree, pairs, splits, bare)
    return said


def _splits(one: Listed) -> dict[str, str]:
    return {i: s for i, s in zip(one.images, one.splits, strict=True) if i and s}


def _compare_pairs(tree: Tree, found: Found, one: Listed, pairs: Mapping[str, Record]) -> None:
    """Refuse a list that pairs otherwise than the folders."""
    for number, (image, mask) in enumerate(zip(one.images, one.masks or (), strict=True), 1):
        if not image or not mask or image not in pairs:
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
    said: Divided,
    tree: Tree,
    pairs: Mapping[str, Record],
    splits: Mapping[str, str],
    bare: Mapping[str, str],
) -> None:
    """Rows where the lists name a part of what no folder divides; else what they leave out.

    Where no list says train, that is what stands in none.

    Args:
        bare: image -> id of the images without any mask: their rows leave it blank.
    """
    divided = len({record.split for record in pairs.values()}) > 1
    alone = [image for image in pairs if image not in splits]
    sources = some(said.sources, 8)
    parts = {split for image, split in splits.items() if image in pairs}
    if divided or not parts & {"val", "test"} or (parts == {"test"} and not alone):
        if splits and alone:
            said.problems.append(
                f"{sources}: {len(alone)} of {len(pairs)} pairs are not listed: {some(alone)};"
                " they are taken all the same"
            )
        return
    taken = dict(splits)
    said.notes.append(f"divided by {sources}")
    if alone and "train" in parts:
        said.notes.append(f"left out, {len(alone)} pairs that stand in no list: {some(alone)}")
    elif alone:
        taken |= dict.fromkeys(alone, "train")
        said.notes.append(f"{len(alone)} pairs that stand in no list are trained on: {some(alone)}")
    unlisted = [image for image in bare if image not in splits]
    if unlisted and "train" in parts:
        said.notes.append(
            f"left out, {len(unlisted)} images without a mask that stand in no list: {some(unlisted)}"
        )
    else:
        taken |= dict.fromkeys(unlisted, "train")
    rows = [row_of(pairs[i], tree.root, s) for i, s in taken.items() if i in pairs]
    kept = {image: split for image, split in taken.items() if image in bare and split != "test"}
    said.bare = tuple(sorted(kept))
    rows += [Row(bare[image], split, (image,)) for image, split in kept.items()]
    for image, split in taken.items():
        if split == "test" and image not in pairs:
            rows.append(Row(stem(split_folder(image)[1]), "test", (image,)))
    said.rows = tuple(sorted(rows, key=lambda row: row.image_id))


def _names(image: str, image_id: str) -> set[str]:
    """All that a list may call an image."""
    parts = image.split("/")
    return {image_id, stem(parts[-1]), *("/".join(parts[n:]) for n in range(len(parts)))} | {
        stem("/".join(parts[n:])) for n in range(len(parts))
    }


def _names_of(ids: Mapping[str, str]) -> dict[str, str]:
    """Every spelling -> the image it means, of image -> id; those that may mean two are left away, unless ids."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for image, image_id in ids.items():
        for name in _names(image, image_id):
            if found.setdefault(name, image) != image:
                twice.add(name)
    kept = {name: image for name, image in found.items() if name not in twice}
    return kept | {image_id: image for image, image_id in ids.items()}


def _find(token: str, names: Mapping[str, str]) -> str | None:
    """The image of a name, or of a line that begins with it."""
    for spelled in (token, *token.split()[:1]):
        parts = spelled.replace("\\", "/").split("/")
        for n in range(len(parts)):
            if (tail := "/".join(parts[n:])) in names:
                return names[tail]
    return None


def _images_without_masks(
    tree: Tree, found: Found, records: Records, pairs: Mapping[str, Record]
) -> dict[str, str]:
    """Image -> id of the images that have no mask: a list of test images may name them."""
    images = {row_of(r, tree.root).images[0]: r.image_id for r in records.test}
    for one in found.train:
        if one.images is None or "{band}" in one.images:
            continue
        for image_id, files in match(tree.root, one.images).items():
            images.setdefault(files[0].relative_to(tree.root).as_posix(), image_id)
    return {image: image_id for image, image_id in images.items() if image not in pairs}


def _bare_images(
    tree: Tree, found: Found, records: Records, pairs: Mapping[str, Record]
) -> dict[str, str]:
    """Image -> id of the images that should have a mask file, and have none."""
    known = {row_of(r, tree.root).images[0] for r in records.test} | pairs.keys()
    bare: dict[str, str] = {}
    for one in found.train:
        if one.images is None or one.masks is None or "{band}" in one.images:
            continue
        masks = match(tree.root, one.masks)
        taken = {path for files in masks.values() for path in files}
        for image_id, files in match(tree.root, one.images).items():
            image = files[0].relative_to(tree.root).as_posix()
            if image_id in masks or len(files) > 1 or files[0] in taken or image in known:
                continue
            bare[image] = image_id
    return bare


Tokens = list[tuple[str, str]]  # what a list calls an image, and its part


def _csv_id_lists(
    tree: Tree, said: Divided, names: Mapping[str, str]
) -> Iterator[tuple[str, Tokens]]:
    """Tables, at most one folder deep, with a column of parts and one that names images, however spelled."""
    for path in tree.files(".csv", ".csv.gz"):
        if path in said.sources or path.count("/") > 1 or is_sample(split_folder(path)[1]):
            continue
        if (tree.root / path).stat().st_size > MAX_LIST_BYTES:
            continue
        try:
            frame = read_table(tree.root / path)
        except DataError:
            continue  # said by read_tables
        columns = {str(c): frame[c].tolist() for c in frame.columns}
        words = split_words(columns)
        n_of = {
            c: len({i for cell in set(cells) if (i := _find(cell.strip(), names))})
            for c, cells in columns.items()
            if words
        }
        best = max(n_of, key=lambda c: n_of[c], default=None)
        if best is not None and n_of[best]:
            cells = [cell.strip() for cell in columns[best]]
            tokens = {
                (cell, word) for cell, word in zip(cells, words, strict=True) if cell and word
            }
            yield path, sorted(tokens)


def _text_id_lists(tree: Tree, said: Divided) -> Iterator[tuple[str, Tokens]]:
    """The text lists that divide by id, of one folder of them."""
    folders: dict[str, list[tuple[str, Tokens]]] = {}
    for path in tree.files(".txt", ".lst"):
        folder, name = split_folder(path)
        split = split_of(stem(name).lower())
        if split and path not in said.sources and (lines := read_lines(tree, path)):
            folders.setdefault(folder, []).append((path, [(line, split) for line in lines]))
    if not folders:
        return
    chosen = min(
        folders, key=lambda f: ("seg" not in f.lower(), "main" in f.lower(), f.count("/"), f)
    )
    if len(folders) > 1:
        others = some(f or "." for f in folders if f != chosen)
        said.notes.append(f"lists are taken from {chosen or '.'}, not from {others}")
    yield from folders[chosen]
