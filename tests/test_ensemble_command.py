"""`comp ensemble`: honest numbers, a recipe that can be repeated, and members that do not fit named."""

from __future__ import annotations

import importlib.util
import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from comp.blending.blend import blend_mask
from comp.blending.recipe import read_recipe
from comp.commands import ensemble
from comp.config import data_root
from comp.data.folds.table import write_folds
from comp.data.sources.labels import read_labels
from comp.data.sources.records import find_records
from comp.errors import DataError, RunMismatchError, UnknownNameError, UsageError
from comp.files import read_json, write_json
from comp.metrics.counts import count_image
from comp.metrics.scores import score_counts
from comp.store import read_counts, read_run

spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
assert spec is not None and spec.loader is not None
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)


@pytest.fixture
def toy(tmp_path):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition)
    return workspace, competition, table


def three_runs(toy, **keys):
    for name, noise in (("alpha", 1.0), ("beta", 1.2), ("gamma", 2.5)):
        fake.make_run(*toy, name, noise, **keys)


def test_three_numbers_singles_recipe_and_report(toy, capsys):
    workspace, competition, table = toy
    three_runs(toy)
    result = ensemble.run(workspace, competition)
    folder = workspace.ensemble(result["name"])
    recipe = read_recipe(folder / "recipe.json")
    assert recipe.to_json() == {k: v for k, v in result.items() if k in recipe.to_json()}
    assert json.loads((folder / "recipe.json").read_text())["folds_hash"] == table.hash
    for key in ("as_fitted", "cross_fitted", "uniform"):
        assert result[key] == result["scores"][key] and 0 < result[key] <= 1
    assert result["as_fitted"] >= result["uniform"]
    assert set(recipe.scores.singles) == {"alpha", "beta", "gamma"}
    for name, score in recipe.scores.singles.items():
        folds = [
            read_counts(workspace.fold(name, k) / "oof.none.counts.csv", 1)[1] for k in range(3)
        ]
        assert score == pytest.approx(score_counts("iou_image_mean", np.concatenate(folds)))
        assert score == pytest.approx(read_run(workspace, name).cv["pooled"])
    for member in recipe.members:
        assert set(member.oof) == {
            f"fold{k}/oof.none.{e}" for k in range(3) for e in ("npy", "csv")
        }
        assert len(member.test) == 6
    report = (folder / "report.md").read_text()
    for word in ("cross-fitted", "as fitted", "uniform", "best single", "gamma", "fold 2", "Used:"):
        assert word in report
    said = capsys.readouterr().out
    assert "cross-fitted" in said and recipe.reason in said


def test_what_members_are_worth_and_cost_is_told_and_kept(toy, capsys):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0, views=("none", "d4"), seconds_views={"none": 0.1, "d4": 0.8})
    fake.make_run(*toy, "beta", 1.2, seconds_predict=8.0)  # 4 images and 4 test images a fold
    fake.make_run(*toy, "gamma", 2.5)
    result = ensemble.run(workspace, competition, method="coordinate")
    folder = workspace.ensemble(result["name"])
    judged = json.loads((folder / "judged.json").read_text())
    assert judged == result["judged"]
    low, high = judged["intervals"]["cross_fitted"]
    assert low < result["cross_fitted"] < high
    gap = result["as_fitted"] - result["cross_fitted"]
    assert judged["optimism"]["value"] == pytest.approx(gap)
    assert judged["intervals"]["unit"] == "image" and judged["intervals"]["n_units"] == 12
    alpha, beta, gamma = judged["members"]
    assert alpha["seconds_an_image"] == (0.1 if alpha["views"] == "none" else 0.8)
    assert beta["seconds_an_image"] == pytest.approx(1) and gamma["seconds_an_image"] is None
    assert beta["value_a_second"] == pytest.approx(beta["value"]) and beta["value"] > 0
    assert [len(row["parts"]) for row in judged["members"]] == [3, 3, 3]
    assert [row["seconds_an_image"] for row in judged["views"][:2]] == [0.1, 0.8]
    said = capsys.readouterr().out
    assert f"{low:.4f} to {high:.4f}" in said and f"{beta['value']:+.4f} ± " in said
    report = (folder / "report.md").read_text()
    for part in ("## Worth", "## Views", "(correlation.png)", "Intervals hold 95 %", "No price"):
        assert part in report
    assert (folder / "correlation.png").read_bytes().startswith(b"\x89PNG")
    ensemble.run(workspace, competition, ["beta"], name=result["name"])
    assert not (folder / "correlation.png").exists()
    assert "correlation" not in (folder / "report.md").read_text()


