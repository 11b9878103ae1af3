"""How data sets are laid out: one table of detectors, each looking at a folder tree's names alone.

To understand one more layout is one function and one line in `LAYOUTS`. Two readings of one tree are
refused, naming both, with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from comp.data.layouts.bands import bands
from comp.data.layouts.folders import one_folder, pair_trees, parts, twins, two_folders
from comp.data.layouts.found import Found, find_test, found_pairs, plain_pattern
from comp.data.layouts.joined import joined_codes
from comp.data.layouts.lists import csv_paths, text_lists
from comp.data.layouts.merge import merge, twin_of_test
from comp.data.layouts.nested import folder_an_image, nested
from comp.data.layouts.pairing import (
    affixes,
    masks_of_test,
    pair_patterns,
    pattern,
    role_of,
    split_of,
    stripped,
)
from comp.data.layouts.spelling import spelled_apart
from comp.data.layouts.standard import doubled, images_masks, train_only, train_val, voc
from comp.data.layouts.tables import coco, rle_table
from comp.data.layouts.tree import Tree, split_folder, walk
from comp.errors import DataError, UsageError, some
from comp.registry import unknown

__all__ = [
    "LAYOUTS",
    "Asked",
    "Found",
    "Tree",
    "affixes",
    "detect",
    "pair_patterns",
    "pattern",
    "stripped",
    "walk",
]


MOST_READINGS = 500  # compared with each other; more differ all the same


@dataclass(frozen=True)
class Asked:
    """What the user decided where names allow more than one reading.

    Args:
        layout: a name of `LAYOUTS`.
        images, masks: folders below the data's root.
    """

    layout: str | None = None
    images: str | None = None
    masks: str | None = None


def detect(tree: Tree, asked: Asked = Asked()) -> Found:
    """Return the one reading of the tree.

    A reading that explains no more folders than another, more special one is not counted.

    Raises:
        DataError: nothing fits, or two readings do; the message names them and how to decide.
        UsageError: what was asked for does not exist.
    """
    if asked.layout is not None and asked.layout not in LAYOUTS:
        raise UsageError(f"--layout {asked.layout}: {unknown(asked.layout, LAYOUTS, 'layout')}")
    if asked.images is not None or asked.masks is not None:
        return _named(tree, asked)
    if asked.layout is not None:
        found = LAYOUTS[asked.layout](tree)
        if not found:
            raise DataError(f"{tree.root}: not laid out as {asked.layout}; {_held(tree)}")
        return _with_test(tree, _only(tree, found))
    for names in (BY_FOLDERS, *((name,) for name in LAST)):
        found = [one for name in names for one in LAYOUTS[name](tree)]
        if found:
            return _with_test(tree, _only(tree, found))
    raise DataError(
        f"{tree.root}: no known layout ({', '.join(LAYOUTS)}); {_held(tree)}.{spelled_apart(tree)}"
        " Name the folders with --images DIR --masks DIR; or put images and masks into folders"
        " images/ and masks/ with equal names; or write configs/competition.yaml by hand"
        " (data.train: images and masks patterns, or a manifest)"
    )


def _held(tree: Tree) -> str:
    held = some(f"{folder or '.'} ({len(names)} images)" for folder, names in tree.images.items())
    return f"found {held or 'no images at all'}"


def _with_test(tree: Tree, found: Found) -> Found:
    """The reading with the test images that are named as its training images are, if it has none."""
    if found.test is not None or found.test_pattern is not None or not found.train:
        return found
    bands = (found.data or {}).get("bands", ())
    twin = twin_of_test(tree, found.train[0].images or "", bands)
    if twin is not None or bands:
        return replace(found, test_pattern=twin)
    used = {split_folder(p)[0] for pairs in found.train for p in (pairs.images, pairs.masks) if p}
    folders = [
        folder
        for folder in sorted(tree.images)
        if folder not in used
        and any(split_of(part) == "test" for part in folder.split("/"))
        and not masks_of_test(folder)
    ]
    if len(folders) == 1:
        told = f"{folders[0]}/ is taken as the test images, for its name; its files are named otherwise"
        return replace(found, test=folders[0], notes=(*found.notes, told))
    if folders:
        told = (
            f"no test images are taken: {some(folders)} may hold them; set data.test, e.g."
            f" {plain_pattern(tree, folders[0])}"
        )
        return replace(found, problems=(*found.problems, told))
    return found


def _only(tree: Tree, found: list[Found]) -> Found:
    """The reading that explains the most; several that explain different things are refused."""
    most = max(found, key=lambda one: len(one.claims))
    rest = [one for one in found if one is most or not one.claims < most.claims]
    kept = [
        one
        for n, one in enumerate(rest[:MOST_READINGS])
        if not any(
            one.claims < other.claims or (one.claims == other.claims and m < n)
            for m, other in enumerate(rest[:MOST_READINGS])
        )
    ]
    if len(kept) == 1:
        return kept[0]
    if len({one.layout for one in kept}) == 1:
        if (whole := merge(tree, kept)) is not None:
            return whole
        if len({one.place for one in kept}) == 1:
            told = "; ".join(f"{one.train[0].images} with {one.train[0].masks}" for one in kept)
            raise DataError(
                f"{tree.root}: {len(kept)} folders may hold the images: {told}. Name one pair with"
                " --images DIR --masks DIR; bands in folders of their own are understood where the"
                " folders' names end in their bands (train_red, train_green) and the ids agree"
            )
        places = some(sorted(repr(one.place or ".") for one in kept))
        raise DataError(
            f"{tree.root}: layout {kept[0].layout} stands in {len(kept)} places: {places};"
            " name one of them with --data, or its folders with --images DIR --masks DIR"
        )
    told = "; ".join(one.told for one in kept)
    raise DataError(
        f"{tree.root}: {len(kept)} layouts fit: {told}. Decide with `comp init --layout NAME`,"
        " or with --images DIR --masks DIR"
    )


def _named(tree: Tree, asked: Asked) -> Found:
    """The folders that the user named; one of them may be left out where one other folder pairs."""
    given = {
        key: folder.replace("\\", "/").strip("/").removeprefix("./")
        for key, folder in (("images", asked.images), ("masks", asked.masks))
        if folder is not None
    }
    for key, folder in given.items():
        if not any(True for _ in tree.below(folder)) or folder.startswith(".."):
            raise DataError(f"--{key} {folder}: no images there below {tree.root}; {_held(tree)}")
    if len(given) == 2:
        pairs = [(given["images"], given["masks"])]
    else:
        key, folder = next(iter(given.items()))
        others = [other for other in sorted(tree.images) if other != folder]
        pairs = [(folder, o) if key == "images" else (o, folder) for o in others]
    found = []
    for images, masks in pairs:
        place = split_folder(images)[0]
        if images == masks:
            same = [one for one in one_folder(tree) if one.place == images]
            found += same
            continue
        one = pair_patterns(tree, images, masks)
        if one is not None:
            found.append(found_pairs("named", place, (one,), find_test(tree, place)))
            if others := _same_ids(tree, images, masks):
                told = (
                    f"{some(others)} hold the same ids as {images}: bands of one image? Only"
                    f" {images} is taken; leave --images away to have bands looked for, or write"
                    " data.bands and {band} by hand"
                )
                found[-1] = replace(found[-1], problems=(told,))
        elif (deep := pair_trees(tree, "named", place, images, masks)) is not None:
            found.append(deep)
    if not found:
        told = " and ".join(f"--{key} {folder}" for key, folder in given.items())
        raise DataError(f"{tree.root}: {told}: no other folder has its names; {_held(tree)}")
    if len(found) > 1:
        told = "; ".join(one.told for one in found)
        other = "images" if asked.images is None else "masks"
        raise DataError(f"{tree.root}: {len(found)} folders pair: {told}; name one with --{other}")
    return found[0]


def _same_ids(tree: Tree, images: str, masks: str) -> list[str]:
    """Folders beside the images, no masks, whose files have the same ids, one for one."""
    n = len(tree.images.get(images, []))
    return [
        other
        for other in tree.children.get(split_folder(images)[0], [])
        if other not in (images, masks)
        and len(tree.images.get(other, [])) == n
        and role_of(split_folder(other)[1])[0] != "mask"
        and pair_patterns(tree, images, other) is not None
    ]


# Where two explain the same folders, the first is taken.
LAYOUTS: dict[str, Callable[[Tree], list[Found]]] = {
    "voc": voc,
    "train_val": train_val,
    "train": train_only,
    "doubled": doubled,
    "bands": bands,
    "folder_an_image": folder_an_image,
    "nested": nested,
    "twins": twins,
    "parts": parts,
    "one_folder": one_folder,
    "images_masks": images_masks,
    "csv_paths": csv_paths,
    "text_lists": text_lists,
    "coco": coco,
    "rle_table": lambda tree: rle_table(tree) or joined_codes(tree),
    "two_folders": two_folders,
}
LAST = ("csv_paths", "text_lists", "coco", "rle_table", "two_folders")  # where no folder says it
BY_FOLDERS = tuple(name for name in LAYOUTS if name not in LAST)
