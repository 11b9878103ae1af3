"""What the leak radar found: links, sets and groups of images, and the lines that say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from comp.data.leaks.ground import Ground
from comp.data.leaks.guesses import Guess, few_groups
from comp.data.leaks.near import NearPair
from comp.data.leaks.overlaps import NO_OVERLAPS, Overlap, Overlaps
from comp.data.leaks.seams import Seam, Seams
from comp.data.leaks.unions import Unions, sets_of
from comp.data.leaks.words import many, short
from comp.errors import some

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
        ground: where all the images lie, where files of theirs say so.
    """

    ids: tuple[str, ...]
    n_train: int
    near: tuple[NearPair, ...]
    seams: Seams
    guesses: tuple[Guess, ...] = ()
    overlaps: Overlaps = NO_OVERLAPS
    n_splits: int = 2
    ground: Ground | None = None

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
        map groups two images, seams and overlaps of theirs say nothing more and do not join its blocks.
        """
        unions = Unions(len(self.ids))
        placed = [g != "" for guess in used if guess.witness == "map" for g in guess.groups]
        placed += [bool(placed)] * (len(self.ids) - len(placed))
        near = [(p.i, p.j) for p in self.near]
        for i, j in near + [
            pair for pair in self.links if not (placed[pair[0]] and placed[pair[1]])
        ]:
            unions.join(i, j)
        for guess in used:
            unions.join_equal(guess.groups)
        return unions.labels()[: self.n_train]

    @property
    def told(self) -> list[str]:
        """What was found, a line a witness; those that found nothing share one."""
        lines = [*self._told_near(), *self._told_crops(), *self._told_ground()]
        kinds = (("near duplicates", self.near), ("seams", self.seams.n_found),
                 ("overlaps", self.overlaps.n_found))  # fmt: skip
        if nothing := [f"no {kind}" for kind, found in kinds if not found]:
            lines.append(", ".join(nothing))
        if across := self._beyond_near():
            named = some(f"{short(self.ids[i])} ~ {short(self.ids[j])}" for i, j in across)
            n = len({i for i, _ in across})
            lines.append(f"{many(n, 'training image')} and test images show one picture: {named}")
        lines += [guess.told for guess in self.guesses]
        return lines

    def _beyond_near(self) -> list[tuple[int, int]]:
        """Training and test images of one picture, where more than near duplicates tell so."""
        across = self.across(self.links)
        said = {i for i, _ in self.across([(p.i, p.j) for p in self.near])}
        return across if {i for i, _ in across} - said else []

    def _told_near(self) -> list[str]:
        """Near duplicates, by where they lie: among the training images, or in the test set too."""
        sets = sets_of(len(self.ids), [(p.i, p.j) for p in self.near])
        lines = []
        inside = [m for m in sets if sum(i < self.n_train for i in m) > 1]
        if inside:
            n = sum(i < self.n_train for m in inside for i in m)
            largest = max(sum(i < self.n_train for i in m) for m in inside)
            lines.append(
                f"near duplicates: {n} of {many(self.n_train, 'training image')} among themselves,"
                f" {many(len(inside), 'set')}, the largest of {largest} images"
            )
        mixed = [m for m in sets if m[0] < self.n_train <= m[-1]]
        if mixed:
            n = sum(i < self.n_train for m in mixed for i in m)
            n_test = sum(i >= self.n_train for m in mixed for i in m)
            lines.append(
                f"near duplicates: {n} of {many(self.n_train, 'training image')} and"
                f" {many(n_test, 'test image')} show the same"
            )
        if self.near and not lines:
            lines.append(f"near duplicates: {many(len(sets), 'set')} among the test images")
        return lines

    def _told_crops(self) -> list[str]:
        """Seams and overlaps, where there are some, with what chance finds."""
        lines = []
        if n := self.seams.n_found:
            lines.append(
                f"{many(n, 'seam')} between crops of one picture (null test with reversed edges:"
                f" {self.seams.n_null}): {self._linked(self.seams.believed, self.seams.links)}"
            )
        if n := self.overlaps.n_found:
            lines.append(
                f"{many(n, 'overlap')} of images (null test with mirrored images:"
                f" {self.overlaps.n_null}): {self._linked(self.overlaps.believed, self.overlaps.links)}"
            )
        return lines

    def _told_ground(self) -> list[str]:
        """How many images share ground with others, by the places in their files."""
        n, mean = self.on_one_ground
        if not n:
            return []
        return [
            f"ground: {n} of {many(self.n_train, 'training image')} show ground that another shows too,"
            f" {mean:.0%} of the image on average (by the places in their files)"
        ]

    @cached_property
    def on_one_ground(self) -> tuple[int, float]:
        """(training images that share ground with another, the mean share of it that one other shows)."""
        if self.ground is None:
            return 0, 0.0
        share = self.ground.shared(range(self.n_train), range(self.n_train))[0]
        share = share[share > 0]
        return len(share), float(share.mean()) if len(share) else 0.0

    @property
    def brief(self) -> str:
        """The groups in one line, and by what they were found."""
        by = []
        if self.near:
            by.append("near duplicates")
        mapped = any(guess.used and guess.witness == "map" for guess in self.guesses)
        if not mapped and self.seams.links:
            by.append(many(len(self.seams.links), "seam"))
        if not mapped and self.overlaps.links:
            by.append(many(len(self.overlaps.links), "overlap"))
        by += [guess.what for guess in self.guesses if guess.used]
        if not by or not any(self.group):
            return self.summary
        return f"{self.summary}; by {', '.join(by)} (`comp verify` says more)"

    def _linked(self, believed: bool, links: Sequence[Seam | Overlap]) -> str:
        """Which images one witness of the pixels links."""
        if not believed:
            return "not believed, chance finds as many"
        n, sets, largest = self.linked([(link.i, link.j) for link in links])
        if not n:
            return "none links a training image"
        tested = " (test images counted)" if len(self.ids) > self.n_train else ""
        return (
            f"{n} of {many(self.n_train, 'training image')} are linked; {many(sets, 'picture')},"
            f" the largest of {largest} crops{tested}{self._how(links)}"
        )

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
            f" {max(counts.values())}; {alone} stand{'s' * (alone == 1)} alone"
        )
