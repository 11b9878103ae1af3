"""Folds that cut groups: seen whatever the scheme, and never where nothing is learnt from the other part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comp.config import Competition
from comp.data.checks.findings import Findings, find_cut_groups, find_split_groups
from comp.data.checks.scan import Scan
from comp.data.checks.warned import warn
from comp.data.folds.table import FoldTable
from comp.data.leaks.guesses import Guess
from comp.data.leaks.radar import Leaks, look_for_leaks
from comp.data.sources.records import Record, Records

IDS = tuple("abcdef")


def leaks(*groups: str) -> Leaks:
    """The radar as if names had told the groups of six images."""
    guess = Guess("names", "names", groups, None, True, "so it is")
    return replace(look_for_leaks([], 0, [], [], {}, 2), ids=IDS, n_train=6, guesses=(guess,))


PAIRS = leaks("x", "x", "y", "y", "z", "z")


def competition(**folds: Any) -> Competition:
    return Competition.model_validate(
        {
            "name": "toy",
            "task": "binary",
            "classes": ["blob"],
            "data": {"root": "data", "train": [{"images": "{id}.png", "masks": "m/{id}.png"}]},
            "folds": folds,
        }
    )


def table(*fold: int, **more: Any) -> FoldTable:
    empty = ("",) * 6
    return FoldTable(IDS, fold, empty, empty, more.pop("scheme", "kfold"), 0, max(fold) + 1, **more)


def records(*val: str) -> Records:
    split = {True: "val", False: "train"}
    made = [Record(i, Path(f"/d/{i}.png"), (), split[i in val]) for i in IDS]
    return Records(tuple(made), ())


def test_every_way_to_cut_a_group() -> None:
    def cut(*fold: int, **more: Any) -> list[str]:
        return [ids[0] for ids in find_cut_groups(PAIRS, table(*fold, **more)).values()]

    assert cut(0, 0, 1, 1, 2, 2) == []
    assert cut(0, 1, 1, 1, 2, 2) == ["a"]
    assert cut(0, 0, -1, -1, -1, 0, scheme="split") == ["e"]  # validated and always trained on
    assert cut(0, 0, -2, -1, -1, -1, scheme="split") == ["c"]  # held out, and trained on
    assert cut(0, 0, -2, -2, -1, -1, scheme="split") == []
    assert cut(0, 0, 0, 1, 1, 1, repeats=((2, 3, 2, 2, 3, 3),)) == ["a", "c"]
    left_out = ((1,), (0,), (), (), (), ())  # the other part of the group is not learnt from
    assert cut(0, 1, 1, 1, 0, 0, scheme="time", left_out=left_out) == []


def test_a_given_split_is_judged_before_there_is_a_file(tmp_path: Path) -> None:
    found = find_split_groups(
        PAIRS, competition(scheme="predefined"), records("a", "b", "c"), tmp_path
    )
    assert list(found.values()) == [["c", "d"]]
    (tmp_path / "val.csv").write_text("image_id\nf\n")
    held = competition(scheme="heldout", heldout="val.csv")
    assert list(find_split_groups(PAIRS, held, records(), tmp_path).values()) == [["e", "f"]]
    (tmp_path / "folds.csv").write_text("image_id,fold\na,0\nb,1\nc,0\nd,0\ne,1\nf,1\n")
    listed = competition(scheme="predefined", listed="folds.csv")
    assert list(find_split_groups(PAIRS, listed, records(), tmp_path).values()) == [["a", "b"]]
    (tmp_path / "meta.csv").write_text("ImageId,site\na,1\nb,1\nc,1\nd,2\ne,3\nf,3\n")
    by_site = competition(scheme="group", group="site")
    data = by_site.data.model_copy(update={"meta": "meta.csv"})
    by_site = by_site.model_copy(update={"data": data})
    found = find_split_groups(PAIRS, by_site, records(), tmp_path)
    assert list(found.values()) == [["c", "d"]]
    told = said(PAIRS, by_site, None, found)
    assert told.startswith(
        "folds.group 'site' puts apart images that belong together in 1 of 3 groups"
    )
    gone = competition(scheme="heldout", heldout="gone.csv")
    assert find_split_groups(PAIRS, gone, records(), tmp_path) == {}
    assert find_split_groups(PAIRS, competition(scheme="kfold"), records(), tmp_path) == {}


def said(
    found: Leaks, comp: Competition, folds: FoldTable | None, cut: dict[str, list[str]]
) -> str:
    findings = Findings(records(), Scan(), Scan(), found, None, [], [], cut)
    warn(findings, comp, folds, "folds/toy.csv")
    return "\n".join(findings.warnings)


@pytest.mark.parametrize("scheme", ["kfold", "stratified", "iterative", "split", "time"])
def test_schemes_that_know_no_groups_are_warned_of(scheme: str) -> None:
    told = said(PAIRS, competition(scheme=scheme, n_splits=2, time="t"), None, {})
    assert f"6 images belong to 3 groups, and scheme {scheme} would cut through them" in told
    assert told.endswith("`comp folds --groups auto` keeps such images together")
    grouped = competition(scheme=scheme, n_splits=2, time="t", group="auto")
    assert said(PAIRS, grouped, None, {}) == ""


def test_a_given_split_that_cuts_names_its_own_next_step() -> None:
    cut = {"with c": ["c", "d"]}
    told = said(PAIRS, competition(scheme="predefined"), None, cut)
    assert told.startswith(
        "scheme predefined cuts through 1 of 3 groups, 2 images: they lie on both"
    )
    assert told.endswith("lists the images that cross, and a split that keeps them whole")
    told = said(
        PAIRS,
        competition(scheme="predefined"),
        table(0, 0, 0, -1, -1, -1, scheme="predefined"),
        cut,
    )
    assert told.startswith("folds/toy.csv (scheme predefined) cuts through 1 of 3 groups, 2 images")
    assert told.endswith("keeps them whole (--force replaces the file)")


def test_one_group_of_all_gets_the_advice_that_helps() -> None:
    told = said(leaks(*"xxxxxx"), competition(n_splits=2), None, {})
    assert "6 images belong to 1 group, and scheme stratified would cut" in told
    assert "1 group (6 of 6 images in the largest) cannot fill 2 folds: cut the picture" in told
    assert "--groups auto" not in told
