"""cv.json: with repeated folds each prediction is scored by itself, and an image counts once a repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.metrics.scores import score_counts
from comp.plots.cv_report import render_cv, render_cv_lines
from comp.store import read_counts, read_run
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
