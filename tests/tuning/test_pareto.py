"""The Pareto front against its definition."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.tuning.pareto import pareto_front
from comp.tuning.rows import COMPLETE, FAIL, Row


def row(index: int, values: list[float] | None, state: str = COMPLETE, over: bool = False) -> Row:
    return Row(index, index, state, {}, values, 1, {}, {}, {"seconds": 1.0} if over else {})


def test_the_front_of_score_and_seconds() -> None:
    rows = [
        row(0, [0.7, 10.0]),
        row(1, [0.8, 20.0]),
        row(2, [0.75, 20.0]),  # beaten by 1
        row(3, [0.8, 20.0]),  # the same as 1
        row(4, [0.9, 5.0], over=True),
        row(5, None, FAIL),
        row(6, [math.nan, 1.0]),
        row(7, [0.6, 9.0]),
    ]
    assert pareto_front(rows, (True, False)) == [1, 3, 0, 7]
    assert pareto_front(rows[5:7], (True, False)) == []
    assert pareto_front([row(0, [0.7]), row(1, [0.8])], (True,)) == []


values = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(values, st.tuples(st.booleans(), st.booleans()))
@settings(max_examples=60, deadline=None)
def test_by_its_definition(pairs: list[tuple[int, int]], up: tuple[bool, bool]) -> None:
    front = pareto_front([row(n, [*map(float, pair)]) for n, pair in enumerate(pairs)], up)
    signed = [tuple(np.where(up, pair, np.negative(pair))) for pair in pairs]

    def beaten(own: tuple[int, ...]) -> bool:
        return any(o != own and all(a >= b for a, b in zip(o, own, strict=True)) for o in signed)

    assert sorted(front) == [n for n, own in enumerate(signed) if not beaten(own)]
