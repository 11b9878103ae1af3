"""Tables against the images: what verify says of codes is what reading them says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.config import Competition, check
from comp.data.checks.tables import check_tables
from comp.data.sources.records import find_records, look_for_records
from comp.masks.rle import encode
from tests.drawn import save

H, W = 12, 20
SIZES = {"img_1": (H, W), "img_2": (H, W)}


def draw(root: Path, names: tuple[str, ...]) -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[2:7, 3:9] = 1
    lines = ["Image_Label,Code"]
    for image_id in SIZES:
        save(root / f"i/{image_id}.png", np.full((H, W, 3), 80, np.uint8))
        lines += [f"{image_id}_{name},{encode(mask)}" for name in names]
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    (root / "s.csv").write_text("\n".join(line.partition(",")[0] + "," for line in lines) + "\n")
    (root / "s.csv").write_text((root / "s.csv").read_text().replace("Label,", "Label,Code", 1))


def competition(names: list[str], **more: Any) -> Competition:
    shape = {
        "id_column": "Image_Label",
        "rle_column": "Code",
        "class_in_id": True,
        "row": "image_class",
    }
    data = {
        "root": ".", "train": [{"images": "i/{id}.png", "rle": True}], "test": "i/{id}.png",
        "train_rle": {"file": "t.csv", **shape},
    }  # fmt: skip
    submission = {**shape, "sample": "s.csv", **more}
    whole = {"task": "multilabel", "classes": names, "data": data, "submission": submission}
    return check(Competition, {"name": "t", **whole}, "t")


NAMES = ("Sugar_cane", "cane", "Fish")


@pytest.mark.parametrize("spelled", [NAMES, ("0", "1", "2"), ("p", "q", "r_p")])
def test_classes_are_spelled_by_one_rule(tmp_path: Path, spelled: tuple[str, ...]) -> None:
    """Own names, numbers, or as class_names says: folds read them, verify and the sample too."""
    draw(tmp_path, spelled)
    named = {"class_names": spelled} if spelled[0] == "p" else {}
    comp = competition(list(NAMES), **named)
    records = find_records(comp, tmp_path)
    problems, warnings = check_tables(comp, tmp_path, records, SIZES)
    assert problems == []
    (told,) = warnings  # no code begins at the first pixel
    assert told.startswith(
        "t.csv: read as declared, column-major, first pixel 1, but its codes do not"
    )
    assert "(first pixel: not decided (no image speaks)); look it up" in told


def test_a_table_that_cannot_be_read_is_said_once(tmp_path: Path) -> None:
    draw(tmp_path, ("u", "v", "w"))
    comp = competition(list(NAMES), sample=None)
    records, problems = look_for_records(comp, tmp_path)
    assert len(problems) == 1 and "t.csv: 6 rows of no known class" in problems[0]
    assert check_tables(comp, tmp_path, records, SIZES) == ([], [])
