"""The methods against plain loops and closed answers, and the choice among them on images not fitted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comp.blending import search as choosing
from comp.blending.methods import METHODS, ROUNDS, bagged, climb, coordinate, greedy, logloss
from comp.blending.objective import Objective, half, in_steps, near
from comp.blending.pool import make_pool
from comp.blending.search import Candidate, candidates, choose, fit_each, held_out_counts, shrunk

METRIC = "iou_image_mean"
TASKS = [("binary", 1), ("multilabel", 2), ("multiclass", 4)]


def objective_of(source, metric=METRIC):
    return Objective(make_pool(source), metric)


@pytest.mark.parametrize(("task", "n_classes"), TASKS)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_weights_are_integers_of_the_columns(make_source, task, n_classes, method):
    source = make_source(task, n_classes, noises=(0.5, 0.7, 0.9, 1.2))
    objective = Objective(make_pool(source).narrow(columns=(0, 2, 3)), METRIC)
    weights = METHODS[method](objective, half(objective))
    assert all(type(w) is int and w >= 0 for w in weights) and weights[1] == 0
    assert sum(weights) == 1000 or method == "uniform"
    assert weights == METHODS[method](objective, half(objective))


def test_greedy_is_the_plain_greedy(make_source):
    objective = objective_of(make_source(noises=(0.6, 0.8, 1.0)))
    picks, scores = [0, 0, 0], []
    for _ in range(ROUNDS):
        trials = [tuple(p + (c == k) for c, p in enumerate(picks)) for k in range(3)]
        found = [objective.at(trial, (0.5,)) for trial in trials]
        picks = list(trials[int(np.argmax(found))])
        scores.append((max(found), tuple(picks)))
    weights = greedy(objective, (0.5,))
    whole = [s for s, p in scores if 100 % sum(p) == 0]
    assert objective.at(weights, (0.5,)) == max(*whole, objective.at((1, 1, 1), (0.5,)))


def test_a_bag_is_of_images(make_source):
    """With one image every bag is that image: the mean of five equal searches is one of them."""
    objective = objective_of(make_source(n_images=1, noises=(0.6, 0.8, 1.0)))
    picks = [0, 0, 0]
    for _ in range(ROUNDS):
        trials = [tuple(p + (c == k) for c, p in enumerate(picks)) for k in range(3)]
        picks = list(max(trials, key=lambda trial: objective.at(trial, (0.5,))))
    assert bagged(objective, (0.5,)) == in_steps(tuple(picks))


@pytest.mark.parametrize(("task", "n_classes"), TASKS)
def test_no_small_step_lowers_the_log_loss(make_source, task, n_classes):
    objective = objective_of(make_source(task, n_classes, noises=(0.6, 0.8, 1.0)))
    found = logloss(objective, half(objective))

    def loss(weights):
        losses = []
        for pixels in objective.pool.pixels:
            q, truth = pixels.q + 0.5, pixels.truth
            if task == "multiclass":
                right = q[:, np.arange(len(truth)), truth]
            else:
                right = np.where(truth == 1, q, 256 - q)
            losses.append(-np.log(np.asarray(weights) / 1000 @ right))
        return float(np.concatenate(losses).mean())

    for a in range(3):
        for b in range(3):
            other = list(found)
            other[a], other[b] = other[a] + 50, other[b] - 50
            if a != b and other[b] >= 0:
                assert loss(found) <= loss(other) + 1e-4


def test_log_loss_finds_the_member_that_says_the_truth(make_source):
    objective = objective_of(make_source(noises=(1.5, 0.1, 1.5)))
    assert logloss(objective, (0.5,))[1] > 800


def test_a_climb_ends_where_no_step_between_two_columns_helps(make_source):
    objective = objective_of(make_source(noises=(0.6, 0.8, 1.0)))
    weights, score = climb(objective, (340, 330, 330), (0.5,))
    assert score == objective.at(weights, (0.5,))
    for a in range(3):
        for b in range(3):
            other = list(weights)
            other[a], other[b] = other[a] + 10, other[b] - 10
            if a != b and other[b] >= 0:
                assert objective.at(tuple(other), (0.5,)) <= score + 1e-9
    assert objective.at(coordinate(objective, (0.5,)), (0.5,)) >= score - 5e-3


def test_shrunk_lies_between():
    assert shrunk((1000, 0), (500, 500), 50) == (750, 250)
    assert shrunk((1000, 0, 0), (1, 1, 1), 100) == (1000, 0, 0)
    assert shrunk((1000, 0, 0), (1, 1, 1), 0) == (1, 1, 1)
    assert shrunk((1000, 0, 0), (1, 1, 1), 50) == (670, 170, 160)


def test_each_image_is_counted_by_what_was_fitted_without_its_part(make_source):
    objective = objective_of(make_source(n_images=8, noises=(0.5, 0.8, 1.2)))
    parts = np.array([0, 0, 1, 1, 2, 2, 0, 1])
    counts = held_out_counts(objective, parts)
    assert list(counts) == candidates(objective)
    for part in range(3):
        others = replace(objective, pool=objective.pool.narrow(np.flatnonzero(parts != part)))
        for one, (weights, cut) in fit_each(others, candidates(objective)).items():
            expected = objective.pool.count(weights, cut)[parts == part]
            np.testing.assert_array_equal(counts[one][parts == part], expected)
    one = Candidate("coordinate", 100, False)
    closer = near(others, half(others))
    assert fit_each(others, [one])[one] == (coordinate(closer, (0.5,)), (0.5,))


def test_groups_are_held_out_together(make_source, monkeypatch):
    objective, groups = objective_of(make_source(n_images=6)), ["a", "a", "b", "b", "c", "c"]
    fitted = []

    def spy(one, asked):
        fitted.append("".join(groups[i] for i in one.pool.images))
        return dict.fromkeys(asked, ((1, 1, 1), (0.5,)))

    monkeypatch.setattr(choosing, "fit_each", spy)
    held_out_counts(objective, None, groups)
    assert sorted(fitted) == ["aabb", "aacc", "bbcc"]


def test_the_best_held_out_is_taken_and_of_equals_the_simplest():
    plain, fitted = Candidate("uniform", 0, False), Candidate("coordinate", 100, True)
    assert choose({plain: 0.8, fitted: 0.8}) == plain
    assert choose({plain: 0.8, fitted: 0.9}) == fitted
    assert choose({plain: float("-inf"), fitted: float("-inf")}) == plain


def test_one_image_or_one_group_is_not_fitted(make_source):
    objective = objective_of(make_source(n_images=4))
    assert list(held_out_counts(objective, None, ["a"] * 4)) == [Candidate("uniform", 0, False)]
    assert choosing.search(objective, "auto", None, ["a"] * 4)[0] == (1, 1, 1)
