"""One labelling gives the counts of every minimum area, exactly as removing small parts would."""

from __future__ import annotations

import numpy as np
import pytest

from comp.blending.blend import blend_counts
from comp.blending.cleaning import area_counts, areas, fit_min_area
from comp.metrics.scores import score_counts


@pytest.mark.parametrize(("task", "n_classes"), [("binary", 1), ("multilabel", 3)])
def test_counts_equal_removing_small_parts(make_source, task, n_classes):
    source = make_source(task, n_classes, noises=(0.6, 0.9))
    images, candidates = np.array([1, 3, 4]), (0, 2, 3, 8, 40, 10_000)
    cut = (0.45,) * n_classes
    counts = area_counts(source, images, (300, 700), cut, candidates)
    for area, got in zip(candidates, counts, strict=True):
        assert (got == blend_counts(source, images, (300, 700), cut, area)).all()


def test_specks_are_removed_and_the_best_area_found(make_source):
    source = make_source(noises=(0.8,), size=60)
    images = np.arange(6)
    area = fit_min_area(source, images, (1000,), (0.5,), "iou_dataset")
    scores = {
        a: score_counts("iou_dataset", blend_counts(source, images, (1000,), (0.5,), a))
        for a in areas(source, images)
    }
    assert area > 0
    assert scores[area] == max(scores.values())


def test_nothing_is_removed_where_nothing_gains(make_source):
    source = make_source(noises=(0.0,))
    assert fit_min_area(source, np.arange(6), (1000,), (0.5,), "iou_dataset") == 0


def test_multiclass_is_not_cleaned(make_source):
    source = make_source("multiclass", 3)
    assert fit_min_area(source, np.arange(6), (1, 1, 1), None, "iou_dataset_macro") == 0


def test_areas_stay_below_one_percent_of_the_image(make_source):
    assert areas(make_source(size=20), np.arange(6)) == (0,)
    assert areas(make_source(size=60), np.arange(6)) == (0, 8, 16, 32)
