"""Layouts whose folders are named for what they hold: images and masks, JPEGImages and SegmentationClass."""

from __future__ import annotations

from functools import lru_cache

from comp.config import Pairs
from comp.data.layouts.found import Found, find_test, found_pairs
from comp.data.layouts.pairing import IMAGES, MASKS, VALIDATION, pair_patterns, split_of
from comp.data.layouts.tree import Tree, split_folder
from comp.errors import DataError, some


@lru_cache(maxsize=8)
def _siblings(tree: Tree, images: tuple[str, ...], masks: tuple[str, ...]) -> dict[str, Pairs]:
    """Parent folder -> pairs, for every image folder with a mask folder beside it."""
    found: dict[str, Pairs] = {}
    for parent, below in sorted(tree.children.items()):
        held = [folder for folder in below if folder in tree.images]
        for folder in held:
            if split_folder(folder)[1].lower() not in images:
                continue
            for other in held:
                if split_folder(other)[1].lower() not in masks:
                    continue
                pairs = pair_patterns(tree, folder, other)
                if pairs is not None and parent in found:
                    raise DataError(
                        f"{tree.root / parent}: two ways to pair: {found[parent].images} with"
                        f" {found[parent].masks}, or {pairs.images} with {pairs.masks};"
                        " decide with `comp init --images DIR --masks DIR`"
                    )
                if pairs is not None:
                    found[parent] = pairs
    return found


def voc(tree: Tree) -> list[Found]:
    """JPEGImages/x.jpg and SegmentationClass/x.png, as in the archives of Pascal VOC."""
    pairs = _siblings(tree, ("jpegimages",), ("segmentationclass",))
    return [
        found_pairs("voc", place, (one,), find_test(tree, place)) for place, one in pairs.items()
    ]


def train_val(tree: Tree) -> list[Found]:
    """{train,val}/{images,masks}: the makers divided the set."""
    found = []
    pairs = _siblings(tree, IMAGES, MASKS)
    for folder, train in pairs.items():
        place, last = split_folder(folder)
        if split_of(last) != "train":
            continue
        vals = [
            v
            for v in pairs
            if split_folder(v)[0] == place and split_folder(v)[1].lower() in VALIDATION
        ]
        if len(vals) > 1:
            raise DataError(f"{tree.root / place}: {some(vals)} all look like the validation part")
        if vals:
            val = pairs[vals[0]].model_copy(update={"split": "val"})
            found.append(found_pairs("train_val", place, (train, val), find_test(tree, place)))
    return found


def train_only(tree: Tree) -> list[Found]:
    """train/{images,masks}, with test/ beside it or not."""
    found = []
    for folder, one in _siblings(tree, IMAGES, MASKS).items():
        place, last = split_folder(folder)
        if split_of(last) == "train":
            found.append(found_pairs("train", place, (one,), find_test(tree, place)))
    return found


def doubled(tree: Tree) -> list[Found]:
    """images/images/x and label/label/x_label: each folder inside one of its own name."""
    found: list[Found] = []
    doubles = []
    for folder in sorted(tree.images):
        above, last = split_folder(folder)
        if split_folder(above)[1].lower() == last.lower():
            doubles.append((split_folder(above)[0], last.lower(), folder))
    for place, last, images in doubles:
        if last not in IMAGES:
            continue
        for other, word, masks in doubles:
            if word in MASKS and other == place:
                pairs = pair_patterns(tree, images, masks)
                if pairs is not None:
                    found.append(found_pairs("doubled", place, (pairs,), find_test(tree, place)))
    return found


def images_masks(tree: Tree) -> list[Found]:
    """images/x and masks/x, with test/images/ beside them or not."""
    return [
        found_pairs("images_masks", place, (one,), find_test(tree, place))
        for place, one in _siblings(tree, IMAGES, MASKS).items()
        if split_folder(place)[1].lower() != "test"
    ]
