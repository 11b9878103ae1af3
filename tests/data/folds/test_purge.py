"""Ground on both sides of a fold: left out of training, counted, and refused where nothing would be left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from comp.data.folds.purge import ground_on_both_sides, purge_ground
from comp.data.folds.table import FoldTable
from comp.data.leaks.ground import Footprint, Ground
from comp.data.leaks.places import guess_by_place
from comp.errors import FoldsError


def strip(n: int, stride: float = 80.0) -> Ground:
    """Images of 96 in a row, each sharing ground with the next."""
    return Ground.of([box(stride * k, 0) for k in range(n)])


def box(x: float, y: float) -> Footprint:
    return Footprint("u", x, y, x + 96, y + 96, 1.0)


def table(*fold: int, **more: Any) -> FoldTable:
    n = len(fold)
    ids = tuple(f"i{k}" for k in range(n))
    made = FoldTable(ids, fold, ("",) * n, ("",) * n, "stratified_group", 0, max(fold) + 1)
    return replace(made, **more)


def test_neighbours_across_folds_are_not_trained_on() -> None:
    plain = table(0, 0, 0, 1, 1, 1)
    n, share = ground_on_both_sides(plain, strip(6), range(6))
    assert n == 2 and share == pytest.approx(16 / 96)
    made = purge_ground(plain, strip(6))
    assert made.left_out == ((), (), (1,), (0,), (), ())
    assert made.training(0) == [4, 5] and made.validation(0) == [0, 1, 2]
    assert ground_on_both_sides(made, strip(6), range(6)) == (0, 0.0)
    (note,) = made.notes
    assert note.startswith("images overlap on the ground: 1 of each fold's training images (33% on")
    assert made.hash != plain.hash


def test_no_shared_ground_changes_nothing() -> None:
    plain = table(0, 0, 1, 1)
    assert purge_ground(plain, strip(4, 96.0)) is plain


def test_every_repeat_and_what_is_held_out() -> None:
    twice = table(0, 0, 0, 0, 1, 1, 1, 1, repeats=((2, 2, 3, 3, 3, 3, 2, 2),))
    repeated = purge_ground(twice, strip(8))
    assert repeated.training(2) == [3, 4] and repeated.training(3) == [0, 7]
    assert ground_on_both_sides(repeated, strip(8), range(8)) == (0, 0.0)
    held = purge_ground(table(0, -1, -1, -1, -2, -1, -1), strip(7))
    assert held.training(0) == [2, 6]
    assert ground_on_both_sides(held, strip(7), range(7)) == (0, 0.0)


def test_what_was_left_out_before_stays() -> None:
    before = ((1,), (), (), (), (), ())
    made = purge_ground(table(0, 0, 0, 1, 1, 1, left_out=before), strip(6))
    assert made.left_out == ((1,), (), (1,), (0,), (), ())


def test_nothing_left_to_train_on_is_refused() -> None:
    with pytest.raises(FoldsError, match=r"fold 0: all 2 training images show ground.*drop f"):
        purge_ground(table(0, 1, 1), Ground.of([box(0, k) for k in (0, 9, 18)]))
    with pytest.raises(FoldsError, match=r"lower folds\.n_splits below 3, for larger blocks"):
        purge_ground(table(0, 1, 2), Ground.of([box(0, k) for k in range(3)]))


def test_much_lost_names_the_way_to_lose_less() -> None:
    ground = Ground.of([box(80 * (k % 4), 80 * (k // 4)) for k in range(16)])
    made = purge_ground(table(*(k // 4 for k in range(16))), ground)
    assert made.notes[0].endswith("to lose fewer, lower folds.n_splits below 4, for larger blocks")


def test_blocks_of_tiles_that_overlap_keep_most_for_training() -> None:
    places = [box(48 * (k % 9), 48 * (k // 9)) for k in range(81)]
    found = guess_by_place(places, 5)
    assert found is not None and found.used and found.n_groups == 5
    names = sorted(set(found.groups))
    plain = table(*(names.index(g) for g in found.groups))
    made = purge_ground(plain, Ground.of(places))
    assert min(len(made.training(f)) for f in range(5)) >= 50
    assert ground_on_both_sides(made, Ground.of(places), range(81)) == (0, 0.0)
    joined = guess_by_place(places, 5, [(0, 80), (8, 72)])  # copies would make three units of five
    assert joined is not None and joined.n_groups > 5
