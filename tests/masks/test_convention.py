"""Every convention of the field is recovered, and what cannot be told is said to be open."""

from __future__ import annotations

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.masks import rle
from comp.masks.convention import READINGS, Convention, Reading, Unit, detect, size_order
from comp.masks.evidence import boundary, gather_codes, runs_as

SIZES = st.sampled_from([(48, 64), (64, 48), (101, 60), (50, 160), (96, 40)])


def blobs(height: int, width: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8: n tilted ellipses; some are cut by the rim, as objects in pictures are."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(n):
        dy, dx = y - rng.uniform(0, height), x - rng.uniform(0, width)
        a, b = rng.uniform(0.06, 0.25, 2) * min(height, width) + 2
        turn = rng.uniform(0, np.pi)
        u, v = dy * np.cos(turn) + dx * np.sin(turn), dx * np.cos(turn) - dy * np.sin(turn)
        mask |= (u / a) ** 2 + (v / b) ** 2 < 1
    return mask.astype(np.uint8)


def counts_of(mask: np.ndarray, order: str) -> list[int]:
    flat = mask.ravel("F" if order == "column" else "C").astype(np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()


def written(mask: np.ndarray, reading: Reading) -> str:
    if reading.kind == "counts":
        return " ".join(map(str, counts_of(mask, reading.order)))
    return rle.encode(mask, reading.order, reading.base, reading.kind == "relative")


def drawn(seed: int, size: tuple[int, int], n: int, least: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [blobs(*size, int(rng.integers(least, 6)), rng) for _ in range(n)]


def units(
    masks: list[np.ndarray], reading: Reading, empty: str = "", truth: bool = False
) -> list[Unit]:
    return [
        Unit(
            f"p{i}",
            ((written(mask, reading) if mask.any() else empty),),
            mask.shape,
            mask if truth else None,
        )
        for i, mask in enumerate(masks)
    ]


def wrong(found: Convention, reading: Reading) -> list[str]:
    """The properties that were settled falsely."""
    return [
        name
        for name in ("kind", "order", "base")
        if getattr(found, name) not in (None, getattr(reading, name))
    ]


# ------------------------------------------------------------------ every convention is recovered


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(READINGS), SIZES, st.integers(0, 10**6), st.sampled_from(["", "-1", "-"]))
def test_masks_recover_every_convention(
    reading: Reading, size: tuple[int, int], seed: int, empty: str
) -> None:
    masks = [*drawn(seed, size, 6), np.zeros(size, np.uint8)]
    found = detect(units(masks, reading, empty, truth=True))
    assert found.by == "masks" and found.reading == reading and not found.open
    assert found.agree[reading] == found.n_images == 6
    assert found.empty == empty and found.fits


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(READINGS), SIZES, st.integers(0, 10**6), st.sampled_from(["", "-1", "-"]))
def test_strings_alone_are_never_read_falsely(
    reading: Reading, size: tuple[int, int], seed: int, empty: str
) -> None:
    masks = [*drawn(seed, size, 12), np.zeros(size, np.uint8)]
    found = detect(units(masks, reading, empty))
    assert found.by == "strings" and not wrong(found, reading)
    assert (found.kind, found.order, found.empty) == (reading.kind, reading.order, empty)


@pytest.mark.parametrize("reading", READINGS, ids=[r.told for r in READINGS])
def test_strings_alone_recover_every_convention_of_a_larger_table(reading: Reading) -> None:
    found = detect(units(drawn(5, (64, 90), 80, least=0), reading))
    assert found.reading == reading and not found.open
    assert found.votes["order"][reading.order] > 40


FIELD = {  # competition: reading, empty marker, one row an object, height and width
    "TGS salt 2018": (("absolute", "column", 1), "", False, (101, 101)),
    "DSB 2018": (("absolute", "column", 1), "", True, (64, 80)),
    "Airbus ships 2018": (("absolute", "column", 1), "", True, (96, 96)),
    "Severstal 2019": (("absolute", "column", 1), "", False, (32, 200)),
    "Clouds 2019": (("absolute", "column", 1), "", False, (70, 105)),
    "SIIM-ACR 2019": (("relative", "column", 0), "-1", False, (128, 128)),
    "Carvana 2017": (("absolute", "row", 1), "", False, (80, 120)),
    "HuBMAP 2021": (("absolute", "column", 1), "", False, (150, 120)),
    "UW-Madison 2022": (("absolute", "row", 1), "", False, (66, 90)),
    "Vesuvius 2023": (("absolute", "row", 1), "", False, (120, 90)),
    "Contrails 2023": (("absolute", "column", 1), "-", False, (64, 64)),
    "SenNet+HOA 2024": (("absolute", "row", 1), "1 0", False, (91, 130)),
    "Dacon SIA 2023": (("absolute", "row", 1), "-1", False, (64, 64)),
    "COCO results": (("counts", "column", 0), "", True, (60, 80)),
    "first pixel 0, row": (("absolute", "row", 0), "0 0", False, (60, 80)),
}


@pytest.mark.parametrize("name", FIELD)
@pytest.mark.parametrize("by", ["masks", "strings"])
def test_the_conventions_of_the_field(name: str, by: str) -> None:
    values, empty, objects, size = FIELD[name]
    reading = Reading(*values)
    rows = []
    for i, mask in enumerate([*drawn(9, size, 40), np.zeros(size, np.uint8)]):
        rng = np.random.default_rng(i)
        parts = [blobs(*size, 1, rng) for _ in range(3)] if objects and mask.any() else [mask]
        parts = [part for part in parts if part.any()]
        cells = tuple(written(part, reading) for part in parts) or (empty,)
        whole = np.any(parts, axis=0).astype(np.uint8) if parts else mask
        rows.append(Unit(f"p{i}", cells, size, whole if by == "masks" else None))
    found = detect(rows)
    assert not wrong(found, reading) and found.empty == empty
    if by == "masks" or size[0] != size[1]:
        assert found.reading == reading and not found.open
    else:  # a square picture with its axes exchanged is as smooth
        assert found.open == ["order"]
        assert "order: not decided (no image speaks)" in found.evidence
        assert any("every image is square" in line for line in found.evidence)


def test_packed_coco_counts() -> None:
    from tests.masks.test_code_cells import coco_text

    masks = drawn(3, (50, 70), 6)
    texts = [coco_text(counts_of(mask, "column")) for mask in masks]
    packed = [f"0 1.0 {base64.b64encode(zlib.compress(t.encode())).decode()}" for t in texts]
    for cells, told in ((texts, "coco"), (packed, "zlib and base64")):
        found = detect([Unit(str(i), (t,), (50, 70)) for i, t in enumerate(cells)])
        assert (found.kind, found.order, found.packed) == ("counts", "column", told)


def test_ignored_pixels_are_not_compared() -> None:
    masks = drawn(1, (40, 60), 4)
    reading = Reading("absolute", "row", 1)
    rows = []
    for unit, mask in zip(units(masks, reading), masks, strict=True):
        hidden = np.zeros(mask.shape, bool)
        hidden[:7, :9] = True
        rows.append(Unit(unit.image_id, unit.cells, unit.size, mask * ~hidden, hidden))
    found = detect(rows)
    assert found.reading == reading and found.agree[reading] == found.n_images


def test_masks_saved_with_loss_still_tell() -> None:
    reading = Reading("absolute", "row", 0)
    masks = drawn(2, (60, 80), 8)
    rows = []
    for unit, mask in zip(units(masks, reading), masks, strict=True):
        other = mask.copy()
        other[mask.argmax() // 80, mask.argmax() % 80] ^= 1
        rows.append(Unit(unit.image_id, unit.cells, unit.size, other))
    found = detect(rows)
    assert found.reading == reading and not found.open
    assert found.agree[reading] == 0 and found.near[reading] == found.n_images and found.fits


# ----------------------------------------------------------------------- what cannot be decided


def test_all_empty() -> None:
    found = detect([Unit(str(i), ("",), (40, 60)) for i in range(5)])
    assert found.open == ["kind", "order", "base"] and found.n_images == 0
    assert "every code is empty: they fit every convention" in found.notes
    assert found.empty == "" and found.votes["empty"] == {"": 5}
    blank = np.zeros((40, 60), np.uint8)
    found = detect([Unit(str(i), ("-1",), (40, 60), blank) for i in range(5)])
    assert found.open == ["kind", "order", "base"] and found.empty == "-1"
    assert "every mask is empty" in found.notes


def test_symmetric_masks() -> None:
    mask = np.zeros((50, 50), np.uint8)
    mask[20:30, 20:30] = 1  # the same with its axes exchanged
    found = detect([Unit(str(i), (rle.encode(mask),), (50, 50), mask) for i in range(4)])
    assert found.open == ["order"] and (found.kind, found.base) == ("absolute", 1)
    assert found.agree[READINGS[0]] == found.agree[READINGS[1]] == 4
    assert any(note.startswith("order: the masks are symmetric") for note in found.notes)


def test_single_runs_leave_relative_starts_open() -> None:
    found = detect([Unit(str(i), (f"{100 + i} 5",), (50, 70)) for i in range(4)])
    assert "kind" in found.open
    assert any("absolute or relative starts" in note for note in found.notes)


def test_unknown_sizes_leave_the_order_open() -> None:
    masks = drawn(4, (60, 90), 10)
    rows = [Unit(u.image_id, u.cells) for u in units(masks, READINGS[0])]
    found = detect(rows)
    assert found.kind == "absolute" and found.order is None
    assert "order: the images' sizes are unknown" in found.notes
    relative = [Unit(u.image_id, u.cells) for u in units(masks, READINGS[4])]
    assert detect(relative).kind == "relative"


def test_codes_of_another_size() -> None:
    """Clouds 2019: masks are scored at a quarter of the images' size."""
    rows = [Unit(u.image_id, u.cells, (30, 45)) for u in units(drawn(4, (60, 90), 10), READINGS[0])]
    assert any("are the codes of another size" in note for note in detect(rows).notes)


@pytest.mark.parametrize("reading", READINGS[:4], ids=[r.told for r in READINGS[:4]])
@pytest.mark.parametrize("rims", [(1, 0), (0, 1), (1, 1)])
def test_masks_with_a_blank_rim_do_not_mislead(reading: Reading, rims: tuple[int, int]) -> None:
    """Where the first or last line is never marked, objects end one pixel early, as if shifted."""
    masks = drawn(11, (60, 90), 40)
    for mask in masks:
        mask[: rims[0]] = mask[:, : rims[0]] = 0
        mask[60 - rims[1] :] = mask[:, 90 - rims[1] :] = 0
    found = detect(units(masks, reading))
    assert not wrong(found, reading) and found.order == reading.order


def test_masks_that_fit_no_reading() -> None:
    found = detect(
        [Unit(str(i), ("3 4",), mask.shape, mask) for i, mask in enumerate(drawn(6, (40, 50), 5))]
    )
    assert not found.fits and "no reading draws the masks of any image" in found.notes


def test_two_conventions_in_one_table_are_not_settled() -> None:
    masks = drawn(7, (60, 90), 20)
    rows = units(masks[:10], READINGS[0]) + [
        Unit(f"q{i}", u.cells, u.size) for i, u in enumerate(units(masks[10:], READINGS[1]))
    ]
    found = detect(rows)
    assert found.order is None and found.votes["order"] == {"column": 10, "row": 10}
    assert any("10 images speak for column-major, 10 for row-major" in n for n in found.notes)


def test_a_few_broken_cells_do_not_change_the_verdict() -> None:
    rows = units(drawn(8, (64, 90), 60), READINGS[0])
    rows += [Unit(f"b{i}", (cell,), (64, 90)) for i, cell in enumerate(["0 5", "5760 9", "x", "7"])]
    found = detect(rows)
    assert found.reading == READINGS[0] and not found.open


def test_one_bound_settles_the_first_pixel() -> None:
    assert detect([Unit("a", ("0 5 70 2",), (50, 70))]).base == 0
    assert detect([Unit("a", ("3 5 3499 2",), (50, 70))]).base == 1


def test_several_empty_markers() -> None:
    found = detect([Unit(str(i), (cell,), (9, 9)) for i, cell in enumerate(["", "-1", "", "-1"])])
    assert found.empty is None
    assert any(note.startswith("empty marker: several are used") for note in found.notes)


def test_the_rows_of_empty_masks_tell_the_marker_even_where_it_looks_like_pixels() -> None:
    masks = [*drawn(1, (40, 60), 5), *[np.zeros((40, 60), np.uint8)] * 3]
    found = detect(units(masks, READINGS[0], "1 1", truth=True))
    assert found.empty == "1 1" and found.reading == READINGS[0]


def test_absent_rows() -> None:
    masks = drawn(1, (40, 60), 5)
    blank = np.zeros((40, 60), np.uint8)
    rows = units(masks, READINGS[0], truth=True)
    assert detect(rows).n_absent == 0 and detect(rows).absent_is_empty is None
    found = detect([*rows, Unit("e", (), (40, 60), blank)])
    assert found.n_absent == 1 and found.absent_is_empty is True and found.empty is None
    assert detect([*rows, Unit("e", (), (40, 60), masks[0])]).absent_is_empty is False
    assert detect([*units(masks, READINGS[0]), Unit("e", ())]).absent_is_empty is None


# --------------------------------------------------------------------------------- the machinery


@settings(deadline=None)
@given(st.integers(0, 10**6), SIZES, st.sampled_from(["column", "row"]))
def test_the_boundary_of_runs_is_that_of_the_mask(
    seed: int, size: tuple[int, int], order: rle.Order
) -> None:
    rng = np.random.default_rng(seed)
    masks = [
        blobs(*size, 2, rng),
        (rng.random(size) < 0.4).astype(np.uint8),
        np.ones(size, np.uint8),
    ]
    codes = gather_codes(units(masks, Reading("absolute", order, 1)))
    stride = codes.height if order == "column" else codes.width
    found = boundary(codes, runs_as(codes, "absolute", 1), stride)
    shown = [mask for mask in masks if mask.any()]
    expected = [
        int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()) for mask in shown
    ]
    assert found.tolist() == expected


def test_runs_that_touch_are_one_boundary() -> None:
    codes = gather_codes([Unit("a", ("1 10 11 10",), (10, 30)), Unit("b", ("1 20",), (10, 30))])
    runs = runs_as(codes, "absolute", 1)
    np.testing.assert_array_equal(boundary(codes, runs, codes.height), [10, 10])


@pytest.mark.parametrize("size", [None, (10, 10), (10**6, 10**6), (10**9, 10**9), (0, 5)])
def test_hostile_tables_cost_neither_memory_nor_a_traceback(size: tuple[int, int] | None) -> None:
    cells = ["1 2 " * 250_000, "9" * 500_000, "-5 3", "1 -2", "0 0 0 0", f"{10**30} 5", "5", "\x00"]
    cells += [" ".join(map(str, range(500_000))), "eNq" * 1000, "o" * 500_000, "1 2 3 4 x"]
    tracemalloc.start()
    found = detect([Unit(str(i), (cell,), size) for i, cell in enumerate(cells)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.evidence and found.told and peak < 400e6


def test_numbers_beyond_the_limit_are_said_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from comp.masks import evidence

    monkeypatch.setattr(evidence, "MAX_NUMBERS", 200)
    found = detect(units(drawn(3, (60, 90), 20), READINGS[0]))
    assert any("of 20 masks were not looked at" in note for note in found.notes)


def test_no_units_at_all() -> None:
    found = detect([])
    assert found.open == ["kind", "order", "base"] and found.empty is None and found.told


# ------------------------------------------------------------------------------- size columns


def test_size_columns_that_are_exchanged() -> None:
    sizes = {"a": (40, 60), "b": (30, 20), "c": (50, 50), "d": (7, 9)}
    right = size_order(sizes, sizes)
    assert right.order == "height_width" and right.n_square == 1 and right.n_neither == 0
    turned = {key: (w, h) for key, (h, w) in sizes.items()}
    assert size_order(turned, sizes).order == "width_height"
    assert size_order({"c": (50, 50)}, sizes).order is None
    mixed = size_order({"a": (40, 60), "b": (20, 30), "d": (8, 8), "z": (1, 1)}, sizes)
    assert mixed.order is None and mixed.n_neither == 1
    assert mixed.votes == {"height_width": 1, "width_height": 1}
