"""All witnesses heard together: which images belong together, by what, and one group a training image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from comp.data.leaks.found import Leaks, Link
from comp.data.leaks.ground import Ground
from comp.data.leaks.guesses import Guess, guess_by_column, guess_by_folder, guess_by_name
from comp.data.leaks.near import NearPair, find_near_duplicates
from comp.data.leaks.overlaps import find_overlaps
from comp.data.leaks.places import guess_by_place, read_footprint
from comp.data.leaks.prints import ImagePrint
from comp.data.leaks.seams import find_seams
from comp.data.leaks.unions import sets_of

__all__ = ["Leaks", "look_for_leaks"]

TRUST = (
    "meta",
    "map",
    "folders",
    "names",
    "sequence",
)  # witnesses that group all images; one is used


def _same(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether two ways to group put the same images together."""
    return len(set(a)) == len(set(b)) == len(set(zip(a, b, strict=True)))


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
    places = [read_footprint(p) for p in paths]
    copies = [(p.i, p.j) for p in near if p.i < n_train and p.j < n_train]
    if (placed := guess_by_place(places[:n_train], n_splits, copies)) is not None:
        guesses.append(placed)
    if any(places):
        found = replace(found, ground=Ground.of(places))
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
