"""Bootstrap from counts: equal to scoring the drawn images one resample at a time, paired, and fast."""

from __future__ import annotations

import time

import numpy as np
import pytest

from comp.blending.bootstrap import LEVEL, RESAMPLES, interval, resample_scores
from comp.metrics.scores import METRICS, Metric, iou, score_counts

OWN = Metric("own", True, "as iou_image_mean", lambda c: float(iou(c).mean()))


def draw_counts(n_images: int, n_classes: int, seed: int = 0) -> np.ndarray:
    """Counts of images of 400 pixels; some hold nothing."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 90, (n_images, n_classes, 4))
    counts[rng.random((n_images, n_classes)) < 0.2, :3] = 0
    counts[..., 3] = 400 - counts[..., :3].sum(axis=-1)
    return counts


def plainly(metric: str, counts: np.ndarray, groups: list[str], n_resamples: int) -> np.ndarray:
    """Each resample's images written out and scored."""
    names = sorted(set(groups))
    where = [np.flatnonzero(np.asarray(groups) == name) for name in names]
    drawn = np.random.default_rng(0).integers(len(names), size=(n_resamples, len(names)))
    return np.array(
        [score_counts(metric, counts[np.concatenate([where[u] for u in row])]) for row in drawn]
    )


@pytest.mark.parametrize("metric", [*METRICS, "tests.blending.test_bootstrap:OWN"])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_resamples_are_those_of_the_plain_loop(metric, n_classes):
    counts = draw_counts(9, n_classes)
    groups = list("aabcccdde")
    for said, units in ((groups, groups), (None, list("abcdefghi"))):
        got = resample_scores(metric, [counts], said, 20)
        assert np.allclose(got[0], plainly(metric, counts, units, 20), rtol=0, atol=1e-12)


def test_tables_are_resampled_alike_and_a_seed_is_kept():
    counts = draw_counts(30, 1)
    once, twice = resample_scores("dice_image_mean", [counts, counts.copy()])
    assert (once == twice).all() and once.shape == (RESAMPLES,) and once.std() > 0
    assert (resample_scores("dice_image_mean", [counts])[0] == once).all()


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits, n_sets = 0, 300
    for _ in range(n_sets):
        tp = rng.binomial(100, 0.6, 60)
        counts = np.stack([tp, 100 - tp, 0 * tp, 0 * tp], axis=1)[:, None]
        found = interval(resample_scores("iou_image_mean", [counts], None, 400)[0])
        assert found is not None
        hits += found[0] <= 0.6 <= found[1]
    spread = np.sqrt(LEVEL * (1 - LEVEL) / n_sets)
    assert abs(hits / n_sets - LEVEL) < 4 * spread


def test_groups_widen_an_interval_where_images_of_a_group_are_alike():
    counts = np.repeat(draw_counts(8, 1, seed=4), 10, axis=0)
    groups = [str(i // 10) for i in range(80)]
    alone, together = (
        resample_scores("iou_image_mean", [counts], g)[0].std() for g in (None, groups)
    )
    assert together > 2.5 * alone


def test_an_undefined_score_has_no_interval():
    assert interval(np.array([0.5, np.nan])) is None


def test_thousands_of_resamples_take_less_than_a_second():
    counts = draw_counts(600, 1)
    for metric in ("iou_image_mean", "dice_dataset"):
        started = time.thread_time()
        resample_scores(metric, [counts] * 4)
        assert time.thread_time() - started < 2  # 0.1 to 0.4 s here
