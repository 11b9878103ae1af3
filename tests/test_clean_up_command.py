"""Clean-up by rules from `comp ensemble` to the rows of `comp submit`, and what it asks of its files."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from comp.blending import crossfit
from comp.blending.blend import blend_mask
from comp.blending.recipe import read_recipe
from comp.blending.settings import Setting
from comp.commands import ensemble, submit
from comp.errors import RunMismatchError, UnknownNameError
from comp.files import read_json
from comp.masks.rle import decode
from comp.masks.rules import NO_RULES, Rules
from comp.store import Probs, write_result
from comp.store.presence import PresenceWriter, presence_file

spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
assert spec is not None and spec.loader is not None
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)


@pytest.fixture
def toy(tmp_path):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition)
    for name in ("a", "b"):
        fake.make_run(workspace, competition, table, name, 1.4)
    return workspace, competition


def submitted(path):
    with open(path, newline="") as file:
        return {r["ImageId"]: decode(r["EncodedPixels"], 24, 24) for r in csv.DictReader(file)}


def planes_of(workspace, recipe, image_id):
    found = []
    for member in recipe.members:
        for fold in recipe.folds:
            path = workspace.fold(member.run, fold) / f"test.{member.views}.npy"
            found.append((member.weight, Probs(path).read(image_id)))
    return [q for _, q in found], [weight for weight, _ in found]


def test_rules_that_gain_are_kept_said_and_submitted(toy, capsys):
    workspace, competition = toy
    result = ensemble.run(workspace, competition, name="cleaned")
    said = capsys.readouterr().out
    assert "clean-up: looked for in " in said and "4 times" in said
    plain = read_json(workspace.ensemble("cleaned") / "recipe.json")
    recipe = read_recipe(workspace.ensemble("cleaned") / "recipe.json")
    words = plain["clean_up"]["words"]
    assert recipe.clean_up and words
    report = (workspace.ensemble("cleaned") / "report.md").read_text()
    for word in words:
        assert word in said and word in report
    assert "a rule is used only where choosing it gains one standard error" in report
    none = ensemble.run(workspace, competition, name="plain", clean_up="none")
    assert "clean_up" not in none and none["min_area_px"] == 0
    assert result["cross_fitted"] > none["cross_fitted"]
    path = submit.run(workspace, competition, "cleaned")
    assert read_json(path.with_suffix(".json"))["clean_up"] == plain["clean_up"]
    for image_id, mask in submitted(path).items():
        planes, weights = planes_of(workspace, recipe, image_id)
        how = recipe.thresholds, recipe.min_area_px, recipe.clean_up
        np.testing.assert_array_equal(mask, blend_mask(planes, weights, "binary", 255, *how))


def test_only_the_smallest_object_is_looked_for_when_so_asked(toy):
    workspace, competition = toy
    result = ensemble.run(workspace, competition, clean_up="area")
    assert "clean_up" not in result
    names = {result["name"]}
    for clean_up in ("none", "all"):
        names.add(ensemble.run(workspace, competition, clean_up=clean_up)["name"])
    assert len(names) == 3
    with pytest.raises(UnknownNameError, match=r"--clean-up: .*'al'.*all"):
        ensemble.run(workspace, competition, clean_up="al")


@pytest.fixture
def spoken(toy, monkeypatch):
    """Run a has an auxiliary classifier, and the rule that asks it is the one that is found."""
    workspace, competition = toy
    for fold in range(3):
        folder = workspace.fold("a", fold)
        result = read_json(folder / "result.json")
        names = list(result.pop("files"))
        for kind in ("oof", "test"):
            ids = Probs(folder / f"{kind}.none.npy").ids
            writer = PresenceWriter(1)
            for i, image_id in enumerate(ids):  # three folds agree, but for a little
                sure = int(image_id[1:]) % 2
                writer.say(i, np.array([0.8 - 0.7 * sure + 0.01 * fold], np.float32))
                writer.see(i, np.ones((1, 1, 1), np.float32))
            path = presence_file(folder, kind, "none")
            writer.commit(path, dict(enumerate(ids)), competition.classes)
            names.append(path.name)
        write_result(folder, result, names)
    rules = Rules(presence=0.4)
    monkeypatch.setattr(
        crossfit, "fit_clean_up", lambda source, images, w, cuts, *rest: Setting(cuts, 0, rules)
    )
    monkeypatch.setattr(
        ensemble, "choose", lambda result, *rest: ensemble.Choice("fitted", result.fit, "so", {})
    )
    return workspace, competition


def test_images_without_the_class_by_the_classifier_are_empty(spoken, capsys):
    workspace, competition = spoken
    ensemble.run(workspace, competition, name="heard", method="uniform")
    recipe = read_recipe(workspace.ensemble("heard") / "recipe.json")
    assert recipe.clean_up.presence == 0.4
    member = {m.run: m for m in recipe.members}
    assert "fold1/test.none.presence.csv" in member["a"].test
    assert "fold1/oof.none.presence.csv" in member["a"].oof
    assert not any("presence" in name for name in member["b"].oof)
    capsys.readouterr()
    masks = submitted(submit.run(workspace, competition, "heard"))
    assert {i: bool(mask.any()) for i, mask in masks.items()} == {
        "t00": True, "t01": False, "t02": True, "t03": False,
    }  # fmt: skip
    assert "out of fold 50.0 % (6 of 12)" in capsys.readouterr().out
    for image_id in ("t00", "t02"):
        planes, weights = planes_of(workspace, recipe, image_id)
        expected = blend_mask(planes, weights, "binary", 255, recipe.thresholds, 0, NO_RULES)
        np.testing.assert_array_equal(masks[image_id], expected)


def test_answers_that_changed_or_are_gone_are_refused(spoken):
    workspace, competition = spoken
    ensemble.run(workspace, competition, name="heard", method="uniform")
    path = presence_file(workspace.fold("a", 1), "test", "none")
    text = path.read_text()
    path.write_text(text.replace("0.81", "0.11"))
    with pytest.raises(RunMismatchError, match=r"test\.none\.presence\.csv"):
        submit.run(workspace, competition, "heard")
    path.unlink()
    with pytest.raises(RunMismatchError, match=r"test\.none\.presence\.csv"):
        submit.run(workspace, competition, "heard")
