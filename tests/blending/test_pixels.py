"""Disputed and decided pixels together are all scored pixels, whatever the task."""

from __future__ import annotations

import numpy as np
import pytest

from comp.blending import pixels
from comp.blending.pixels import HALF, LEVELS, disputed, joined


@pytest.mark.parametrize(
    ("task", "n_classes"), [("binary", 1), ("multilabel", 3), ("multiclass", 4)]
)
def test_every_scored_pixel_is_counted_once(make_source, task, n_classes):
    source = make_source(task, n_classes)
    pixels, decided, support = disputed(source, 2)
    labels = source.labels(2)
    planes = labels.reshape(-1, *labels.shape[-2:])
    n_scored = np.array([np.count_nonzero(plane != 255) for plane in planes])
    assert (support.sum(axis=1) == n_scored).all()
    assert (decided <= support).all()
    if task == "multiclass":
        q, truth = pixels[0]
        assert q.shape == (3, truth.size, 4)
        assert decided.sum() + truth.size == n_scored[0]
        assert len({tuple(one.argmax(axis=-1)) for one in q}) > 1
    else:
        for k, (q, truth) in enumerate(pixels):
            assert q.shape == (3, truth.size) and set(np.unique(truth)) <= {0, 1}
            assert decided[k].sum() + truth.size <= n_scored[k]


def test_take_keeps_whole_images_and_marked_pixels(make_source):
    source = make_source()
    every = joined([disputed(source, i)[0][0] for i in range(6)])
    keep = every.truth == 1
    some = every.take(np.array([1, 4]), keep)
    sizes = every.add_up(keep.astype(np.int64))
    assert list(np.diff(some.bounds)) == [sizes[1], sizes[4]]
    assert (some.truth == 1).all() and some.q.shape == (3, sizes[1] + sizes[4])
    first = slice(every.bounds[1], every.bounds[2])
    assert (some.q[:, : sizes[1]] == every.q[:, first][:, keep[first]]).all()


def test_sums_and_slopes(make_source):
    pixels = joined([disputed(make_source(), 0)[0][0]])
    q = pixels.q.astype(np.int64)
    assert (pixels.sums((5, 0, 7)) == 5 * q[0] + 7 * q[2]).all()
    assert (pixels.sums((0, 1, 0)) == q[1]).all()
    assert (pixels.sums((1, -1, 0)) == q[0] - q[1]).all()
    assert (pixels.sums((0, 0, 0)) == 0).all()
    assert (pixels.sums((0, 1, 0)) == q[1]).all()


def test_levels_hold_one_half():
    assert LEVELS[HALF] == 0.5 and list(LEVELS) == sorted(LEVELS)


def test_rows_stand_for_a_very_large_image(make_source, monkeypatch):
    """Every fifth row of it is looked at, and nothing of smaller images is left out."""
    source = make_source(n_images=1, size=200)
    whole = disputed(source, 0)
    monkeypatch.setattr(pixels, "WHOLE_PIXELS", 39_999)
    monkeypatch.setattr(pixels, "SAMPLE_PIXELS", 8_000)
    parts, decided, support = disputed(source, 0)
    assert support.sum() == (source.labels(0)[::5] != 255).sum()
    q, truth = parts[0]
    assert decided.sum() + truth.size < support.sum()
    assert q.shape[1] == truth.size == pytest.approx(whole[0][0][1].size / 5, rel=0.1)
    monkeypatch.setattr(pixels, "WHOLE_PIXELS", 40_000)
    np.testing.assert_array_equal(disputed(source, 0)[2], whole[2])