def test_images_of_a_group_are_one_unit_of_an_interval(tmp_path):
    workspace, competition = fake.make_competition(tmp_path)
    groups = [f"g{i % 6}" for i in range(12)]
    table = fake.make_folds(workspace, competition, 3, groups)
    for name in ("a", "b"):
        fake.make_run(workspace, competition, table, name, 1.2)
    judged = ensemble.run(workspace, competition, method="uniform")["judged"]
    assert judged["intervals"]["unit"] == "group" and judged["intervals"]["n_units"] == 6


def test_running_again_gives_the_same_recipe(toy):
    workspace, competition, _ = toy
    three_runs(toy)
    first = ensemble.run(workspace, competition)
    second = ensemble.run(workspace, competition, ["gamma", "beta", "alpha"])
    assert {**first, "created": ""} == {**second, "created": ""}
    assert len(list(workspace.ensembles.iterdir())) == 1


def test_blend_of_noisy_members_beats_them_and_is_used(toy):
    workspace, competition, _ = toy
    for name in ("a", "b", "c", "d"):
        fake.make_run(*toy, name, 1.5)
    result = ensemble.run(workspace, competition, name="all")
    assert result["chosen"] in ("uniform", "fitted")
    assert result["used"] > result["best_single"]
    assert result["name"] == "all"


def test_one_perfect_member_stands_alone(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "good", 0.0)
    fake.make_run(*toy, "bad", 6.0)
    result = ensemble.run(workspace, competition)
    assert result["chosen"] == "single"
    assert [m["run"] for m in result["members"]] == ["good"]
    assert result["thresholds"] == (0.5,)
    assert "at threshold 0.5 is used" in result["reason"]


def test_one_run_is_an_ensemble_of_one(toy, capsys):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    result = ensemble.run(workspace, competition)
    assert result["uniform"] == result["best_single"]
    assert "fitted over uniform" not in result["scores"]["errors"]
    assert "blending 1 run, 1 set of predictions, 12 images" in capsys.readouterr().out


def test_uint8_and_uint16_mix(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    fake.make_run(*toy, "beta", 1.0, store="uint16")
    result = ensemble.run(workspace, competition, method="uniform")
    assert set(result["scores"]["singles"]) == {"alpha", "beta"}


def test_multiclass(tmp_path):
    workspace, competition = fake.make_competition(tmp_path, "multiclass")
    table = fake.make_folds(workspace, competition)
    for name in ("a", "b", "c"):
        fake.make_run(workspace, competition, table, name, 1.0)
    result = ensemble.run(workspace, competition)
    assert result["thresholds"] is None
    assert result["metric"] == "iou_dataset_macro"
    assert list(result["scores"]["per_class"]) == ["land", "roof", "road"]
    assert result["as_fitted"] >= result["uniform"] > result["best_single"]


def test_the_better_views_of_each_member_are_taken(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 2.0, views=("none", "d4"))
    fake.make_run(*toy, "beta", 2.0)
    result = ensemble.run(workspace, competition, method="uniform")
    report = (workspace.ensemble(result["name"]) / "report.md").read_text()
    assert "alpha (d4), beta (none)" in report
    plain = ensemble.run(workspace, competition, views=["none"], method="uniform")
    assert plain["name"] != result["name"]
    with pytest.raises(
        UsageError, match=r"run 'beta' has stored the views none, none of them is d4"
    ):
        ensemble.run(workspace, competition, views=["d4"])


def test_a_single_fold_is_cross_fitted_over_parts(tmp_path):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition, 1)
    for name in ("a", "b"):
        fake.make_run(workspace, competition, table, name, 1.2)
    result = ensemble.run(workspace, competition)
    assert result["cross_fitted"] is not None and result["n_images"] == 10
    assert "part 5" in (workspace.ensemble(result["name"]) / "report.md").read_text()


def with_heldout(tmp_path):
    """Two folds, and two images held out for one final score."""
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition, 2)
    folds = (-2, -2, *table.fold[2:])
    table = type(table)(table.ids, folds, table.group, table.stratum, "split", 0, 2)
    return workspace, competition, write_folds(workspace, table)


def test_what_is_used_is_scored_once_on_held_out_images(tmp_path, capsys):
    workspace, competition, table = with_heldout(tmp_path)
    for name in ("a", "b"):
        fake.make_run(workspace, competition, table, name, 1.2)
    result = ensemble.run(workspace, competition)
    recipe = read_recipe(workspace.ensemble(result["name"]) / "recipe.json")
    assert result["n_images"] == 10
    counts = []
    for record in find_records(competition, data_root(workspace, competition)).train[:2]:
        pairs = [(m.weight, k, m) for m in recipe.members for k in (0, 1)]
        planes = [
            read_run(workspace, m.run).heldout(k, m.views).read(record.image_id)
            for _, k, m in pairs
        ]
        mask = blend_mask(
            planes,
            [w for w, _, _ in pairs],
            "binary",
            255,
            recipe.thresholds,
            recipe.min_area_px,
            recipe.clean_up,
        )
        counts.append(count_image(mask, read_labels(record, competition), "binary", 1))
    expected = score_counts("iou_image_mean", np.stack(counts))
    assert recipe.scores.heldout == {"iou_image_mean": pytest.approx(expected), "n_images": 2}
    report = (workspace.ensemble(result["name"]) / "report.md").read_text()
    assert "on 2 images that nothing was trained or chosen on: the final score" in report
    assert "held out" in capsys.readouterr().out


