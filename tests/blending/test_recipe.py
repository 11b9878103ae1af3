"""A recipe comes back from JSON as it was, and half a recipe is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from comp.blending.recipe import (
    Member,
    Recipe,
    Scores,
    check_member,
    file_hashes,
    read_recipe,
    write_recipe,
)
from comp.errors import DataError, RunMismatchError
from comp.masks.rules import Rules


@pytest.fixture
def recipe():
    member = Member(
        "a", "h", "d4", 600, {"fold0/oof.d4.npy": "1" * 64}, {"fold0/test.d4.npy": "2" * 64}, 0.7
    )
    scores = Scores(
        0.8,
        0.79,
        0.78,
        0.7,
        0.79,
        {"a": 0.7, "b": None},
        {"fitted over uniform": (0.01, None)},
        heldout={"iou_image_mean": 0.77, "n_images": 3},
    )
    return Recipe(
        name="e",
        competition="toy",
        task="binary",
        classes=("roof",),
        folds_hash="f",
        folds=(0, 1),
        metric="iou_image_mean",
        greater_is_better=True,
        members=(member, Member("b", "h", "none", 400, {}, {})),
        thresholds=(0.4705882352941177,),
        min_area_px=8,
        chosen="fitted",
        method="coordinate",
        reason="because",
        scores=scores,
        n_images=5,
        created="2026-01-01T00:00:00Z",
    )


def test_it_comes_back_as_it_was(recipe, tmp_path):
    path = write_recipe(tmp_path / "recipe.json", recipe)
    assert read_recipe(path) == recipe
    assert recipe.weights == [600, 400]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 0}, "expected recipe version 1, got 0; run `comp ensemble` again"),
        ({"members": []}, "no members"),
        ({"members": [{"run": "a"}]}, "not a whole recipe"),
        ({"thresholds": None}, "thresholds: expected 1, got None"),
        ({"thresholds": [0.5, 0.5]}, "thresholds: expected 1, got 2"),
        ({"thresholds": [1.0]}, "thresholds must lie between 0 and 1"),
        ({"task": "multiclass"}, "thresholds: expected None, got 1"),
        ({"min_area_px": -1}, "min_area_px must be an integer >= 0, got -1"),
        ({"clean_up": {"keep": -1}}, "clean_up.keep must be an integer >= 0, got -1"),
        ({"clean_up": {"keep": 1, "shrink": 2}}, "not a whole recipe .*shrink"),
        ({"clean_up": ["keep"]}, "not a whole recipe"),
        ({"clean_up": {"top": 3, "core_px": 1}}, "not a whole recipe"),
        ({"surprise": 1}, "not a whole recipe"),
        ({"scores": None}, "not a whole recipe"),
    ],
)
def test_what_is_no_recipe_is_refused(recipe, tmp_path, change, said):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**recipe.to_json(), **change}))
    with pytest.raises(DataError, match=said) as error:
        read_recipe(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("weight", [0, -5, 0.5, True])
def test_weights_are_positive_integers(recipe, weight):
    plain = json.loads(json.dumps(recipe.to_json()))
    plain["members"][1]["weight"] = weight
    with pytest.raises(DataError, match="weights must be integers above 0: b"):
        Recipe.from_json(plain, "here")


def test_another_kind_of_json_is_refused(tmp_path):
    with pytest.raises(DataError, match="here: expected a recipe, got list"):
        Recipe.from_json([], "here")
    with pytest.raises(DataError, match="missing file"):
        read_recipe(tmp_path / "recipe.json")


def test_a_changed_member_is_named(recipe):
    member = recipe.members[0]
    folder = Path("runs/toy/a")
    check_member(member, folder, {"fold0/test.d4.npy": "2" * 64}, "test")
    with pytest.raises(
        RunMismatchError, match=r"run 'a' changed .*test.d4.npy: expected sha256 22.*got 33"
    ):
        check_member(member, folder, {"fold0/test.d4.npy": "3" * 64}, "test")
    with pytest.raises(RunMismatchError, match="got missing; run `comp ensemble` again"):
        check_member(member, folder, {}, "test")


def test_rules_come_back_and_are_said(recipe, tmp_path):
    assert "clean_up" not in recipe.to_json()  # as recipes were before there were rules
    ruled = replace(recipe, clean_up=Rules(top=(0.7,), core_px=4, fill_px=9))
    path = write_recipe(tmp_path / "recipe.json", ruled)
    assert read_recipe(path) == ruled
    assert json.loads(path.read_text())["clean_up"] == {
        "top": [0.7],
        "core_px": 4,
        "fill_px": 9,
        "words": [
            "objects with fewer than 4 px at 0.7 or more removed (hysteresis)",
            "holes up to 9 px filled",
        ],
    }


def test_hashes_are_of_the_stored_views_only():
    files = {"oof.none.npy": {"sha256": "n"}, "oof.none.csv": {"sha256": "c"}, "x": {"sha256": "x"}}
    results = {1: {"files": files}, 0: {"files": files}}
    assert list(file_hashes(results, "oof", "none").items())[:2] == [
        ("fold0/oof.none.npy", "n"),
        ("fold0/oof.none.csv", "c"),
    ]
    assert file_hashes(results, "test", "none") == {}
