"""Run `comp init` on drawn data, read back what it wrote, and compare it with what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from comp.commands import init
from comp.config import Competition, data_root, load_competition
from comp.data.images.bands import files_of
from comp.data.layouts.detect import Asked
from comp.data.sources.labels import read_labels
from comp.data.sources.manifest import read_manifest
from comp.data.sources.records import Records, find_records
from comp.files import Workspace
from tests.drawn_layouts import Drawn


def understood(ws: Path, data: Path, **asked: str) -> tuple[Competition, Records, Path]:
    """Run init and read back what it wrote."""
    absent = asked.pop("absent", None)
    init.run(ws, data, asked=Asked(**asked), absent=absent)
    comp = load_competition(ws)
    root = data_root(Workspace(ws, comp.name), comp)
    return comp, find_records(comp, root), root


def check(
    draw: Callable[[Path, Sequence[str]], Drawn], names: Sequence[str], folder: Path, **asked: str
) -> tuple[Competition, Records]:
    """Draw a layout, understand it, compare files, parts, foreground and the manifest."""
    data = folder / "data"
    data.mkdir()
    wanted = draw(data, names)
    comp, records, root = understood(folder / "ws", data, **asked)
    got = {
        r.image_id: (
            tuple(p.relative_to(root).as_posix() for p in files_of(r.image)),
            tuple(p.relative_to(root).as_posix() for p in r.masks),
            r.split,
        )
        for r in records.train
    }
    assert got == {i: (w.images, tuple(sorted(w.masks)), w.split) for i, w in wanted.items()}
    for record in records.train:
        labels = read_labels(record, comp)
        labels = labels[0] if labels.ndim == 3 else labels
        foreground = (labels > 0) & (labels < 255)
        assert np.array_equal(foreground, wanted[record.image_id].labels), record.image_id
    rows = read_manifest(folder / "ws" / "configs" / "manifest.csv")
    listed = {r.image_id: (r.images, r.masks, r.split) for r in rows if r.split != "test"}
    if not any(pairs.rle and pairs.manifest for pairs in comp.data.train):
        assert listed == got
    return comp, records
