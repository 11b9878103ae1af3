"""Warnings of shared ground: with folds, before them, for a given split; and what the test set shares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comp.data.checks.findings import Findings, find_ground_on_both_sides
from comp.data.checks.scan import Scan
from comp.data.checks.warned import warn
from comp.data.folds.table import FoldTable
from comp.data.leaks.ground import Footprint, Ground
from comp.data.leaks.radar import Leaks, look_for_leaks
from tests.data.checks.test_findings import IDS, competition, records, table

LONG = "a_name_that_is_much_too_long_to_be_read_in_a_line_0017"


def placed(*at: float, n_train: int = 6, ids: tuple[str, ...] = IDS) -> Leaks:
    """Images of 10 x 10 units at such distances along a line."""
    ground = Ground.of([Footprint("u", x, 0, x + 10, 10, 1) for x in at])
    return replace(look_for_leaks([], 0, [], [], {}, 2), ids=ids, n_train=n_train, ground=ground)


ROW = placed(0, 5, 10, 15, 20, 25)


def said(leaks: Leaks, folds: FoldTable | None, **keys: object) -> list[str]:
    found = Findings(records(), Scan(), Scan(), leaks, None, [])
    if folds is not None:
        found.both_sides = find_ground_on_both_sides(leaks, folds)
    warn(found, competition(**keys), folds, "folds/toy.csv")
    return found.warnings


def test_folds_that_share_ground() -> None:
    (told,) = said(ROW, table(0, 0, 0, 1, 1, 1))
    assert told == (
        "folds/toy.csv: 2 of 6 images show ground that their model learnt from too, 50% of the image on"
        " average: such scores flatter; `comp folds --groups auto --force` leaves what shows the same ground"
        " out of training"
    )
    purged = table(0, 0, 0, 1, 1, 1, left_out=((), (), (1,), (0,), (), ()))
    assert said(ROW, purged) == []
    (told,) = said(ROW, table(0, 0, 0, -1, -1, -1, scheme="predefined"), scheme="predefined")
    assert "1 of 6 images shows ground" in told and told.endswith("a split that keeps them whole")


@pytest.mark.parametrize("group", [None, "auto"])
def test_before_there_are_folds(group: str | None) -> None:
    told = said(ROW, None, scheme="group" if group else "kfold", group=group)
    assert len(told) == (group is None)
    if told:
        assert told[0].startswith("6 training images show ground that another shows too: folds")
        assert "`comp folds --groups auto` cuts the map into blocks" in told[0]


def test_images_apart_are_not_spoken_of() -> None:
    assert said(placed(0, 10, 20, 30, 40, 50), table(0, 1, 0, 1, 0, 1)) == []


def test_ground_of_the_test_set_names_the_key_with_whole_ids() -> None:
    leaks = placed(0, 30, 5, n_train=2, ids=(LONG, "b", "t"))
    (told,) = said(leaks, None, group="auto", scheme="group")
    assert told == (
        "1 train image shows ground that test images show, 50% of the image on average:"
        " a_name_that_i..n_a_line_0017 ~ t; the test score flatters: to tell of new pictures, leave it out of"
        f' training (data.exclude: ["{LONG}"])'
    )
