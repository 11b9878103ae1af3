"""`tune` and `tuned`: mistakes are told with their key, and neither makes another model."""

from __future__ import annotations

from pathlib import Path

import pytest

from comp.config import config_hash, differences, load_model, resolved
from comp.config.tune import on_grid
from comp.errors import ConfigError


def problems(path: Path, knob: str) -> list[str]:
    path.write_text(f"tune:\n  optim.lr: {knob}\n")
    with pytest.raises(ConfigError) as caught:
        load_model(path)
    head = f"{path}: tune.optim.lr"
    assert all(problem.startswith(head) for problem in caught.value.problems)
    return [problem.removeprefix(head) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("knob", "says"),
    [
        ("3", "expected {low: 1e-4, high: 1e-2, log: true}, or a list of values; got 3"),
        ("", "got None"),
        ("{low: 1e-3}", "high missing"),
        ("{}", "low and high missing"),
        ("{low: 2, high: 1}", "empty range: expected low < high, got low 2, high 1"),
        ("{low: 1, high: 1}", "empty range"),
        ("{low: 0, high: 1, log: true}", "log: true needs low > 0, got 0"),
        ("{low: a, high: 1}", ".low: expected a number, got 'a'"),
        ("{low: true, high: 2}", ".low: expected a number, got True"),
        ("{low: 0, high: .inf}", ".high: expected a number, got inf"),
        ("{low: 0, high: .nan}", ".high: expected a number, got nan"),
        ("{low: 0, high: 10, step: 3}", "does not meet high 10; take high 9 or 12"),
        ("{low: 0, high: 10, step: 11}", "step 11 is wider than the range 0 .. 10"),
        ("{low: 0, high: 10, step: 0}", "step: expected more than 0, got 0"),
        ("{low: 1, high: 4, step: 1, log: true}", "either log: true or a step, got both"),
        ("{low: 0.5, high: 4, type: int}", "type: int needs a whole low, got 0.5"),
        ("{low: 1, high: 4, kind: int}", ".kind: unknown key"),
        ("{low: 1, high: 4, lag: true}", ".lag: unknown key; did you mean 'log'?"),
        ("[1e-3]", "expected at least two values to choose among, got [0.001]"),
        ("[]", "expected at least two values to choose among, got []"),
        ("[1, 2020-01-01]", "got datetime.date(2020, 1, 1)"),
        ("[1, .inf]", "got inf"),
        ("{choices: [1, 2], log: true}", "either choices or a range, got choices and log"),
        ("{momentum: {low: 1, high: 2}}", "a path is written whole"),
    ],
)
def test_what_cannot_be_searched_is_said(tmp_path: Path, knob: str, says: str) -> None:
    (problem,) = problems(tmp_path / "x.yaml", knob)
    assert says in problem


def test_the_mistakes_of_one_range_come_together(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "x.yaml", "{low: 0, high: -0.5, log: true, type: int}")
    assert "empty range" in problem and "low > 0" in problem and "whole high" in problem


def test_nothing_to_search_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("tune: {}\n")
    with pytest.raises(ConfigError, match=r"tune: .*at least 1 item"):
        load_model(tmp_path / "x.yaml")


def test_bounds_keep_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("tune: {a.b: {low: 1, high: 2.0}, c: [1e-3, {p: [1]}]}\n")
    tune = load_model(tmp_path / "x.yaml").tune
    assert tune is not None
    assert (type(tune["a.b"].low), type(tune["a.b"].high)) == (int, float)
    assert tune["c"].choices == (1e-3, {"p": [1]})


@pytest.mark.parametrize(
    "more",
    [
        "tune: {optim.lr: {low: 1e-4, high: 1e-2}}\n",
        "tuned: {study: a, trials: 3, folds: [0, 1], folds_hash: f01d}\n",
    ],
)
def test_a_run_stays_the_same_run(tmp_path: Path, more: str) -> None:
    (tmp_path / "a.yaml").write_text("optim: {lr: 1e-3}\n")
    (tmp_path / "b.yaml").write_text("optim: {lr: 1e-3}\n" + more)
    plain, marked = load_model(tmp_path / "a.yaml"), load_model(tmp_path / "b.yaml")
    assert plain != marked
    assert config_hash(plain) == config_hash(marked)
    assert differences(resolved(plain), resolved(marked)) == []
    # config.json of runs that were made before says `tune: null`, and nothing of `tuned`
    assert resolved(marked)["tune"] is None and "tuned" not in resolved(marked)


def test_a_wrong_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("tuned: {study: a, trials: 0, folds: [], hash: b}\n")
    with pytest.raises(ConfigError) as caught:
        load_model(tmp_path / "x.yaml")
    text = str(caught.value)
    for key in ("tuned.trials", "tuned.folds:", "tuned.folds_hash: missing", "tuned.hash: unknown"):
        assert key in text


@pytest.mark.parametrize(("value", "fits"), [(0.3, True), (0.1 + 0.2, True), (0.35, False)])
def test_steps_forgive_what_decimals_lose(value: float, fits: bool) -> None:
    assert on_grid(0.0, value, 0.1) is fits
