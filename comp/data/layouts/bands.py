"""One file a band: `x_B02.tif`, `x_B03.tif`, ..., or a folder an image that holds `B02.tif`, `B03.tif`, ..."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from comp.config import Pairs
from comp.data.layouts.found import Found, found_pairs
from comp.data.layouts.merge import split_in
from comp.data.layouts.pairing import (
    MASK_ENDINGS,
    affixes,
    extension,
    pattern,
    role_of,
    split_of,
    stripped,
)
from comp.data.layouts.tree import Tree, join, split_folder, stem

COLOURS = ("r", "g", "b", "red", "green", "blue", "rededge", "re", "nir", "swir", "swir1", "swir2",
           "tir", "pan", "vv", "vh", "hh", "hv", "dem", "dsm", "slope")  # fmt: skip
BAND_WORD = rf"(?:b\d{{1,2}}a?|band[_-]?\d+|ch(?:annel)?[_-]?\d+|{'|'.join(COLOURS)})"
BAND = re.compile(rf"(?i){BAND_WORD}")
FOLDER = re.compile(rf"(?i)(|.*[_.-])({BAND_WORD})")
TAIL = re.compile(rf"(?i)(.+?)([_.-])({BAND_WORD})")


def bands(tree: Tree) -> list[Found]:
    """Folders whose files are single bands, every image with the same ones, and the folder of masks."""
    found = []
    for folder in sorted(tree.images):
        if split_of(split_folder(folder)[1]) == "test":
            continue
        said = _in_names(tree, folder)
        if said is not None:
            found += _with_masks(tree, folder, *said)
    for parent in sorted(tree.children):
        if role_of(split_folder(parent)[1])[0] == "mask" or _is_test(parent):
            continue
        said = _in_folders(tree, parent)
        if said is not None:
            found += _with_masks(tree, parent, *said)
        beside = _in_siblings(tree, parent)
        tests = {said[2]: said[0] for prefix, said in beside.items() if _is_test(prefix)}
        for prefix, said in beside.items():
            if not _is_test(prefix) and not _is_test(parent):
                test = join(parent, tests[said[2]]) if said[2] in tests else None
                found += _with_masks(tree, parent, *said, test)
    return found


def _is_test(folder: str) -> bool:
    last = split_folder(folder)[1].rstrip("_.-")
    return split_of(last) == "test" or split_of(role_of(last)[1]) == "test"


Said = tuple[str, set[str], tuple[str, ...]]  # the pattern below the folder, ids, bands in order


def _in_names(tree: Tree, folder: str) -> Said | None:
    """`x_B02.tif`: the band at the end of the name."""
    names = tree.images[folder]
    hits = [(hit, name) for name in names if (hit := TAIL.fullmatch(stem(name)))]
    whole = _grid([(hit[1], hit[3]) for hit, _ in hits])
    if whole is None or len({hit[2] for hit, _ in hits}) != 1:
        return None
    if len(hits) < len(names) * 0.5:
        return None
    ending = extension(name for _, name in hits)
    return f"{{id}}{hits[0][0][2]}{{band}}.{ending}", *whole


def _in_folders(tree: Tree, parent: str) -> Said | None:
    """`x/B02.tif`: the band is the name."""
    pairs, names = [], []
    for folder in tree.children[parent]:
        for name in tree.images.get(folder, []):
            if BAND.fullmatch(stem(name)):
                pairs.append((split_folder(folder)[1], stem(name)))
                names.append(name)
    whole = _grid(pairs)
    return None if whole is None else (f"{{id}}/{{band}}.{extension(names)}", *whole)


def _in_siblings(tree: Tree, parent: str) -> dict[str, Said]:
    """`train_red/red_x.tif` beside `train_green/green_x.tif`: a folder a band; by what stands before it."""
    groups: dict[str, dict[str, str]] = {}
    for folder in tree.children[parent]:
        hit = FOLDER.fullmatch(split_folder(folder)[1])
        if hit is not None and folder in tree.images:
            groups.setdefault(hit[1], {})[hit[2]] = folder
    found = {}
    for prefix, folders in groups.items():
        names = [name for folder in folders.values() for name in tree.images[folder]]
        forms = ("{band}_{id}", "{band}-{id}", "{id}_{band}", "{id}-{band}", "{id}")
        for form in (*(prefix + one for one in forms[:2] if prefix), *forms):
            pairs = [
                (i, band)
                for band, folder in folders.items()
                for i in stripped(tree.images[folder], _around(form.replace("{band}", band)))
            ]
            whole = _grid(pairs) if 2 * len(pairs) > len(names) else None
            if whole is not None and len(pairs) > len(whole[0]) * (len(whole[1]) - 0.5):
                found[prefix] = (f"{prefix}{{band}}/{form}.{extension(names)}", *whole)
                break
    return found


def _around(form: str) -> tuple[str, str]:
    before, _, after = form.partition("{id}")
    return before, after


def _grid(pairs: Sequence[tuple[str, str]]) -> tuple[set[str], tuple[str, ...]] | None:
    """(ids, bands in order), where at least two images have most of at least two bands."""
    n_of = Counter(band for _, band in pairs)
    ids = {image_id for image_id, _ in pairs}
    wanted = [band for band, n in n_of.items() if 2 * n > len(ids)]
    if len(wanted) < 2 or len(ids) < 2 or len({band.lower() for band in wanted}) < len(wanted):
        return None
    if all(re.fullmatch(r"(?i)[rgb]|b\d", band) for band in wanted) and len(wanted) < 3:
        return None  # a_b1, a_b2: rather two pictures than two bands
    return ids, tuple(sorted(wanted, key=_place))


def _place(band: str) -> tuple[int, float, str]:
    """Numbers first in their order (B8A after B8), then colours from red on."""
    number = re.search(r"\d+", band)
    lower = band.lower()
    if lower in COLOURS:
        return 1, COLOURS.index(lower), lower
    return 0, float(number[0]) if number else 0.0, lower


def _with_masks(
    tree: Tree,
    folder: str,
    name: str,
    ids: set[str],
    order: tuple[str, ...],
    test: str | None = None,
) -> list[Found]:
    """The folders of masks that have these ids."""
    above = split_folder(folder)[0]
    found = []
    for other in sorted(tree.images):
        near = split_folder(other)[0] in (above, folder) or other == folder
        if not near or role_of(split_folder(other)[1])[0] != "mask":
            continue
        names = tree.images[other]
        if (
            len(
                {
                    split
                    for path in (join(folder, name), join(other, ""))
                    if (split := split_in(f"{path}/x"))
                }
            )
            > 1
        ):
            continue  # train's images with validation's masks
        for affix in affixes(names, MASK_ENDINGS):
            if 2 * len(stripped(names, affix) & ids) >= min(len(ids), len(names)):
                pairs = Pairs(images=join(folder, name), masks=pattern(other, affix, names))
                found.append((pairs, other))
                break
    if not found:
        masks = _mask_inside(tree, folder, name)
        if masks is None:
            return []
        found = [(Pairs(images=join(folder, name), masks=masks), folder)]
    note = f"one file a band, stacked in this order: {', '.join(order)}"
    test = test or _test(tree, folder, name)
    return [
        found_pairs(
            "bands",
            above,
            (pairs,),
            None,
            test_pattern=test,
            claims=frozenset({(f, other) for f in (folder, *tree.children.get(folder, []))}),
            data={"bands": list(order), "channels": len(order)},
            notes=(note,),
        )
        for pairs, other in found
    ]


def _mask_inside(tree: Tree, folder: str, name: str) -> str | None:
    """`x/label.tif` beside `x/B02.tif`, or `x_mask.tif` beside `x_B02.tif`."""
    if "/" in name:
        named = Counter(
            other
            for below in tree.children.get(folder, [])
            for other in tree.images.get(below, [])
            if role_of(stem(other))[0] == "mask"
        )
        return join(folder, f"{{id}}/{named.most_common(1)[0][0]}") if len(named) == 1 else None
    masks = [n for n in tree.images[folder] if any(stem(n).endswith(e) for e in MASK_ENDINGS)]
    ends = {e for e in MASK_ENDINGS if masks and all(stem(n).endswith(e) for n in masks)}
    return pattern(folder, ("", ends.pop()), masks) if len(ends) == 1 else None


def _test(tree: Tree, folder: str, name: str) -> str | None:
    """The pattern of test images: a sibling named for the test part, with files of the same kind."""
    above = split_folder(folder)[0]
    for other in tree.children.get(above, []):
        if other != folder and _is_test(other) and role_of(split_folder(other)[1])[0] != "mask":
            said = _in_folders(tree, other) if "/" in name else None
            if "/" not in name and other in tree.images:
                said = _in_names(tree, other)
            if said is not None and said[0] == name:
                return join(other, name)
    return None
