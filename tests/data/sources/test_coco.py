"""COCO JSON: polygons against a slow oracle, counts there and back, and every way to be refused."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.sources import coco, coco_shapes
from comp.data.sources.coco import looks_like_coco, read_coco
from comp.data.sources.coco_shapes import Part, counts_part, polygon_parts
from comp.errors import DataError

CORNER = st.tuples(st.integers(-12, 60), st.integers(-12, 60)).map(lambda c: (c[0] / 4, c[1] / 4))


def plane_of(parts: Iterator[Part], height: int, width: int) -> np.ndarray:
    """(H, W) uint8 0/1 of boxes."""
    mask = np.zeros((height, width), np.uint8)
    for top, left, inside in parts:
        mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
    return mask


def polygon_mask(points: np.ndarray, height: int, width: int) -> np.ndarray:
    return plane_of(polygon_parts(points, height, width), height, width)


def counts_mask(counts: list[int] | str, height: int, width: int) -> np.ndarray:
    return plane_of(counts_part(counts, height, width), height, width)


def slow_polygon(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every pixel centre asked by itself: how many edges lie left of it?"""
    mask = np.zeros((height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            y, x, n = row + 0.5, column + 0.5, 0
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                    n += 1
            mask[row, column] = n % 2
    return mask


@given(st.lists(CORNER, min_size=3, max_size=9))
def test_polygons_by_pixel_centres(corners: list[tuple[float, float]]) -> None:
    points = np.array(corners, np.float64)
    assert np.array_equal(polygon_mask(points, 9, 11), slow_polygon(points, 9, 11))


def whole_plane(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """All crossings at once on the whole image: the same sums as in the package, undivided."""
    x0, y0 = points.T
    x1, y1 = np.roll(points, -1, axis=0).T
    first = np.ceil(np.minimum(y0, y1) - 0.5).clip(0, height).astype(int)
    after = np.ceil(np.maximum(y0, y1) - 0.5).clip(0, height).astype(int)
    flips = np.zeros((height, width + 1), int)
    for k in range(len(points)):
        for row in range(first[k], after[k]):
            x = x0[k] + (row + 0.5 - y0[k]) * ((x1[k] - x0[k]) / (y1[k] - y0[k]))
            flips[row, int(np.ceil(x - 0.5).clip(0, width))] += 1
    return (flips.cumsum(axis=1)[:, :-1] & 1).astype(np.uint8)


@given(
    st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(1, 30), st.integers(1, 30),
    st.sampled_from([1, 7, 40, 1 << 19]), st.sampled_from([0.5, 1.0, 1e3, 1e5]),
)  # fmt: skip
def test_chunks_of_rows_change_no_pixel(
    seed: int, n: int, height: int, width: int, chunk: int, spread: float
) -> None:
    points = np.random.default_rng(seed).uniform(-20, 50, (n, 2)) * spread
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_shapes, "CHUNK", chunk)
        drawn = polygon_mask(points, height, width)
        sizes = [part[2].size for part in coco_shapes.polygon_parts(points, height, width)]
    assert np.array_equal(drawn, whole_plane(points, height, width))
    assert all(size <= max(chunk, width + 1) for size in sizes)


def test_many_corners_in_little_memory() -> None:
    corners = np.stack([np.linspace(0, 2000, 2000), np.tile([0.0, 2000.0], 1000)], axis=1)
    tracemalloc.start()
    n_inside = sum(int(part[2].sum()) for part in coco_shapes.polygon_parts(corners, 2000, 2000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_inside == polygon_mask(corners, 2000, 2000).sum() > 1_000_000
    assert peak < 80 << 20  # 2 million crossings at once: 300 MB


def test_small_objects_touch_few_pixels() -> None:
    box = np.array([[70, 50], [90, 50], [90, 65], [70, 65.0]])
    ((top, left, inside),) = coco_shapes.polygon_parts(box, 4000, 4000)
    assert (top, left) == (50, 70) and inside[:, :20].all() and inside.shape == (15, 21)
    counts = [70 * 4000 + 50, 15, 3985, 15, 4000 * 4000 - 70 * 4000 - 50 - 4015]
    ((top, left, inside),) = coco_shapes.counts_part(counts, 4000, 4000)
    assert (top, left, inside.shape) == (0, 70, (4000, 2)) and inside.sum() == 30
    assert not list(coco_shapes.counts_part([16_000_000], 4000, 4000))


def test_a_box_covers_its_pixels() -> None:
    drawn = polygon_mask(np.array([[2, 1], [6, 1], [6, 4], [2, 4.0]]), 8, 9)
    wanted = np.zeros((8, 9), np.uint8)
    wanted[1:4, 2:6] = 1
    assert np.array_equal(drawn, wanted)
    far = polygon_mask(np.array([[-1e300, -5], [1e300, -5], [1e300, 500], [-1e300, 500.0]]), 8, 9)
    assert far.all()


def test_polygons_that_are_none() -> None:
    with pytest.raises(ValueError, match="2 corners; expected at least 3"):
        polygon_mask(np.zeros((2, 2)), 5, 5)
    with pytest.raises(ValueError, match="not finite"):
        polygon_mask(np.array([[0, 0], [1, np.nan], [2, 2]]), 5, 5)


def test_a_polygon_of_too_many_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_shapes, "MOST_CROSSINGS", 100)
    zigzag = np.array([[i % 2, (i % 2) * 50.0] for i in range(20)])
    with pytest.raises(ValueError, match="crossings of rows; simplify it"):
        polygon_mask(zigzag, 50, 5)


def packed(counts: list[int]) -> str:
    """Counts as pycocotools packs them, written apart from the package on purpose."""
    text = ""
    for n, count in enumerate(counts):
        value = count - counts[n - 2] if n > 2 else count
        while True:
            low, value = value & 31, value >> 5
            more = value != (-1 if low & 16 else 0)
            text += chr(48 + low + 32 * more)
            if not more:
                break
    return text


def counts_of(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_counts_there_and_back(seed: int, share: float) -> None:
    mask = (np.random.default_rng(seed).random((7, 12)) < share).astype(np.uint8)
    counts = counts_of(mask)
    assert np.array_equal(counts_mask(counts, 7, 12), mask)
    assert np.array_equal(counts_mask(packed(counts), 7, 12), mask)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([3, 4], "counts of 7 pixels for 2 x 4"), ([9, -1], "negative run"), ([1.5, 6.5], "not whole"),
        ([True, 7], "not whole"), ([10**30], "not whole"), ("\x01\x02", "packed counts"), ("P", "packed counts"),
        ([], "counts of 0 pixels"),
    ],
)  # fmt: skip
def test_counts_that_are_refused(counts: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        counts_mask(counts, 2, 4)


# -------------------------------------------------------------------------------------- the file


def whole(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png", "height": 8, "width": 9}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]]}
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    return {**value, **changes}


def written(folder: Path, value: Any) -> Path:
    path = folder / "c.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_planes_of_an_image(tmp_path: Path) -> None:
    crowd = {"id": 2, "image_id": 7, "category_id": 5, "iscrowd": 1,
             "segmentation": {"size": [8, 9], "counts": [0, 16, 56]}}  # fmt: skip
    value = whole()
    value["annotations"].append(crowd)
    path = written(tmp_path, value)
    assert looks_like_coco(path)
    table = read_coco(path)
    assert table.categories == ("dog", "cat")  # in the order of their ids
    planes = table.planes("a.png", 8, 9)
    assert planes.shape == (2, 8, 9) and not planes[0].any()
    assert (planes[1][:, :2] == 255).all()  # the crowd: two columns, ignored
    assert (planes[1][1:4, 2:6] == 1).all() and planes[1].sum() == 12 + 16 * 255
    assert not table.planes(None, 4, 4).any()
    with pytest.raises(DataError, match=r"'a.png' is 8 x 9 \(height x width\) there, .* is 9 x 8"):
        table.planes("a.png", 9, 8)


def test_a_segmentation_that_cannot_be_drawn_names_its_image(tmp_path: Path) -> None:
    bad = [
        {"id": 1, "image_id": 7, "category_id": 5, "segmentation": {"size": [8, 9], "counts": [3]}}
    ]
    table = read_coco(written(tmp_path, whole(annotations=bad)))
    with pytest.raises(
        DataError, match=r"c.json: 'a.png', annotation 1 of the image: counts of 3 pixels"
    ):
        table.planes("a.png", 8, 9)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": {}}, "no list 'images'"),
        ({"images": [{"id": 7, "file_name": "../a.png"}]}, r"file_name '\.\./a.png' leaves the data's root"),
        ({"images": [{"id": 7, "file_name": "/etc/a.png"}]}, "leaves the data's root"),
        ({"images": [{"id": 7}]}, "no 'file_name'"),
        ({"images": [{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]}, r"id 7 stands there twice \(a, b\)"),
        ({"images": [{"id": 7, "file_name": "a"}, {"id": 8, "file_name": "a"}]}, "'a' stands there twice: join"),
        ({"categories": [{"id": 5, "name": "cat"}, {"id": 5, "name": "dog"}]}, "category 5 stands there twice"),
        ({"annotations": [{"id": 3, "image_id": 9, "category_id": 5}]}, r"annotation 1 \(id 3\): image_id 9 is no"),
        ({"annotations": [{"id": 3, "image_id": 7, "category_id": 1}]}, r"category's id \(2, 5\): add it"),
        ({"annotations": [{"id": 3, "image_id": 7, "category_id": 5, "bbox": [1, 2, 3, 4]}]}, "a box alone"),
        ({"annotations": [{"id": 3, "image_id": 7, "category_id": 5, "segmentation": [[1, 2]]}]}, "3 corners"),
        ({"annotations": [{"id": 3, "image_id": 7, "category_id": 5, "segmentation": [["x"] * 6]}]}, "not COCO"),
        ({"annotations": [3]}, "not COCO as expected"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_coco(written(tmp_path, whole(**changes)))


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_coco(written(tmp_path, "[" * 300_000))
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_coco(written(tmp_path, '{"images": 1' + "0" * 10_000 + "}"))
    path = written(tmp_path, whole())
    monkeypatch.setattr(coco, "MAX_JSON_BYTES", 100)
    with pytest.raises(DataError, match=r"MiB of JSON, more than .*; divide it by images"):
        read_coco(path)
    assert not looks_like_coco(path)
    with pytest.raises(DataError, match="missing file"):
        read_coco(tmp_path / "no.json")


SQUARE = [2, 1, 6, 1, 6, 4]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("a1b", r"annotation 1 \(id 1\): a segmentation that is text; .*\"counts\": the text"),
        ([[SQUARE]], r"annotation 1 \(id 1\): corners that are no plain list of numbers; expected"),
        ([[SQUARE, 3]], "corners that are no plain list of numbers; expected"),
        ([["a", 1, 6, 1, 6, 4]], "corners that are no plain list of numbers; expected"),
        ([], "no segmentation"),
    ],
)
def test_segmentations_of_other_kinds_say_what_is_expected(
    tmp_path: Path, said: Any, told: str
) -> None:
    one = {"id": 1, "image_id": 7, "category_id": 5, "segmentation": said}
    with pytest.raises(DataError, match=told):
        read_coco(written(tmp_path, whole(annotations=[one])))


def test_lists_in_lists_without_end(tmp_path: Path) -> None:
    deep: Any = SQUARE
    for _ in range(80):
        deep = [deep]
    one = {"id": 1, "image_id": 7, "category_id": 5, "segmentation": deep}
    with pytest.raises(DataError, match="no list within it"):
        read_coco(written(tmp_path, whole(annotations=[one])))


def test_a_size_that_contradicts_the_file_says_what_to_do(tmp_path: Path) -> None:
    table = read_coco(written(tmp_path, whole()))
    with pytest.raises(DataError, match=r"8 x 9 .* 9 x 8: exchange them in the JSON"):
        table.planes("a.png", 9, 8)
    with pytest.raises(DataError, match="16 x 18: put the file there that was outlined"):
        table.planes("a.png", 16, 18)


def test_corners_far_outside_are_counted(tmp_path: Path) -> None:
    polygons = [
        [2, 1, 6, 1, 6, 4],
        [-0.5, 1, 9.5, 1, 6, 4],
        [2, 1, 60, 1, 6, 4],
        [2, 1, 6, -1e300, 6, 4],
    ]
    one = {"id": 1, "image_id": 7, "category_id": 5, "segmentation": polygons}
    table = read_coco(written(tmp_path, whole(annotations=[one])))
    told = table.far_outside({"a.png": (8, 9)})
    assert told is not None
    assert told.startswith("c.json: 2 of 4 polygons, in 1 image, have corners more than 10% of the")
    assert "a.png (a corner at x 60, y 1)" in told
    assert table.far_outside({"a.png": (80, 90)}) is not None  # 1e300 above
    assert read_coco(written(tmp_path, whole())).far_outside({"a.png": (8, 9)}) is None
