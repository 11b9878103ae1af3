"""Configs with all kinds of mistakes: one list, each mistake with its source."""

from __future__ import annotations

from pathlib import Path

import pytest

from comp.config import Competition, ModelConfig, load_competition
from comp.config.loading import PartlyWrongError
from comp.errors import ConfigError, UsageError
from comp.jobs.configs import (
    blame_overrides,
    find_mistakes,
    load_configs,
    look_up_competition,
    look_up_names,
)

COMPETITION = """
name: toy
task: binary
classes: [roof]
data:
  root: data
  train: [{images: "images/{id}.png", masks: "masks/{id}.png"}]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "competition.yaml").write_text(COMPETITION)
    model = "model: {arch: PlainUnet, encoder_name: null}\n"
    (tmp_path / "configs" / "a.yaml").write_text(model)
    (tmp_path / "configs" / "b.yaml").write_text(f"{model}loss: {{dize: 1}}\ntrain: {{epoch: 3}}\n")
    return tmp_path


def mistakes(root: Path, *configs: str, overrides: tuple[str, ...] = ()) -> list[str]:
    competition = load_competition(root)
    with pytest.raises(ConfigError) as caught:
        load_configs(root, configs, overrides, None, lambda c: look_up_names(c, competition, root))
    return caught.value.problems


def test_structure_and_names_of_all_configs_in_one_list(root: Path) -> None:
    b = root / "configs" / "b.yaml"
    assert mistakes(root, "a", "b", "c", overrides=("optim.name=Adamm", "predict.tta=[d5]")) == [
        "-o optim.name=Adamm: optim.name: unknown optimizer 'Adamm'; did you mean 'Adam'?",
        "-o predict.tta=[d5]: predict.tta: unknown views 'd5'; known: d4, flips, hflip, none",
        f"{b}: train.epoch: unknown key; did you mean 'epochs'?",
        f"{b}: loss.dize: unknown loss 'dize'; did you mean 'dice'?",
        f"no config 'c', neither as given nor in {root / 'configs'}; found there: a.yaml, b.yaml",
    ]


def test_what_follows_from_a_mistake_is_not_said_beside_it(root: Path) -> None:
    late = "schedule={name: cosine, warmup_epochs: 30}"  # too long for the default of 20 epochs
    (alone,) = mistakes(root, "a", overrides=(late,))
    assert "warmup" in alone
    (wrong,) = mistakes(root, "a", overrides=(late, "train.epochs=forty"))
    assert wrong.startswith("-o train.epochs=forty: ")
    (typed,) = mistakes(root, "a", overrides=(late, "train.epoch=40"))
    assert "did you mean 'epochs'" in typed


def test_configs_by_run_name(root: Path) -> None:
    assert list(load_configs(root, ["a"], (), "mine")) == ["mine"]
    assert isinstance(load_configs(root, ["a.yaml"], (), None)["a"], ModelConfig)
    with pytest.raises(UsageError, match="two configs are named 'a'"):
        load_configs(root, ["a", "a.yaml"], (), None)
    with pytest.raises(UsageError, match="needs exactly one --config, got 2"):
        load_configs(root, ["a", "b"], (), "mine")
    with pytest.raises(ConfigError, match="found before"):
        load_configs(root, ["a"], (), None, None, ["found before"])


def competition_error(root: Path, *overrides: str) -> PartlyWrongError:
    with pytest.raises(PartlyWrongError) as caught:
        load_competition(root, None, overrides)
    return caught.value


def test_a_wrong_competition_does_not_hide_names_or_models(root: Path) -> None:
    wrong = competition_error(root, "metric=iuo", "folds.schem=kfold", "submission.row=imag")
    (metric,) = look_up_competition(wrong)
    assert metric.startswith("-o metric=iuo: metric: unknown metric 'iuo'")
    found = find_mistakes(root, wrong, ["b"], ["optim.name=Adamm"], None)
    assert [line.split(": ")[1] for line in found] == ["train.epoch", "loss.dize", "optim.name"]
    assert find_mistakes(root, wrong, ["a", "a"], [], None) == []


def test_without_a_task_only_the_structure_of_models_is_judged(root: Path) -> None:
    wrong = competition_error(root, "task=binar")
    assert look_up_competition(wrong) == []
    (only,) = find_mistakes(root, wrong, ["b"], [], None)
    assert "train.epoch" in only
    assert find_mistakes(root, competition_error(root, "data.channels=x"), ["a"], [], None) == []


def test_names_of_a_competition_that_an_override_said(root: Path) -> None:
    assert isinstance(load_competition(root), Competition)
    said = ["competition toy: metric: unknown", "competition toy: folds.scheme: unknown"]
    assert blame_overrides(said, "toy", ["metric=x", "folds.seed=1"]) == [
        "-o metric=x: metric: unknown",
        said[1],
    ]
