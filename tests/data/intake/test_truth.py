"""What `comp init` makes of tables that are the only truth: classes in ids, of objects, in codes; COCO counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.commands import init
from comp.config import Competition, load_competition
from comp.data.sources.labels import read_labels
from comp.data.sources.records import find_records
from comp.errors import DataError
from comp.formats.table import table_bytes
from comp.masks.rle import encode
from tests.coco_cells import coco_text, counts_of, zipped
from tests.drawn import save

H, W, N = 40, 56, 10


def ellipse(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:H, :W]
    a, b = rng.uniform(5, 12, 2)
    mask = ((y - rng.uniform(8, 32)) / a) ** 2 + ((x - rng.uniform(8, 48)) / b) ** 2 < 1
    return mask.astype(np.uint8)


def packed(mask: np.ndarray) -> str:
    return zipped(coco_text(counts_of(mask)))


def draw(root: Path, columns: list[str], rows: list[tuple[str, ...]], ids: list[str]) -> None:
    for k, image_id in enumerate(ids):
        save(root / f"train/{image_id}.png", np.full((H, W, 3), 30 + 9 * k, np.uint8))
    (root / "train.csv").write_bytes(table_bytes(columns, rows))


def understood(root: Path) -> tuple[Competition, dict[str, np.ndarray]]:
    init.run(root / "ws", root / "d")
    comp = load_competition(root / "ws")
    records = find_records(comp, root / "d").train
    return comp, {r.image_id: read_labels(r, comp) for r in records}


def test_classes_and_ids_with_underscores(tmp_path: Path) -> None:
    names = ("Sugar_cane", "cane", "Fish")
    ids = [f"img_{n}" for n in range(N)]
    planes = {
        f"{i}_{c}": ellipse(7 * n + k) for n, i in enumerate(ids) for k, c in enumerate(names)
    }
    rows = [(cell, encode(mask)) for cell, mask in planes.items()]
    draw(tmp_path / "d", ["Image_Label", "EncodedPixels"], rows, ids)
    comp, labels = understood(tmp_path)
    assert comp.classes == ("Fish", "Sugar_cane", "cane") and comp.task == "multilabel"
    for i in ids:
        assert np.array_equal(labels[i], [planes[f"{i}_{c}"] for c in comp.classes])


def test_ids_that_two_images_may_own_are_asked_for(tmp_path: Path) -> None:
    rows = [(f"img_1_{c}", encode(ellipse(k))) for k, c in enumerate(("cane", "rice"))]
    draw(tmp_path / "d", ["Image_Label", "EncodedPixels"], rows, ["img", "img_1"])
    with pytest.raises(DataError, match=r"train.csv: 2 ids can be taken apart in several ways"):
        init.run(tmp_path / "ws", tmp_path / "d")


def test_objects_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [f"o{n}" for n in range(N)]
    of = {(i, k): ellipse(9 * n + k) for n, i in enumerate(ids) for k in range(4)}
    rows = [(i, ("roof", "tree")[k % 2], encode(mask)) for (i, k), mask in of.items()]
    draw(tmp_path / "d", ["ImageId", "category", "EncodedPixels"], rows, ids)
    comp, labels = understood(tmp_path)
    assert comp.classes == ("roof", "tree")
    assert comp.data.train_rle is not None
    assert (comp.data.train_rle.row, comp.data.train_rle.class_column) == ("object", "category")
    assert "classes, as they are spelled there: roof, tree" in capsys.readouterr().out
    for i in ids:
        assert np.array_equal(labels[i], [of[i, 0] | of[i, 2], of[i, 1] | of[i, 3]])


SPELLED: dict[str, Any] = {
    "counts": lambda m: " ".join(map(str, counts_of(m))),
    "list": lambda m: str(counts_of(m)),
    "coco": lambda m: coco_text(counts_of(m)),
    "coco_zlib": packed,
}


@pytest.mark.parametrize("name", SPELLED)
def test_counts_are_the_truth(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = {f"s{n}": ellipse(n) * (n > 0) for n in range(N)}
    rows = [(i, SPELLED[name](mask) if mask.any() else "") for i, mask in masks.items()]
    draw(tmp_path / "d", ["id", "rle"], rows, list(masks))
    comp, labels = understood(tmp_path)
    assert comp.data.train_rle is not None and comp.task == "binary"
    assert comp.data.train_rle.code == name.replace("list", "counts")
    assert all(np.array_equal(labels[i], mask) for i, mask in masks.items())
    said = capsys.readouterr().out
    assert "train.csv: column-major COCO counts, by the codes of 9 images alone" in said
    assert "to settle" not in said
    text = (tmp_path / "ws/configs/competition.yaml").read_text()
    assert "what is submitted are pairs of start and length" in text


def test_objects_of_classes_in_one_cell(tmp_path: Path) -> None:
    of = {(f"h{n}", k): ellipse(9 * n + k) for n in range(N) for k in (0, 2, 10)}
    cells = {
        i: " ".join(f"{k} 0.5 {packed(of[i, k])}" for k in (0, 2, 10))
        for i in (f"h{n}" for n in range(N))
    }
    rows = [(i, str(W), str(H), cell) for i, cell in cells.items()]
    draw(tmp_path / "d", ["ID", "ImageWidth", "ImageHeight", "PredictionString"], rows, list(cells))
    comp, labels = understood(tmp_path)
    assert comp.classes == comp.submission.class_names == ("0", "2", "10")
    for i in cells:
        assert np.array_equal(labels[i], [of[i, k] for k in (0, 2, 10)])
