"""The picture of the folds: its rows, its size, the same bytes again, odd names and many of everything."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from comp.data.folds.balance import Part
from comp.plots.fold_balance import MOST_ROWS, WIDTH_PX, plot_fold_balance, shares_of


def part(name: str, n: int = 10, n_classes: int = 1, strata: int = 3) -> Part:
    return Part(
        name=name,
        n_images=n,
        n_groups=0,
        n_empty=n // 5,
        n_train=None if name == "all" else 90,
        coverage=0.25,
        n_with=(n // 2,) * n_classes,
        share=(0.25,) * n_classes,
        strata={f"coverage {s}": n // strata for s in range(strata)},
    )


def test_rows_of_one_class_and_of_several() -> None:
    assert shares_of(part("0"), ["cell"]) == {"empty images": 0.2, "coverage": 0.25}
    assert shares_of(part("0", n_classes=2), ["road", "roof"]) == {
        "empty images": 0.2,
        "with road": 0.5,
        "with roof": 0.5,
        "pixels road": 0.25,
        "pixels roof": 0.25,
    }


@pytest.mark.parametrize(
    ("n_folds", "n_classes", "strata"), [(1, 1, 1), (5, 3, 12), (60, 30, 20), (2, 1, 0)]
)
def test_drawn_the_same_every_time(
    tmp_path: Path, n_folds: int, n_classes: int, strata: int
) -> None:
    parts = [part(str(f), 10 + f, n_classes, strata or 1) for f in range(n_folds)]
    parts += [part("held out", 3, n_classes, strata or 1), part("all", 100, n_classes, strata or 1)]
    classes = [f"class $ {k} of a long name indeed" for k in range(n_classes)]
    paths = [
        plot_fold_balance(parts, classes, tmp_path / name, "toy $ folds")
        for name in ("one.png", "two.png")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    drawn = cv2.imread(str(paths[0]))
    assert drawn is not None and drawn.std() > 5
    assert WIDTH_PX[0] <= drawn.shape[1] <= WIDTH_PX[1]
    assert drawn.shape[0] < 400 + 22 * MOST_ROWS


def test_no_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folds\.png: no fold to draw"):
        plot_fold_balance([part("all")], ["a"], tmp_path / "folds.png")
