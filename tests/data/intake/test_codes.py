"""What `comp init` says of a table of run-length codes: its convention, its size columns, what is open."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comp.config import Competition, check
from comp.data.intake.codes import known_sizes, look_at_codes, settle_by_strings
from comp.data.intake.sample import look_at_sample
from comp.data.intake.seen import Understood
from comp.data.sources.records import find_records
from comp.data.sources.tables import code_shape, read_tables
from comp.formats.reading import RleTable, gather
from comp.formats.rle_table import layout_of
from comp.formats.table import read_table, table_bytes
from comp.masks.rle import Order, decode, encode

spec = importlib.util.spec_from_file_location(
    "drawn", Path(__file__).parents[2].joinpath("drawn.py")
)
assert spec is not None and spec.loader is not None
drawn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawn)

SIZE = (48, 64)
VALUES = {
    "task": "binary",
    "classes": ["object"],
    "data": {
        "train": [{"images": "images/{id}.png", "masks": "masks/{id}.png"}],
        "test": "test/images/{id}.png",
        "mask_values": {0: 0, 255: 1},
    },
}


def rewrite(
    root: Path,
    order: Order,
    base: int,
    relative: bool,
    empty: str = "",
    size: tuple[int, int] = SIZE,
) -> None:
    frame = read_table(root / "train.csv")
    rows = [
        (i, encode(decode(code, *size), order, base, relative) or empty)
        for i, code in frame.itertuples(index=False)
    ]
    (root / "train.csv").write_bytes(table_bytes(list(frame.columns), rows))


def looked_at(root: Path) -> Understood:
    """Let the table in `root` be compared with the masks there."""
    data = {**VALUES["data"]}  # type: ignore[dict-item]
    seen = Understood(root, values={**VALUES, "data": data})
    competition = check(
        Competition, {"name": "toy", **VALUES, "data": {"root": ".", **data}}, "test"
    )
    records = find_records(competition, root)
    tables = read_tables(root, seen.problems)
    look_at_codes(seen, tables, records)
    sample = next(table for table in tables if table.name.startswith("sample"))
    look_at_sample(seen, sample, tables, records)
    return seen


@pytest.mark.parametrize("order", ["column", "row"])
@pytest.mark.parametrize(("base", "relative"), [(1, False), (0, False), (0, True)])
def test_the_convention_is_inferred_said_and_given_to_the_submission(
    tmp_path: Path, order: Order, base: int, relative: bool
) -> None:
    root = drawn.draw_kaggle(tmp_path, size=SIZE)
    rewrite(root, order, base, relative, "-1")
    seen = looked_at(root)
    expected = {"order": order, "base": base, "empty": "-1"} | (
        {"relative": True} if relative else {}
    )
    for section in (seen.values["data"]["train_rle"], seen.values["submission"]):
        assert {k: section[k] for k in expected} == expected and ("relative" in section) == relative
    assert not seen.problems
    kind = "starts relative to the run before" if relative else "absolute starts"
    told = next(line for line in seen.lines if line.startswith("train.csv: kind of numbers"))
    # a mask that reaches the last pixel reads the same as COCO counts, so not all speak for relative
    assert told.startswith(f"train.csv: kind of numbers: {kind} (")
    assert f"; order: {order}-major ({order}: 10); first pixel: {base} ({base}: 10);" in told
    assert told.endswith("; empty mask: '-1' (2 rows)")
    assert "train.csv: 12 of 12 masks agree" in seen.lines


def test_what_masks_leave_open_is_a_problem(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, size=(40, 40))
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 1  # the same with its axes exchanged
    frame = read_table(root / "train.csv")
    for image_id in frame["ImageId"]:
        Image.fromarray(mask * 255).save(root / "masks" / f"{image_id}.png")
    rows = [(i, encode(mask)) for i in frame["ImageId"]]
    (root / "train.csv").write_bytes(table_bytes(list(frame.columns), rows))
    seen = looked_at(root)
    assert len(seen.problems) == 1
    told = seen.problems[0]
    assert told.startswith("train.csv: its convention is not decided (order: not decided")
    assert "the masks are symmetric" in told and "written as order: column" in told
    assert seen.values["data"]["train_rle"]["order"] == "column"


def as_counts(code: str) -> str:
    """Pairs -> COCO counts, down the columns."""
    flat = decode(code, *SIZE).ravel("F").astype(np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return " ".join(map(str, np.diff(np.concatenate([[0], edges, [flat.size]]))))


def test_coco_counts_are_recognised_and_compared(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, size=SIZE)
    frame = read_table(root / "train.csv")
    rows = [(i, as_counts(code)) for i, code in frame.itertuples(index=False)]
    (root / "train.csv").write_bytes(table_bytes(list(frame.columns), rows))
    seen = looked_at(root)
    rle = seen.values["data"]["train_rle"]
    assert (rle["code"], rle["order"]) == ("counts", "column") and not seen.problems
    assert any("column-major COCO counts agrees with the masks of" in line for line in seen.lines)
    assert "train.csv: 12 of 12 masks agree" in seen.lines
    assert "pairs of start and length" in seen.why["submission"]
    assert "code" not in seen.values["submission"]


@pytest.mark.parametrize(
    ("columns", "cells", "told"),
    [
        (("Height", "Width"), ("48", "64"), "columns Height, Width: as named (12 images"),
        (("img_height", "img_width"), ("64", "48"), "height and width are exchanged (0 images"),
        (("H", "W"), ("48", "63"), "12 images have another size than that"),
    ],
)
def test_size_columns(
    tmp_path: Path, columns: tuple[str, str], cells: tuple[str, str], told: str
) -> None:
    root = drawn.draw_kaggle(tmp_path, size=SIZE)
    frame = read_table(root / "train.csv")
    rows = [(*row, *cells) for row in frame.itertuples(index=False)]
    (root / "train.csv").write_bytes(table_bytes([*frame.columns, *columns], rows))
    seen = looked_at(root)
    assert any(told in line for line in [*seen.lines, *seen.problems]), (seen.lines, seen.problems)
    assert bool(seen.problems) == ("as named" not in told)


def test_size_columns_of_square_images_tell_nothing(tmp_path: Path) -> None:
    root = drawn.draw_kaggle(tmp_path, size=(40, 40))
    frame = read_table(root / "train.csv")
    rows = [(*row, "40", "40") for row in frame.itertuples(index=False)]
    (root / "train.csv").write_bytes(table_bytes([*frame.columns, "Width", "Height"], rows))
    seen = looked_at(root)
    assert not seen.problems
    assert any("whether height stands first is not decided" in line for line in seen.lines)


@pytest.mark.parametrize("size", [SIZE, (48, 48)])
def test_a_table_that_is_the_only_truth(tmp_path: Path, size: tuple[int, int]) -> None:
    root = drawn.draw_kaggle(tmp_path, 40, size=size)
    rewrite(root, "row", 1, False, "-", size)
    seen = Understood(root)
    frame = read_table(root / "train.csv")
    shape = code_shape(frame, set(frame["ImageId"]))
    assert shape is not None
    competition = check(Competition, {"name": "t", **VALUES, "data": {
        "root": ".", **VALUES["data"], "train_rle": {"file": "train.csv"}  # type: ignore[dict-item]
    }}, "test")  # fmt: skip
    assert competition.data.train_rle is not None
    table: RleTable = gather(
        frame, "train.csv", layout_of(competition.data.train_rle), ("0",), [], frame.columns
    )
    sizes = known_sizes(find_records(competition, root).train)
    rle = settle_by_strings(seen, "train.csv", shape, table, sizes)
    assert rle is not None and rle["empty"] == "-"
    assert "by the codes of " in seen.lines[0]
    if size == SIZE:
        assert rle["order"] == "row"
    else:
        assert (
            "order: not decided" in seen.problems[0] and "every image is square" in seen.problems[0]
        )
