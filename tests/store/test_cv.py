"""cv.json: with repeated folds each prediction is scored by itself, and an image counts once a repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.config import Tuned
from comp.metrics.scores import score_counts
from comp.plots.cv_report import render_cv, render_cv_lines
from comp.reports import earlier_selection
from comp.store import read_counts, read_run
from comp.store.cv import summarise, write_cv
from tests import fake_runs as fake


@pytest.mark.parametrize("repeated", [False, True])
def test_pooled_is_over_every_prediction(tmp_path: Path, repeated: bool) -> None:
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition, repeated=repeated)
    fake.make_run(workspace, competition, table, "net", 1.0)
    run = read_run(workspace, "net")
    assert run.cv is not None and run.complete
    ids, counts = zip(
        *(
            read_counts(workspace.fold("net", k) / "oof.none.counts.csv", 1)
            for k in range(table.n_folds)
        ),
        strict=True,
    )
    flat = [i for part in ids for i in part]
    times = 2 if repeated else 1
    assert sorted(flat) == sorted(table.ids * times)
    assert run.cv["pooled"] == score_counts("iou_image_mean", np.concatenate(counts))
    assert run.cv["n_images"] == len(table.ids)
    fold_scores = [score_counts("iou_image_mean", part) for part in counts]
    assert run.cv["mean"] == pytest.approx(np.mean(fold_scores))
    assert run.cv["std"] == pytest.approx(np.std(fold_scores, ddof=1))
    said = "Folds are repeated: 12 images, 24 predictions. Each is scored by itself"
    assert (said in render_cv(run.cv)) is repeated and (said in render_cv_lines(run.cv)) is repeated


@pytest.mark.parametrize("repeated", [False, True])
def test_folds_that_a_config_was_chosen_on(tmp_path: Path, repeated: bool) -> None:
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition, repeated=repeated)
    if repeated:
        folds = competition.folds.model_copy(update={"n_repeats": 2})
        competition = competition.model_copy(update={"folds": folds})
    fake.make_run(workspace, competition, table, "net", 1.0)
    run, folds = read_run(workspace, "net"), range(table.n_folds)
    n = table.n_splits
    tuned = Tuned(study="s", trials=9, folds=(0,), folds_hash=table.hash)
    cv = summarise(run, competition, folds, [], tuned)
    said = cv["tuned"]
    assert (
        said["same_folds"] and said["unused"] == list(range(1, n)) and said["unused_done"] == n - 1
    )
    assert said["again"] == (list(range(n, 2 * n)) if repeated else [])
    scores = [row["score"] for row in cv["folds"][1:n]]
    assert said["unused_mean"] == pytest.approx(np.mean(scores))
    assert {key: said[key] for key in tuned.model_dump()} == tuned.model_dump(mode="json")
    other = tuned.model_copy(update={"folds_hash": "other"})
    assert not summarise(run, competition, folds, [], other)["tuned"]["same_folds"]
    every = tuned.model_copy(update={"folds": tuple(folds)})
    said = summarise(run, competition, folds, [], every)["tuned"]
    assert (said["unused"], said["unused_mean"], said["again"]) == ([], None, [])
    assert "tuned" not in summarise(run, competition, folds, [])


def test_a_mark_stays_with_its_run(tmp_path: Path) -> None:
    workspace, competition = fake.make_competition(tmp_path)
    table = fake.make_folds(workspace, competition)
    fake.make_run(workspace, competition, table, "net", 1.0)
    assert earlier_selection(read_run(workspace, "net")) is None
    tuned = Tuned(study="s", trials=9, folds=(0,), folds_hash=table.hash, confirmed=(1,))
    cv = summarise(read_run(workspace, "net"), competition, range(table.n_folds), [], tuned)
    write_cv(read_run(workspace, "net"), cv)
    assert earlier_selection(read_run(workspace, "net")) == tuned
    write_cv(read_run(workspace, "net"), {**cv, "config_hash": "another"})
    assert earlier_selection(read_run(workspace, "net")) is None
