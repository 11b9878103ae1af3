"""Places: footprints from GeoTIFF tags without another library, and groups of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from comp.data.leaks.places import Footprint, guess_by_place, read_footprint

SHORT, DOUBLE = 3, 12


def write_geotiff(path: Path, x: float, y: float, crs: int | None = 32640, side: int = 16) -> Path:
    """A tif of side x side pixels of 0.5 units whose top left corner is (x, y)."""
    keys = [1, 1, 0, 1, 3072, 0, 1, crs] if crs else [1, 1, 0, 1, 1025, 0, 1, 1]
    tags = [
        (33550, DOUBLE, 3, (0.5, 0.5, 0.0), True),
        (33922, DOUBLE, 6, (0.0, 0.0, 0.0, x, y, 0.0), True),
        (34735, SHORT, len(keys), tuple(keys), True),
    ]
    tifffile.imwrite(path, np.zeros((side, side), np.uint8), extratags=tags)
    return path


def test_the_box_of_a_geotiff(tmp_path: Path) -> None:
    found = read_footprint(write_geotiff(tmp_path / "a.tif", 1000.0, 500.0))
    assert found is not None and "32640" in found.crs
    assert (found.left, found.bottom, found.right, found.top) == (1000, 492, 1008, 500)
    assert found.pixel == 0.5


def test_what_has_no_place(tmp_path: Path) -> None:
    assert read_footprint(write_geotiff(tmp_path / "a.tif", 0, 0, crs=None)) is None
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((4, 4), np.uint8))
    (tmp_path / "broken.tif").write_bytes(b"II*\0nonsense")
    for name in ("plain.tif", "broken.tif", "gone.tif", "a.png"):
        assert read_footprint(tmp_path / name) is None


def box(x: float, y: float, crs: str = "u", side: float = 1.0) -> Footprint:
    return Footprint(crs, x, y, x + side, y + side, 0.01)


def test_images_that_touch_are_one_place() -> None:
    towns = [box(100 * t + dx, dy) for t in range(10) for dx in (0, 1) for dy in (0, 1)]
    found = guess_by_place(towns, 5)
    assert found is not None and found.used and found.n_groups == 10
    assert [found.groups[k] for k in range(0, 40, 4)] == [f"place {k}" for k in range(0, 40, 4)]


def test_one_large_mosaic_is_cut_into_blocks() -> None:
    found = guess_by_place([box(x, y) for y in range(20) for x in range(20)], 5)
    assert found is not None and found.used and "blocks" in found.what
    assert found.n_groups >= 20
    by_name: dict[str, list[int]] = {}
    for k, name in enumerate(found.groups):
        by_name.setdefault(name, []).append(k)
    for members in by_name.values():  # a block is a rectangle of neighbours
        xs, ys = {k % 20 for k in members}, {k // 20 for k in members}
        assert max(xs) - min(xs) < 8 and max(ys) - min(ys) < 8


def test_other_systems_never_share_a_place() -> None:
    found = guess_by_place([box(0, 0, f"crs {k // 2}") for k in range(20)], 5)
    assert found is not None and found.n_groups == 10


def test_too_little_is_known() -> None:
    assert guess_by_place([box(0, 0), None, None], 5) is None
    few = guess_by_place([box(0, 0), box(50, 0)], 5)
    assert few is not None and not few.used and few.why == "2 places cannot fill 5 folds"


@pytest.mark.parametrize("side", [1e-6, 1e6])
def test_any_unit(side: float) -> None:
    grid = [Footprint("u", x * side, 0, (x + 1) * side, side, side / 100) for x in range(40)]
    found = guess_by_place(grid, 4)
    assert found is not None and found.n_groups >= 4
