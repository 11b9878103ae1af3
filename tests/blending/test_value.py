"""Leaving members out, and where they err together: against plain loops over whole images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comp.blending import value
from comp.blending.crossfit import cross_fit
from comp.blending.judged import Named, judge
from comp.blending.value import find_errors, leave_out, part_shares, some_rows
from comp.config import IGNORE
from comp.masks.decide import decide
from comp.metrics.scores import score_counts

METRIC = "iou_image_mean"


@pytest.mark.parametrize(
    ("task", "n_classes", "full"),
    [("binary", 1, 255), ("binary", 1, 65535), ("multilabel", 2, 255), ("multiclass", 3, 255)],
)
def test_errors_in_common_are_those_of_all_scored_pixels(make_source, task, n_classes, full):
    source = make_source(task, n_classes, full=full, noises=(0.6, 0.9, 1.2, 0.6))
    result = cross_fit(
        source, [[0], [1], [2], [3]], np.arange(6) % 2, METRIC, "uniform", clean_up=False
    )
    found = find_errors(result.pool, (0, 1, 3))
    wrong = []
    for column in (0, 1, 3):
        of_images = []
        for image in range(source.n_images):
            labels = source.labels(image)
            mask = decide(source.planes(image, column), task, full=full)
            of_images.append((mask != labels)[labels != IGNORE])
        wrong.append(np.concatenate(of_images))
    assert found.n_pixels == wrong[0].size and found.n_images == 6
    assert np.allclose(found.wrong, np.mean(wrong, axis=1), rtol=0, atol=1e-12)
    assert np.allclose(found.correlation, np.corrcoef(wrong), rtol=0, atol=1e-9)


def test_a_member_that_never_errs_has_no_correlation(make_source):
    source = make_source(noises=(0.0, 1.0))
    result = cross_fit(source, [[0], [1]], np.arange(6) % 2, METRIC, "uniform", clean_up=False)
    found = find_errors(result.pool, (0, 1))
    assert found.wrong[0] == 0 and np.isnan(found.correlation[0, 1])
    assert found.correlation[1, 1] == pytest.approx(1)


def test_without_a_member_is_the_cross_fit_of_the_others(make_source):
    source = make_source(n_images=9, noises=(0.5, 0.7, 1.0))
    parts = np.arange(9) % 3
    members = [[0, 1], [2]]
    result = cross_fit(source, members, parts, METRIC, "coordinate", clean_up=False)
    found = leave_out(source, result, members, METRIC)
    assert found is not None and found.n_images == 9
    assert result.cross_fitted is not None
    assert found.score == score_counts(METRIC, result.cross_fitted)
    for out, kept in ((0, [[2]]), (1, [[0, 1]])):
        other = cross_fit(source, kept, parts, METRIC, "coordinate", clean_up=False)
        assert other.cross_fitted is not None
        assert found.without[out] == score_counts(METRIC, other.cross_fitted)
        assert found.value[out] == pytest.approx(found.score - found.without[out])
        # images are drawn as in any bootstrap of a mean: the error is that of the paired difference
        each = [
            [score_counts(METRIC, c[i : i + 1]) for i in range(9)]
            for c in (result.cross_fitted, other.cross_fitted)
        ]
        expected = np.std(np.subtract(*each)) / 3
        assert found.error[out] == pytest.approx(expected, rel=0.1)


def test_what_was_chosen_without_a_part_is_refitted_as_it_was(make_source):
    source = make_source(n_images=9, noises=(0.5, 0.7, 1.0))
    members, parts = [[0], [1], [2]], np.arange(9) % 3
    result = cross_fit(source, members, parts, METRIC, "auto", clean_up=False)
    found = leave_out(source, result, members, METRIC)
    assert found is not None and result.cross_fitted is not None
    assert found.score == score_counts(METRIC, result.cross_fitted)  # shrunk and cut alike


def test_a_copy_adds_nothing_and_the_only_good_member_much(make_source):
    source = make_source(n_images=12, noises=(0.4, 2.0))
    planes = source.planes
    source = replace(source, n_columns=3, planes=lambda image, c: planes(image, min(c, 1)))
    members = [[0], [1], [2]]
    result = cross_fit(source, members, np.arange(12) % 3, METRIC, "coordinate")
    found = leave_out(source, result, members, METRIC)
    assert found is not None
    assert found.value[0] > 0.2 and found.value[0] > 3 * found.error[0] > 0
    for copy in (1, 2):
        assert abs(found.value[copy]) < 0.01


def test_one_member_or_one_part_has_no_value(make_source):
    source = make_source()
    one = cross_fit(source, [[0]], np.arange(6) % 2, METRIC)
    assert leave_out(source, one, [[0]], METRIC) is None
    whole = cross_fit(source, [[0], [1]], np.zeros(6, int), METRIC)
    n = source.n_columns
    every = [[c] for c in range(n)]
    whole = cross_fit(source, every, np.zeros(6, int), METRIC)
    assert part_shares(whole, every).shape == (0, n)  # a table without rows, and no crash
    told = Named(["run"] * n, ["none"] * n, [None] * n, every)
    assert [row["parts"] for row in judge(source, whole, told, METRIC)["members"]] == [[]] * n
    assert leave_out(source, whole, [[0], [1]], METRIC) is None


def test_many_members_and_pixels_are_limited(make_source, monkeypatch):
    source = make_source(n_images=10, noises=(0.5, 0.8, 1.0, 1.3))
    members = [[0], [1], [2], [3]]
    result = cross_fit(source, members, np.arange(10) % 2, METRIC)
    monkeypatch.setattr(value, "MEMBERS", 2)
    found = leave_out(source, result, members, METRIC)
    shares = part_shares(result, members)
    assert shares.shape == (2, 4) and np.allclose(shares.sum(axis=1), 1)
    most = np.argsort(-shares.mean(axis=0), kind="stable")[:2]
    assert found is not None and set(found.value) == set(most.tolist())
    entries = sum(p.q.size for p in result.pool.pixels)
    monkeypatch.setattr(value, "ENTRIES", entries // 2)
    assert 2 <= len(some_rows(result.pool)) < 10
    fewer = leave_out(source, result, members, METRIC)
    assert fewer is not None and fewer.n_images == len(some_rows(result.pool))
    assert fewer.score != found.score
