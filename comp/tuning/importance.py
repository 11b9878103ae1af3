"""Which parameters mattered in a study: Optuna's PED-ANOVA importances, or in words why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comp.tuning.sampling import memory_study

LEAST_TRIALS = 10  # below, the shares are those of chance


@dataclass(frozen=True)
class Importances:
    """Shares of what parameters explain, the largest first.

    Args:
        shares: parameter -> share; they sum to 1. Empty where there are none.
        why: they are missing, in words.
        n_trials: complete trials behind them.
    """

    shares: dict[str, float] = field(default_factory=dict)
    why: str | None = None
    n_trials: int = 0


def importances(view: Any) -> Importances:
    """Importances for the first objective, over the complete trials that have every parameter.

    Args:
        view: an `optuna.Study`; it is not changed.
    """
    import optuna

    complete = view.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    names = {name for trial in complete for name in trial.params}
    trials = [t for t in complete if set(t.params) == names]
    n = len(trials)
    if n < LEAST_TRIALS:
        return Importances(
            why=f"{n} complete trials; at least {LEAST_TRIALS} are needed", n_trials=n
        )
    values = {trial.values[0] for trial in trials}
    if len(values) == 1:
        text = f"all {n} complete trials have the same value: there is nothing to explain"
        return Importances(why=text, n_trials=n)
    varied = [
        name for name in sorted(names) if len({repr(trial.params[name]) for trial in trials}) > 1
    ]
    if len(varied) < 2:
        what = f"only {varied[0]} was varied" if varied else "no parameter was varied"
        return Importances(why=f"{what}: there is nothing to compare", n_trials=n)
    first = [
        optuna.trial.create_trial(params=t.params, distributions=t.distributions, value=t.values[0])
        for t in trials
    ]
    alone = memory_study(view.directions[:1], first)
    found = optuna.importance.get_param_importances(
        alone, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=varied
    )
    shares = {**found, **{name: 0.0 for name in sorted(names) if name not in found}}
    return Importances(shares, None, n)
