"""All witnesses heard together: which images belong together, by what, and one group a training image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from comp.data.leaks.guesses import (
    Guess,
    few_groups,
    guess_by_column,
    guess_by_folder,
    guess_by_name,
)
from comp.data.leaks.near import NearPair, find_near_duplicates
from comp.data.leaks.overlaps import NO_OVERLAPS, Overlap, Overlaps, find_overlaps
from comp.data.leaks.places import guess_by_place, read_footprint
from comp.data.leaks.prints import ImagePrint
from comp.data.leaks.seams import Seam, Seams, find_seams
from comp.data.leaks.unions import Unions, sets_of
from comp.errors import some

TRUST = (
    "meta",
    "map",
    "folders",
    "names",
    "sequence",
)  # witnesses that group all images; one is used

Link = TypeVar("Link", Seam, Overlap)


@dataclass(frozen=True)
class Leaks:
    """What was found among N images, the training images first.

    Args:
        ids: of all; n_train: how many of them are training images.
        near: near duplicates; seams: crops of one picture; both also across train and test.
        guesses: groups of the training images that names, table and map suggest, used or not.
        overlaps: images that share pixels, at any shift.
        n_splits: folds that the groups should fill.
    """

    ids: tuple[str, ...]
    n_train: int
    near: tuple[NearPair, ...]
    seams: Seams
    guesses: tuple[Guess, ...] = ()
    overlaps: Overlaps = NO_OVERLAPS
    n_splits: int = 2

    @property
    def links(self) -> list[tuple[int, int]]:
        """Pairs that belong together by their pixels."""
        crops: list[Seam | Overlap] = [*self.seams.links, *self.overlaps.links]
        return [(p.i, p.j) for p in self.near] + [(crop.i, crop.j) for crop in crops]

    def linked(self, links: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
        """(training images that such links bind to any other image, sets, the largest set)."""
        sets = sets_of(len(self.ids), links)
        n = sum(i < self.n_train for members in sets for i in members)
        return n, len(sets), max(map(len, sets), default=0)

    def across(self, links: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """(training image, test image) of one set, positions: the direct links, and one more pair for
        each image of such a set that has none.
        """
        n = self.n_train
        pairs = {(min(pair), max(pair)) for pair in links if min(pair) < n <= max(pair)}
        bound = {i for pair in pairs for i in pair}
        for members in sets_of(len(self.ids), links):
            if members[0] < n <= members[-1]:
                pairs |= {
                    (i, members[-1]) if i < n else (members[0], i)
                    for i in members
                    if i not in bound
                }
        return sorted(pairs)

    @property
    def near_in_test(self) -> list[tuple[int, int, str]]:
        """(training image, test image, how they lie to each other) of near duplicates, exact ones too."""
        how = {(p.i, p.j): p.how for p in self.near}
        pairs = self.across(list(how))
        return [(i, j, how.get((i, j), "by way of another copy")) for i, j in pairs]

    @cached_property
    def group(self) -> tuple[str, ...]:
        """The group of each training image, "" where it stands alone: everything believed, joined."""
        root = self.joined([guess for guess in self.guesses if guess.used])
        size = np.bincount(root, minlength=len(self.ids))
        first: dict[int, str] = {}
        for i, r in enumerate(root.tolist()):
            first.setdefault(r, self.ids[i])
        return tuple(f"with {first[r]}" if size[r] > 1 else "" for r in root.tolist())

    def joined(self, used: Sequence[Guess]) -> np.ndarray:
        """(n_train,) int64: one number a group, by the pixels and the guesses given.

        A crop that lies in the test set still binds its neighbours: they show one picture. Where the
        map groups the images, seams and overlaps say nothing more and do not join its blocks.
        """
        unions = Unions(len(self.ids))
        mapped = any(guess.witness == "map" for guess in used)
        for i, j in [(p.i, p.j) for p in self.near] if mapped else self.links:
            unions.join(i, j)
        for guess in used:
            unions.join_equal(guess.groups)
        return unions.labels()[: self.n_train]

    @property
    def told(self) -> list[str]:
        """What was found, a line a witness."""
        lines = []
        n, sets, largest = self.linked([(p.i, p.j) for p in self.near])
        lines.append(
            f"near duplicates: {n} of {self.n_train} training images"
            + (f", {many(sets, 'set')}, the largest of {largest} images" if sets else "")
        )
        lines += self._told_of(
            "seams", self.seams.told, self.seams.believed, self.seams.links, "crops of one picture"
        )
        lines += self._told_of(
            "overlaps", self.overlaps.told, self.overlaps.believed, self.overlaps.links,
            "images that overlap",
        )  # fmt: skip
        if across := self.across(self.links):
            named = some(f"{self.ids[i]} ~ {self.ids[j]}" for i, j in across)
            n = len({i for i, _ in across})
            lines.append(f"{many(n, 'training image')} and test images show one picture: {named}")
        lines += [guess.told for guess in self.guesses]
        return lines

    def _told_of(
        self, what: str, found: str, believed: bool, links: Sequence[Seam | Overlap], linked: str
    ) -> list[str]:
        """What one witness of the pixels found, and which images that links."""
        if not believed:
            return [found, f"{what} are not believed: chance finds as many"]
        n, sets, largest = self.linked([(link.i, link.j) for link in links])
        if not n:
            return [found, f"{linked}: none"]
        tested = " (test images counted)" if len(self.ids) > self.n_train else ""
        return [
            found,
            f"{linked}: {n} of {self.n_train} training images are linked; {many(sets, 'picture')},"
            f" the largest of {largest} crops{tested}{self._how(links)}",
        ]

    def _how(self, links: Sequence[Seam | Overlap]) -> str:
        """How far overlapping images lie apart, the commonest shift first."""
        shifts = Counter((abs(o.down), abs(o.right)) for o in links if isinstance(o, Overlap))
        if not shifts:
            return ""
        (down, right), n = shifts.most_common(1)[0]
        shares = [o.share for o in links if isinstance(o, Overlap)]
        often = (
            f"most often {down} px down and {right} px right of each other ({n} of {len(links)})"
        )
        return f"; they share {np.median(shares):.0%} of an image (median)" + (
            f", {often}" if n > 1 else ""
        )

    @property
    def advice(self) -> str:
        """What to do where the groups cannot fill the folds; "" where they can."""
        sizes = np.bincount(self.joined([g for g in self.guesses if g.used]))
        n = int(np.count_nonzero(sizes))
        if n >= self.n_splits or self.n_train < self.n_splits:
            return ""
        return few_groups(n, int(sizes.max()), self.n_train, self.n_splits)

    @property
    def summary(self) -> str:
        """The groups in one line."""
        names = [name for name in self.group if name]
        if not names:
            return f"no groups among {self.n_train} training images"
        counts = {name: names.count(name) for name in set(names)}
        alone = self.n_train - len(names)
        return (
            f"{len(names)} of {self.n_train} training images in {many(len(counts), 'group')}, the largest of"
            f" {max(counts.values())}; {alone} stand alone"
        )


def _same(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether two ways to group put the same images together."""
    return len(set(a)) == len(set(b)) == len(set(zip(a, b, strict=True)))


