"""The searches: never worse than uniform on what they are fitted on, integer weights, ties towards 0.5."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comp.blending.blend import blend_counts
from comp.blending.methods import coordinate, greedy
from comp.blending.objective import (
    Objective,
    fit_thresholds,
    half,
    in_steps,
    signed_score,
    uniform,
)
from comp.blending.pixels import LEVELS
from comp.blending.pool import make_pool
from comp.blending.search import Candidate, search
from comp.metrics.scores import score_counts

TASKS = [("binary", 1), ("multilabel", 3), ("multiclass", 4)]
METRIC = {
    "binary": "iou_image_mean",
    "multilabel": "dice_dataset_macro",
    "multiclass": "iou_dataset_macro",
}


def objective_of(source, task, columns=None):
    return Objective(make_pool(source).narrow(columns=columns), METRIC[task])


@pytest.mark.parametrize(("task", "n_classes"), TASKS)
def test_never_worse_than_uniform_or_single_on_the_fitted_images(make_source, task, n_classes):
    source = make_source(task, n_classes, noises=(0.5, 0.6, 0.9, 1.3))
    objective = objective_of(source, task)
    columns, cut = (0, 1, 2, 3), half(objective)
    flat = objective.at(uniform(objective, cut), cut)
    first = greedy(objective, cut)
    second = coordinate(objective, cut)
    assert objective.at(first, cut) >= flat
    assert objective.at(second, cut) >= objective.at(first, cut)
    for column in columns:
        alone = tuple(1000 * (c == column) for c in range(4))
        assert objective.at(second, cut) >= objective.at(alone, cut)


@pytest.mark.parametrize("method", ["greedy", "coordinate"])
def test_fitted_weights_are_integers_out_of_1000(make_source, method):
    source = make_source(noises=(0.5, 0.9, 1.5, 2.0))
    weights, thresholds, score, found = search(objective_of(source, "binary", (0, 1, 3)), method)
    assert sum(weights) == 1000 and all(type(w) is int and w >= 0 for w in weights)
    assert weights[2] == 0
    assert found == method
    counts = blend_counts(source, range(6), weights, thresholds)
    assert score == pytest.approx(score_counts("iou_image_mean", counts), abs=1e-12)


def test_uniform_is_exactly_uniform(make_source):
    source = make_source()
    assert uniform(objective_of(source, "binary"), (0.5,)) == (1, 1, 1)
    assert uniform(objective_of(source, "binary", (0, 2)), (0.5,)) == (500, 0, 500)


def test_greedy_finds_the_only_good_member(make_source):
    source = make_source(noises=(3.0, 0.1, 3.0))
    weights = greedy(objective_of(source, "binary"), (0.5,))
    assert weights[1] > 500


def test_order_of_columns_hardly_changes_the_score(make_source):
    source = make_source(noises=(0.5, 0.8, 1.1))
    turned = replace(source, planes=lambda image, column: source.planes(image, 2 - column))
    scores = []
    for one in (source, turned):
        objective = objective_of(one, "binary")
        scores.append(objective.at(coordinate(objective, (0.5,)), (0.5,)))
    assert scores[0] == pytest.approx(scores[1], abs=5e-3)


@pytest.mark.parametrize(("task", "n_classes"), TASKS[:2])
def test_thresholds_equal_a_plain_loop(make_source, task, n_classes):
    source = make_source(task, n_classes)
    objective = objective_of(source, task)
    weights = (200, 300, 500)
    thresholds, score = fit_thresholds(objective, weights)
    assert thresholds is not None
    if task == "binary":
        plain = [
            score_counts(METRIC[task], blend_counts(source, range(6), weights, (t,)))
            for t in LEVELS
        ]
        assert score == pytest.approx(max(plain), abs=1e-9)
        best = [t for t, s in zip(LEVELS, plain, strict=True) if s >= max(plain) - 1e-9]
        assert abs(thresholds[0] - 0.5) == min(abs(t - 0.5) for t in best)
    for k in range(n_classes):
        for t in LEVELS[::20]:
            other = (*thresholds[:k], t, *thresholds[k + 1 :])
            assert objective.at(weights, other) <= score + 1e-9


def test_threshold_stays_at_half_when_nothing_gains(make_source):
    source = make_source(noises=(0.0, 0.0))
    thresholds, _ = fit_thresholds(objective_of(source, "binary"), (500, 500))
    assert thresholds == (0.5,)


def test_multiclass_has_no_thresholds(make_source):
    source = make_source("multiclass", 4)
    _, thresholds, _, _ = search(objective_of(source, "multiclass"), "auto")
    assert thresholds is None


def test_auto_takes_the_simplest_of_equals(make_source):
    source = make_source(noises=(0.0, 0.0))
    assert search(objective_of(source, "binary"), "auto")[3] == Candidate("uniform", 0, False)


def test_only_the_rows_are_looked_at(make_source):
    a, b = make_source(n_images=6, seed=1), make_source(n_images=6, seed=1)
    keep = {0, 1, 2}
    for image in range(6):
        if image not in keep:
            b.labels(image)[:] = np.where(b.labels(image) == 255, 255, 1 - b.labels(image) % 2)
    rows = np.array(sorted(keep))
    pools = [make_pool(source).narrow(rows) for source in (a, b)]
    found = [search(Objective(pool, "iou_image_mean"), "auto") for pool in pools]
    assert found[0] == found[1]


def test_steps_keep_the_sum():
    assert in_steps((1, 1, 1)) == (340, 330, 330)
    assert in_steps((250, 750)) == (250, 750)
    assert sum(in_steps((1,) * 7)) == 1000


def test_lower_is_better_is_turned_round(monkeypatch):
    from comp.metrics import scores

    wrong = scores.Metric("wrong_pixels", False, "", lambda c: float(c[..., 1:3].sum()))
    monkeypatch.setitem(scores.METRICS, "wrong_pixels", wrong)
    few, many = np.array([[[1, 1, 0, 0]]]), np.array([[[1, 5, 5, 0]]])
    assert signed_score("wrong_pixels", few) > signed_score("wrong_pixels", many)
    nothing = scores.Metric("nothing", True, "", lambda c: float("nan"))
    monkeypatch.setitem(scores.METRICS, "nothing", nothing)
    assert signed_score("nothing", few) == -np.inf
