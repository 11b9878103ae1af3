"""Learning curves: one panel a loss, term or metric, train dashed and validation solid, one colour a fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comp.plots.figure import commit_png, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT_OUT = ("epoch", "seconds", "images_per_second")
PANEL_PX = (400, 290)
COLUMNS = 3

History = Sequence[Mapping[str, Any]]


def plot_learning_curves(
    histories: Mapping[int, History],
    path: Path,
    title: str = "",
    best_epochs: Mapping[int, int] | None = None,
) -> Path:
    """Draw every column of the folds' histories over the epochs and commit a PNG.

    Args:
        histories: fold -> one mapping an epoch with "epoch" and any of lr, train_<name>, val_<name>;
            absent, blank and NaN values leave a gap.
        best_epochs: fold -> the epoch to mark.

    Raises:
        ValueError: when no fold has anything to draw.
    """
    panels = panel_names(histories)
    if not panels:
        raise ValueError(f"{path}: the histories hold no value to draw")
    n_rows = math.ceil(len(panels) / COLUMNS)
    n_columns = min(len(panels), COLUMNS)
    top = 60
    figure = new_figure(PANEL_PX[0] * n_columns, PANEL_PX[1] * n_rows + top)
    height = PANEL_PX[1] * n_rows + top
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number < len(panels):
            _draw_panel(axes, panels[number], histories, best_epochs or {})
        else:
            axes.set_axis_off()
    figure.text(0.5, 1 - 10 / height, plain(title), fontsize=12, ha="center", va="top")
    handles = _legend_handles(sorted(histories))
    figure.legend(
        handles=handles,
        loc="upper center",
        ncols=min(len(handles), 3 + 3 * n_columns),
        fontsize=8,
        frameon=False,
        bbox_to_anchor=(0.5, 1 - 32 / height),
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - top / height))
    return commit_png(figure, path)


def panel_names(histories: Mapping[int, History]) -> list[str]:
    """What is drawn, in order: the loss, its terms (known by a train value), the metrics, learning rates."""
    keys = list(
        dict.fromkeys(key for history in histories.values() for row in history for key in row)
    )
    names: dict[str, None] = {}
    rates = [key for key in keys if key == "lr" or key.startswith("lr_")]
    both = {key.removeprefix("train_") for key in keys if key.startswith("train_")}
    for key in keys:
        if key not in LEFT_OUT and key not in rates:
            names[key.removeprefix("train_").removeprefix("val_")] = None
    order = sorted(names, key=lambda name: (name != "loss", name not in both))
    return [*order, *rates]


def colour_of(position: int) -> str:
    """The colour of the fold at a position: ten that repeat."""
    return f"C{position % 10}"


def _draw_panel(
    axes: Axes, name: str, histories: Mapping[int, History], best_epochs: Mapping[int, int]
) -> None:
    """Draw one quantity of every fold."""
    drawn: list[float] = []
    longest = max(len(history) for history in histories.values())
    marker = "o" if longest < 3 else None
    for position, fold in enumerate(sorted(histories)):
        for key, style, alpha in (
            (f"train_{name}", "--", 0.6),
            (f"val_{name}", "-", 1.0),
            (name, "-", 1.0),
        ):
            points = [(float(row["epoch"]), number(row.get(key))) for row in histories[fold]]
            # Epochs without validation are left out, so that the line joins those with one.
            points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
            if points:
                drawn += [value for _, value in points]
                axes.plot(
                    *zip(*points, strict=True),
                    style,
                    color=colour_of(position),
                    alpha=alpha,
                    lw=1.3,
                    marker=marker,
                    ms=3,
                )
        if fold in best_epochs:
            axes.axvline(best_epochs[fold], color=colour_of(position), lw=0.8, ls=":", alpha=0.8)
    axes.set_title(plain(name), fontsize=10)
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.6)
    axes.locator_params(axis="x", integer=True)
    if not drawn:
        axes.text(
            0.5,
            0.5,
            "no finite value",
            ha="center",
            va="center",
            transform=axes.transAxes,
            fontsize=9,
        )
    elif min(drawn) > 0 and max(drawn) > 50 * min(drawn):
        axes.set_yscale("log")


def number(value: Any) -> float:
    """A cell of history.csv as a float; absent or blank is NaN."""
    return math.nan if value is None or value == "" else float(value)


def _legend_handles(folds: list[int]) -> list[Any]:
    from matplotlib.lines import Line2D

    folds_shown = [
        Line2D([], [], color=colour_of(n), label=f"fold {fold}") for n, fold in enumerate(folds)
    ]
    kinds = [
        Line2D([], [], color="0.3", ls=ls, label=label)
        for ls, label in (("--", "train"), ("-", "validation"))
    ]
    return [*folds_shown, *kinds]