def test_no_final_score_is_said_and_a_changed_one_refused(tmp_path):
    workspace, competition, table = with_heldout(tmp_path)
    fake.make_run(workspace, competition, table, "a", 1.2)
    path = workspace.fold("a", 1) / "heldout.none.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"heldout.none.npy: expected sha256"):
        ensemble.run(workspace, competition)
    result_file = path.with_name("result.json")
    result = read_json(result_file)
    del result["files"]["heldout.none.npy"]
    write_json(result_file, result)
    result = ensemble.run(workspace, competition)
    assert result["heldout"] is None
    report = (workspace.ensemble(result["name"]) / "report.md").read_text()
    assert "No final score: held-out images were not predicted by a (none), fold 1." in report


def test_incomplete_runs_are_left_out_and_said_or_refused_by_name(toy, capsys):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    fake.make_run(*toy, "beta", 1.0, folds=[0, 2])
    result = ensemble.run(workspace, competition)
    said = "left out, incomplete: beta (2 of 3 folds done, missing 1)"
    assert said in capsys.readouterr().out
    assert said in (workspace.ensemble(result["name"]) / "report.md").read_text()
    with pytest.raises(
        RunMismatchError, match=r"incomplete: beta \(2 of 3 folds done, missing 1\)"
    ):
        ensemble.run(workspace, competition, ["alpha", "beta"])


def test_nothing_to_blend(toy):
    workspace, competition, _ = toy
    with pytest.raises(
        UsageError, match=r"no complete run in runs/toy \(there is none\); run `comp cv`"
    ):
        ensemble.run(workspace, competition)
    fake.make_run(*toy, "beta", 1.0, folds=[1])
    with pytest.raises(UsageError, match="incomplete: beta"):
        ensemble.run(workspace, competition)


