"""Names in two spellings of Unicode are pointed out, as nobody can see them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comp.data.layouts.detect import detect
from comp.data.layouts.tree import walk
from comp.errors import DataError

NAMES = ("a\u00e9", "b\u00f6", "c\u00fc", "d\u00f1")


def draw(folder: Path, form: str) -> None:
    folder.mkdir(parents=True)
    for name in NAMES:
        path = folder / f"{unicodedata.normalize(form, name)}.png"  # type: ignore[arg-type]
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def test_two_folders(tmp_path: Path) -> None:
    draw(tmp_path / "images", "NFD")
    draw(tmp_path / "masks", "NFC")
    with pytest.raises(DataError, match=r"4 names in images/ and masks/ look the same .*convmv"):
        detect(walk(tmp_path))


@pytest.mark.parametrize("extension", ["", ".png"])
def test_a_folder_and_a_table(tmp_path: Path, extension: str) -> None:
    draw(tmp_path / "images", "NFD")
    rows = "".join(f"{name}{extension},1 2\n" for name in NAMES)
    (tmp_path / "train.csv").write_text(f"id,rle\n{rows}", encoding="utf-8")
    with pytest.raises(DataError, match=r"4 names in images/ and train\.csv look the same"):
        detect(walk(tmp_path))


def test_other_names_are_not_told_of(tmp_path: Path) -> None:
    draw(tmp_path / "images", "NFC")
    with pytest.raises(DataError) as caught:
        detect(walk(tmp_path))
    assert "look the same" not in str(caught.value)
