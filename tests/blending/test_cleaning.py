"""Clean-up is chosen with one pass over the images, prefers a plateau, and stays away where it gains nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comp.blending import blend, cleaning
from comp.blending.blend import blend_counts
from comp.blending.cleaning import Table, fit_clean_up, plateau, some_images
from comp.blending.setting_counts import setting_counts
from comp.blending.settings import Grid, Setting, areas, grids, moved
from comp.masks.rules import NO_RULES, Rules


def with_presence(source, seed=0):
    said = np.random.default_rng(seed).random((source.n_images, source.n_columns, source.n_classes))
    return replace(source, presence=lambda image, column: said[image, column].astype(np.float32))


@pytest.mark.parametrize(
    ("task", "n_classes"), [("binary", 1), ("multilabel", 3), ("multiclass", 3)]
)
@pytest.mark.parametrize("band", [65, 1 << 24])
def test_every_setting_is_counted_as_a_submission_is_made(
    make_source, monkeypatch, task, n_classes, band
):
    monkeypatch.setattr(blend, "BAND_PIXELS", band)
    source = with_presence(make_source(task, n_classes, noises=(0.6, 0.9), size=30))
    images, weights = np.array([1, 3, 4]), (300, 700)
    cuts = None if task == "multiclass" else (0.45, 0.5, 0.55)[:n_classes]
    now = Setting(cuts)
    if task != "multiclass":
        now = Setting(cuts, 3, Rules(close_px=3, keep=4, top=(0.7,) * n_classes, core_px=2))
    looked = grids(now, cuts, task, (0, 2, 8, 40, 10_000), True, True)
    settings = [now, *(setting for grid in looked for setting in grid.settings)]
    assert len(set(settings)) > (45 if task != "multiclass" else 4)
    counts = setting_counts(source, images, weights, settings)
    assert len(np.unique(counts.reshape(len(settings), -1), axis=0)) > len(settings) / 5
    for s, got in zip(settings, counts, strict=True):
        expected = blend_counts(source, images, weights, s.thresholds, s.min_area_px, s.rules)
        np.testing.assert_array_equal(got, expected)


def test_specks_are_removed_where_removing_them_gains(make_source):
    source = make_source(noises=(0.8,), size=60, n_images=12)
    images = np.arange(12)
    found = fit_clean_up(source, images, (1000,), (0.5,), "iou_dataset", rules=False)
    assert found.min_area_px > 0 and found == Setting((0.5,), found.min_area_px)
    best = fit_clean_up(source, images, (1000,), (0.5,), "iou_dataset")
    plain = blend_counts(source, images, (1000,), (0.5,))
    scores = [cleaning.signed_score("iou_dataset", plain)]
    for s in (found, best):
        counts = blend_counts(source, images, (1000,), s.thresholds, s.min_area_px, s.rules)
        scores.append(cleaning.signed_score("iou_dataset", counts))
    assert scores[0] < scores[1] <= scores[2]


def test_nothing_is_done_where_nothing_gains(make_source):
    source = make_source(noises=(0.0,))
    found = fit_clean_up(source, np.arange(6), (1000,), (0.5,), "iou_dataset")
    assert found == Setting((0.5,))


def test_one_image_is_too_few_to_judge_by(make_source):
    source = make_source(noises=(0.8,), size=60)
    assert fit_clean_up(source, np.array([2]), (1000,), (0.5,), "iou_dataset") == Setting((0.5,))


def false_alarms(presence=None):
    """Twelve images; every other one is empty but for a wrong blob that is as sure as a right one."""
    rng = np.random.default_rng(3)
    planes, labels = [], []
    for image in range(12):
        truth, q = np.zeros((40, 40), np.uint8), np.full((1, 40, 40), 20, np.uint8)
        row, column = rng.integers(2, 20, 2)
        size = 3 if image % 2 else 15
        q[0, row : row + size, column : column + size] = 220
        if image % 2 == 0:
            truth[row : row + size, column : column + size] = 1
        planes.append(q)
        labels.append(truth)
    return blend.Source(
        "binary", 1, 255, 12, 1, lambda i, c: planes[i], lambda i: labels[i],
        None if presence is None else lambda i, c: presence(i),
    )  # fmt: skip


def test_an_image_is_emptied_where_the_classifier_knows(make_source):
    told = false_alarms(lambda i: np.array([0.1 if i % 2 else 0.9], np.float32))
    table = grids(Setting((0.5,)), (0.5,), "binary", (0,), True, True)
    rules = [s.rules for g in table for s in g.settings if g.rule == "classifier"]
    assert {r.presence for r in rules} >= {0.2, 0.3}
    found = fit_clean_up(told, np.arange(12), (1,), (0.5,), "iou_image_mean")
    counts = blend_counts(told, range(12), (1,), found.thresholds, found.min_area_px, found.rules)
    assert counts[..., 1].sum() == 0 and counts[..., 2].sum() == 0


def test_a_classifier_that_one_image_lacks_is_not_asked():
    told = false_alarms(lambda i: None if i == 5 else np.array([0.1 if i % 2 else 0.9], np.float32))
    found = fit_clean_up(told, np.arange(12), (1,), (0.5,), "iou_image_mean")
    assert found.rules.presence == 0 and found != Setting((0.5,))  # another rule finds them


def test_labels_of_other_images_cannot_reach_the_choice(make_source):
    source = make_source(noises=(0.8,), size=60, n_images=8)
    images = np.arange(6)
    spoiled = replace(
        source, labels=lambda i: source.labels(i) if i < 6 else 1 - np.minimum(source.labels(i), 1)
    )
    parts = np.arange(8) % 3
    kept = [
        fit_clean_up(s, images, (1000,), (0.5,), "iou_image_mean", parts) for s in (source, spoiled)
    ]
    assert kept[0] == kept[1]


def table_of(scores):
    """A table of one grid whose settings score as said on 20 images (IoU: tp of 100)."""
    hits = np.rint(np.asarray(scores) * 100).astype(np.int64)
    counts = np.zeros((len(scores), 20, 1, 4), np.int64)
    counts[..., 0] = hits[:, :, None] if hits.ndim == 2 else hits[:, None, None]
    counts[..., 2] = 100 - counts[..., 0]
    grid = Grid("g", (len(scores) - 1,), tuple(Setting((0.5,), i) for i in range(1, len(scores))))
    return Table("iou_image_mean", [grid], [counts[1:]], counts[0])


def test_a_plateau_is_preferred_to_a_peak():
    table = table_of([0.50, 0.50, 0.60, 0.50, 0.58, 0.58, 0.58])
    everything = np.ones(20, bool)
    assert table.pick(everything, [0]) == (0, 4)  # the middle of the plateau, not the peak
    np.testing.assert_allclose(plateau(np.array([1.0, 2, 4])), [4 / 3, 9 / 4, 10 / 3])
    both = plateau(np.array([[0.0, 0], [0, 9]]))
    np.testing.assert_allclose(both, [[1, 2], [2, 4]])


def test_a_gain_of_noise_is_refused_and_a_steady_one_kept():
    base, parts, kept, picked = np.full(20, 0.5), np.arange(20) % 5, 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noise = np.stack([base, *(base + rng.normal(0, 0.1, 20) for _ in range(8))])
        kept += table_of(noise).gains(parts, 0, None)
        picked += table_of(noise).pick(np.ones(20, bool), [0]) is not None
    assert picked > 36 and kept < 15  # about 95 % and 25 %
    steady = np.stack([base, base + 0.05 + rng.normal(0, 0.02, 20)])
    assert table_of(steady).gains(parts, 0, None)
    # the same rows as two groups: two units cannot be sure
    lone = np.stack([base, base + np.where(np.arange(20) < 10, 0.1, 0.0)])
    groups = ["a" if i < 10 else "b" for i in range(20)]
    assert table_of(lone).gains(parts, 0, None)
    assert not table_of(lone).gains(np.arange(20) // 10, 0, groups)


def test_areas_stay_below_one_percent_of_the_image(make_source):
    assert areas(make_source(size=20), np.arange(6)) == (0,)
    assert areas(make_source(size=60), np.arange(6)) == (0, 8, 16, 32)


def test_of_many_pixels_some_images_are_looked_at(make_source, monkeypatch):
    source = make_source(size=20)
    images = np.array([0, 2, 3, 5])
    np.testing.assert_array_equal(some_images(source, images), images)
    monkeypatch.setattr(cleaning, "PIXELS", 1300)
    monkeypatch.setattr(cleaning, "LEAST", 2)
    few = some_images(source, images)
    assert len(few) in (2, 3) and set(few) <= set(images) and list(few) == sorted(few)
    monkeypatch.setattr(cleaning, "PIXELS", 1)
    assert len(some_images(source, images)) == 2


def test_thresholds_move_between_stored_values():
    assert moved((0.5,), 0.0) == (0.5,)
    low, high = moved((0.5, 0.9), -0.1)[0], moved((0.9,), 0.3)[0]
    assert low == pytest.approx(0.4, abs=0.003) and high == pytest.approx(241.5 / 255)
    assert Setting((0.5,)).rules is NO_RULES
