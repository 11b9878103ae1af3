"""`comp join`: one run's predictions, exported and joined back, are the same member; what is not is refused."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing

from comp import cli
from comp.commands import ensemble, join, leaderboard, status, submit
from comp.commands.join import Given
from comp.config import ModelConfig
from comp.data.samples.pseudo import find_source
from comp.errors import DataError, LockedError, RunMismatchError, UsageError
from comp.files import lock, read_json, sha256
from comp.jobs.plan import PlannedRun, prepare_run, shared_identity
from comp.masks.decide import decide
from comp.masks.rle import encode
from comp.store import read_run

spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
assert spec is not None and spec.loader is not None
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)
Toy = tuple[Any, Any, Any]


def make_toy(root: Path, task: str = "binary", **more: Any) -> Toy:
    """A workspace with two runs, and what `b` predicted in `theirs`."""
    workspace, competition = fake.make_competition(root / "ws", task)
    table = fake.make_folds(workspace, competition, **more)
    fake.make_run(workspace, competition, table, "a", 1.2)
    fake.make_run(workspace, competition, table, "b", 1.3)
    return workspace, competition, table


@pytest.fixture(autouse=True)
def _without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """best.png and worst.png take a second: one test looks at them."""
    if "as_it_is" not in request.node.name:
        monkeypatch.setattr(join, "write_cases", lambda *_: None)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return make_toy(tmp_path)


def exported(toy: Toy) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    """Probabilities of run b: out of fold, and of each fold on the test images, (K, H, W) uint8."""
    run = read_run(toy[0], "b")
    oof = {
        i: np.array(run.oof(k, "none").read(i)) for k in run.folds for i in run.oof(k, "none").ids
    }
    tests = [
        {i: np.array(run.test(k, "none").read(i)) for i in run.test(k, "none").ids}
        for k in run.folds
    ]
    return oof, tests


def save(folder: Path, kind: str, name: str, arrays: Mapping[str, np.ndarray], toy: Toy) -> Path:
    """Write predictions as a teammate would."""
    import cv2
    import tifffile

    folder.mkdir(exist_ok=True)
    last = {i: np.moveaxis(v, 0, -1) for i, v in arrays.items()}
    if kind == "npz":
        np.savez(folder / f"{name}.npz", **{i: v / np.float64(255) for i, v in arrays.items()})
        return folder / f"{name}.npz"
    if kind == "stack":
        np.save(
            folder / f"{name}.npy", np.stack([(v / 255).astype(np.float32) for v in last.values()])
        )
        (folder / f"{name}.txt").write_text("".join(f"{i}\n" for i in last))
        return folder / f"{name}.npy"
    if kind == "csv":
        names = toy[1].n_classes
        masks = {i: decide(v, toy[1].task) for i, v in arrays.items()}
        lines = [
            f"{i},{encode((m == k) if names > 1 else m)}" + (f",{k}" if names > 1 else "")
            for i, m in masks.items()
            for k in range(names)
        ]
        head = "ImageId,EncodedPixels" + (",Class" if names > 1 else "")
        (folder / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n")
        return folder / f"{name}.csv"
    (folder / name).mkdir()
    for image_id, v in last.items():
        path = folder / name / f"{image_id}.{kind}"
        if kind == "png":
            assert cv2.imwrite(str(path), v[..., ::-1])
        elif kind == "tif":
            how = "rgb" if v.shape[2] == 3 else "minisblack"
            tifffile.imwrite(path, v.astype(np.uint16) * 257, photometric=how)
        else:
            np.save(path, v / 255)
    return folder / name


def give(toy: Toy, kind: str = "npz", **more: Any) -> Given:
    """What the command line says of run b's predictions; `oof`, `tests` replace them."""
    oof, tests = exported(toy)
    oof, tests = more.pop("oof", oof), more.pop("tests", tests)
    folder = toy[0].root.parent / "theirs"
    first = save(folder, kind, "oof", oof, toy)
    paths = [save(folder, kind, f"test_{k}", arrays, toy) for k, arrays in enumerate(tests)]
    test = str(paths[0]).replace("test_0", "test_{fold}") if len(tests) > 1 else str(paths[0])
    more = more or {"folds": toy[0].folds_csv}
    return Given(str(first), test, **more)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("kind", ["npz", "stack", "npy", "png", "tif"])
