"""What a study was made of: opened again, refused where it differs, loaded, joined with an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comp.errors import RunMismatchError, UsageError
from comp.tuning.opening import differences
from comp.tuning.storage import sqlite_url
from comp.tuning.study import Study
from tests.tuning.toy import META, ask, finish, toy_space


def test_another_space_or_other_folds_are_refused_with_every_difference(opened: Any) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    opened()
    space = toy_space()
    del space["depth"]
    space["optim.lr"] = FloatDistribution(1e-4, 1e-1)
    space["arch"] = CategoricalDistribution(["a", "c"])
    with pytest.raises(RunMismatchError) as caught:
        opened(distributions=space, meta={**META, "folds": [0], "epochs": 9}, seed=4)
    text = str(caught.value)
    assert text.startswith("study 'toy' in sqlite:///")
    for part in (
        "was made otherwise: ",
        "folds: [1, 0] there, [0] now",
        "epochs: 4 there, 9 now",
        "seed: 3 there, 4 now",
        "optim.lr: 1e-05..0.1 log there, 0.0001..0.1 now",
        "depth: 1..5 there, not searched now",
        "arch: one of a, b there, one of a, c now",
        "--study NAME",
    ):
        assert part in text
    assert "loss.1.weight" not in text
    assert opened("another", distributions=space).rows() == []


def test_a_difference_deep_in_the_config_is_named_by_its_path() -> None:
    then = {
        "comp": "1",
        "config": {"optim": {"lr": 1, "name": "sgd"}, "loss": [{"w": 1}, {"w": 2}]},
    }
    now = {"comp": "2", "config": {"optim": {"lr": 2, "name": "sgd"}, "loss": [{"w": 1}, {"w": 3}]}}
    assert differences(then, now) == [
        "config.optim.lr: 1 there, 2 now",
        "config.loss.1.w: 2 there, 3 now",
    ]
    assert differences({"a": [1, 2]}, {"a": [1, 3], "b": {"c": 1}}) == [
        "a: [1, 2] there, [1, 3] now",
        'b: null there, {"c": 1} now',
    ]


def test_other_versions_are_said_not_refused(opened: Any) -> None:
    assert opened().notes == []
    (note,) = opened(meta={**META, "comp": "2.0"}).notes
    assert note.startswith("study 'toy' was begun with comp 1.0, this is 2.0")


def test_a_study_of_somebody_elses_is_left_alone(opened: Any, quick: Path) -> None:
    import optuna

    url = sqlite_url(quick / "study.db")
    theirs = optuna.create_study(storage=url, study_name="toy")
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(UsageError, match=r"'toy' in sqlite:.* was not made by `comp tune`"):
        opened()
    assert len(theirs.trials) == 1


def test_a_study_whose_maker_died_between_two_writes_is_made_to_its_end(
    opened: Any, quick: Path
) -> None:
    import optuna

    optuna.create_study(
        storage=sqlite_url(quick / "study.db"), study_name="toy", direction="maximize"
    )
    finish(opened(), 2)
    assert len(opened().rows()) == 2


def test_load_opens_what_is_there_and_names_what_is_not(opened: Any, quick: Path) -> None:
    finish(opened(), 3)
    url = sqlite_url(quick / "study.db")
    loaded = Study.load(url, "toy")
    assert loaded.distributions == toy_space()
    assert len(loaded.rows()) == 3
    loaded.close()
    with pytest.raises(UsageError, match=r"no study 'toys' in sqlite:.*; it holds: toy"):
        Study.load(url, "toys")


def test_optuna_itself_reads_the_study(opened: Any, quick: Path) -> None:
    import optuna

    finish(opened(), 6, lambda asked: asked.index / 10)
    study = optuna.load_study(study_name="toy", storage=sqlite_url(quick / "study.db"))
    assert study.best_trial.user_attrs["index"] == 5
    assert study.user_attrs["comp"]["metric"] == "iou"
    assert not [t for t in study.trials if t.state.name == "RUNNING"]


def test_an_earlier_studys_trials_are_known_to_the_sampler_once(opened: Any) -> None:
    earlier, study, without = opened("earlier"), opened("later"), opened("without")
    finish(earlier, 6, lambda asked: -abs(asked.params["loss.1.weight"] - 0.9))
    assert study.add_history(earlier) == 5  # not the untuned one, which lacks a parameter
    assert study.add_history(earlier) == 0
    assert study.rows() == []
    drawn = []
    for each in (study, without):
        ask(each)
        drawn.append(ask(each).params)
    assert drawn[0] != drawn[1]  # five are more than n_startup
    assert [row.index for row in study.rows()] == [0, 1]


def test_history_of_another_space_or_metric_is_refused(opened: Any) -> None:
    space = {**toy_space(), "more": toy_space()["depth"]}
    other = opened("other", distributions=space, meta={**META, "metric": "dice", "folds": [2]})
    with pytest.raises(RunMismatchError) as caught:
        opened().add_history(other)
    text = str(caught.value)
    assert text.startswith("study 'other' in sqlite:")
    assert 'metric: "dice" there, "iou" now' in text
    assert "more: 1..5 there, not searched now" in text
    assert "folds" not in text  # other folds are allowed
