"""What the next trial tries: Optuna's samplers, asked in memory and seeded by (seed, logical index).

So the answer is a function of what is known of the other trials, never of a sampler's state or of how often
a study was started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comp.data.samples.sampling import derive


def draw_params(
    known: Sequence[Any],
    distributions: Mapping[str, Any],
    directions: Sequence[str],
    *,
    seed: int,
    index: int,
    sampler: str,
    n_startup: int,
) -> dict[str, Any]:
    """Return the parameters of trial `index`.

    Args:
        known: Optuna's frozen trials with whole parameters, in the order of their index: finished ones as they are,
            running ones as RUNNING, so that nothing near them is tried (constant liar).
        n_startup: drawn at random before so many are complete or pruned.
    """
    made = SAMPLERS[sampler](derive(seed, index) % 2**32, n_startup)
    study = memory_study(directions, known, sampler=made)
    return dict(study.ask(dict(distributions)).params)


def memory_study(directions: Sequence[Any], trials: Sequence[Any], **kwargs: Any) -> Any:
    """An Optuna study in memory that holds these frozen trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=[*directions], **kwargs)
    study.add_trials(trials)
    return study


def infeasible_attrs(over: Mapping[str, float]) -> dict[str, Any]:
    """What a trial's system attributes must hold for samplers to know the limits that it passed."""
    from optuna.trial import TrialState, create_trial

    if not over:
        return {}
    return dict(create_trial(state=TrialState.FAIL, constraints=dict(over)).system_attrs)


def make_tpe(seed: int, n_startup: int) -> Any:
    """Tree-structured Parzen estimators; all parameters of one objective are modelled together."""
    import optuna

    return optuna.samplers.TPESampler(n_startup_trials=n_startup, seed=seed)


def make_random(seed: int, n_startup: int) -> Any:
    """Drawn evenly, whatever is known."""
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int, int], Any]] = {"tpe": make_tpe, "random": make_random}
