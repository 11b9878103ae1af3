"""Who is pruned: compared at the same (fold, epoch) only, and the same however often a study was started."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from comp.tuning.pruning import PRUNERS, STARTUP_TRIALS, Judge
from comp.tuning.rows import Row, Steps

STEPS = Steps((2, 0), 4)


def row(index: int, reported: dict[tuple[int, int], float], state: str = "RUNNING") -> Row:
    values = [0.5] if state == "COMPLETE" else None
    return Row(index, index, state, {}, values, 1, reported, {}, {})


def fold(number: int, values: list[float]) -> dict[tuple[int, int], float]:
    return {(number, epoch): value for epoch, value in enumerate(values, 1)}


def complete(n: int = STARTUP_TRIALS) -> list[Row]:
    """Complete trials whose second fold scores far above their first."""
    first, second = [0.1, 0.2, 0.3, 0.4], [0.6, 0.7, 0.8, 0.9]
    return [row(i, fold(2, first) | fold(0, second), "COMPLETE") for i in range(n)]


def judge(pruner: str = "median", direction: str = "maximize") -> Judge:
    return Judge(pruner, "study", direction, STEPS)


def asked(reported: dict[tuple[int, int], float], **settings: Any) -> str | None:
    rows = [*complete(), row(STARTUP_TRIALS, reported)]
    return judge(**settings).why_prune(rows, STARTUP_TRIALS)


def test_a_value_is_compared_with_those_of_its_fold_and_epoch() -> None:
    assert asked(fold(2, [0.1, 0.21])) is None  # far below every value of the other fold
    assert asked(fold(2, [0.1, 0.19])) == "pruned by median: 0.19 at fold 2, epoch 2"
    first = fold(2, [0.5] * 4)  # above every value of the other fold's first epochs
    assert asked(first | fold(0, [0.6, 0.71])) is None
    assert asked(first | fold(0, [0.6, 0.69])) == "pruned by median: 0.69 at fold 0, epoch 2"


def test_the_quartile_spares_what_the_median_prunes() -> None:
    spread = [row(i, fold(2, [0.1, 0.1 * i]), "COMPLETE") for i in range(9)]  # 0.0 to 0.8
    for value, says in ((0.25, None), (0.19, "pruned by quartile: 0.19 at fold 2, epoch 2")):
        rows = [*spread, row(9, fold(2, [0.1, value]))]
        assert judge("quartile").why_prune(rows, 9) == says
        assert judge("median").why_prune(rows, 9) is not None


def test_the_direction_is_the_metrics() -> None:
    assert asked(fold(2, [0.1, 0.19]), direction="minimize") is None
    assert asked(fold(2, [0.3, 0.21]), direction="minimize") is not None


def test_what_is_never_pruned() -> None:
    bad = fold(2, [0.0, 0.0])
    assert judge().why_prune([row(0, bad), *complete(9)[1:]], 0) is None  # the untuned config
    few = [*complete(STARTUP_TRIALS - 1), row(STARTUP_TRIALS - 1, bad)]
    assert judge().why_prune(few, STARTUP_TRIALS - 1) is None  # too few to have a median
    assert asked({}) is None
    assert asked(fold(2, [0.0])) is None  # too early
    assert asked(fold(2, [0.0] * 4) | fold(0, [0.0] * 4)) is None  # nothing is left to spare
    assert asked(fold(2, [0.2, math.nan])) is None  # its caller's to fail


def test_a_trial_pruned_later_counts_in_the_folds_that_it_finished() -> None:
    later = [
        row(i, fold(2, [0.1, 0.2, 0.3, 0.4]) | fold(0, [0.1, 0.1]), "PRUNED") for i in range(1, 9)
    ]
    rows = [complete()[0], *later, row(9, fold(2, [0.1, 0.19]))]
    assert judge().why_prune(rows, 9) is not None


def test_values_that_are_no_numbers_trouble_nobody() -> None:
    for pruner in ("median", "hyperband"):
        rows = [row(i, fold(2, [math.nan] * 4), "FAIL") for i in range(9)]
        rows += [row(9, fold(2, [math.nan, 0.3]))]
        judge(pruner).why_prune(rows, 9)


def made_up(seed: int, n: int) -> list[Row]:
    numbers = random.Random(seed)
    rows = []
    for index in range(n):
        quality = numbers.random()
        said = {(f, e): quality + numbers.gauss(0, 0.1) for f in STEPS.folds for e in range(1, 5)}
        rows.append(row(index, said, "COMPLETE"))
    return rows


def play(rows: list[Row], judge_of: Any) -> list[tuple[int, tuple[int, int] | None]]:
    """Run the trials one after another; return where each was pruned. `judge_of` is asked for each value's judge."""
    played: list[Row] = []
    found = []
    for full in rows:
        said: dict[tuple[int, int], float] = {}
        at = None
        for place, value in full.reported.items():
            said[place] = value
            if judge_of().why_prune([*played, row(full.index, dict(said))], full.index):
                at = place
                break
        played.append(row(full.index, said, "PRUNED" if at else "COMPLETE"))
        found.append((full.index, at))
    return found


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_one_judge_and_a_new_one_every_time_say_the_same(pruner: str) -> None:
    rows = made_up(7, 24)
    one = judge(pruner)
    straight = play(rows, lambda: one)
    assert straight == play(rows, lambda: judge(pruner))
    assert 4 < sum(at is not None for _, at in straight) < 24


def test_hyperbands_brackets_are_those_of_optuna_itself() -> None:
    """With one fold, the same trials are pruned at the same epochs as by optuna's own study."""
    import optuna

    steps = Steps((0,), 9)
    numbers = random.Random(1)
    quality = [numbers.random() for _ in range(30)]
    value = [[q + numbers.gauss(0, 0.2) for _ in range(9)] for q in quality]

    theirs = optuna.create_study(
        direction="maximize",
        study_name="study",
        pruner=PRUNERS["hyperband"](steps),  # type: ignore[misc]
    )
    expected: list[int | None] = []
    for index in range(30):
        trial = theirs.ask()
        expected.append(None)
        for epoch in range(1, 9):  # never after the last one
            trial.report(value[index][epoch - 1], epoch)
            if index > 0 and trial.should_prune():
                expected[index] = epoch
                break
            if index == 0:
                trial.should_prune()
        theirs.tell(
            trial,
            0.0 if expected[index] is None else None,
            state=optuna.trial.TrialState.PRUNED if expected[index] else None,
        )

    ours = Judge("hyperband", "study", "maximize", steps)
    rows: list[Row] = []
    found: list[int | None] = []
    for index in range(30):
        said: dict[tuple[int, int], float] = {}
        found.append(None)
        for epoch in range(1, 10):
            said[0, epoch] = value[index][epoch - 1]
            if ours.why_prune([*rows, row(index, dict(said))], index):
                found[index] = epoch
                break
        rows.append(row(index, said, "PRUNED" if found[index] else "COMPLETE"))
    assert found == expected
    assert len({*found}) >= 3
