"""Seconds an image of a run's views: as measured, or from the time of all where one set was stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comp.store import Run, write_csv
from comp.store.price import SECONDS, seconds_an_image
from comp.store.probs import INDEX_COLUMNS


def make_run(root: Path, *results: dict[str, Any]) -> Run:
    """Folds of four images, and six test images, that were predicted with the views d4."""
    folds = {}
    for fold, said in enumerate(results):
        files = {}
        for kind, n in (("oof", 4), ("test", 6)):
            name = f"{kind}.d4.csv"
            rows = [(f"i{i}", 1, 2, 2, 4 * i) for i in range(n)]
            files[name] = {"sha256": ""}
            write_csv(root / f"fold{fold}" / name, INDEX_COLUMNS, rows)
        folds[fold] = {"views": {"d4": {}}, "files": files, **said}
    return Run("a", root, {}, "hash", folds)


def test_measured_seconds_are_taken_as_a_mean_over_folds(tmp_path):
    measured = [{SECONDS: {"none": 0.1, "d4": s}, "seconds_predict": 99} for s in (0.7, 0.9)]
    run = make_run(tmp_path, *measured)
    assert seconds_an_image(run, "d4") == pytest.approx(0.8)
    assert seconds_an_image(run, "none") == pytest.approx(0.1)


def test_of_an_older_fold_the_time_of_all_its_images_tells(tmp_path):
    run = make_run(tmp_path, {"seconds_predict": 5.0}, {SECONDS: {"d4": 0.3}})
    assert seconds_an_image(run, "d4") == pytest.approx((5 / 10 + 0.3) / 2)


@pytest.mark.parametrize(
    "said", [{}, {"seconds_predict": 5.0, "views": {"none": {}, "d4": {}}}, {SECONDS: None}]
)
def test_what_was_not_measured_is_not_known(tmp_path, said):
    assert seconds_an_image(make_run(tmp_path, {SECONDS: {"d4": 0.3}}, said), "d4") is None
