"""What the next trial tries: a function of what is known, near the good, far from what passed a limit."""

from __future__ import annotations

import random
from typing import Any

import pytest

from comp.tuning.sampling import SAMPLERS, draw_params, infeasible_attrs

N = 80


def space() -> dict[str, Any]:
    from optuna.distributions import FloatDistribution

    return {"a": FloatDistribution(0.0, 1.0), "b": FloatDistribution(0.0, 1.0)}


def known(limit: float | None = None, state: str = "COMPLETE", n: int = N) -> list[Any]:
    """Trials that score best where `a` is 0.9; above the limit they are infeasible."""
    from optuna.trial import TrialState, create_trial

    numbers = random.Random(0)
    trials = []
    for _ in range(n):
        params = {"a": numbers.random(), "b": numbers.random()}
        over = {} if limit is None or params["a"] < limit else {"seconds": params["a"] - limit}
        trials.append(
            create_trial(
                state=TrialState[state],
                value=-abs(params["a"] - 0.9) if state == "COMPLETE" else None,
                params=params,
                distributions=space(),
                system_attrs=infeasible_attrs(over),
            )
        )
    return trials


def draw(trials: list[Any], index: int, sampler: str = "tpe", **changes: Any) -> dict[str, Any]:
    settings = {"seed": 1, "index": index, "sampler": sampler, "n_startup": 10, **changes}
    return draw_params(trials, space(), ["maximize"], **settings)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_drawn_is_a_function_of_seed_index_and_what_is_known(sampler: str) -> None:
    trials = known()
    assert draw(trials, 5, sampler) == draw(trials, 5, sampler)
    assert draw(trials, 5, sampler) != draw(trials, 6, sampler)
    assert draw(trials, 5, sampler) != draw(trials, 5, sampler, seed=2)
    assert (draw(trials, 5, sampler) == draw(trials[::2], 5, sampler)) == (sampler == "random")


def test_tpe_goes_where_trials_were_good() -> None:
    drawn = [draw(known(), index)["a"] for index in range(10)]
    assert all(abs(a - 0.9) < 0.2 for a in drawn)
    early = [draw(known(n=9), index)["a"] for index in range(10)]
    assert early == [draw([], index)["a"] for index in range(10)]  # at random before n_startup


def test_tpe_keeps_away_from_where_a_limit_was_passed() -> None:
    drawn = [draw(known(limit=0.5), index)["a"] for index in range(10)]
    assert all(a < 0.6 for a in drawn)


def test_tpe_keeps_away_from_what_runs() -> None:
    from optuna.trial import TrialState, create_trial

    trials = known()
    alone = draw(trials, 5)
    near = {name: min(1.0, value + 1e-3) for name, value in alone.items()}
    running = create_trial(state=TrialState.RUNNING, params=near, distributions=space())
    beside = draw([*trials, running], 5)
    assert abs(beside["b"] - near["b"]) > 0.01 or abs(beside["a"] - near["a"]) > 0.01


def test_nothing_to_draw_is_nothing() -> None:
    assert draw_params([], {}, ["maximize"], seed=1, index=0, sampler="tpe", n_startup=1) == {}
