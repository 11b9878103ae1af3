"""Groups that names and tables suggest; each is believed only where the pictures themselves agree.

A guess is weighed by chance: pairs it puts together must look more alike than pairs it puts apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from shlex import quote

import numpy as np

from comp.data.leaks.prints import alike, chance_of_nearer
from comp.data.leaks.words import short

DRAWS = 4000  # pairs of each kind that are compared
NAMES_AUC = 0.65  # how often a pair of one group must look more alike than a pair of two
ORDER_AUC = 0.75  # the same for neighbours in a sequence
MIN_SHARE = 0.5  # of the images must lie in groups of two or more
MANY_LINKS = 20  # seams and near duplicates that can speak for a column of the meta table
# A place in the picture at the end of a name: _y0256_x0512, -row3-col7, (12, 40), _tile_5.
_PLACE = re.compile(
    r"(?:[_\-. ]*(?:(?<![a-zA-Z])(?:y|x|r|c|h|w|i|j|z|row|col|column|tile|patch|crop|chip|block|part"
    r"|slice|top|left|frame)[_\-=]?\d+)|[_\-. ]*\(\d+[, _x]+\d+\))+$",
    re.IGNORECASE,
)
_LAST = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)
_CODE = re.compile(r"[0-9a-fA-F]{8,}")
GROUP_NAMES = re.compile(
    r"source|scene|site|patient|case|subject|slide|video|sequence|seq|area|region|group|batch|plate"
    r"|well|flight|mosaic|picture|photo|parent|city|location|study|series|scan|tomo|volume|map",
    re.IGNORECASE,
)
AUTO = "auto"  # folds.group: the groups are found, not read
BY_NAMES, BY_FOLDERS = "names", "folders"  # folds.group: the image ids tell them


@dataclass(frozen=True)
class Guess:
    """One way to group the images, and what speaks for it.

    Args:
        witness: "folders", "names", "sequence", "meta" or "map".
        what: what the groups are, in words.
        groups: one a training image; "" for none.
        auc: how often pairs of one group look more alike than pairs of two; None: not asked.
        used: whether the groups count.
        why: the reason, in words.
        column: of the meta table, where it is one.
    """

    witness: str
    what: str
    groups: tuple[str, ...]
    auc: float | None
    used: bool
    why: str
    column: str = ""

    @property
    def command(self) -> str:
        """The command that makes folds by these groups, used or not; "" where there is none."""
        keys = {"meta": quote(self.column), "names": BY_NAMES, "folders": BY_FOLDERS}
        key = keys.get(self.witness)
        return f"`comp folds --groups {key}`" if key else ""

    @property
    def n_groups(self) -> int:
        return len(set(self.groups) - {""})

    @property
    def told(self) -> str:
        # Cut, not rounded: 0.648 stands below 0.65.
        auc = None if self.auc is None else np.floor(self.auc * 100 + 1e-6) / 100
        heard = "" if auc is None else f"; pairs of one group look more alike: AUC {auc:.2f}"
        verdict = "used" if self.used else "not used"
        told = f"{self.witness}: {self.what}, {self.n_groups} groups{heard}; {verdict}: {self.why}"
        if self.used or not self.command:
            return told
        return f"{told}; if they are right: {self.command}"


def weigh(groups: Sequence[str], looks: np.ndarray) -> float:
    """AUC by which pairs of one group look more alike than pairs of two; 0.5 where nothing can be said."""
    rng = np.random.default_rng(0)
    members: dict[str, list[int]] = {}
    for i, name in enumerate(groups):
        if name:
            members.setdefault(name, []).append(i)
    large = [np.array(m) for m in members.values() if len(m) > 1]
    if not large or len(members) < 2:
        return 0.5
    # A group is drawn by its number of images, so that many small ones do not outvote the rest.
    sizes = np.array([len(m) for m in large], float)
    drawn = rng.choice(len(large), DRAWS, p=sizes / sizes.sum())
    pairs = np.array([rng.choice(large[g], 2, replace=False) for g in drawn])
    near = alike(looks, pairs[:, 0], pairs[:, 1])
    named = np.array(list(groups), dtype=object)
    a, b = rng.integers(0, len(named), (2, 4 * DRAWS))
    other = (named[a] != named[b]) & (named[a] != "") & (named[b] != "")
    return chance_of_nearer(near, alike(looks, a[other], b[other]))


def folder_groups(ids: Sequence[str]) -> list[str] | None:
    """The folder of each image_id (``patient00/3`` -> ``patient00``), "" for none.

    Folders that hold one image each are left for the ones they lie in; None where most images share no
    folder with another, or all lie in one.
    """
    groups = [name.rpartition("/")[0] for name in ids]
    while any(groups):
        sizes = Counter(group for group in groups if group)
        if sum(n for n in sizes.values() if n > 1) >= MIN_SHARE * len(ids):
            return groups if len(set(groups) - {""}) > 1 else None
        groups = [name.rpartition("/")[0] for name in groups]
    return None


def name_groups(ids: Sequence[str]) -> list[str]:
    """Each image_id without its last number (``scene_y0_x256`` -> ``scene``); "" for names that are codes."""
    return ["" if part is None else part[0] or "-" for part in map(_split_name, ids)]


def guess_by_folder(ids: Sequence[str], looks: np.ndarray, n_splits: int) -> Guess | None:
    """Groups from folders in the ids: believed whatever the pictures look like, for people made them."""
    groups = folder_groups(ids)
    if groups is None:
        return None
    n, auc = len(set(groups) - {""}), weigh(groups, looks)
    what = f"ids that name one ({next(f'{short(i)} -> {short(g)}' for i, g in zip(ids, groups, strict=True) if g)})"
    if n < n_splits:
        why = f"too few for {n_splits} folds, lower folds.n_splits"
        return Guess("folders", what, tuple(groups), auc, False, why)
    why = "a folder is a group whatever it looks like"
    return Guess("folders", what, tuple(groups), auc, True, why)


def guess_by_name(ids: Sequence[str], looks: np.ndarray, n_splits: int) -> Guess | None:
    """Groups from file names: `scene_y0_x256` -> `scene`, `video3_0017` -> `video3_`.

    Names of one running number only are cut into blocks of neighbours where neighbours look alike.
    """
    parts = [_split_name(name) for name in ids]
    if sum(part is not None for part in parts) < 0.9 * len(ids):
        return None
    groups = tuple(name_groups(ids))
    sizes = Counter(groups)
    together = sum(n for name, n in sizes.items() if name and n > 1)
    n_groups = len(set(groups) - {""})
    if together < MIN_SHARE * len(ids):
        return None
    if n_groups >= n_splits:
        auc = weigh(groups, looks)
        grouped = zip(ids, groups, strict=True)
        example = next(f"{short(i)} -> {short(g)}" for i, g in grouped if sizes[g] > 1)
        what = f"names without their last numbers ({example})"
        if auc >= NAMES_AUC:
            return Guess("names", what, groups, auc, True, "the pictures agree")
        return Guess("names", what, groups, auc, False, f"below {NAMES_AUC}, as by chance")
    return _blocks(ids, [part or ("", 0) for part in parts], looks, n_splits)


def _split_name(name: str) -> tuple[str, int] | None:
    """(what names the picture, running number); None for names that are codes or have no number."""
    place = _PLACE.search(name)
    if place is not None and any(c.isalnum() for c in name[: place.start()]):
        numbers = "".join(re.findall(r"\d+", place.group()))
        return name[: place.start()], int(numbers[:18])
    found = _LAST.match(name)
    if found is None or any(not run.isdigit() for run in _CODE.findall(name)):
        return None
    return found[1] + found[3], int(found[2][:18])


def _blocks(
    ids: Sequence[str], parts: Sequence[tuple[str, int]], looks: np.ndarray, n_splits: int
) -> Guess | None:
    """Runs of consecutive names, about four a fold, where neighbours look more alike than others."""
    order = sorted(range(len(ids)), key=lambda i: (parts[i], ids[i]))
    after = {i: j for i, j in pairwise(order) if parts[i][0] == parts[j][0]}
    if len(after) < 4 * n_splits:
        return None
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, len(ids), (2, DRAWS))
    first, second = np.array(list(after)), np.array(list(after.values()))
    auc = chance_of_nearer(alike(looks, first, second), alike(looks, a[a != b], b[a != b]))
    length = max(2, -(-len(ids) // (4 * n_splits)))
    groups = [""] * len(ids)
    begin, prefix = 0, None
    for place, i in enumerate(order):
        if parts[i][0] != prefix or place - begin >= length:
            begin, prefix = place, parts[i][0]
        groups[i] = f"from {ids[order[begin]]}"
    what = f"runs of {length} names in sequence"
    if auc >= ORDER_AUC:
        why = "neighbours look alike; at the ends of a run they still do"
        return Guess("sequence", what, tuple(groups), auc, True, why)
    return Guess("sequence", what, tuple(groups), auc, False, f"below {ORDER_AUC}, as by chance")


def guess_by_column(
    columns: Mapping[str, Sequence[str]],
    looks: np.ndarray,
    links: Sequence[tuple[int, int]],
    n_splits: int,
) -> list[Guess]:
    """Weigh the columns of a meta table that could say which picture an image comes from.

    A column with a telling name (source, patient, ...) needs pictures that agree. Any other one needs
    words for values, and nearly all of 20 or more seams and near duplicates inside its groups.

    Args:
        columns: name -> value of each training image; "" for none.
        links: pairs of training images that belong together by their pixels.

    Returns:
        the guesses, that with the smallest groups that is believed first; at most one is used.
    """
    guesses = []
    for name, values in columns.items():
        groups = tuple(values)
        n = len(set(groups) - {""})
        if not n_splits <= n <= len(groups) / 2:
            continue
        named = GROUP_NAMES.search(name) is not None
        words = any(not _is_number(v) for v in set(groups) if v)
        if not named and not words:
            continue
        inside = sum(groups[i] == groups[j] != "" for i, j in links)
        share = inside / len(links) if links else 0.0
        if len(links) >= MANY_LINKS and share < 0.95:
            why = f"{len(links) - inside} of {len(links)} linked pairs have two values"
            guesses.append(Guess("meta", f"column {name!r}", groups, None, False, why, name))
            continue
        auc = weigh(groups, looks)
        if named and auc >= NAMES_AUC:
            told, good = "the pictures agree", True
        elif len(links) >= MANY_LINKS and n >= 2 * n_splits:
            told, good = f"{inside} of {len(links)} linked pairs lie inside its groups", True
        else:
            told, good = "too little speaks for it", False
        guesses.append(Guess("meta", f"column {name!r}", groups, auc, good, told, name))
    guesses.sort(key=lambda g: (not g.used, -g.n_groups))
    for place, other in enumerate(guesses):
        if place and other.used:
            first = guesses[0].what
            guesses[place] = replace(other, used=False, why=f"{first} is finer")
    return guesses


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def few_groups(n: int, largest: int, n_images: int, n_splits: int) -> str:
    """What a person can do whose images are parts of too few pictures, in one line.

    Args:
        n: groups, images that stand alone among them; largest: images in the largest of them.
    """
    fewer = f"lower folds.n_splits to {n}, or " if n > 1 else ""
    return (
        f"{n} group{'s' * (n != 1)} ({largest} of {n_images} images in the largest) cannot fill {n_splits} folds:"
        f" {fewer}cut the picture into blocks: put a column with a block for each image into data.meta"
        " (`comp verify` writes where overlapping images lie: places in its JSON), leave out of data.train"
        " the images between two blocks, which show both, and use `comp folds --groups COLUMN`"
    )