def many(n: int, noun: str) -> str:
    """``1 group``, ``2 groups``."""
    return f"{n} {noun}" + "s" * (n != 1)


def look_for_leaks(
    ids: Sequence[str],
    n_train: int,
    prints: Sequence[ImagePrint | None],
    paths: Sequence[Path],
    columns: Mapping[str, Sequence[str]],
    n_splits: int,
) -> Leaks:
    """Hear every witness.

    Args:
        ids: of the training images, then of the test images; `prints` and `paths` in the same order.
        prints: None for images that cannot be read.
        columns: of the meta table, one value a training image.
        n_splits: folds that the groups must be able to fill.
    """
    there = [i for i, found in enumerate(prints) if found is not None]
    seen = [found for found in prints if found is not None]
    near = tuple(
        NearPair(there[p.i], there[p.j], p.turn, p.alike) for p in find_near_duplicates(seen)
    )
    twins = {i for m in sets_of(len(ids), [(p.i, p.j) for p in near]) for i in m[1:]}
    kept = [k for k, i in enumerate(there) if i not in twins]
    seams, overlaps = find_seams(seen, kept), find_overlaps(seen, kept)
    seams = replace(seams, links=_placed(seams.links, there))
    overlaps = replace(overlaps, links=_placed(overlaps.links, there))
    found = Leaks(tuple(ids), n_train, near, seams, (), overlaps, n_splits)
    trained = [found.look if found is not None else None for found in prints[:n_train]]
    guesses: list[Guess] = []
    if n_train > 1 and all(look is not None for look in trained):
        looks = np.stack([look for look in trained if look is not None])
        if (inside := guess_by_folder(ids[:n_train], looks, n_splits)) is not None:
            guesses.append(inside)
        named = guess_by_name(ids[:n_train], looks, n_splits)
        if named is not None and (inside is None or not _same(named.groups, inside.groups)):
            guesses.append(named)
        links = [(i, j) for i, j in found.links if i < n_train and j < n_train]
        guesses += guess_by_column(columns, looks, links, n_splits)
    if (
        placed := guess_by_place([read_footprint(p) for p in paths[:n_train]], n_splits)
    ) is not None:
        guesses.append(placed)
    return replace(found, guesses=_choose(found, guesses, n_splits))


def _choose(leaks: Leaks, guesses: Sequence[Guess], n_splits: int) -> tuple[Guess, ...]:
    """Use the first believed guess of `TRUST` that does not chain up, with the links, into one lump.

    Several ways to group, joined, would soon hold everything in one group.
    """
    largest = int(np.bincount(leaks.joined([])).max()) if leaks.n_train else 0
    chosen: Guess | None = None
    said = []
    for guess in sorted(guesses, key=lambda g: TRUST.index(g.witness)):
        if guess.used and chosen is not None:
            guess = replace(guess, used=False, why=f"the {chosen.witness} groups them already")
        elif guess.used:
            own = max(Counter(g for g in guess.groups if g).values())
            sizes = np.bincount(leaks.joined([guess]))
            both = int(sizes.max())
            lump = both > max(1.5 * max(own, largest), leaks.n_train / n_splits)
            if guess.witness == "folders":  # people made them: they count while they fill the folds
                lump = int(np.count_nonzero(sizes)) < n_splits
            if lump:
                why = f"joined with seams and overlaps it would make one group of {both} images"
                guess = replace(guess, used=False, why=why)
            else:
                chosen = guess
        said.append(guess)
    return tuple(said)


def _placed(links: Sequence[Link], there: Sequence[int]) -> tuple[Link, ...]:
    """Links between the images that were looked at -> between all."""
    return tuple(replace(link, i=there[link.i], j=there[link.j]) for link in links)
