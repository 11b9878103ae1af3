"""Learning curves: which panels there are, that they are drawn, and that the same history gives the same bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import pytest

from comp.plots.curves import PANEL_PX, number, panel_names, plot_learning_curves


def history(n: int, shift: float = 0.0) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, n + 1):
        row: dict[str, Any] = {
            "epoch": epoch,
            "lr": 1e-3 / epoch,
            "seconds": 1.5,
            "images_per_second": 30.0,
        }
        row |= {"train_loss": 1 / epoch + shift, "train_bce": 0.5, "train_dice": 0.4}
        if epoch % 2:
            row |= {
                "val_loss": 2 / epoch,
                "val_bce": 0.6,
                "val_dice": 0.5,
                "val_iou_image_mean": epoch / n,
            }
        rows.append(row)
    return rows


def test_panels_loss_terms_metrics_rates() -> None:
    rows = history(3)
    rows[0] = {"epoch": 1, "lr": 1.0, "lr_encoder": 0.1, "val_iou_image_mean": 0.5} | rows[0]
    assert panel_names({0: rows}) == ["loss", "bce", "dice", "iou_image_mean", "lr", "lr_encoder"]


@pytest.mark.parametrize("n_epochs", [1, 6])
def test_drawn_the_same_every_time(tmp_path: Path, n_epochs: int) -> None:
    histories = {0: history(n_epochs), 3: history(n_epochs, 0.1)}
    paths = [
        plot_learning_curves(histories, tmp_path / name, "a $ title", best_epochs={0: 1})
        for name in ("one.png", "two.png")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    drawn = cv2.imread(str(paths[0]))
    assert drawn is not None and drawn.shape[1] == 3 * PANEL_PX[0] and drawn.std() > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_text_blank_and_missing_cells(tmp_path: Path) -> None:
    rows = [
        {"epoch": "1", "train_loss": "0.5", "val_loss": ""},
        {"epoch": "2", "train_loss": "0.4", "val_loss": "nan", "val_iou_dataset": math.nan},
    ]
    assert plot_learning_curves({0: rows, 1: []}, tmp_path / "curves.png").is_file()
    assert math.isnan(number("")) and math.isnan(number(None)) and number("2.5") == 2.5


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"curves\.png: the histories hold no value to draw"):
        plot_learning_curves({0: [{"epoch": 1, "seconds": 2.0}]}, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
