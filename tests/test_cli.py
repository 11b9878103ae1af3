"""The command line: one clear line and the right exit code for each kind of mistake, and no traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from comp.cli.data import LAYOUT_NAMES
from comp.data.layouts.detect import LAYOUTS
from comp.files import commit
from tests.drawn import draw_kaggle
from tests.processes import run_comp as comp

COMPETITION = """
name: toy
task: binary
classes: [thing]
data:
  root: data
  train: [{images: "images/{id}.png", masks: "masks/{id}.png"}]
  test: test/images/{id}.png
folds: {scheme: kfold, n_splits: 2}
submission: {sample: sample_submission.csv}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    draw_kaggle(tmp_path / "data", n=6, size=(32, 32), n_test=2)
    commit(tmp_path / "configs" / "competition.yaml", COMPETITION)
    commit(tmp_path / "configs" / "small.yaml", "model: {arch: PlainUnet, encoder_name: null}\n")
    return tmp_path


def refused(result: CompletedProcess[str], code: int, *said: str) -> None:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    for words in said:
        assert words in result.stderr


def test_help_and_version(tmp_path: Path) -> None:
    assert comp("--version", cwd=tmp_path).stdout.startswith("comp ")
    helped = comp("--help", cwd=tmp_path)
    assert helped.returncode == 0
    for command in (
        "demo",
        "init",
        "verify",
        "folds",
        "cv",
        "ensemble",
        "submit",
        "score",
        "leaderboard",
        "status",
        "doctor",
        "schema",
    ):
        assert command in helped.stdout


def test_help_says_layouts_and_exit_codes(tmp_path: Path) -> None:
    helped = comp("init", "--help", cwd=tmp_path).stdout
    words = set(re.sub(r"[^a-z0-9_ ]", " ", helped.replace("\n", " ")).split())
    assert set(LAYOUTS) <= words and LAYOUT_NAMES.split(", ") == list(LAYOUTS)
    for text in (helped, comp("verify", "-h", cwd=tmp_path).stdout):
        assert "Exit codes: 0 " in text
        assert re.search(r"^ 2 ", text, re.MULTILINE) and re.search(r"^ 3 ", text, re.MULTILINE)


def test_a_misspelt_command_gets_its_neighbour(tmp_path: Path) -> None:
    refused(comp("ensembel", cwd=tmp_path), 2, "ensemble")


def test_no_workspace_is_usage(tmp_path: Path) -> None:
    refused(comp("folds", cwd=tmp_path), 2, "no workspace", "comp init")


def test_all_mistakes_of_a_config_come_together(workspace: Path) -> None:
    result = comp(
        "cv", "--config", "small.yaml", "-o", "train.epoch=3", "-o", "optim.lr=fast", cwd=workspace
    )
    refused(result, 2, "2 mistakes", "did you mean 'epochs'", "got 'fast'")
    refused(result, 2, "-o train.epoch=3: train.epoch", "-o optim.lr=fast: optim.lr")
    assert not (workspace / "runs").exists()


def test_mistakes_of_both_files_come_together(workspace: Path) -> None:
    competition = workspace / "configs" / "competition.yaml"
    competition.write_text(competition.read_text().replace("n_splits", "n_split"))
    result = comp(
        *("cv", "-c", "small.yaml", "-o", "metric=iuo", "-o", "loss.dize=1", "-o", "train.epoch=3"),
        cwd=workspace,
    )
    refused(result, 2, "4 mistakes", f"{competition}: folds.n_split: unknown key")
    refused(result, 2, "-o metric=iuo: metric: unknown", "-o train.epoch=3: train.epoch: unknown")
    refused(result, 2, "-o loss.dize=1: loss.dize: unknown loss 'dize'; did you mean 'dice'?")


def test_folds_are_numbers_of_folds_that_are_there(workspace: Path) -> None:
    for option, said in (("--folds=x", "expected fold numbers such as 0,2"), ("--fold=1,", "'1,'")):
        refused(comp("cv", "-c", "small.yaml", option, cwd=workspace), 2, said)
    result = comp("cv", "-c", "small.yaml", "--folds", "1,2", cwd=workspace)
    refused(result, 2, "--folds: no fold 2; folds/toy.csv has 0, 1")
    assert not (workspace / "runs").exists()


def test_a_missing_config_gets_its_neighbour(workspace: Path) -> None:
    refused(comp("cv", "--config", "smal.yaml", cwd=workspace), 2, "did you mean 'small.yaml'")


def test_a_key_of_neither_file_is_refused(workspace: Path) -> None:
    refused(comp("folds", "-o", "fold.n_splits=3", cwd=workspace), 2, "did you mean 'folds'")


def test_absent_data_is_named(workspace: Path) -> None:
    refused(comp("folds", "-o", "data.root=nowhere", cwd=workspace), 3, "no data at", "nowhere")


def test_an_unmatched_mask_is_named(workspace: Path) -> None:
    masks = sorted((workspace / "data" / "masks").iterdir())
    masks[0].unlink()
    refused(comp("cv", "--config", "small.yaml", cwd=workspace), 3, masks[0].stem)


def test_folds_that_do_not_fit_the_data_are_refused(workspace: Path) -> None:
    assert comp("folds", cwd=workspace).returncode == 0
    for folder in ("images", "masks"):
        sorted((workspace / "data" / folder).iterdir())[0].unlink()
    refused(comp("cv", "--config", "small.yaml", cwd=workspace), 3, "folds")


def test_nothing_to_blend_or_submit_is_said(workspace: Path) -> None:
    refused(comp("ensemble", cwd=workspace), 2, "comp cv")
    result = comp("submit", cwd=workspace)
    assert result.returncode in (2, 3) and "comp ensemble" in result.stderr


def test_schemas_forbid_unknown_keys(tmp_path: Path) -> None:
    schemas = json.loads(comp("schema", cwd=tmp_path).stdout)
    assert schemas["competition.schema.json"]["additionalProperties"] is False
    assert "extends" in schemas["model.schema.json"]["properties"]
