"""Tables of counts at every threshold equal whole masks, and once written no pixel is read again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comp.blending import blend
from comp.blending.blend import blend_counts, single_counts
from comp.blending.levels import read_levels
from comp.blending.pixels import LEVELS

TASKS = [("binary", 1, 255), ("binary", 1, 65535), ("multilabel", 3, 255), ("multiclass", 4, 255)]


@pytest.mark.parametrize(("task", "n_classes", "full"), TASKS)
def test_counts_equal_whole_masks(make_source, tmp_path, monkeypatch, task, n_classes, full):
    source = make_source(task, n_classes, full=full)
    singles = single_counts(source)
    for column in range(3):
        found = read_levels(source, column, tmp_path / f"{column}.npy")
        np.testing.assert_array_equal(found.counts(), singles[column])
        if task == "multiclass":
            continue
        alone = [int(c == column) for c in range(3)]
        for t in (LEVELS[0], 0.5, LEVELS[150], *((0.3, 0.77) if full == 255 else ())):
            expected = blend_counts(source, range(6), alone, (t,) * n_classes)
            np.testing.assert_array_equal(found.counts((t,) * n_classes), expected)
    monkeypatch.setattr(blend, "BAND_PIXELS", 65)
    again = read_levels(source, 1, tmp_path / "bands.npy")
    np.testing.assert_array_equal(again.on, read_levels(source, 1, tmp_path / "1.npy").on)


def test_one_class_against_the_rest(make_source, tmp_path):
    source = make_source("multiclass", 3)
    counts = read_levels(source, 0, tmp_path / "a.npy").counts((0.3, 0.5, 0.6))
    for image in range(6):
        q, labels = source.planes(image, 0), source.labels(image)
        on = (q[2] >= 153) & (labels != 255)
        assert counts[image, 2, 0] == np.count_nonzero(on & (labels == 2))
        assert counts[image, 2, 1] == np.count_nonzero(on & (labels != 2))


def test_a_table_costs_no_pixel_pass(make_source, tmp_path):
    source = make_source()
    reads: list[int] = []

    def planes(image, column):
        reads.append(image)
        return source.planes(image, column)

    counted = replace(source, planes=planes)
    path = tmp_path / "kept" / "a.npy"
    first = read_levels(counted, 2, path).counts()
    assert sorted(reads) == list(range(6))
    kept = read_levels(counted, 2, path)
    np.testing.assert_array_equal(kept.counts(), first)
    assert all((kept.counts((t,))[..., 0] >= 0).all() for t in LEVELS)
    assert len(reads) == 6
    path.write_bytes(path.read_bytes()[:200])  # damaged: counted again
    np.testing.assert_array_equal(read_levels(counted, 2, path).counts(), first)
    assert len(reads) == 12
    assert [p.name for p in path.parent.iterdir()] == ["a.npy"]


def test_uint16_between_the_levels_is_refused(make_source, tmp_path):
    found = read_levels(make_source(full=65535), 0, tmp_path / "a.npy")
    with pytest.raises(ValueError, match="of uint16 half-way between two uint8 values"):
        found.counts((0.31,))
