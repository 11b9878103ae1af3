"""The contact sheet: a PNG of the expected size, for any kind of image, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from comp.plots.contact_sheet import CELL, COLUMNS, GAP, HEAD, TITLE, Tile, plot_contact_sheet


def tiles(n: int) -> list[Tile]:
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 50), np.uint8)
    labels[5:20, 10:30] = 1
    made = [
        Tile(f"name {k}", rng.integers(0, 256, (30, 50, 3), np.uint8), labels) for k in range(n)
    ]
    made[0] = Tile("città $x$ 日本 " * 9, rng.random((400, 9, 5)).astype(np.float32))
    return made


def test_size_and_repeatable_bytes(tmp_path: Path) -> None:
    sections = [("a", tiles(COLUMNS + 1)), ("none", []), ("b", tiles(2))]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        assert plot_contact_sheet(sections, path, task="binary", classes=["x"]) == path
    with Image.open(paths[0]) as image:
        rows = 2 * HEAD + 3 * (CELL + TITLE + GAP) + GAP
        assert image.size == (COLUMNS * (CELL + GAP) + GAP, rows)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_labels_are_drawn(tmp_path: Path) -> None:
    plain = [Tile("t", np.zeros((40, 40, 3), np.uint8))]
    labelled = [Tile("t", plain[0].image, np.eye(40, dtype=np.uint8)[None].repeat(2, 0))]
    for name, made in (("a.png", plain), ("b.png", labelled)):
        plot_contact_sheet([("", made)], tmp_path / name, task="multilabel", classes=["x", "y"])
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert plot_contact_sheet([("a", [])], tmp_path / "a.png", task="binary", classes=["x"]) is None
    assert not (tmp_path / "a.png").exists()
