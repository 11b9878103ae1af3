"""Layouts whose folders repeat: the same names in many folders, or one folder an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comp.config import Pairs
from comp.data.layouts.found import Found, find_test
from comp.data.layouts.pairing import (
    IMAGE_NAME,
    IMAGES,
    MASK_NAME,
    MASKS,
    Affix,
    best_affixes,
    extension,
    pattern,
    split_of,
)
from comp.data.layouts.tree import Tree, join, split_folder, stem
from comp.errors import some


@dataclass(frozen=True)
class Member:
    """One of many folders that look alike.

    Args:
        folder: relative to the root; what `{dir}` will stand for ends here.
        images, masks: folders below it ("" is the folder itself), and their names.
    """

    folder: str
    images: str
    masks: str
    image_names: list[str]
    mask_names: list[str]


def nested(tree: Tree) -> list[Found]:
    """`Tile 1/images/a.jpg` with `Tile 1/masks/a.png`, or `p1/a.tif` with `p1/a_mask.tif`, in many folders.

    The same names may stand in every folder: ids carry it.
    """
    kinds: dict[tuple[str, str], list[Member]] = {}
    for member in (*_siblings(tree), *mixed_folders(tree)):
        kinds.setdefault((member.images, member.masks), []).append(member)
    found = [_merged(tree, members) for members in kinds.values() if len(members) > 1]
    return [one for one in found if one is not None]


def _siblings(tree: Tree) -> Iterator[Member]:
    """Folders that hold a folder of images and one of masks."""
    for parent, below in sorted(tree.children.items()):
        last = {split_folder(f)[1]: tree.images.get(f, []) for f in below}
        images = [name for name in last if name.lower() in IMAGES and last[name]]
        masks = [name for name in last if name.lower() in MASKS and last[name]]
        if len(images) == len(masks) == 1:
            yield Member(parent, images[0], masks[0], last[images[0]], last[masks[0]])


def mixed_folders(tree: Tree) -> Iterator[Member]:
    """Folders that hold images and masks themselves."""
    for folder, names in sorted(tree.images.items()):
        if divided := divide(names):
            yield Member(folder, "", "", *divided)


def divide(names: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """(image names, mask names) of a folder that holds both; None where no name says so.

    The masks have `mask`, `label`, ... before or after the id, or (same stems) are the .png beside .jpg.
    """
    masks = [name for name in names if MASK_NAME.match(stem(name))]
    if masks:
        rest = [name for name in names if not MASK_NAME.match(stem(name))]
        named = [name for name in rest if IMAGE_NAME.match(stem(name))]
        images = named if len(named) >= len(masks) else rest
    else:
        images = [name for name in names if name.lower().endswith((".jpg", ".jpeg"))]
        masks = [name for name in names if name.lower().endswith(".png")]
        if {stem(n) for n in images} != {stem(n) for n in masks}:
            return None
    return (images, masks) if images and masks else None


def _merged(tree: Tree, members: list[Member]) -> Found | None:
    """Folders that look alike as one pattern with {dir}; None where no one pattern fits."""
    place = _shared([m.folder for m in members])
    rests = [m.folder[len(place) :].strip("/") for m in members]
    if "" in rests:
        return None
    heads = {rest: split_of(rest.split("/")[0]) for rest in rests}
    if any(head and "/" not in rest for rest, head in heads.items()):
        return None  # train/, val/: no folder of a picture, but a part
    if len(set(heads.values())) > 1 and "" in heads.values():
        return None
    affix = best_affixes([(m.image_names, m.mask_names) for m in members])
    if affix is None:
        return None
    if _one_mask_an_image(members) is not None:
        return None  # one folder an image says the same with shorter ids
    pairs, test = [], None
    for head in dict.fromkeys(rest.split("/")[0] if heads[rest] else "" for rest in rests):
        inside = [m for m, rest in zip(members, rests, strict=True) if not head or
                  rest.split("/")[0] == head]  # fmt: skip
        one = _with_dir(join(place, head) if head else place, inside, affix)
        if split_of(head) == "test":
            test = one.images
        else:
            split = "val" if split_of(head) == "val" else "train"
            pairs.append(one.model_copy(update={"split": split}))
    if not pairs:
        return None
    claims = frozenset((join(m.folder, m.images), join(m.folder, m.masks)) for m in members)
    n = len(members)
    note = f"{n} folders alike: {some(sorted(m.folder for m in members))}; ids carry the folder"
    folder = None if test else find_test(tree, place)
    return Found(
        "nested", place, tuple(pairs), folder, test_pattern=test, claims=claims, notes=(note,)
    )


def _with_dir(place: str, members: Sequence[Member], affix: tuple[Affix, Affix]) -> Pairs:
    first = members[0]
    images = [name for m in members for name in m.image_names]
    masks = [name for m in members for name in m.mask_names]
    return Pairs(
        images=pattern(join(join(place, "{dir}"), first.images), affix[0], images),
        masks=pattern(join(join(place, "{dir}"), first.masks), affix[1], masks),
    )


def _shared(folders: Sequence[str]) -> str:
    """The folder that holds them all."""
    parts = [folder.split("/") for folder in folders]
    n = 0
    while all(len(p) > n for p in parts) and len({p[n] for p in parts}) == 1:
        n += 1
    return "/".join(parts[0][:n])


# ------------------------------------------------------------------------------ one folder an image


def folder_an_image(tree: Tree) -> list[Found]:
    """`stage1_train/<id>/images/<id>.png` with one mask an object, or `<id>/image.png` with `<id>/mask.png`."""
    by_parent: dict[str, list[Member]] = {}
    for member in (*_siblings(tree), *mixed_folders(tree)):
        parent, last = split_folder(member.folder)
        if member.folder and not split_of(last):
            by_parent.setdefault(parent, []).append(member)
    found = []
    for parent, members in by_parent.items():
        patterns = _one_mask_an_image(members) if len(members) > 1 else None
        if patterns is None:
            continue
        images, masks = (join(parent, p) for p in patterns)
        claims = frozenset((join(m.folder, m.images), join(m.folder, m.masks)) for m in members)
        told = "one mask an object, their union is the mask" if "{object}" in masks else "one mask"
        found.append(
            Found(
                "folder_an_image",
                parent,
                (Pairs(images=images, masks=masks),),
                None,
                test_pattern=_test_beside(tree, parent, patterns[0]),
                claims=claims,
                notes=(f"{len(members)} folders of one image each, {told}",),
            )
        )
    return found


def _one_mask_an_image(members: Sequence[Member]) -> tuple[str, str] | None:
    """Patterns from {id} on, where every folder holds one image and its masks."""
    kinds = {(m.images, m.masks) for m in members}
    if len(kinds) != 1 or any(len(m.image_names) != 1 for m in members):
        return None
    images, masks = kinds.pop()
    ids = [split_folder(m.folder)[1] for m in members]
    image = _name_rule(ids, [m.image_names[0] for m in members])
    if image is None:
        return None
    if all(len(m.mask_names) == 1 for m in members):
        mask = _name_rule(ids, [m.mask_names[0] for m in members])
    else:
        mask = None
    if mask is None:
        if not masks:
            return None
        mask = f"{{object}}.{extension(n for m in members for n in m.mask_names)}"
    return join(join("{id}", images), image), join(join("{id}", masks), mask)


def _name_rule(ids: Sequence[str], names: Sequence[str]) -> str | None:
    """The one rule by which the folder names its file: `image.png`, `{id}.png`, `{id}_mask.png`."""
    rules = Counter(
        name.replace(i, "{id}", 1) if name.startswith(i) else name
        for i, name in zip(ids, names, strict=True)
    )
    rule, n = rules.most_common(1)[0]
    if n == len(names) and rule.count("{id}") <= 1:
        return rule
    stems = {stem(rule) for rule in rules}
    return f"{stems.pop()}.*" if len(stems) == 1 else None


def _test_beside(tree: Tree, parent: str, image: str) -> str | None:
    """`stage1_test/{id}/images/{id}.png` beside `stage1_train`."""
    above = split_folder(parent)[0]
    for other in tree.children.get(above, []):
        name = split_folder(other)[1]
        if other != parent and "test" in name.lower() and "train" not in name.lower():
            return join(other, image)
    return None
