"""Objects against scipy's labelling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from comp.masks.components import label_objects, objects
from comp.masks.rle import fill, runs_of

MASKS = npst.arrays(
    np.uint8,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16),
    elements=st.integers(0, 1),
)


@given(MASKS, st.sampled_from([4, 8]), st.sampled_from(["column", "row"]))
def test_objects_are_the_connected_parts(mask: np.ndarray, connectivity: int, order: str) -> None:
    structure = np.ones((3, 3)) if connectivity == 8 else None
    expected, n = ndimage.label(mask, structure)
    labels, n_labels = label_objects(mask, connectivity)
    assert n_labels == n and labels.dtype == np.int32
    found = objects(mask, connectivity, order)
    assert len(found) == n
    drawn = [fill(runs, *mask.shape, order) for runs in found]
    wanted = {(expected == k).tobytes() for k in range(1, n + 1)}
    assert {plane.astype(bool).tobytes() for plane in drawn} == wanted
    for runs, plane in zip(found, drawn, strict=True):
        np.testing.assert_array_equal(runs, runs_of(plane, order))
    starts = [int(runs[0, 0]) for runs in found]
    assert starts == sorted(starts), "objects come by their first pixel"


def test_corners_touch_with_8_and_not_with_4() -> None:
    mask = np.eye(3, dtype=np.uint8)
    assert len(objects(mask, 8)) == 1
    assert len(objects(mask, 4)) == 3


def test_an_empty_mask_has_no_objects() -> None:
    assert objects(np.zeros((3, 4), np.uint8)) == []
    assert label_objects(np.zeros((0, 4), np.uint8))[1] == 0


def test_another_connectivity_is_refused() -> None:
    with pytest.raises(ValueError, match="connectivity is 4 or 8, got 6"):
        label_objects(np.zeros((3, 4), np.uint8), 6)
