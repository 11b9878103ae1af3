"""How data sets are laid out: one table of detectors, each looking at a folder tree's names alone.

To understand one more layout is one function and one line in `LAYOUTS`. Two readings of one tree are
refused, naming both, with what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comp.config import Pairs
from comp.data.intake import entries, is_image_name
from comp.errors import DataError, some

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("masks", "mask", "labels", "label", "annotations", "gt", "targets")
VALIDATION = ("val", "valid", "validation")
MASK_ENDINGS = ("_label", "_labels", "_mask", "_masks", "_seg", "_gt", "-mask", "_annotation")
IMAGE_ENDINGS = ("_image", "_img", "_sat")
MAX_DEPTH = 6


@dataclass(frozen=True)
class Tree:
    """The names below a folder, litter aside.

    Args:
        images: folder relative to `root` ("" is `root`) -> its image names, sorted; only folders
            that hold images.
        others: folder -> names of its other files.
    """

    root: Path
    images: dict[str, list[str]]
    others: dict[str, list[str]]


@dataclass(frozen=True)
class Found:
    """One reading of a tree.

    Args:
        place: the folder, relative to the data's root, that holds the layout ("" is the root).
        train: the pairs of images and masks.
        test: the folder of test images, relative to the root; None: there is none.
    """

    layout: str
    place: str
    train: tuple[Pairs, ...]
    test: str | None


def walk(root: Path) -> Tree:
    """List the names below `root`, at most `MAX_DEPTH` folders deep."""
    tree = Tree(root, {}, {})
    todo = [("", 0)]
    while todo:
        folder, depth = todo.pop()
        for name, is_folder in entries(root / folder):
            if is_folder:
                if depth < MAX_DEPTH:
                    todo.append((_join(folder, name), depth + 1))
            elif is_image_name(name):
                tree.images.setdefault(folder, []).append(name)
            else:
                tree.others.setdefault(folder, []).append(name)
    return tree


def detect(tree: Tree) -> Found:
    """Return the one reading of the tree: the first detector of `LAYOUTS` that knows it.

    Raises:
        DataError: nothing fits, or one layout stands in several places.
    """
    for name, detector in LAYOUTS.items():
        found = detector(tree)
        if len(found) > 1:
            places = some(sorted(repr(f.place or ".") for f in found))
            raise DataError(
                f"{tree.root}: layout {name} stands in {len(found)} places: {places};"
                " name one of them with --data"
            )
        if found:
            return found[0]
    held = some(f"{folder or '.'} ({len(names)} images)" for folder, names in tree.images.items())
    raise DataError(
        f"{tree.root}: no known layout ({', '.join(LAYOUTS)}); found {held or 'no images at all'}."
        " Put images and masks into folders images/ and masks/ with equal names, or write"
        " configs/competition.yaml by hand (data.train: images and masks patterns)"
    )


def pair_patterns(tree: Tree, images: str, masks: str, split: str = "train") -> Pairs | None:
    """Find the id in the names of two folders: the affixes under which most names agree.

    Equal stems win over stripped ones: `a_1.jpg` and `a_1.png` share the id `a_1`.
    """
    image_names, mask_names = tree.images.get(images, []), tree.images.get(masks, [])
    best: tuple[int, int, tuple[str, str], tuple[str, str]] | None = None
    for a in affixes(image_names, IMAGE_ENDINGS):
        ids = stripped(image_names, a)
        for b in affixes(mask_names, MASK_ENDINGS):
            n = len(ids & stripped(mask_names, b))
            found = (n, -sum(map(len, a + b)), a, b)
            if n and (best is None or found[:2] > best[:2]):
                best = found
    if best is None or 2 * best[0] < min(len(image_names), len(mask_names)):
        return None
    _, _, a, b = best
    return Pairs(
        images=pattern(images, a, image_names),
        masks=pattern(masks, b, mask_names),
        split="val" if split == "val" else "train",
    )


def affixes(names: list[str], endings: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """What may stand before and after the id in these names, nothing at all first."""
    stems = [_stem(name) for name in names]
    shared = _shared_start(stems)
    before = [""] + ([head] if (head := re.sub(r"[0-9]+$", "", shared)) else [])
    shared_end = _shared_start([stem[::-1] for stem in stems])[::-1]
    tail = re.sub(r"^[0-9]+", "", shared_end)
    after = ["", *dict.fromkeys([tail, *(e for e in endings if shared_end.endswith(e))])]
    return [(a, b) for a in before for b in dict.fromkeys(after)]


def stripped(names: list[str], affix: tuple[str, str]) -> set[str]:
    """The ids of the names that have these affixes."""
    before, after = affix
    found = set()
    for stem in map(_stem, names):
        if stem.startswith(before) and stem.endswith(after):
            middle = stem[len(before) : len(stem) - len(after)]
            if middle and len(stem) >= len(before) + len(after):
                found.add(middle)
    return found


def pattern(folder: str, affix: tuple[str, str], names: list[str]) -> str:
    """A pattern with {id}; `.*` where extensions differ."""
    extensions = {name.rpartition(".")[2] for name in names}
    extension = extensions.pop() if len(extensions) == 1 else "*"
    return _join(folder, f"{affix[0]}{{id}}{affix[1]}.{extension}")


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _shared_start(texts: list[str]) -> str:
    if not texts:
        return ""
    low, high = min(texts), max(texts)
    n = 0
    while n < min(len(low), len(high)) and low[n] == high[n]:
        n += 1
    return low[:n]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _split(folder: str) -> tuple[str, str]:
    """(parent, last part) of a relative folder."""
    parent, _, last = folder.rpartition("/")
    return parent, last


def _siblings(tree: Tree, images: tuple[str, ...], masks: tuple[str, ...]) -> dict[str, Pairs]:
    """Parent folder -> pairs, for every image folder with a mask folder beside it."""
    found: dict[str, Pairs] = {}
    for folder in sorted(tree.images):
        parent, last = _split(folder)
        if last.lower() not in images:
            continue
        for other in sorted(tree.images):
            if _split(other)[0] == parent and _split(other)[1].lower() in masks:
                pairs = pair_patterns(tree, folder, other)
                if pairs is not None and parent in found:
                    raise DataError(
                        f"{tree.root / parent}: two ways to pair: {found[parent].images} with"
                        f" {found[parent].masks}, or {pairs.images} with {pairs.masks};"
                        " move one folder away, or write configs/competition.yaml by hand"
                    )
                if pairs is not None:
                    found[parent] = pairs
    return found


def _test(tree: Tree, place: str) -> str | None:
    """The folder of test images that belongs to `place`."""
    for name in ("test/images", "test/image", "test/imgs", "test", "test_images", "images_test"):
        if _join(place, name) in tree.images:
            return _join(place, name)
    return None


def _voc(tree: Tree) -> list[Found]:
    """JPEGImages/x.jpg and SegmentationClass/x.png, as in the archives of Pascal VOC."""
    pairs = _siblings(tree, ("jpegimages",), ("segmentationclass",))
    return [Found("voc", place, (one,), _test(tree, place)) for place, one in pairs.items()]


def _train_val(tree: Tree) -> list[Found]:
    """{train,val}/{images,masks}: the makers divided the set."""
    found = []
    pairs = _siblings(tree, IMAGES, MASKS)
    for folder, train in pairs.items():
        place, last = _split(folder)
        if last.lower() != "train":
            continue
        vals = [v for v in pairs if _split(v)[0] == place and _split(v)[1].lower() in VALIDATION]
        if len(vals) > 1:
            raise DataError(f"{tree.root / place}: {some(vals)} all look like the validation part")
        if vals:
            val = pairs[vals[0]].model_copy(update={"split": "val"})
            found.append(Found("train_val", place, (train, val), _test(tree, place)))
    return found


def _train_only(tree: Tree) -> list[Found]:
    """train/{images,masks}, with test/ beside it or not."""
    pairs = _siblings(tree, IMAGES, MASKS)
    return [
        Found("train", _split(folder)[0], (one,), _test(tree, _split(folder)[0]))
        for folder, one in pairs.items()
        if _split(folder)[1].lower() == "train"
    ]


def _doubled(tree: Tree) -> list[Found]:
    """images/images/x and label/label/x_label: each folder inside one of its own name."""
    found: list[Found] = []
    doubles = [
        f for f in sorted(tree.images) if _split(_split(f)[0])[1].lower() == _split(f)[1].lower()
    ]
    for images in (f for f in doubles if _split(f)[1].lower() in IMAGES):
        place = _split(_split(images)[0])[0]
        for masks in (f for f in doubles if _split(f)[1].lower() in MASKS):
            pairs = pair_patterns(tree, images, masks)
            if pairs is not None and _split(_split(masks)[0])[0] == place:
                found.append(Found("doubled", place, (pairs,), _test(tree, place)))
    return found


def _images_masks(tree: Tree) -> list[Found]:
    """images/x and masks/x, with test/images/ beside them or not."""
    found = _siblings(tree, IMAGES, MASKS)
    return [
        Found("images_masks", place, (one,), _test(tree, place))
        for place, one in found.items()
        if _split(place)[1].lower() != "test"
    ]


# Asked in this order; the first that knows the tree is taken.
LAYOUTS: dict[str, Callable[[Tree], list[Found]]] = {
    "voc": _voc,
    "train_val": _train_val,
    "train": _train_only,
    "doubled": _doubled,
    "images_masks": _images_masks,
}
