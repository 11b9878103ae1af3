"""A study in one process: rows, attempts, retries, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from comp.tuning.rows import Asked
from comp.tuning.storage import sqlite_url
from comp.tuning.study import Study
from tests.tuning.toy import (
    EPOCHS,
    FOLDS,
    NOBODY,
    UNTUNED,
    ask,
    finish,
    open_toy,
    run_trial,
    table,
    toy_space,
)


def test_trial_0_is_the_untuned_config_and_may_lack_what_it_does_not_say(opened: Any) -> None:
    study = opened(untuned={**UNTUNED, "optim.lr": 5.0})  # above the space
    asked = ask(study)
    assert (asked.index, asked.attempt, asked.stop) == (0, 1, None)
    assert asked.params == {"loss.1.weight": 0.5, "arch": "a"}
    assert ask(study).params.keys() == toy_space().keys()


def test_a_trial_that_lacks_parameters_does_not_narrow_what_is_searched(opened: Any) -> None:
    study = opened(n_startup=2)
    finish(study, 8, lambda asked: asked.params.get("depth", 9) / 10)
    assert [len(trial.params) for trial in study.view().trials] == [4] * 7  # all but trial 0
    assert all(row.params.keys() == toy_space().keys() for row in study.rows()[1:])


def test_rows_say_what_was_told(opened: Any) -> None:
    study = opened()
    asked = ask(study)
    for fold in FOLDS:
        study.report(asked, fold, 2, 0.25 + fold)
    assert study.rows()[0].state == "RUNNING"
    scores = {"1": 1.25, "0": 0.25}
    assert study.tell(asked, [0.75], "COMPLETE", seconds=2.5, peak_bytes=7, scores=scores) is None
    other = ask(study)
    study.report(other, 1, 1, 0.5)
    study.tell(other, None, "PRUNED")
    study.tell(ask(study), None, "FAIL", error="worker killed by signal 9")
    done, pruned, failed = study.rows()
    assert (done.state, done.value, done.seconds, done.peak_bytes) == ("COMPLETE", 0.75, 2.5, 7)
    assert done.attrs["scores"] == scores
    assert list(done.reported.items()) == [((1, 2), 1.25), ((0, 2), 0.25)]  # in the folds' order
    assert (pruned.state, pruned.pruned_at, pruned.value) == ("PRUNED", (1, 1), None)
    assert (failed.state, failed.error, failed.feasible) == (
        "FAIL",
        "worker killed by signal 9",
        True,
    )
    assert [row.attempts for row in study.rows()] == [1, 1, 1]


def test_there_are_as_many_indices_as_asked_for_and_more_when_more_are(opened: Any) -> None:
    study = opened()
    finish(study, 3)
    assert study.next(3) is None
    running = ask(study, 4)
    assert running.index == 3
    assert study.next(4) is None  # done or running
    assert ask(study, 5).index == 4


def test_params_are_a_function_of_seed_and_index(opened: Any) -> None:
    def drawn(name: str, seed: int, n: int) -> list[dict[str, Any]]:
        study = opened(name, seed=seed)
        finish(study, n, lambda asked: -abs(asked.params["loss.1.weight"] - 0.2))
        return [row.params for row in study.rows()]

    one, two, other = drawn("one", 3, 7), drawn("two", 3, 7), drawn("other", 4, 3)
    assert one == two
    assert one[0] == other[0]
    assert all(a != b for a, b in zip(one[1:3], other[1:], strict=True))
    assert len({tuple(params.items()) for params in one}) == 7


def test_a_trial_cut_short_is_tried_again_with_its_index_params_and_values(
    opened: Any, mortal: Any
) -> None:
    study = opened()
    finish(study, 2)
    dead = mortal(opened)
    cut = ask(dead)
    dead.report(cut, 1, 1, 0.4)
    asked = ask(study)
    assert (asked.index, asked.attempt) == (cut.index, 2) == (2, 2)
    assert asked.number != cut.number
    assert asked.params == cut.params
    assert asked.reported == {(1, 1): 0.4}
    assert study.rows()[2].attempts == 2
    assert ask(study).index == 3  # and no third attempt
    stale = study._table.trials()[cut.number]
    assert stale.state.name == "FAIL"
    assert stale.user_attrs["stale"].startswith(f"pid {NOBODY} on ")


def test_the_one_thought_dead_is_told_so_and_changes_nothing(opened: Any, mortal: Any) -> None:
    dead = mortal(opened)
    cut = ask(dead)
    study = opened()
    again = ask(study)
    assert dead.report(cut, 1, 1, 0.9) == study.report(cut, 1, 1, 0.9)
    assert "another process runs this trial now" in str(dead.report(cut, 1, 1, 0.9))
    refused = dead.tell(cut, [0.9], "COMPLETE", seconds=1.0)
    assert refused == (
        "trial 0: another process runs this trial now: this one was thought dead; "
        "what it found is left out"
    )
    assert study.rows()[0].reported == {}
    assert study.tell(again, [0.1], "COMPLETE") is None
    assert [(row.state, row.value) for row in study.rows()] == [("COMPLETE", 0.1)]


def test_an_attempt_given_back_is_tried_again_an_error_is_not(opened: Any) -> None:
    study = opened()
    study.release(ask(study), "stopped by signal 2")
    assert study.rows()[0].state == "STALE"
    asked = ask(study)
    assert (asked.index, asked.attempt) == (0, 2)
    study.tell(asked, None, "FAIL", error="out of memory")
    assert ask(study).index == 1
    assert [row.state for row in study.rows()] == ["FAIL", "RUNNING"]


def test_a_value_is_stored_once(opened: Any) -> None:
    study = opened()
    asked = ask(study)
    for value in (0.4, 0.6):  # said again by a trial that was resumed
        study.report(asked, 1, 1, value)
    study.report(asked, 1, 2, 0.5)
    study.report(asked, 1, 1, 0.7)
    assert study.rows()[0].reported == {(1, 1): 0.4, (1, 2): 0.5}


def test_cut_short_between_its_last_word_and_its_end_it_is_pruned_on_the_next_start(
    opened: Any, mortal: Any
) -> None:
    study = opened()
    while (asked := study.next(6)) is not None:
        for fold in FOLDS:
            for epoch in range(1, EPOCHS + 1):
                assert study.report(asked, fold, epoch, 0.5) is None
        study.tell(asked, [0.5], "COMPLETE")
    dead = mortal(opened)
    cut = ask(dead)
    for epoch in (1, 2):
        said = dead.report(cut, 1, epoch, 0.1)
    assert said == ask(study).stop == "pruned by median: 0.1 at fold 1, epoch 2"


def test_told_twice_counts_once(opened: Any) -> None:
    study = opened()  # as after a lost answer
    asked = ask(study)
    assert study.tell(asked, [0.5], "COMPLETE") is None
    assert study.tell(asked, [0.5], "COMPLETE") is None
    assert [row.value for row in study.rows()] == [0.5]


def twin_of(study: Study, asked: Asked) -> Any:
    import optuna

    trial = study._table.trials()[asked.number]
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
    )


def test_of_two_attempts_at_once_one_counts_and_the_other_is_ended(opened: Any) -> None:
    study = opened()
    first = ask(study)
    study._table.add(
        twin_of(study, first)
    )  # as Optuna does when the answer to a first try was lost
    assert len(study.rows()) == 1
    assert ask(study).index == 1  # looks after the others
    assert [t.state.name for t in study._table.trials()] == ["FAIL", "RUNNING", "RUNNING"]
    assert "another process" in str(study.tell(first, [0.5], "COMPLETE"))

    second = ask(study, 3)
    study.tell(second, [0.25], "COMPLETE")
    study._table.add(twin_of(study, second))
    assert study.rows()[2].values == [0.25]
    assert study.next(3) is None
    assert [t.state.name for t in study._table.trials()][-2:] == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_fails_the_trial(opened: Any, value: float) -> None:
    study = opened()
    asked = ask(study)
    assert study.report(asked, 1, 1, value) is None
    study.tell(asked, [value], "COMPLETE")
    assert study.rows()[0].state == "FAIL"
    assert study.rows()[0].error == f"the value is not finite: [{value}]"
    finish(study, 12)  # neither the sampler nor the pruner minds


def test_limits_that_were_passed_are_the_samplers_to_know(opened: Any) -> None:
    study = opened(untuned=None)
    study.tell(ask(study), [1.0], "COMPLETE", over={"peak_bytes": 2.5, "seconds": 1.0})
    study.tell(ask(study), None, "PRUNED", over={"seconds": 3.0})
    study.tell(ask(study), [1.0], "COMPLETE")
    assert [row.over for row in study.rows()] == [
        {"peak_bytes": 2.5, "seconds": 1.0},
        {"seconds": 3.0},
        {},
    ]
    assert [row.feasible for row in study.rows()] == [False, False, True]
    assert [trial.constraints for trial in study.view().trials] == [r.over for r in study.rows()]


def test_several_objectives_are_never_pruned(opened: Any) -> None:
    study = opened(directions=["maximize", "minimize"])
    while (asked := study.next(14)) is not None:
        assert study.report(asked, 1, 1, -asked.index) is None
        assert study.tell(asked, [asked.params["loss.1.weight"], 2.0], "COMPLETE") is None
    assert study.rows()[3].values == [study.rows()[3].params["loss.1.weight"], 2.0]


@pytest.mark.parametrize("pruner", ["median", pytest.param("hyperband", marks=pytest.mark.slow)])
def test_cut_short_at_every_trial_the_table_is_that_of_an_uninterrupted_study(
    opened: Any, mortal: Any, quick: Path, pruner: str
) -> None:
    """Every trial loses its parent after one more report than the trial before it."""
    (quick / "a").mkdir()
    straight = opened("toy", pruner=pruner)
    while (asked := straight.next(10)) is not None:
        run_trial(straight, asked, quick / "a")
    expected = table(straight)
    assert any(state == "PRUNED" for _, _, state, *_ in expected)

    (quick / "b").mkdir()
    url = sqlite_url(quick / "b" / "study.db")
    for start in range(10):
        study = mortal(lambda: open_toy(url, pruner=pruner))
        while (asked := study.next(10)) is not None:
            if asked.index == start and asked.attempt == 1:
                places = [(fold, epoch) for fold in FOLDS for epoch in range(1, EPOCHS + 1)]
                for place in places[: 1 + start % len(places)]:
                    at = expected[start][5]
                    if (
                        place in at
                    ):  # it was pruned there: what it said last is judged on the next start
                        study.report(asked, *place, at[place])
                break
            run_trial(study, asked, quick / "b")
        study.close()
    last = open_toy(url, pruner=pruner)
    while (asked := last.next(10)) is not None:
        run_trial(last, asked, quick / "b")
    assert table(last) == expected
    assert max(row.attempts for row in last.rows()) >= 2
    last.close()
