"""The honest rule: a simpler answer stands unless a richer one beats it by one standard error.

All three are compared on images that they were not chosen on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comp.blending.crossfit import CrossFit, Fit, paired_error
from comp.blending.search import signed_score


@dataclass(frozen=True)
class Gain:
    """How much better one answer scores than another (positive is better, whatever the metric's direction)."""

    value: float
    error: float

    @property
    def clear(self) -> bool:
        """At least one standard error, and more than nothing."""
        return bool(np.isfinite(self.error)) and self.value > 0 and self.value >= self.error

    def say(self) -> str:
        """``+0.0031 +- 0.0012``."""
        return f"{self.value:+.4f} ± {self.error:.4f}"


@dataclass(frozen=True)
class Choice:
    """What is used, and why.

    Args:
        kind: fitted, uniform or single.
        fit: chosen on all images.
        gains: "fitted over uniform", "fitted over single", "uniform over single" where they exist.
    """

    kind: str
    fit: Fit
    reason: str
    gains: dict[str, Gain]


def choose(
    result: CrossFit, metric: str, names: Sequence[str], groups: Sequence[str] | None = None
) -> Choice:
    """Take the fitted blend, the uniform blend or the best single member.

    Args:
        names: one a column, for the reason.
        groups: (N,) as in `paired_error`.
    """

    def gain(a: np.ndarray, b: np.ndarray) -> Gain:
        value = signed_score(metric, a) - signed_score(metric, b)
        return Gain(value, paired_error(metric, a, b, groups))

    best = result.single_fit.columns[0]
    single = result.single
    several = len(result.uniform_fit.columns) > 1
    gains: dict[str, Gain] = {}
    if several:
        gains["uniform over single"] = gain(result.uniform, single)
    if result.cross_fitted is not None:
        if several:
            gains["fitted over uniform"] = gain(result.cross_fitted, result.uniform)
        gains["fitted over single"] = gain(result.cross_fitted, single)
    over_single, over_uniform = gains.get("fitted over single"), gains.get("fitted over uniform")
    label = f"the best single ({names[best]})"
    if over_single is None:
        said = "nothing could be held out, so fitted weights cannot be judged"
    elif over_single.clear and (over_uniform is None or over_uniform.clear):
        said = f"cross-fitted, the fitted blend gains {over_single.say()} over {label}"
        if over_uniform is not None:
            said += f" and {over_uniform.say()} over uniform"
        return Choice("fitted", result.fit, f"{said}: at least one standard error", gains)
    else:
        weak = [
            f"{g.say()} over {what}"
            for g, what in ((over_uniform, "uniform"), (over_single, label))
            if g is not None and not g.clear
        ]
        said = (
            f"cross-fitted, the fitted blend scores {' and '.join(weak)}: "
            "not one standard error better, so the simpler one is used"
        )
    plain = gains.get("uniform over single")
    beats_single = over_single is not None and over_single.clear
    if plain is not None and (plain.clear or beats_single):
        tail = f"uniform gains {plain.say()} over {label}"
        return Choice("uniform", result.uniform_fit, f"{said}; {tail}", gains)
    if plain is not None:
        said += f"; uniform scores {plain.say()} over {label}"
    return Choice("single", result.single_fit, f"{said}; {label} at threshold 0.5 is used", gains)
