"""`comp submit`: the blend of a recipe as a verified CSV with its card; changed members refused."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import subprocess
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from comp.blending.recipe import read_recipe
from comp.commands import ensemble, submit
from comp.data.cache.open import open_cache
from comp.data.sources.records import find_records
from comp.errors import DataError, RunMismatchError, SubmissionError, UsageError
from comp.files import read_json, sha256, write_json
from comp.masks.rle import decode
from comp.store import Probs, read_run, write_result

spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
assert spec is not None and spec.loader is not None
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)


@pytest.fixture
def toy(tmp_path):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition)
    return workspace, competition, table


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_masks_are_the_exact_blend_over_folds_and_members(toy, capsys):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    fake.make_run(*toy, "b", 1.3, store="uint16")
    fake.make_run(*toy, "c", 1.4)
    ensemble.run(workspace, competition, method="coordinate", name="best", clean_up="none")
    recipe = read_recipe(workspace.ensemble("best") / "recipe.json")
    path = submit.run(workspace, competition)
    rows = rows_of(path)
    assert [row["ImageId"] for row in rows] == ["t00", "t01", "t02", "t03"]
    threshold = Fraction(recipe.thresholds[0])
    for row in rows:
        total = np.zeros((24, 24), object)
        for member in recipe.members:
            for fold in range(3):
                probs = Probs(workspace.fold(member.run, fold) / f"test.{member.views}.npy")
                full = 255 if probs.dtype == np.uint8 else 65535
                q = probs.read(row["ImageId"])[0].astype(object)
                total += q * Fraction(member.weight, full * 3 * sum(recipe.weights))
        mask = decode(row["EncodedPixels"], 24, 24)
        sure = abs(total - threshold) > Fraction(1, 10**6)
        assert sure.mean() > 0.99
        assert ((total >= threshold) == (mask == 1))[sure].all()
    assert "4 rows, 4 images" in capsys.readouterr().out


def test_the_card_says_what_it_is_made_of(toy):
    workspace, competition, table = toy
    fake.make_run(*toy, "a", 1.2)
    fake.make_run(*toy, "b", 1.2)
    result = ensemble.run(workspace, competition, name="two")
    path = submit.run(workspace, competition)
    assert path.parent == workspace.submissions and path.name.endswith("-two.csv")
    card = read_json(path.with_suffix(".json"))
    assert card["submission"] == path.name and card["ensemble"] == "two"
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["rows"] == card["images"] == 4
    assert [m["config_hash"] for m in card["members"]] == [
        f"hash-{m['run']}" for m in result["members"]
    ]
    assert card["cv"]["cross_fitted"] == result["cross_fitted"]
    assert card["folds_hash"] == table.hash and card["scores"] == {}
    assert card["git"] is None


def test_a_second_submission_does_not_replace_the_first(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    first = submit.run(workspace, competition, run_name="a")
    second = submit.run(workspace, competition, run_name="a")
    assert first != second and first.read_bytes() == second.read_bytes()


def test_git_commit_is_on_the_card(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    git = ["git", "-C", str(workspace.root), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (workspace.root / "note.txt").write_text("one")
    subprocess.run([*git, "add", "note.txt"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    state = submit.git_state(workspace.root)
    assert state is not None and len(state["commit"]) == 40 and state["changed"] is False
    (workspace.root / "note.txt").write_text("two")
    card = read_json(submit.run(workspace, competition, run_name="a").with_suffix(".json"))
    assert card["git"] == {"commit": state["commit"], "changed": True}


def test_ids_that_are_formulas_stay_as_they_are_and_are_told(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path)
    images = workspace.root / "data" / "test" / "images"
    (images / "t00.png").rename(images / "=1+1.png")
    (images / "t01.png").rename(images / "-7.png")
    table = fake.make_folds(workspace, competition)
    fake.make_run(workspace, competition, table, "a", 1.2)
    path = submit.run(workspace, competition, run_name="a")
    assert {row["ImageId"] for row in rows_of(path)} == {"=1+1", "-7", "t02", "t03"}
    said = capsys.readouterr().out
    assert "warning: 1 id would be computed by a spreadsheet" in said and "'=1+1'" in said


def test_one_run_alone(toy, tmp_path):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    output = tmp_path / "out" / "mine.csv"
    assert submit.run(workspace, competition, None, output, "a") == output
    card = read_json(output.with_suffix(".json"))
    assert card["ensemble"] is None and card["thresholds"] == [0.5]
    assert [m["run"] for m in card["members"]] == ["a"]
    stack = [Probs(workspace.fold("a", k) / "test.none.npy").read("t01")[0] for k in range(3)]
    expected = np.sum(stack, axis=0, dtype=np.int64) >= np.ceil(0.5 * 255 * 3)
    assert (decode(rows_of(output)[1]["EncodedPixels"], 24, 24) == expected).all()


def test_multiclass_rows(tmp_path):
    workspace, competition = fake.make_competition(tmp_path, "multiclass")
    table = fake.make_folds(workspace, competition)
    for name in ("a", "b"):
        fake.make_run(workspace, competition, table, name, 1.0)
    ensemble.run(workspace, competition)
    rows = rows_of(submit.run(workspace, competition))
    assert len(rows) == 12
    covered = sum(decode(row["EncodedPixels"], 24, 24).astype(int) for row in rows[:3])
    assert (covered == 1).all()


def test_the_newest_ensemble_or_the_named_one(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    ensemble.run(workspace, competition, name="old")
    ensemble.run(workspace, competition, name="new")
    assert submit.find_recipe(workspace, None).parent.name == "new"
    assert submit.find_recipe(workspace, "old").parent.name == "old"
    (workspace.ensemble("half")).mkdir()
    with pytest.raises(UsageError, match=r"no complete ensemble 'half' .*there are: old, new"):
        submit.run(workspace, competition, "half")


def test_without_an_ensemble_the_way_on_is_said(toy):
    workspace, competition, _ = toy
    with pytest.raises(UsageError, match="run `comp ensemble`, or `comp cv` before it"):
        submit.run(workspace, competition)
    fake.make_run(*toy, "a", 1.2)
    with pytest.raises(UsageError, match=r"or `comp submit --run NAME` \(a\)"):
        submit.run(workspace, competition)


def test_changed_members_are_refused_and_nothing_is_written(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    ensemble.run(workspace, competition)
    path = workspace.fold("a", 2) / "test.none.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunMismatchError, match=r"run 'a' changed .*fold2/test.none.npy"):
        submit.run(workspace, competition)
    path.unlink()
    with pytest.raises(RunMismatchError, match="got missing"):
        submit.run(workspace, competition)
    assert not workspace.submissions.exists()


def test_other_test_images_are_refused(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    ensemble.run(workspace, competition)
    extra = workspace.root / "data" / "test" / "images" / "t99.png"
    extra.write_bytes((extra.with_name("t00.png")).read_bytes())
    with pytest.raises(RunMismatchError) as caught:
        submit.run(workspace, competition)
    said = str(caught.value)
    assert "run 'a': fold0/test.none.npy is not of the test images; missing 1: t99; run its" in said
    assert said.endswith(
        "`comp cv` again, which predicts them with the weights that are there, then `comp ensemble`"
    )
    with pytest.raises(RunMismatchError, match=r"run its `comp cv` again, which .* are there$"):
        submit.run(workspace, competition, run_name="a")


def test_test_images_that_changed_under_their_names_are_refused(toy):
    workspace, competition, _ = toy
    records = find_records(competition, workspace.root / "data").test
    content = open_cache(workspace.cache, competition, records).content_hash
    fake.make_run(*toy, "a", 1.2, test_content=content)
    assert submit.run(workspace, competition, run_name="a").is_file()
    image = records[2].image
    rows = cv2.imread(str(image))[::-1]
    assert cv2.imwrite(str(image), rows)
    with pytest.raises(RunMismatchError) as caught:
        submit.run(workspace, competition, run_name="a")
    said = str(caught.value)
    assert (
        f"run 'a': fold0/test.none.npy: test images changed since they were predicted (content {content}, now "
        in said
    )
    assert "put them back, or run its `comp cv` again, which predicts them with the weights" in said
    assert len(list(workspace.submissions.iterdir())) == 2
    fake.make_run(*toy, "older", 1.2)  # nobody knows what it predicted
    assert submit.run(workspace, competition, run_name="older").is_file()


def test_a_sample_that_does_not_fit_is_refused(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    sample = workspace.root / "data" / "sample_submission.csv"
    sample.write_text("ImageId,EncodedPixels\nt00,\nt01,\nt02,\n")
    section = competition.submission.model_copy(update={"sample": "sample_submission.csv"})
    competition = competition.model_copy(update={"submission": section})
    with pytest.raises(SubmissionError, match="t03"):
        submit.run(workspace, competition, run_name="a")
    assert not workspace.submissions.exists()
    sample.write_text("ImageId,EncodedPixels\nt03,\nt01,\nt02,\nt00,\n")
    rows = rows_of(submit.run(workspace, competition, run_name="a"))
    assert [row["ImageId"] for row in rows] == ["t03", "t01", "t02", "t00"]


def test_what_cannot_be_submitted_is_said(toy):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2, test=False)
    fake.make_run(*toy, "half", 1.2, folds=[0])
    with pytest.raises(RunMismatchError, match="'a' has no test probabilities of fold 0"):
        submit.run(workspace, competition, run_name="a")
    with pytest.raises(RunMismatchError, match=r"run 'half' is incomplete \(done: fold 0\)"):
        submit.run(workspace, competition, run_name="half")
    with pytest.raises(UsageError, match="two answers to one question"):
        submit.run(workspace, competition, "e", None, "a")
    with pytest.raises(UsageError, match=r"\.json is the card's"):
        submit.run(workspace, competition, None, Path("x.json"), "a")
    other = competition.model_copy(update={"classes": ("tree",)})
    with pytest.raises(RunMismatchError, match=r"fitted for classes \('roof',\)"):
        submit.run(workspace, other, run_name="a")
    without = competition.data.model_copy(update={"test": None})
    with pytest.raises(DataError, match="has no test images"):
        submit.run(workspace, competition.model_copy(update={"data": without}), run_name="a")


def test_the_share_of_empty_masks_is_said_beside_what_to_expect(toy, capsys):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 0.0)
    path = submit.run(workspace, competition, run_name="a")
    said = capsys.readouterr().out
    assert (
        "empty masks: of this submission 0.0 % (0 of 4), out of fold 0.0 % (0 of 12), "
        "of the training truth 0.0 % (0 of 12)"
    ) in said and "warning" not in said
    card = read_json(path.with_suffix(".json"))
    assert card["empty_masks"]["oof"] == {"empty": 0, "of": 12}


def test_far_more_empty_masks_than_out_of_fold_are_a_warning(toy, capsys):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 0.0)
    for fold in range(3):  # the first test image alone is left with pixels
        path = workspace.fold("a", fold) / "test.none.npy"
        flat = np.load(path)
        flat[24 * 24 :] = 0
        np.save(path, flat)
        result = read_json(path.with_name("result.json"))
        result["files"][path.name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
        write_json(path.with_name("result.json"), result)
    submit.run(workspace, competition, run_name="a")
    said = capsys.readouterr().out
    assert "of this submission 75.0 % (3 of 4), out of fold 0.0 % (0 of 12)" in said
    assert (
        "warning: the share of empty masks is far from that out of fold and of the training" in said
    )


def test_with_repeated_folds_every_repeat_is_counted(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition, repeated=True)
    fake.make_run(workspace, competition, table, "a", 0.0)
    for fold in (0, 1):  # of the first repeat: their predictions out of fold are empty
        folder = workspace.fold("a", fold)
        flat = np.load(folder / "oof.none.npy")
        np.save(folder / "oof.none.npy", np.zeros_like(flat))
        result = read_json(folder / "result.json")
        write_result(folder, {k: v for k, v in result.items() if k != "files"}, result["files"])
    path = submit.run(workspace, competition, run_name="a")
    said = capsys.readouterr().out
    assert "out of fold 33.3 % (8 of 24), of the training truth 0.0 % (0 of 24)" in said
    card = read_json(path.with_suffix(".json"))
    assert card["empty_masks"]["oof"] == {"empty": 8, "of": 24, "repeats": 2}
    recipe = submit.single_recipe(read_run(workspace, "a"), competition)
    assert recipe.n_images == 12 and len(recipe.folds) == 6


def test_without_out_of_fold_files_the_share_alone_is_said(toy, capsys):
    workspace, competition, _ = toy
    fake.make_run(*toy, "a", 1.2)
    ensemble.run(workspace, competition)
    (workspace.fold("a", 1) / "oof.none.npy").unlink()
    submit.run(workspace, competition)
    said = capsys.readouterr().out
    assert "of 4), out of fold not known, of the training truth not known" in said


def test_empty_masks_are_counted_by_class(tmp_path, capsys):
    workspace, competition = fake.make_competition(tmp_path, "multiclass")
    table = fake.make_folds(workspace, competition)
    fake.make_run(workspace, competition, table, "a", 1.0)
    sample = "ImageId,Class,EncodedPixels\n" + "".join(
        f"t{i:02d},{k},\n" for i in range(4) for k in (1, 2)
    )
    (workspace.root / "data" / "sample_submission.csv").write_text(sample)
    section = competition.submission.model_copy(update={"sample": "sample_submission.csv"})
    competition = competition.model_copy(update={"submission": section})
    path = submit.run(workspace, competition, run_name="a")
    shares = read_json(path.with_suffix(".json"))["empty_masks"]
    assert [shares[key]["of"] for key in ("test", "oof", "truth")] == [8, 24, 24]
    assert "classes that the sample does not ask for: land" in capsys.readouterr().out