def test_what_was_exported_joins_as_the_same_member(tmp_path: Path, kind: str, task: str) -> None:
    toy = make_toy(tmp_path, task)
    workspace, competition, table = toy
    cv = join.run(workspace, competition, "c", give(toy, kind), "uint8")
    ours, theirs = read_run(workspace, "b"), read_run(workspace, "c")
    assert theirs.complete and theirs.config == {} and not list(theirs.dir.glob("fold*/weights*"))
    assert cv["pooled_scores"].keys() >= {"pixel_accuracy"} and cv["seconds"] is None
    for fold in range(table.n_folds):
        for views in ("oof", "test"):
            for i in getattr(ours, views)(fold, "none").ids:
                one, two = (getattr(r, views)(fold, "none").read(i) for r in (ours, theirs))
                assert np.array_equal(one, two) and one.dtype == two.dtype
    assert ours.cv is not None and cv["pooled"] == ours.cv["pooled"]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_an_ensemble_with_it_scores_and_submits_as_with_the_run_it_came_from(
    tmp_path: Path, task: str
) -> None:
    toy = make_toy(tmp_path, task)
    workspace, competition, _ = toy
    join.run(workspace, competition, "c", give(toy, "stack"))
    pair = [ensemble.run(workspace, competition, ["a", m], m) for m in "bc"]
    assert pair[0]["scores"]["as_fitted"] == pair[1]["scores"]["as_fitted"]
    assert pair[0]["scores"]["cross_fitted"] == pair[1]["scores"]["cross_fitted"]
    files = [submit.run(workspace, competition, m, tmp_path / f"{m}.csv") for m in "bc"]
    assert sha256(files[0]) == sha256(files[1])


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_table_of_codes_joins_as_hard_votes(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = make_toy(tmp_path, task)
    workspace, competition, _ = toy
    _, tests = exported(toy)
    cv = join.run(workspace, competition, "c", give(toy, "csv", tests=tests[:1]))
    ours = read_run(workspace, "b").cv
    assert ours is not None and cv["pooled"] == ours["pooled"]
    found = read_run(workspace, "c").oof(0, "none")
    assert set(np.unique(found.flat)) <= {0, 255}
    said = capsys.readouterr().out
    assert "bool as hard votes" in said and "stored as uint8" in said
    assert "one test prediction stands for all 3 folds" in said


def test_every_command_takes_it_as_it_is(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, competition, _ = toy
    _, tests = exported(toy)
    mean = {i: np.mean([t[i] for t in tests], axis=0) for i in tests[0]}
    join.run(workspace, competition, "c", give(toy, tests=[mean]))
    assert (workspace.run("c") / "worst.png").stat().st_size > 0
    folds = [workspace.fold("c", k) / "test.none.npy" for k in range(3)]
    assert len({os.stat(path).st_ino for path in folds}) == 1  # on the disk once
    recipe = ensemble.run(workspace, competition, None, "e")
    assert set(recipe["scores"]["singles"]) == {"a", "b", "c"}
    path = submit.run(workspace, competition, run_name="c")
    expected = {i: decide(np.rint(m).astype(np.uint8), "binary") for i, m in mean.items()}
    lines = dict(line.split(",") for line in path.read_text().splitlines()[1:])
    assert lines == {i: encode(m) for i, m in expected.items()}
    board = leaderboard.run(workspace, competition)
    row = next(r for r in board["runs"] if r["name"] == "c")
    assert row["complete"] and row["n_parameters"] is None and not board["problems"]
    history = leaderboard.run_history(workspace, competition)
    row = next(r for r in history["runs"] if r["name"] == "c")
    assert row["state"] == "complete" and row["identity"]["foreign"]["test_of_each_fold"] is False
    jobs = [j for j in status.run(workspace)["jobs"] if j["run"] == "c"]
    assert {j["state"] for j in jobs} == {"done"} and len(jobs) == 3
    assert "no weights, no config" in (workspace.run("c") / "cv.md").read_text()


def test_again_is_nothing_and_other_numbers_are_refused(
    toy: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comp.jobs.shares.WAIT_SECONDS", 0.0)
    workspace, competition, _ = toy
    given = give(toy)
    first = join.run(workspace, competition, "c", given)
    kept = {p: p.stat().st_mtime_ns for p in workspace.run("c").rglob("*.*") if p.name != ".lock"}
    assert join.run(workspace, competition, "c", given) == first
    assert "joined already" in capsys.readouterr().out
    assert kept == {p: p.stat().st_mtime_ns for p in kept}
    with pytest.raises(RunMismatchError, match="holds other predictions"):
        join.run(workspace, competition, "c", given, "uint16")
    with pytest.raises(RunMismatchError, match=r"is a run of `comp cv`: join under another name"):
        join.run(workspace, competition, "a", given)
    (workspace.fold("c", 1) / "oof.none.npy").write_bytes(b"x")  # damaged: made anew
    with pytest.raises(RunMismatchError, match="make the fold again with `comp join`"):
        read_run(workspace, "c")
    join.run(workspace, competition, "c", given)
    assert {p: p.stat().st_size for p in kept} and read_run(workspace, "c").complete
    with lock(workspace.run("c") / ".lock"), pytest.raises(LockedError):
        join.run(workspace, competition, "c", given)


def test_a_join_that_was_cut_short_is_made_anew(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    from comp.store import foreign_folds

    workspace, competition, _ = toy
    given, plain = give(toy), foreign_folds.write_result

    def write_result(folder: Path, *rest: Any) -> Any:
        if folder.name == "fold1":
            raise KeyboardInterrupt
        return plain(folder, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(foreign_folds, "write_result", write_result)
        with pytest.raises(KeyboardInterrupt):
            join.run(workspace, competition, "c", given)
    assert not read_run(workspace, "c").complete
    recipe = ensemble.run(workspace, competition, None, "e")
    assert set(recipe["scores"]["singles"]) == {"a", "b"}
    join.run(workspace, competition, "c", given)
    assert read_run(workspace, "c").complete


def test_everything_wrong_is_told_at_once_and_nothing_written(toy: Toy) -> None:
    workspace, competition, table = toy
    oof, tests = exported(toy)
    folds = workspace.root.parent / "f.csv"
    numbers = [(f + 1) % 3 if i == "i00" else f for i, f in zip(table.ids, table.fold, strict=True)]
    folds.write_text(
        "image_id,fold\n" + "".join(f"{i},{f}\n" for i, f in zip(table.ids, numbers, strict=True))
    )
    wrong = {i: v / 255 for i, v in oof.items() if i != "i03"}
    wrong["i01"] = wrong["i01"] * 20 - 10
    wrong["i02"] = np.full_like(wrong["i02"], np.nan)
    wrong["i04"] = wrong["i04"][:, :5]
    wrong["i05"] = np.concatenate([wrong["i05"]] * 2)
    tests[0]["extra"] = tests[0]["t00"]
    given = give(
        toy, "npz", oof={i: v * 255 for i, v in wrong.items()}, tests=tests[:1], folds=folds
    )
    with pytest.raises(DataError) as caught:
        join.run(workspace, competition, "c", given)
    for said in (
        "nothing was written", "f.csv: 1 images are in another fold than ours: i00 (theirs 1, ours 0)",
        "OOF oof.npz: missing: 1: i03", "below 0: logits? apply the sigmoid or softmax: 1: i01 (",
        "NaN or infinite: 1: i02 (576 values)", "own size: 1: i04 (image (24, 24), got (1, 5, 24))",
        "expected 1 plane (the foreground alone): 1: i05 (got 2)", "test test_0.npz: not asked for: 1: extra",
    ):  # fmt: skip
        assert said in str(caught.value), said
    assert not workspace.run("c").exists()


def test_a_source_that_cannot_be_opened_is_told_with_the_rest(toy: Toy) -> None:
    workspace, competition, _ = toy
    given = give(toy)
    given = Given(given.oof + "x", given.test, folds_hash="abc")
    with pytest.raises(DataError) as caught:
        join.run(workspace, competition, "c", given)
    assert "OOF cannot read" in str(caught.value) and "--folds-hash: hash abc" in str(caught.value)


def test_options_that_do_not_fit(toy: Toy) -> None:
    workspace, competition, _ = toy
    for given, said in (
        (Given("x", "y"), "say once which folds"),
        (Given("x", "y", same_folds=True, folds_hash="a"), "say once which folds"),
        (Given("x", None, same_folds=True), "--test is missing: the competition has 4 test images"),
        (Given("x", None, test_ids="z", same_folds=True), "there is no --test"),
    ):
        with pytest.raises(UsageError, match=said):
            join.run(workspace, competition, "c", given)
    with pytest.raises(UsageError, match="uint8 or uint16"):
        join.run(workspace, competition, "c", Given("x", "y", same_folds=True), "float16")


def test_repeated_folds_want_a_source_each(tmp_path: Path) -> None:
    toy = make_toy(tmp_path, repeated=True)
    workspace, competition, table = toy
    given = give(toy)
    with pytest.raises(UsageError, match=r"name one source a fold, with \{fold\}"):
        join.run(workspace, competition, "c", given)
    run = read_run(workspace, "b")
    for fold in range(table.n_folds):
        probs = run.oof(fold, "none")
        arrays = {i: np.array(probs.read(i)) for i in probs.ids}
        save(tmp_path / "theirs", "npz", f"fold_{fold}", arrays, toy)
    given = Given(
        str(tmp_path / "theirs" / "fold_{fold}.npz"), given.test, folds=workspace.folds_csv
    )
    cv = join.run(workspace, competition, "c", given)
    assert run.cv is not None and cv["pooled"] == run.cv["pooled"] and cv["n_images"] == 12


def test_on_their_word_it_is_said(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, competition, _ = toy
    join.run(workspace, competition, "c", give(toy, same_folds=True))
    said = "rests on the word of --same-folds"
    assert said in capsys.readouterr().out and said in (workspace.run("c") / "cv.md").read_text()


def test_cv_does_not_train_it_and_one_test_for_all_labels_nothing(toy: Toy) -> None:
    workspace, competition, table = toy
    _, tests = exported(toy)
    join.run(workspace, competition, "c", give(toy, tests=tests[:1]))
    content = read_run(workspace, "c").shared["data"]["content"]
    shared = shared_identity(competition, table.hash, content)
    config = ModelConfig.model_validate({"model": {"arch": "PlainUnet"}})
    with pytest.raises(RunMismatchError, match=r"`comp join` took in: there is nothing to train"):
        prepare_run(workspace, PlannedRun("c", config, {"device_type": "cpu"}, shared))
    ids = sorted(tests[0])
    more = {"test_ids": ids, "test_content": None}
    with pytest.raises(RunMismatchError, match="one test prediction for all folds"):
        find_source(workspace, competition, "c", table, shared, ["new"], **more)


def test_the_command_line(toy: Toy) -> None:
    workspace, _, _ = toy
    given = give(toy)
    config = workspace.root / "configs" / "competition.yaml"
    config.write_text(
        "name: toy\ntask: binary\nclasses: [roof]\ndata:\n  root: data\n  mask_values: {0: 0, 255: 1}\n"
        '  train: [{images: "images/{id}.png", masks: "masks/{id}.png"}]\n  test: "test/images/{id}.png"\n'
    )
    arguments = ["join", "c", "--oof", given.oof, "--test", str(given.test)]
    done = typer.testing.CliRunner().invoke(
        cli.app, [*arguments, "--folds", str(given.folds), "--root", str(workspace.root)]
    )
    assert done.exception is None, done.exception
    assert "`comp ensemble` takes it as a member" in done.output
    assert read_json(workspace.run("c") / "cv.json")["complete"]
    for name in ("../x", "/x", "nul"):
        arguments[1] = name
        done = typer.testing.CliRunner().invoke(
            cli.app, [*arguments, "--same-folds", "--root", str(workspace.root)]
        )
        assert isinstance(done.exception, UsageError)