def test_members_that_differ_are_refused_naming_the_difference(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    fake.make_run(*toy, "beta", 1.0, folds_hash="other")
    with pytest.raises(
        RunMismatchError, match=r"'alpha' and 'beta' were trained on other folds .*other"
    ):
        ensemble.run(workspace, competition)
    fake.make_run(*toy, "gamma", 1.0, classes=["tree"])
    with pytest.raises(
        RunMismatchError, match=r"'gamma', fold 0: classes is \['tree'\].*\['roof'\]"
    ):
        ensemble.run(workspace, competition, ["alpha", "gamma"])
    fake.make_run(*toy, "delta", 1.0, task="multilabel")
    with pytest.raises(RunMismatchError, match="task is 'multilabel'"):
        ensemble.run(workspace, competition, ["alpha", "delta"])
    assert not workspace.ensembles.exists()


@pytest.mark.parametrize(
    ("block", "key", "value", "said"),
    [
        ("data", "content", "others", "-> 'others'"),
        ("data", "channels", 1, "data.channels: 3 -> 1"),
        ("data", "mask_threshold", 7, "data.mask_threshold: None -> 7"),
        ("competition", "ignore_index", 9, "competition.ignore_index: None -> 9"),
    ],
)
def test_members_trained_on_other_data_are_refused(toy, block, key, value, said):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    blocks = deepcopy(read_run(workspace, "alpha").shared)
    blocks[block][key] = value
    fake.make_run(*toy, "beta", 1.0, shared=blocks)
    with pytest.raises(RunMismatchError, match=r"'alpha' and 'beta' were not trained") as error:
        ensemble.run(workspace, competition)
    assert said in str(error.value)


def test_members_may_differ_in_metric_only(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    blocks = deepcopy(read_run(workspace, "alpha").shared)
    blocks["competition"]["metric"] = "dice_image_mean"
    fake.make_run(*toy, "beta", 1.0, shared=blocks)
    assert set(ensemble.run(workspace, competition)["singles"]) == {"alpha", "beta"}
    fake.make_run(*toy, "gamma", 1.0, shared={})
    with pytest.raises(RunMismatchError, match=r"competition\.task: 'binary' -> None"):
        ensemble.run(workspace, competition)


def test_folds_file_that_changed_since_is_refused(toy):
    workspace, competition, table = toy
    fake.make_run(*toy, "alpha", 1.0)
    moved = type(table)(
        table.ids, table.fold[::-1], table.group, table.stratum, "kfold", 0, table.n_splits
    )
    write_folds(workspace, moved)
    with pytest.raises(RunMismatchError, match=r"folds/toy.csv has hash .*'alpha' was trained on"):
        ensemble.run(workspace, competition)


def test_predictions_of_other_images_are_refused(toy):
    workspace, competition, table = toy
    fake.make_run(*toy, "alpha", 1.0)
    other = type(table)(
        table.ids, (1, *table.fold[1:]), table.group, table.stratum, "kfold", 0, table.n_splits
    )
    fake.make_run(workspace, competition, other, "beta", 1.0, folds_hash=table.hash)
    with pytest.raises(RunMismatchError, match=r"beta \(none\), fold 0: .*missing 1: i00"):
        ensemble.run(workspace, competition)


def test_a_flipped_bit_is_refused(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    path = workspace.fold("alpha", 1) / "oof.none.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"run 'alpha': .*oof.none.npy: expected sha256") as caught:
        ensemble.run(workspace, competition)
    assert caught.value.exit_code == 3 and "make the fold again with `comp cv`" in str(caught.value)


@pytest.mark.parametrize("harm", ["gone", "short", "no_json"])
def test_a_damaged_member_is_named_with_the_next_step(toy, harm):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    fake.make_run(*toy, "torn", 1.0)
    path = workspace.fold("torn", 1) / "oof.none.npy"
    if harm == "gone":
        path.unlink()
    elif harm == "short":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        path = path.with_name("result.json")
        path.write_text("{")
    for members in (None, ["alpha", "torn"]):
        with pytest.raises(DataError) as caught:
            ensemble.run(workspace, competition, members)
        said = str(caught.value)
        assert caught.value.exit_code == 3 and said.startswith("run 'torn': ")
        assert str(path) in said and "to make the fold again with `comp cv`" in said
        assert ("--member" in said) == (members is None)
    assert ensemble.run(workspace, competition, ["alpha"])["chosen"]


def test_predictions_of_another_shape_are_refused(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "alpha", 1.0)
    folder = workspace.fold("alpha", 0)
    index = folder / "oof.none.csv"
    index.write_text(index.read_text().replace(",24,24,", ",12,48,"))
    result = read_json(folder / "result.json")
    from comp.files import sha256

    result["files"]["oof.none.csv"] = {"sha256": sha256(index), "bytes": index.stat().st_size}
    write_json(folder / "result.json", result)
    with pytest.raises(
        RunMismatchError, match=r"expected probabilities of shape \(1, 24, 24\), got \(1, 12, 48\)"
    ):
        ensemble.run(workspace, competition)


def test_names_are_checked(toy):
    workspace, competition, _ = toy
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        ensemble.run(workspace, competition, method="gredy")
    with pytest.raises(UsageError, match="named twice: a"):
        ensemble.run(workspace, competition, ["a", "a"])


def test_repeats_count_each_image_once_a_repeat_and_keep_it_in_one_part(
    tmp_path, capsys, monkeypatch
):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition, repeated=True)
    for name, noise in (("good", 0.8), ("fair", 1.2)):
        fake.make_run(workspace, competition, table, name, noise)
    parts, units = [], []
    cross_fit, choose = ensemble.cross_fit, ensemble.choose
    monkeypatch.setattr(
        ensemble,
        "cross_fit",
        lambda *args, **keys: parts.extend(args[2]) or cross_fit(*args, **keys),
    )
    monkeypatch.setattr(ensemble, "choose", lambda *args: units.extend(args[3]) or choose(*args))
    recipe = ensemble.run(workspace, competition)
    assert parts[::2] == parts[1::2] == [i % 3 for i in range(12)]  # never chosen on its own truth
    assert units[::2] == units[1::2] and len(set(units)) == 12
    assert recipe["n_images"] == len(table.ids) and list(recipe["folds"]) == list(range(6))
    assert f"{len(table.ids)} images" in capsys.readouterr().out
    run = read_run(workspace, "good")
    counts = [read_counts(run.dir / f"fold{f}" / "oof.none.counts.csv", 1)[1] for f in range(6)]
    said = next(m["score"] for m in recipe["members"] if m["run"] == "good")
    pooled = score_counts("iou_image_mean", np.concatenate(counts))
    assert said == pytest.approx(pooled)
    assert run.cv["pooled"] == pooled and run.cv["n_images"] == 12  # cv says the same
    report = (workspace.ensemble(recipe["name"]) / "report.md").read_text()
    assert (
        "Folds are repeated 2 times: each image counts 2 times, each prediction by itself" in report
    )
