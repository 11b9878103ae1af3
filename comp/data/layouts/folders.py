"""Layouts of two folders named after each other, and of images and masks in one folder."""

from __future__ import annotations

from comp.config import Pairs
from comp.data.layouts.found import Found, find_test, found_pairs
from comp.data.layouts.nested import Member, mixed_folders
from comp.data.layouts.pairing import (
    IMAGES,
    MASK_NAME,
    MASKS,
    best_affixes,
    label_kind,
    pair_names,
    pair_patterns,
    pattern,
    role_of,
    split_of,
)
from comp.data.layouts.tree import Tree, join, split_folder, stem
from comp.errors import DataError

MOST_FOLDERS = 16  # side by side, each tried with each


def twins(tree: Tree) -> list[Found]:
    """`train/` with `trainannot/`, `val/` with `valannot/`, ...; `train_images/` with `train_masks/`."""
    found: list[Found] = []
    for parent, below in [*sorted(tree.children.items())]:
        roles: dict[str, dict[str, list[str]]] = {}
        for folder in below:
            if folder in tree.images:
                kind, rest = role_of(split_folder(folder)[1])
                roles.setdefault(rest.lower(), {}).setdefault(kind, []).append(folder)
        pairs: list[Pairs] = []
        test = find_test(tree, parent)
        for rest, kinds in roles.items():
            if not rest or not kinds.get("mask"):
                continue
            for images in (*kinds.get("image", []), *kinds.get("", [])):
                for masks in kinds["mask"]:
                    one = pair_patterns(tree, images, masks, split_of(rest))
                    if one is not None and split_of(rest) == "test":
                        test = images
                    elif one is not None:
                        pairs.append(one)
        if len({p.images for p in pairs}) < len(pairs) or len({p.split for p in pairs}) < len(
            pairs
        ):
            found += [found_pairs("twins", p.images or "", (p,), test) for p in pairs]
        elif pairs and any(p.split == "train" for p in pairs):
            found.append(found_pairs("twins", parent, tuple(pairs), test))
    return found


def parts(tree: Tree) -> list[Found]:
    """`images/train/x` with `masks/train/x`: the parts stand below the kinds."""
    found = []
    for parent, below in sorted(tree.children.items()):
        images = [f for f in below if split_folder(f)[1].lower() in IMAGES]
        masks = [f for f in below if split_folder(f)[1].lower() in MASKS]
        for i in images:
            for m in masks:
                one = pair_trees(tree, "parts", parent, i, m)
                if one is not None:
                    found.append(one)
    return found


def pair_trees(tree: Tree, layout: str, place: str, images: str, masks: str) -> Found | None:
    """Pair two folders whose folders below have the same names; None where they have none, or do not pair."""
    inside = {f[len(images) + 1 :]: f for f in tree.below(images) if f != images}
    both = [rest for rest in inside if join(masks, rest) in tree.images]
    if not both:
        return None
    heads = {rest: split_of(rest.split("/")[0]) for rest in inside}
    pairs: list[Pairs] = []
    test, test_pattern = None, None
    if all(split_of(rest) for rest in inside):
        for rest, folder in inside.items():
            one = pair_patterns(tree, folder, join(masks, rest), split_of(rest))
            if split_of(rest) == "test":
                test = folder
            elif one is not None:
                pairs.append(one)
    elif all(heads.values()) or not any(heads.values()):
        for head in dict.fromkeys(rest.split("/")[0] if heads[rest] else "" for rest in inside):
            below = {r: f for r, f in inside.items() if not head or r.split("/")[0] == head}
            one = _pair_below(tree, (images, masks), head, below)
            if one is not None and split_of(head) == "test":
                test_pattern = one.images
            elif one is not None:
                pairs.append(one)
    if not pairs or len({p.split for p in pairs}) < len(pairs):
        return None
    claims = frozenset((inside[rest], join(masks, rest)) for rest in both)
    pairs.sort(key=lambda one: one.split == "val")
    more = {"test_pattern": test_pattern} if test_pattern else {}
    return found_pairs(layout, place, tuple(pairs), test, claims=claims, **more)


