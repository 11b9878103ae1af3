"""Importances of a study, and in words why there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from comp.tuning.importance import LEAST_TRIALS, importances
from comp.tuning.sampling import memory_study

SPACE = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "p": FloatDistribution(0, 1),
    "fixed": IntDistribution(3, 3),
}


def view(n: int, directions: tuple[str, ...] = ("maximize",), same: bool = False) -> Any:
    """A study where lr alone matters; the untuned trial lacks p, and one was pruned."""
    rng = np.random.default_rng(0)
    up = 1 if directions[0] == "maximize" else -1
    trials = []
    for index in range(n + 1):
        params = {"lr": float(10 ** rng.uniform(-4, -2)), "p": float(rng.uniform()), "fixed": 3}
        value = 0.5 if same else -up * abs(np.log10(params["lr"]) + 3)
        if index == 0:
            del params["p"]
        trials.append(
            optuna.trial.create_trial(
                params=params,
                distributions={name: SPACE[name] for name in params},
                values=[value, *(rng.uniform() for _ in directions[1:])],
            )
        )
    trials.append(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED))
    return memory_study(directions, trials)


@pytest.mark.parametrize("directions", [("maximize",), ("minimize",), ("maximize", "minimize")])
def test_what_matters_comes_first(directions: tuple[str, ...]) -> None:
    found = importances(view(40, directions))
    assert next(iter(found.shares)) == "lr" and found.shares["lr"] > 0.8
    assert found.shares["fixed"] == 0 and set(found.shares) == set(SPACE)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert (found.why, found.n_trials) == (None, 40)


def test_why_there_are_none() -> None:
    few = importances(view(LEAST_TRIALS - 1))
    assert few.shares == {} and few.why == "9 complete trials; at least 10 are needed"
    assert importances(view(LEAST_TRIALS)).shares
    flat = importances(view(20, same=True))
    assert flat.why == "all 20 complete trials have the same value: there is nothing to explain"
    lone = memory_study(["maximize"], [])
    for n in range(12):
        trial = optuna.trial.create_trial(
            params={"lr": 5e-4 * (n + 1)}, distributions={"lr": SPACE["lr"]}, value=n
        )
        lone.add_trial(trial)
    assert importances(lone).why == "only lr was varied: there is nothing to compare"
