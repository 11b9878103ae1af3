"""`comp doctor`: one report whatever is wrong, and the exit code that says of what kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from comp.files import commit
from tests.drawn import draw_kaggle
from tests.processes import run_comp as comp
from tests.processes import run_python

COMPETITION = """
name: toy
task: binary
classes: [thing]
data:
  root: data
  train: [{images: "images/{id}.png", masks: "masks/{id}.png"}]
folds: {scheme: kfold, n_splits: 2}
"""
SMALL = """
model: {arch: PlainUnet, encoder_name: null, filters: 4, depth: 2}
train: {batch_size: 2, size: [32, 32], epochs: 2}
augment: [{HorizontalFlip: {p: 0.5}}]
"""
ALL_WRONG = """
model: {arch: PlainUnet, encoder_name: null, filters: 4, depth: 2}
train: {batch_size: 2, size: [32, 32], epochs: 2, mode: resize}
augment: [{"mine:FlipsImage": {}}]
"""
MINE = """
import albumentations as A

class FlipsImage(A.ImageOnlyTransform):
    def apply(self, img, **params):
        return img[:, ::-1].copy()
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    draw_kaggle(tmp_path / "data", n=6, size=(40, 40), n_test=0)
    commit(tmp_path / "configs" / "competition.yaml", COMPETITION)
    commit(tmp_path / "configs" / "small.yaml", SMALL)
    return tmp_path


def listing(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_a_sound_workspace_is_well_and_nothing_is_written(workspace: Path) -> None:
    before = listing(workspace)
    done = comp("doctor", "--device", "cpu", cwd=workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 training images" in done.stdout and "no folds/toy.csv yet" in done.stdout
    assert "ok    small: loss" in done.stdout and "distinct views of 32" in done.stdout
    assert "cv (2 folds)" in done.stdout and done.stdout.rstrip().endswith("all is well")
    assert listing(workspace) == before


def test_it_never_stops_at_the_first(workspace: Path) -> None:
    commit(workspace / "mine.py", MINE)
    commit(workspace / "configs" / "alone.yaml", ALL_WRONG)
    commit(workspace / "configs" / "typo.yaml", "train: {epoch: 3}\noptim: {lr: fast}\n")
    commit(workspace / "folds" / "toy.csv", "image_id,fold,group,stratum\nother,0,,\n")
    done = comp("doctor", "--device", "cpu", "--limit", "0", cwd=workspace)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "did you mean 'epochs'" in done.stderr and "got 'fast'" in done.stderr
    assert "image and mask part" in done.stderr and "folds: " in done.stderr
    assert "4 mistakes" in done.stderr
    assert "ok    small: loss" in done.stdout and "all is well" not in done.stdout
    assert "the time was up" in done.stdout


def test_without_data_only_the_data_are_wrong(workspace: Path) -> None:
    done = comp(
        "doctor", "-c", "small", "--device", "cpu", "-o", "data.root=nowhere", cwd=workspace
    )
    assert done.returncode == 3 and "no data at" in done.stderr
    assert "random pixels" in done.stdout and "ok    small" in done.stdout


def test_a_wrong_competition_is_told_with_the_environment_and_the_configs(
    workspace: Path,
) -> None:
    commit(workspace / "configs" / "competition.yaml", COMPETITION.replace("n_splits", "n_split"))
    commit(workspace / "configs" / "typo.yaml", "train: {epoch: 3}\n")
    done = comp("doctor", cwd=workspace)
    assert done.returncode == 2 and "packages: numpy" in done.stdout
    assert "folds.n_split: unknown key" in done.stderr and "did you mean 'epochs'" in done.stderr


def test_outside_a_workspace_only_the_environment_is_looked_at(tmp_path: Path) -> None:
    done = comp("doctor", cwd=tmp_path)
    assert done.returncode == 0 and "only the environment" in done.stdout
    for arguments in (("-c", "small"), ("--root", str(tmp_path)), ("-o", "optim.lr=1")):
        refused = comp("doctor", *arguments, cwd=tmp_path)
        assert refused.returncode == 2 and "no workspace" in refused.stderr


def test_models_are_listed_by_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = comp("doctor", "--models", "pspnet", "resnet18", "--limit", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "PlainUnet" in done.stdout and "11.18 M  2 4 8 16 32  PSPNet" in done.stdout
    assert "not built yet: " in done.stdout and "time limit of 0 s" in done.stdout
    assert list((tmp_path / "cache" / "comp").glob("models-*.json"))


def test_words_without_models_and_unknown_words_are_refused(tmp_path: Path) -> None:
    done = comp("doctor", "resnet18", cwd=tmp_path)
    assert done.returncode == 2 and "--models" in done.stderr
    done = comp("doctor", "--models", "resnet18x", cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'resnet18'" in done.stderr


def test_help_of_doctor_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, comp.cli\nsys.argv = ['comp', 'doctor', '--help']\n"
        "try:\n    comp.cli.main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules"
    )
    assert "--models" in run_python(code, tmp_path)