def _pair_below(
    tree: Tree, kinds: tuple[str, str], head: str, inside: dict[str, str]
) -> Pairs | None:
    """The folders below `images/head` and `masks/head` as one pattern with {dir}.

    Args:
        kinds: the folders of images and of masks; head: the part below them, or "".
        inside: what the folders are called below the kinds -> the folders of images.
    """
    images, masks = (join(kind, head) for kind in kinds)
    held = {rest: tree.images.get(join(kinds[1], rest), []) for rest in inside}
    kind = label_kind([name for names in held.values() for name in names])
    members = [
        Member(rest, "", "", tree.images[folder], [n for n in held[rest] if stem(n).endswith(kind)])
        for rest, folder in inside.items()
        if held[rest]
    ]
    affix = best_affixes([(m.image_names, m.mask_names) for m in members])
    if affix is None:
        return None
    names = [name for folder in inside.values() for name in tree.images[folder]]
    others = [name for m in members for name in m.mask_names]
    return Pairs(
        images=pattern(f"{images}/{{dir}}", affix[0], names),
        masks=pattern(f"{masks}/{{dir}}", affix[1], others),
        split="val" if split_of(head) == "val" else "train",
    )


def one_folder(tree: Tree) -> list[Found]:
    """Images and masks in one folder: `x` with `x_label`, `img_3` with `mask_3`, `001_image` with `001_mask`."""
    found = []
    for member in mixed_folders(tree):
        if split_of(split_folder(member.folder)[1]) == "test":
            continue
        one = pair_names(member.folder, member.image_names, member.folder, member.mask_names)
        if one is not None:
            test = find_test(tree, member.folder) or find_test(tree, split_folder(member.folder)[0])
            test = None if test == member.folder else test
            found.append(found_pairs("one_folder", member.folder, (one,), test))
    return found


def two_folders(tree: Tree) -> list[Found]:
    """Two folders side by side of which one says what it holds; asked only where nothing else fits."""
    found: list[Found] = []
    doubtful: list[Found] = []
    for parent, below in sorted(tree.children.items()):
        held = [f for f in below if f in tree.images]
        if len(held) > MOST_FOLDERS:
            continue
        for place, first in enumerate(held):
            for second in held[place + 1 :]:
                for images, masks in ((first, second), (second, first)):
                    one = pair_patterns(tree, images, masks)
                    if one is None or (says := _says(tree, images, masks)) < 0:
                        continue
                    (found if says else doubtful).append(
                        found_pairs("two_folders", parent, (one,), find_test(tree, parent))
                    )
    found += [] if found else _masks_below(tree)
    if not found and doubtful:
        a, b = sorted(next(iter(doubtful[0].claims)))
        all_of = sorted({folder for one in doubtful for claim in one.claims for folder in claim})
        raise DataError(
            f"{tree.root}: {' and '.join(all_of[:8])} hold the same names, and nothing says which are the masks;"
            f" decide with `comp init --images {_quoted(a)} --masks {_quoted(b)}`, or the other way"
            " round"
        )
    return found


def _masks_below(tree: Tree) -> list[Found]:
    """`images/x` with `annotations/trimaps/x`: the masks lie in a folder of a folder named for them."""
    found = []
    for parent, below in sorted(tree.children.items()):
        images = [f for f in below if f in tree.images and split_folder(f)[1].lower() in IMAGES]
        above = [f for f in below if f not in tree.images and split_folder(f)[1].lower() in MASKS]
        for i in images:
            for masks in (m for f in above for m in tree.children.get(f, []) if m in tree.images):
                one = pair_patterns(tree, i, masks)
                if one is not None:
                    test = find_test(tree, parent)
                    found.append(found_pairs("two_folders", parent, (one,), test))
    return found


def _quoted(folder: str) -> str:
    return f"'{folder}'" if " " in folder else folder


def _says(tree: Tree, images: str, masks: str) -> int:
    """1: names say that these are images and masks; -1: the other way round, or a test part; 0: nothing."""
    kinds = role_of(split_folder(images)[1])[0], role_of(split_folder(masks)[1])[0]
    rests = [role_of(split_folder(folder)[1])[1] for folder in (images, masks)]
    splits = [split_of(rest) for rest in rests]
    if "test" in splits or (all(splits) and splits[0] != splits[1]):
        return -1
    if kinds[0] == "mask" or kinds[1] == "image":
        return -1
    named = all(MASK_NAME.match(stem(name)) for name in tree.images[masks])
    if all(MASK_NAME.match(stem(name)) for name in tree.images[images]):
        return -1
    return int(kinds[1] == "mask" or kinds[0] == "image" or named)
