"""Names of images and names of masks -> the pattern around the id that pairs most of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from comp.config import Pairs
from comp.data.layouts.tree import Tree, join, stem

IMAGES = ("images", "image", "imgs", "img", "leftimg8bit")
MASKS = ("masks", "mask", "labels", "label", "annotations", "gt", "targets", "gtfine", "gtcoarse")
LABEL_KINDS = ("labelids", "labeltrainids", "semantic", "masks", "mask", "labels", "label", "seg")
VALIDATION = ("val", "valid", "validation")
MASK_ENDINGS = ("_label", "_labels", "_mask", "_masks", "_seg", "_gt", "-mask", "_annotation")
IMAGE_ENDINGS = ("_image", "_img", "_sat")
MASK_WORD = r"(?:masks?|labels?|annot(?:ations?)?|gt|seg|segmentations?|targets?|truth)"
IMAGE_WORD = r"(?:images?|imgs?|sat|inputs?|pictures?|photos?)"
HEAD_WORD = re.compile(rf"(?i)^(?:{MASK_WORD}|{IMAGE_WORD})[_-]")
MASK_NAME = re.compile(rf"(?i)^{MASK_WORD}(?:[_-].+)?$|.+[_-]{MASK_WORD}$")
IMAGE_NAME = re.compile(rf"(?i)^{IMAGE_WORD}(?:[_-].+)?$|.+[_-]{IMAGE_WORD}$")


def split_of(word: str) -> str:
    """train, val or test where a folder's or file's name says so; else ""."""
    word = word.lower()
    if word in ("train", "training", "trn"):
        return "train"
    if word in (*VALIDATION, "dev"):
        return "val"
    return "test" if word in ("test", "testing", "tst") else ""


def masks_of_test(folder: str) -> bool:
    """True when a path says masks and the test part: `testannot`, `test/masks`, `labels/test`."""
    roles = [role_of(part) for part in folder.split("/")]
    says = {split_of(rest) for _, rest in roles}
    named = any(part.lower() in MASKS for part in folder.split("/"))
    return "test" in says and (named or any(kind == "mask" for kind, _ in roles))


def pair_patterns(tree: Tree, images: str, masks: str, split: str = "train") -> Pairs | None:
    """Find the id in the names of two folders: the affixes under which most names agree.

    Equal stems win over stripped ones: `a_1.jpg` and `a_1.png` share the id `a_1`.
    """
    return pair_names(images, tree.images.get(images, []), masks, tree.images.get(masks, []), split)


def pair_names(
    images: str, image_names: list[str], masks: str, mask_names: list[str], split: str = "train"
) -> Pairs | None:
    """As `pair_patterns`, for names given apart from the folders that hold them."""
    best = best_affixes([(image_names, mask_names)])
    if best is None:
        return None
    a, b = best
    return Pairs(
        images=pattern(images, a, image_names),
        masks=pattern(masks, b, mask_names),
        split="val" if split == "val" else "train",
    )


def label_kind(names: Sequence[str]) -> str:
    """The ending of the label masks where a folder holds other pictures of the same ids too; else "".

    Cityscapes: `x_gtFine_labelIds` beside `x_gtFine_color` and `x_gtFine_instanceIds`.
    """
    tails: dict[str, set[str]] = {}
    for name in map(stem, names):
        head, _, tail = name.rpartition("_")
        tails.setdefault(tail, set()).add(head)
    if len(tails) < 2 or len({frozenset(heads) for heads in tails.values()}) > 1:
        return ""
    said = {tail.lower(): tail for tail in tails}
    return next(("_" + said[kind] for kind in LABEL_KINDS if kind in said), "")


Affix = tuple[str, str]


def best_affixes(
    folders: Sequence[tuple[list[str], list[str]]],
) -> tuple[Affix, Affix] | None:
    """The affixes of images and of masks under which most names agree, folder by folder.

    Returns:
        None where fewer than half of the names find a partner.
    """
    choices: dict[tuple[Affix, Affix], None] = {}
    for image_names, mask_names in folders[:50]:
        for a in affixes(image_names, IMAGE_ENDINGS):
            choices |= {(a, b): None for b in affixes(mask_names, MASK_ENDINGS)}
    ids = {a: [stripped(names, a) for names, _ in folders] for a, _ in choices}
    other = {b: [stripped(names, b) for _, names in folders] for _, b in choices}
    best: tuple[int, int, tuple[Affix, Affix]] | None = None
    for a, b in choices:
        n = sum(len(i & m) for i, m in zip(ids[a], other[b], strict=True))
        found = (n, -sum(map(len, a + b)), (a, b))
        if n and (best is None or found[:2] > best[:2]):
            best = found
    least = min(sum(len(i) for i, _ in folders), sum(len(m) for _, m in folders))
    return None if best is None or 2 * best[0] < least else best[2]


def affixes(names: list[str], endings: tuple[str, ...] = ()) -> list[Affix]:
    """What may stand before and after the id in these names, nothing at all first."""
    stems = [stem(name) for name in names]
    shared = shared_start(stems)
    before = ["", *_cuts(shared, stems)]
    if word := HEAD_WORD.match(shared):
        before.append(word[0])
    turned = [s[::-1] for s in stems]
    shared_end = shared_start(turned)[::-1]
    tails = [cut[::-1] for cut in _cuts(shared_end[::-1], turned)]
    after = ["", *dict.fromkeys([*tails, *(e for e in endings if shared_end.endswith(e))])]
    return [(a, b) for a in dict.fromkeys(before) for b in dict.fromkeys(after)]


def _cuts(shared: str, stems: Sequence[str]) -> list[str]:
    """Where a shared start may end: after a separator, or where digits begin in every name."""
    ends = [n for n in range(1, len(shared) + 1) if not shared[n - 1].isalnum()]
    word = re.sub(r"[0-9]+$", "", shared)
    if word and all(stem[len(word) : len(word) + 1].isdigit() for stem in stems):
        ends.append(len(word))
    ends = sorted(set(ends))
    return [shared[:n] for n in dict.fromkeys([*ends[:2], *ends[-4:]])]


def stripped(names: Iterable[str], affix: Affix) -> set[str]:
    """The ids of the names that have these affixes."""
    before, after = affix
    if not before and not after:
        return {one for name in names if (one := stem(name))}
    found = set()
    for name in map(stem, names):
        if name.startswith(before) and name.endswith(after):
            middle = name[len(before) : len(name) - len(after)]
            if middle and len(name) >= len(before) + len(after):
                found.add(middle)
    return found


def pattern(folder: str, affix: Affix, names: Iterable[str]) -> str:
    """A pattern with {id}; `.*` where extensions differ."""
    return join(folder, f"{affix[0]}{{id}}{affix[1]}.{extension(names)}")


def extension(names: Iterable[str]) -> str:
    """The extension that all names share, else ``*``."""
    found = {name.rpartition(".")[2] for name in names}
    return found.pop() if len(found) == 1 else "*"


def shared_start(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    low, high = min(texts), max(texts)
    n = 0
    while n < min(len(low), len(high)) and low[n] == high[n]:
        n += 1
    return low[:n]


def role_of(folder: str) -> tuple[str, str]:
    """What a folder's name says it holds, and what is left of the name.

    Returns:
        ("mask" | "image" | "", rest): `trainannot` is ("mask", "train"), `images` ("image", "").
    """
    for kind, word in (("mask", MASK_WORD), ("image", IMAGE_WORD)):
        for rule in (rf"(?i)(.*?)[_ -]?{word}", rf"(?i){word}[_ -](.+)"):
            if hit := re.fullmatch(rule, folder):
                return kind, hit[1]
    return "", folder
