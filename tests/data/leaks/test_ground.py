"""Ground that images share, from their bounds: exact shares, touching boxes, systems, and its JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.leaks.ground import Footprint, Ground


def box(x: float, y: float, side: float = 96.0, crs: str = "u", pixel: float = 1.0) -> Footprint:
    return Footprint(crs, x, y, x + side, y + side, pixel)


def test_the_share_that_another_image_shows() -> None:
    ground = Ground.of([box(0, 0), box(80, 0), box(48, 48), None, box(0, 0, crs="v")])
    share, who = ground.shared(range(5), range(5))
    assert share == pytest.approx([0.25, 64 * 48 / 96**2, 64 * 48 / 96**2, 0, 0])
    assert who.tolist() == [2, 2, 1, -1, -1]
    share, who = ground.shared([0], [0, 1])  # never the image itself
    assert share == pytest.approx([16 / 96]) and who.tolist() == [1]


@pytest.mark.parametrize(("apart", "shares"), [(96, False), (95, False), (94, True), (97, False)])
def test_a_pixel_only_touches(apart: float, shares: bool) -> None:
    ground = Ground.of([box(0.1, 5.2e6), box(0.1 + apart, 5.2e6)])
    assert (ground.shared([0], [1])[0] > 0).tolist() == [shares]


def test_a_small_image_within_a_large_one() -> None:
    ground = Ground.of([box(0, 0, 100), box(10, 10, 10)])
    assert ground.shared([0, 1], [0, 1])[0] == pytest.approx([0.01, 1.0])


def test_nothing_known_shares_nothing() -> None:
    assert Ground.of([None, None]).shared([0, 1], [0, 1])[0].tolist() == [0, 0]
    assert len(Ground.of([]).shared([], [])[0]) == len(Ground.of([])) == 0


def test_json_brings_it_back() -> None:
    ground = Ground.of([box(0, 0), None, box(1, 2, crs="v"), box(5, 5)])
    back = Ground.from_json(json.loads(json.dumps(ground.as_json())))
    assert back.systems.tolist() == [0, -1, 1, 0]
    np.testing.assert_array_equal(back.box, ground.box)
    assert back.part([3, 1]).systems.tolist() == [0, -1]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=2, max_size=12))
def test_shares_are_those_of_painted_pixels(corners: list[tuple[int, int]]) -> None:
    ground = Ground.of([box(x, y) for x, y in corners])
    painted = np.zeros((len(corners), 400, 400), bool)
    for picture, (x, y) in zip(painted, corners, strict=True):
        picture[y : y + 96, x : x + 96] = True
    share, _ = ground.shared(range(len(corners)), range(len(corners)))
    for i, own in enumerate(painted):
        wide = [
            (own & other).sum()
            for j, other in enumerate(painted)
            if j != i
            and all(96 - abs(a - b) > 1 for a, b in zip(corners[i], corners[j], strict=True))
        ]
        assert share[i] == pytest.approx(max(wide, default=0) / 96**2)
