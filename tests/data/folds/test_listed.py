"""Folds that a CSV numbers: read for every spelling of ids, refused where an image has not one number."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.folds.listed import NUMBER, fold_column, read_listed
from comp.data.sources.record import Record
from comp.errors import FoldsError

RECORDS = [Record(f"{n:03d}", Path(f"/d/images/{n:03d}.png")) for n in range(4)]


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("lines", "folds"),
    [
        (("image_id,fold", "000,0", "001,1", "002,0", "003,1"), [0, 1, 0, 1]),
        (("x,kfold,image", "9,1,000.png", "9,3,001.png", "9,1,002.png", "9,2,003.png"), [0, 2, 0, 1]),
        (("fold,path", "fold_0,images/000.png", "fold_1,images/001.png", "-1,002", "0.0,003"), [0, 1, -1, 0]),
        (("id,k-fold", "003,0", "002,0", "001,0", "000,5", "000,5", "other,x5"), None),
        (("id,cv_fold", "003,0", "002,0", "001,0", "000,5", "000,5", "other,7"), [1, 0, 0, 0]),
    ],
)  # fmt: skip
def test_numbers_of_folds(tmp_path: Path, lines: tuple[str, ...], folds: list[int] | None) -> None:
    path = written(tmp_path / "f.csv", *lines)
    if folds is None:
        with pytest.raises(FoldsError, match=r"column 'k-fold': 1 cells are no number .*: x5"):
            read_listed(path, RECORDS)
    else:
        assert read_listed(path, RECORDS) == folds


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("id,part", "000,1"), r"no column fold; it has id, part \(folds.listed\)"),
        (("id,fold", "000,1", "001,1"), r"2 of 4 training images have no fold: 002, 003"),
        (("id,fold", "000,1", "000,2", "001,1"), r"'000' is in fold 1 and in fold 2"),
        (
            ("id,fold", *(f"00{n},-1" for n in range(4))),
            r"holds nothing|expected folds from 0 or 1",
        ),
        (("id,fold", *(f"00{n},-3" for n in range(4))), r"holds -3; expected folds from 0 or 1"),
    ],
)
def test_lists_that_do_not_number_every_image(
    tmp_path: Path, lines: tuple[str, ...], told: str
) -> None:
    with pytest.raises(FoldsError, match=told):
        read_listed(written(tmp_path / "f.csv", *lines), RECORDS)


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(FoldsError, match=r"f\.csv"):
        read_listed(tmp_path / "f.csv", RECORDS)


@given(st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_numbers_keep_their_order(numbers: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        lines = ["id,fold", *(f"{n:03d},{k}" for n, k in enumerate(numbers))]
        found = read_listed(written(Path(folder) / "f.csv", *lines), RECORDS)
    assert sorted(set(found)) == list(range(len(set(numbers))))
    assert [a < b for a, b in pairwise(found)] == [a < b for a, b in pairwise(numbers)]


@pytest.mark.parametrize("name", ["fold", "Fold", "kfold", "k_fold", "fold_id", "cv fold", "folds"])
def test_columns_of_folds(name: str) -> None:
    assert fold_column(["a", name]) == name
    assert fold_column(["folder", "unfold", "manifold", "split"]) is None
    assert NUMBER.fullmatch("1.5") is None
