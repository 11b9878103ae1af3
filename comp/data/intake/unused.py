"""What lies in the data folder that the reading does not use: folders of images, said with what they might be."""

from __future__ import annotations

from pathlib import Path

from comp.data.layouts.pairing import masks_of_test, pair_patterns
from comp.data.layouts.tree import Tree, split_folder
from comp.data.sources.record import Records
from comp.errors import some

MOST_TRIED = 8  # folders whose names are compared with those of the images


def unused_folders(tree: Tree, records: Records) -> tuple[list[str], list[str]]:
    """What to say of the folders of which no image is taken; those of the test part's masks are left to others.

    Returns:
        lines; and what is to settle: folders beside the masks, as full, whose names pair with the images too.
    """
    taken = {_folder(tree, path) for r in (*records.train, *records.test) for path in r.files}
    taken |= {_folder(tree, path) for path in records.alone}
    unused = [f for f in sorted(tree.images) if f not in taken and not masks_of_test(f)]
    if not unused:
        return [], []
    told = some((f"{f or '.'} ({len(tree.images[f])} images)" for f in unused), 8)
    lines = [f"not used, {len(unused)} folder{'s' * (len(unused) > 1)} of images: {told}"]
    first = next((r for r in records.train if r.masks and r.truth is None), None)
    if first is None:
        return lines, []
    images, masks = _folder(tree, first.image), _folder(tree, first.masks[0])
    beside = [
        folder
        for folder in unused
        if images != masks
        and split_folder(folder)[0] == split_folder(masks)[0]
        and len(tree.images[folder]) == len(tree.images.get(masks, []))
    ]
    rivals = [f for f in beside[:MOST_TRIED] if pair_patterns(tree, images, f) is not None]
    if not rivals:
        return lines, []
    return lines, [
        f"{masks} is taken as the masks, for its name; {some(rivals)} would pair with {images} too: are the"
        f" masks there? Then begin again with --images {images} --masks {rivals[0]}"
    ]


def _folder(tree: Tree, path: Path) -> str:
    return split_folder(path.relative_to(tree.root).as_posix())[0]
