"""The picture of an ensemble: on which pixels its members err together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comp.plots.figure import commit_png, new_figure, plain

CELL_PX = 56
MOST_NUMBERS = 20  # members; with more, a number in every cell is not read
MOST_LETTERS = 28  # of a run's name


def plot_errors(errors: Mapping[str, Any], path: Path) -> Path:
    """Draw the correlation of the members' errors as a map and commit a PNG.

    Args:
        errors: runs, correlation (rows of the matrix, None where it is undefined).
    """
    runs, n = errors["runs"], len(errors["runs"])
    values = [[float("nan") if v is None else v for v in row] for row in errors["correlation"]]
    names = [
        plain(run if len(run) <= MOST_LETTERS else f"{run[: MOST_LETTERS - 1]}…") for run in runs
    ]
    cell_px = CELL_PX if n <= MOST_NUMBERS else CELL_PX // 2
    figure = new_figure(cell_px * n + 330, cell_px * n + 260)
    axes = figure.subplots()
    shown = axes.imshow(values, cmap="viridis", vmin=0, vmax=1)
    axes.set_xticks(range(n), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(n), names, fontsize=8)
    for i, row in enumerate(values if n <= MOST_NUMBERS else []):
        for j, value in enumerate(row):
            said = "-" if value != value else f"{value:.2f}"
            colour = "black" if value > 0.6 else "white"
            axes.text(j, i, said, ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.04)
    axes.set_title("correlation of errors on all scored pixels", fontsize=10)
    figure.tight_layout()
    return commit_png(figure, path)
