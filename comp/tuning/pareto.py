"""The trials that no other beats in every objective at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comp.tuning.rows import COMPLETE, Row


def pareto_front(rows: Sequence[Row], greater_is_better: Sequence[bool]) -> list[int]:
    """Indices of the complete trials within their limits that no other one dominates, best first objective first.

    One dominates another when it is as good in every objective and better in one; of trials with the same
    values all stay. With one objective there is no front.
    """
    if len(greater_is_better) < 2:
        return []
    able = [row for row in rows if row.state == COMPLETE and row.feasible and row.values]
    able = [row for row in able if np.isfinite(row.values or ()).all()]
    if not able:
        return []
    signs = np.where(list(greater_is_better), 1.0, -1.0)
    values = np.array([row.values for row in able]) * signs
    beaten = [
        bool(((values >= own).all(1) & (values > own).any(1)).any())  # (N,) others
        for own in values
    ]
    front = [n for n, lost in enumerate(beaten) if not lost]
    front.sort(key=lambda n: (*(-values[n]), able[n].index))
    return [able[n].index for n in front]
