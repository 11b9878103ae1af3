"""The search space: every mistake at once, and values that reach the config as `-o` would bring them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from comp.config import (
    Competition,
    ModelConfig,
    config_hash,
    load_competition,
    load_model,
    parse_yaml,
)
from comp.config.reading import read_layers
from comp.errors import ConfigError
from comp.tuning.knobs import Knob, Space, as_json
from comp.tuning.space import read_space, trial_config

BASE = """
model: {arch: PlainUnet, encoder_name: null, normalize: unit, filters: 16, depth: 3}
loss: {bce: 1.0, dice: {weight: 0.5}}
optim: {lr: 2e-3, weight_decay: 0.01}
schedule: {name: onecycle}
train: {epochs: 4, batch_size: 4, size: [64, 64]}
augment: [HorizontalFlip, {RandomBrightnessContrast: {brightness_limit: 0.2, p: 0.5}}]
"""


@pytest.fixture
def competition(tmp_path: Path) -> Competition:
    train = [{"images": "i/{id}.png", "masks": "m/{id}.png"}]
    data = {"root": "data", "train": train}
    return Competition.model_validate(
        {"name": "toy", "task": "binary", "classes": ["roof"], "data": data}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.yaml"


def space_of(path: Path, competition: Competition, tune: str, *overrides: str) -> Space:
    lines = "".join(f"  {line.strip()}\n" for line in tune.strip().splitlines())
    path.write_text(BASE + (f"tune:\n{lines}" if tune else ""))
    return read_space(path, None, competition, path.parent, overrides)


def problems(path: Path, competition: Competition, tune: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        space_of(path, competition, tune, *overrides)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


# --- what is right


def test_every_kind_of_knob(path: Path, competition: Competition) -> None:
    space = space_of(
        path,
        competition,
        """
        optim.lr: {low: 1e-4, high: 1e-2, log: true}
        loss.dice: {low: 0, high: 2}
        train.batch_size: {low: 2, high: 8, step: 2}
        schedule: [{name: onecycle}, {name: poly, power: 0.9}]
        augment.1.RandomBrightnessContrast.p: {low: 0, high: 1}
        predict.window: [null, [64, 64]]
        """,
    )
    assert not space.defaulted
    assert space.distributions() == {
        "augment.1.RandomBrightnessContrast.p": FloatDistribution(0, 1),
        "loss.dice.weight": FloatDistribution(0, 2),
        "optim.lr": FloatDistribution(1e-4, 1e-2, log=True),
        "predict.window": CategoricalDistribution(("null", "[64, 64]")),
        "schedule": CategoricalDistribution(
            ('{"name": "onecycle"}', '{"name": "poly", "power": 0.9}')
        ),
        "train.batch_size": IntDistribution(2, 8, step=2),
    }
    config = load_model(path)
    now = {
        "optim.lr": 2e-3,
        "loss.dice.weight": 0.5,
        "train.batch_size": 4,
        "schedule": '{"name": "onecycle"}',
        "augment.1.RandomBrightnessContrast.p": 0.5,
        "predict.window": "null",
    }
    assert space.baseline(config) == now and space.outside(config) == []
    layers = read_layers(path)
    assert config_hash(trial_config(layers, space, now)) == config_hash(config)
    trial = trial_config(
        layers, space, {**now, "optim.lr": 1 / 3000, "schedule": space.knobs[3].choices[1]}
    )
    assert trial.optim.lr == 1 / 3000  # every digit
    assert (trial.schedule.name, trial.schedule.kwargs) == ("poly", {"power": 0.9})
    assert trial.loss["dice"].weight == 0.5
    lines = space.describe(config)
    assert lines[0] == "searched (6):"
    assert " ".join(lines[1].split()) == "optim.lr 0.0001 .. 0.01, log; now 0.002"
    assert " ".join(lines[3].split()) == (
        "train.batch_size 2 .. 8, whole numbers, in steps of 2; now 4"
    )


@pytest.mark.parametrize(
    ("knob", "whole"),
    [
        ("train.batch_size: {low: 2, high: 8}", True),
        ("optim.weight_decay: {low: 0, high: 1}", False),
        ("optim.weight_decay: {low: 0, high: 1, type: int}", True),
        ("optim.lr: {low: 1, high: 2, log: true}", False),
        ("train.accumulate: {low: 1, high: 16, log: true}", True),
        ("model.filters: {low: 8, high: 32}", True),
        ("model.filters: {low: 8.0, high: 32}", False),
        ("loss.focal.gamma: {low: 1, high: 3}", False),
        ("augment.0.HorizontalFlip.p: {low: 0, high: 1}", False),
    ],
)
def test_whole_numbers_or_fractions(
    path: Path, competition: Competition, knob: str, whole: bool
) -> None:
    (made,) = space_of(path, competition, knob).knobs
    assert made.whole is whole
    assert isinstance(made.distribution(), IntDistribution) is whole


def test_a_short_loss_weight_keeps_its_arguments(path: Path, competition: Competition) -> None:
    path.write_text("loss: {bce: 1, focal: {weight: 1, gamma: 3}}\ntune: {loss.focal: [1, 2]}\n")
    space = read_space(path, None, competition, path.parent)
    assert space.knobs[0].path == "loss.focal"  # a list: whatever a value says
    path.write_text(
        "loss: {bce: 1, focal: {weight: 1, gamma: 3}}\ntune: {loss.focal: {low: 1, high: 2}}\n"
    )
    space = read_space(path, None, competition, path.parent)
    trial = trial_config(read_layers(path), space, {"loss.focal.weight": 1.5})
    assert (trial.loss["focal"].weight, trial.loss["focal"].kwargs) == (1.5, {"gamma": 3})


def test_defaults_are_rates_and_loss_weights(path: Path, competition: Competition) -> None:
    space = space_of(path, competition, "")
    assert space.defaulted
    assert space.distributions() == {
        "optim.lr": FloatDistribution(2e-4, 2e-2, log=True),
        "loss.dice.weight": FloatDistribution(0.05, 5, log=True),
    }
    assert "no tune: section" in space.describe()[0] and "ratio" in space.describe()[0]
    more = "model={encoder_name: resnet18}", "optim.encoder_lr=1e-4", "loss.bce=0"
    space = space_of(path, competition, "", *more)
    assert space.distributions() == {
        "optim.lr": FloatDistribution(2e-4, 2e-2, log=True),
        "optim.encoder_lr": FloatDistribution(1e-5, 1e-3, log=True),
    }  # bce weighs nothing, so dice is the one that is held
    floor = space_of(path, competition, "", "schedule={name: cosine, min_lr: 1e-3}")
    assert floor.knobs[0].low == 1e-3


def test_what_lies_outside_is_left_out_and_named(path: Path, competition: Competition) -> None:
    space = space_of(
        path,
        competition,
        """
        optim.lr: {low: 3e-3, high: 1e-2}
        optim.weight_decay: {low: 0, high: 1, step: 0.25}
        loss.focal.weight: {low: 0, high: 1}
        model.normalize: [image, dataset]
        train.batch_size: {low: 3, high: 9, step: 3}
        """,
    )
    config = load_model(path)
    assert space.baseline(config) == {}
    assert space.outside(config) == [
        "optim.lr: 0.002, which is not among 0.003 .. 0.01",
        "optim.weight_decay: 0.01, which is not among 0 .. 1, in steps of 0.25",
        "loss.focal.weight: not set, which is not among 0 .. 1",
        "model.normalize: unit, which is not among image | dataset",
        "train.batch_size: 4, which is not among 3 .. 9, whole numbers, in steps of 3",
    ]
    assert trial_config(read_layers(path), space, {}) == config
    assert space.describe(config)[4].endswith(" unit, which lies outside")


def test_the_hash_is_of_what_is_searched(path: Path, competition: Competition) -> None:
    one = space_of(path, competition, "optim.lr: {low: 1e-4, high: 1e-2}\nloss.dice: [0.5, 1]")
    two = space_of(path, competition, "loss.dice: [0.5, 1.0]\noptim.lr: {low: 0.0001, high: 0.01}")
    three = space_of(path, competition, "optim.lr: {low: 1e-4, high: 1e-2}\nloss.dice: [1, 0.5]")
    assert one.hash != three.hash != two.hash  # Optuna numbers the values of a list
    four = space_of(path, competition, "loss.dice: [0.5, 1]\noptim.lr: {low: 1e-4, high: 1e-2}")
    assert one.hash == four.hash and one.distributions() == four.distributions()
    assert list(one.distributions()) == list(four.distributions())


def test_an_override_of_what_is_searched_is_the_untuned_value(
    path: Path, competition: Competition
) -> None:
    tune = "optim.lr: {low: 1e-4, high: 1e-2}"
    space = space_of(path, competition, tune, "optim.lr=5e-3", "train.epochs=2")
    layers = read_layers(path, ("optim.lr=5e-3", "train.epochs=2"))
    trial = trial_config(layers, space, {"optim.lr": 1e-3})
    assert (trial.optim.lr, trial.train.epochs) == (1e-3, 2)
    assert space.baseline(load_model(path, ("optim.lr=5e-3",))) == {"optim.lr": 5e-3}


def test_values_that_do_not_go_together_name_the_trial(
    path: Path, competition: Competition
) -> None:
    path.write_text("tune: {train.mode: [crop, resize], predict.window: [null, [64, 64]]}\n")
    space = read_space(path, None, competition, path.parent)
    params = {"train.mode": '"resize"', "predict.window": "[64, 64]"}
    with pytest.raises(ConfigError, match=r"predict\.window: a model of train\.mode resize"):
        trial_config(read_layers(path), space, params)
    with pytest.raises(ConfigError, match=r"not in the search space: train\.moda"):
        trial_config(read_layers(path), space, {"train.moda": "1"})


def test_the_committed_spaces_hold_their_own_config() -> None:
    root = Path(__file__).resolve().parents[2]
    found = []
    for path in sorted((root / "configs").glob("*.yaml")):
        if path.name == "competition.yaml" or (config := load_model(path)).tune is None:
            continue
        found.append(path.name)
        space = read_space(path, None, load_competition(root), root)
        assert space.outside(config) == []
    assert {"deeplab_r50.yaml", "demo_unet.yaml"} <= set(found)


# --- what is wrong


@pytest.mark.parametrize(
    ("knob", "says"),
    [
        ("optm.lr: [1, 2]", "tune.optm.lr: optm: unknown key; did you mean 'optim'?"),
        (
            "optim.lrr: [1, 2]",
            "tune.optim.lrr: unknown argument of AdamW 'lrr'; did you mean 'lr'?",
        ),
        ("train.epoks: [1, 2]", "tune.train.epoks: unknown key; did you mean 'epochs'?"),
        ("optim..lr: [1, 2]", "tune.optim..lr: expected a dotted path"),
        ("optim.lr=3: [1, 2]", "tune.optim.lr=3: expected a dotted path"),
        ("loss.dize.weight: [1, 2]", "loss.dize: unknown loss 'dize'; did you mean 'dice'?"),
        ("augment.7.Flip.p: [0, 1]", "tune.augment.7.Flip.p: no item 7 in a list of 2"),
        (
            "augment.x.Flip.p: [0, 1]",
            "tune.augment.x.Flip.p: expected the number of an item of the list, got 'x'",
        ),
        (
            "augment.0.HorizontalFlip.p: {low: 0, high: 3}",
            "tune.augment.0.HorizontalFlip.p: high 3: augment[0] HorizontalFlip: p: "
            "Input should be less than or equal to 1, got 3.0",
        ),
        (
            "optim.weight_decay: {low: -1, high: 1}",
            "tune.optim.weight_decay: low -1: input should be greater than or equal to 0, got -1",
        ),
        (
            "optim.lr: {low: 0, high: 1}",
            "tune.optim.lr: low 0: input should be greater than 0, got 0",
        ),
        (
            "model.normalize: [unit, imge]",
            "tune.model.normalize: choice imge: input should be 'unit', 'imagenet', 'encoder', "
            "'dataset' or 'image', got 'imge'",
        ),
        (
            "model.encoder_weights: [null, 3]",
            "tune.model.encoder_weights: choice 3: input should be a valid string, got 3",
        ),
        (
            "schedule: [{name: cosine}, {name: pply}]",
            'tune.schedule: choice {"name": "pply"}: schedule.name: unknown schedule \'pply\'; '
            "did you mean 'poly'?",
        ),
        (
            "schedule.name: [cosine, cosyne]",
            "tune.schedule.name: choice cosyne: unknown schedule 'cosyne'; did you mean 'cosine'?",
        ),
        ("optim.lr: [1e-3, 0.001]", "tune.optim.lr: choice 0.001 is there twice; drop one"),
        (
            "schedule: [{name: cosine}, {name: cosine, warmup_epochs: 0}]",
            'tune.schedule: choice {"name": "cosine", "warmup_epochs": 0} is there twice; drop one',
        ),
        (
            "train.hang_seconds: {low: 3, high: 50}",
            "tune.train.hang_seconds: changes nothing of how the model is trained; drop this line",
        ),
        (
            "train.epochs: {low: 3, high: 5}",
            "tune.train.epochs: is the same in all trials: trials are compared at the same epoch",
        ),
        (
            "train.seed: [1, 2]",
            "tune.train.seed: is the same in all trials: noise is measured by confirming",
        ),
        (
            "train: [{epochs: 4}, {epochs: 5}]",
            'tune.train: choice {"epochs": 5}: makes train.epochs 5 instead of 4',
        ),
        (
            "data.root: [a, b]",
            "tune.data.root: data belongs to the competition, on which all trials are compared",
        ),
        ("metric: [a, b]", "tune.metric: metric belongs to the competition"),
        ("tune.x: [1, 2]", "tune.tune.x: tune is no part of the model; drop this line"),
    ],
)
def test_a_mistake_is_named(path: Path, competition: Competition, knob: str, says: str) -> None:
    found = problems(path, competition, knob)
    assert says in found[0] and len(found) == 1, found


def test_paths_inside_each_other(path: Path, competition: Competition) -> None:
    tune = """
        schedule.name: [cosine, poly]
        schedule: [{name: cosine}, {name: onecycle}]
        loss.dice: {low: 0, high: 1}
        loss.dice.weight: {low: 0, high: 1}
        optim.lr: [1, 2]
        optim.lr_x: [1, 2]
        """
    found = problems(path, competition, tune)
    inside = "lies inside {}, which is searched as well; drop one of the two lines"
    assert f"tune.schedule.name: {inside.format('schedule')}" in found
    assert f"tune.loss.dice.weight: {inside.format('loss.dice')}" in found
    assert len(found) == 3 and "lr_x" in found[2]


@pytest.mark.parametrize(
    ("tune", "drop"),
    [
        ("loss.dice: {low: 0, high: 1}\nloss.bce.weight: {low: 0.1, high: 1}", "loss.bce.weight"),
        ("loss.bce: [1, 2]\nloss.dice: [1, 2]\nloss.focal: [1, 2]", "loss.bce"),
    ],
)
def test_one_loss_weight_is_held(
    path: Path, competition: Competition, tune: str, drop: str
) -> None:
    (found,) = problems(path, competition, tune)
    assert found == (
        f"tune.{drop}: every loss weight is searched, but only their ratio counts; drop this line: "
        "bce is then held at 1"
    )
    one_less = "\n".join(line for line in tune.splitlines() if not line.startswith(f"{drop}:"))
    assert len(space_of(path, competition, one_less).knobs) == tune.count("\n")


def test_a_weight_of_nothing_holds_nothing(path: Path, competition: Competition) -> None:
    (found,) = problems(path, competition, "loss.dice: {low: 0.1, high: 1}", "loss.bce=0")
    assert found.startswith("tune.loss.dice: every loss weight is searched")


def test_the_mistakes_of_config_and_space_come_together(
    path: Path, competition: Competition
) -> None:
    found = problems(
        path,
        competition,
        """
        optim.lr: {low: 2, high: 1}
        optim.lrr: [1, 2]
        loss.bce: [1, 2]
        loss.dice: [1, 2]
        """,
        "train.epoks=3",
        "optim.nme=SGD",
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "-o train.epoks=3",
        "tune.optim.lr",
        "-o optim.nme=SGD",
        "tune.optim.lrr",
        "tune.loss.bce",
    ]


def test_the_file_that_says_it_is_named(path: Path, competition: Competition) -> None:
    path.write_text(BASE + "tune: {optim.lrr: [1, 2]}\n")
    child = path.with_name("child.yaml")
    child.write_text("extends: m.yaml\ntune: {optim.foo: [1, 2]}\n")
    with pytest.raises(ConfigError) as caught:
        read_space(child, None, competition, path.parent)
    first, second = caught.value.problems
    assert first.startswith(f"{path}: tune.optim.lrr") and second.startswith(f"{child}: tune.")


def test_a_config_without_a_space_says_its_own_mistakes(
    path: Path, competition: Competition
) -> None:
    (found,) = problems(path, competition, "", "optim.lr=fast")
    assert found.startswith("-o optim.lr=fast: optim.lr: ")


def test_mistakes_found_before_come_first(path: Path, competition: Competition) -> None:
    path.write_text("optim: {lr: fast}\n")
    with pytest.raises(ConfigError) as caught:
        read_space(path, None, competition, path.parent, found_before=["metric: unknown"])
    first, second = caught.value.problems
    assert first == "metric: unknown" and "optim.lr" in second


def test_a_default_range_that_cannot_be_is_said(path: Path, competition: Competition) -> None:
    config = ModelConfig.model_validate({"schedule": {"name": "cosine", "min_lr": 1e-3}})
    path.write_text("schedule: {name: cosine, min_lr: 1e-3}\n")
    space = read_space(path, config, competition, path.parent)
    assert space.knobs == (Knob("optim.lr", 1e-3, 1e-2, log=True),)


# --- numbers and texts


@given(st.floats(1e-12, 1e12))
def test_a_fraction_reaches_yaml_with_every_digit(value: float) -> None:
    override = Knob("a", 1e-12, 1e12).override(value)
    read = parse_yaml(override.removeprefix("a="), "here")
    assert type(read) is float and read == value


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    # what YAML prints: no control characters, which no config can hold
    | st.text(st.characters(exclude_categories=("C", "Zl", "Zp"))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc1e-5.: #", min_size=1), inner),
    max_leaves=5,
)  # fmt: skip


@given(plain_values)
def test_a_choice_reaches_yaml_as_it_was(value: object) -> None:
    knob = Knob("a", choices=(as_json(value),))
    read = parse_yaml(knob.override(knob.choices[0]).removeprefix("a="), "here")
    assert json.dumps(read) == json.dumps(value)


@given(st.floats(1e-6, 1e6), st.floats(1.001, 1e3), st.floats(0, 1))
def test_rounding_stays_inside(low: float, factor: float, where: float) -> None:
    high = low * factor
    knob = Knob("a", low, high)
    value = low + where * (high - low)
    rounded = knob.round(min(value, high))
    assert low <= rounded <= high
    assert rounded == pytest.approx(value, rel=1e-3)
    assert rounded in (low, high) or float(f"{rounded:.4g}") == rounded


def test_rounding_leaves_whole_numbers_and_choices() -> None:
    space = Space((Knob("a", 1, 99999, whole=True), Knob("b", choices=("1", "2")), Knob("c", 0, 1)))
    params = {"a": 12345, "b": "1", "c": 0.123456}
    assert space.rounded(params) == {"a": 12345, "b": "1", "c": 0.1235}
    assert space.rounded({"c": 1.0}) == {"c": 1.0}
