"""JSON lines of polygons: read in several spellings, holes left out, refused with their line, found by init."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.commands import init
from comp.config import Competition, check, load_competition
from comp.data.sources.coco import looks_like_coco, read_coco
from comp.data.sources.coco_shapes import polygon_parts
from comp.data.sources.labels import read_labels
from comp.data.sources.records import find_records
from comp.errors import DataError
from tests.drawn import save

H, W = 12, 16
OUTER = [[2, 1], [12, 1], [12, 10], [2, 10]]
HOLE = [[5, 3], [9, 3], [9, 7], [5, 7]]


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "polygons.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return path


def one(coordinates: Any, name: str = "a", kind: str = "cell") -> dict[str, Any]:
    return {"id": name, "annotations": [{"type": kind, "coordinates": coordinates}]}


def inside(*rings: list[list[float]]) -> np.ndarray:
    """Every pixel centre asked by itself: how many edges lie left of it?"""
    mask = np.zeros((H, W), np.uint8)
    for row in range(H):
        for column in range(W):
            y, x, n = row + 0.5, column + 0.5, 0
            for ring in rings:
                for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
                    if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                        n += 1
            mask[row, column] = n % 2
    return mask


@pytest.mark.parametrize(
    ("line", "rings"),
    [
        (one([OUTER]), [OUTER]),
        (one(OUTER), [OUTER]),
        (one([OUTER, HOLE]), [OUTER, HOLE]),
        (one([[OUTER, HOLE]]), [OUTER, HOLE]),
        (
            {
                "file_name": "a.tif",
                "polygons": [{"label": "cell", "points": [x for xy in OUTER for x in xy]}],
            },
            [OUTER],
        ),
        ({"image": "a", "height": H, "width": W, "shapes": [{"polygon": OUTER}]}, [OUTER]),
    ],
)
def test_spellings(tmp_path: Path, line: dict[str, Any], rings: list[list[list[float]]]) -> None:
    path = written(tmp_path, line)
    assert looks_like_coco(path)
    table = read_coco(path)
    assert table.categories in (("cell",), ("object",))
    name = "a.tif" if "file_name" in line else "a"
    assert table.by_stem == (name == "a")
    assert np.array_equal(table.planes(name, H, W)[0], inside(*rings))


RING = st.lists(
    st.tuples(st.integers(-8, 70), st.integers(-8, 60)).map(lambda c: (c[0] / 4, c[1] / 4)),
    min_size=3, max_size=6,
)  # fmt: skip


@given(st.lists(RING, min_size=1, max_size=3))
def test_rings_by_the_even_odd_rule(rings: list[Any]) -> None:
    mask = np.zeros((H, W), np.uint8)
    arrays = [np.array(ring, np.float64) for ring in rings]
    for top, left, part in polygon_parts(arrays[0], H, W, *arrays[1:]):
        mask[top : top + part.shape[0], left : left + part.shape[1]] |= part
    assert np.array_equal(mask, inside(*rings))


def test_objects_of_one_image_are_joined(tmp_path: Path) -> None:
    a = {"type": "x", "coordinates": [OUTER]}
    b = {"type": "y", "coordinates": [HOLE]}
    c = {"type": "x", "coordinates": [[[0, 0], [16, 0], [16, 3], [0, 3]]]}
    table = read_coco(
        written(tmp_path, {"id": "a", "annotations": [a, b, c]}, "", one([OUTER], "b"))
    )
    assert table.categories == ("cell", "x", "y") and list(table.images) == ["a", "b"]
    planes = table.planes("a", H, W)
    assert not planes[0].any() and np.array_equal(planes[2], inside(HOLE))
    assert np.array_equal(planes[1], inside(OUTER) | inside(c["coordinates"][0]))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["{"], "line 1: "),
        ([one([OUTER]), "[1]"], "line 2: expected an object with an image and its polygons"),
        ([{"annotations": []}], "line 1: no image: expected one of the keys file_name, .*got annotations"),
        ([{"id": "a"}], "line 1: no list of objects: expected one of the keys annotations"),
        ([{"id": "a", "annotations": {}}], "line 1: the objects are no list"),
        ([{"id": "a", "annotations": [{"type": "x"}]}], "line 1: no outline: expected one of the keys"),
        ([one([[[1, 2], [3, 4]]])], "line 1: an outline needs x, y of 3 corners or more"),
        ([one([])], "line 1: an outline without corners"),
        ([one([[["x", 1], [1, 2], [3, 4]]])], "line 1: could not convert"),
        ([one([OUTER]), one([OUTER])], "image 'a' stands there twice"),
        ([one([OUTER], "../a")], "image '../a' leaves the data's root"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(tmp_path: Path, lines: list[Any], told: str) -> None:
    with pytest.raises(
        DataError, match=rf"polygons.jsonl: not JSON lines of polygons as expected: {told}"
    ):
        read_coco(written(tmp_path, *lines))


def test_other_json_lines_are_left_alone(tmp_path: Path) -> None:
    for line in ('{"prompt": "a", "text": "b"}', "[]", "{", "", "\x00"):
        assert not looks_like_coco(written(tmp_path, line))


def test_corners_that_are_not_finite_name_their_image(tmp_path: Path) -> None:
    path = written(
        tmp_path, '{"id": "a", "annotations": [{"coordinates": [[[0, 0], [NaN, 1], [2, 2]]]}]}'
    )
    with pytest.raises(DataError, match=r"'a', annotation 1 of the image: .* not finite"):
        read_coco(path).planes("a", H, W)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images in a folder, some of them in the lines."""
    lines = []
    for k in range(8):
        save(tmp_path / f"d/train/{k:03d}f.png", np.full((H, W, 3), 40 + 9 * k, np.uint8))
        vessel = {"type": "vessel", "coordinates": [OUTER, HOLE]}
        other = {"type": "unsure", "coordinates": [HOLE]}
        if k < 6:
            lines.append({"id": f"{k:03d}f", "annotations": [vessel, other][: 1 + k % 2]})
    written(tmp_path / "d", *lines)
    return tmp_path


def test_init_takes_them_as_the_truth(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init.run(root / "ws", root / "d")
    said = capsys.readouterr().out
    assert "polygons.jsonl: 6 images, 9 objects, read as it is" in said
    assert "does not name 2 images that are there: left out" in said
    comp = load_competition(root / "ws")
    assert comp.classes == ("unsure", "vessel") and comp.data.train[0].coco == "polygons.jsonl"
    records = find_records(comp, root / "d").train
    assert [r.image_id for r in records] == [f"{k:03d}f" for k in range(6)]
    labels = read_labels(records[1], comp)
    assert np.array_equal(labels, [inside(HOLE), inside(OUTER, HOLE)])


def test_one_class_of_them(root: Path) -> None:
    whole = {
        "name": "t", "task": "binary", "classes": ["vessel"],
        "data": {"root": "d", "train": [
            {"images": "train/{id}.png", "coco": "polygons.jsonl", "absent": "leave_out"}]},
    }  # fmt: skip
    comp = check(Competition, whole, "t")
    records = find_records(comp, root / "d").train
    assert len(records) == 6 and np.array_equal(read_labels(records[1], comp), inside(OUTER, HOLE))
