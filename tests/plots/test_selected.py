"""The mark of a tuned config, from values shaped like cv.json."""

from __future__ import annotations

from typing import Any

import pytest

from comp.plots.cv_report import render_cv, render_cv_lines
from comp.plots.selected import selected_on
from tests.plots.test_cv_report import fold, report

SAID: dict[str, Any] = {
    "study": "m_1",
    "trials": 30,
    "folds": [0, 1],
    "folds_hash": "f01d",
    "same_folds": True,
    "unused": [2, 3, 4],
    "unused_done": 3,
    "unused_mean": 0.70999,
    "again": [],
}
HEAD = "selected on these folds: 0, 1 (study m_1, 30 trials): their scores flatter"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, f"{HEAD}; not used for tuning: folds 2, 3, 4, mean 0.7100"),
        (
            {"unused_done": 1},
            f"{HEAD}; not used for tuning: folds 2, 3, 4 (1 of 3 done), mean 0.7100",
        ),
        (
            {"unused": [2], "unused_done": 0, "unused_mean": None},
            f"{HEAD}; not used for tuning: fold 2 (0 of 1 done)",
        ),
        (
            {"confirmed": [2, 3, 4]},
            f"{HEAD}; not used in the search: folds 2, 3, 4, mean 0.7100 (the best of the confirmed trials "
            "was chosen on 2, 3, 4)",
        ),
        ({"confirmed": [0]}, f"{HEAD}; not used for tuning: folds 2, 3, 4, mean 0.7100"),
        ({"unused": [], "unused_mean": None}, f"{HEAD}; no fold is free of the choice"),
        (
            {"again": [5, 6]},
            f"{HEAD}; not used for tuning: folds 2, 3, 4, mean 0.7100; folds 5, 6 hold the same images "
            "again",
        ),
        (
            {"same_folds": False, "folds_hash": "01d"},
            "selected on other folds (study m_1, 30 trials): its folds 0, 1 were of folds file 01d, these "
            "are of f01d; every image may have had a part in the choice, so every score may flatter",
        ),
    ],
)
def test_the_mark(more: dict[str, Any], says: str) -> None:
    cv = report(folds=[fold(k, 0.7) for k in range(5)], n_folds=5, tuned={**SAID, **more})
    assert selected_on(cv) == says
    assert f"**{says}**" in render_cv(cv)
    assert says in render_cv_lines(cv).splitlines()


def test_an_untuned_run_has_none() -> None:
    assert selected_on(report()) == ""
    assert "selected" not in render_cv(report()) + render_cv_lines(report())
