"""Honesty on drawn members: the cross-fitted number is right where the as-fitted one flatters, at reduced size.

At full size: benchmarks/optimism.py, whose table is in benchmarks/results/optimism.txt.
"""

from __future__ import annotations

import pytest

from benchmarks.optimism import Drawing, off, repeat

SMALL = Drawing(n_members=10, size_px=24, blur_px=3.0, noise=2.2, shared=0.5, bias=0.2)
SEARCHED = (
    "coordinate"  # trusts its images: the default search would rather stay with uniform weights
)


@pytest.mark.slow
def test_the_cross_fitted_number_is_that_of_fresh_images_where_the_fitted_one_flatters() -> None:
    found = [repeat(seed, 20, SMALL, [SEARCHED], 40)[0] for seed in range(12)]
    luck, _ = off(found, "uniform", "fresh_uniform")  # of the images: nothing is fitted there
    as_fitted, cross_fitted = (off(found, key)[0] - luck for key in ("as_fitted", "cross_fitted"))
    assert as_fitted > 1.5
    assert abs(cross_fitted) < 0.5


def test_identical_members_get_uniform_weights() -> None:
    copies = Drawing(n_members=4, size_px=24, blur_px=3.0, noise=2.2, shared=1.5, copies=True)
    for one in repeat(0, 10, copies, ["auto", "coordinate", "greedy"], 2):
        assert len(set(one.fit.weights)) == 1
