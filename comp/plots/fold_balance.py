"""How even the folds are, as a picture: images a fold, and what each fold has more or less of than all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comp.data.folds.balance import Part
from comp.plots.figure import commit_png, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_PX, HEAD_PX, LEFT_PX = 22, 80, 190
WIDTH_PX = (560, 1800)
MOST_ROWS = 40  # of strata or classes; the rest is said, not drawn


def plot_fold_balance(
    parts: Sequence[Part], classes: Sequence[str], path: Path, title: str = ""
) -> Path:
    """Draw the folds and commit a PNG: above the images of each fold by stratum, below what share of them
    is empty, holds each class, and of their pixels is of each class, coloured by how far from all images.

    Args:
        parts: what `fold_parts` returns, the images all together last.
        classes: the names of the K classes.

    Raises:
        ValueError: no fold.
    """
    if len(parts) < 2:
        raise ValueError(f"{path}: no fold to draw")
    bars, overall = parts[:-1], shares_of(parts[-1], classes)
    rows = list(overall)[:MOST_ROWS]
    above = 230
    below = ROW_PX * len(rows) + 60
    width = int(min(max(LEFT_PX + 62 * len(bars) + 160, WIDTH_PX[0]), WIDTH_PX[1]))
    height = HEAD_PX + above + below
    figure = new_figure(width, height)
    left, span = LEFT_PX / width, 1 - (LEFT_PX + 150) / width
    top = figure.add_axes((left, (below + 20) / height, span, (above - 10) / height))
    _draw_bars(top, bars)
    grid = figure.add_axes((left, 25 / height, span, ROW_PX * len(rows) / height))
    _draw_shares(grid, [shares_of(bar, classes) for bar in bars], rows, overall)
    if len(rows) < len(overall):
        title += f" ({len(overall) - len(rows)} more rows are not drawn)"
    figure.text(0.5, 1 - 12 / height, plain(title), fontsize=11, ha="center", va="top")
    return commit_png(figure, path)


def shares_of(part: Part, classes: Sequence[str]) -> dict[str, float]:
    """The rows of the picture: name -> share from 0 to 1 of the part's images or pixels."""
    n = max(1, part.n_images)
    rows = {"empty images": part.n_empty / n}
    if len(classes) == 1:
        return rows | {"coverage": part.share[0]}
    rows |= {f"with {name}": part.n_with[k] / n for k, name in enumerate(classes)}
    return rows | {f"pixels {name}": part.share[k] for k, name in enumerate(classes)}


def _draw_bars(axes: Axes, bars: Sequence[Part]) -> None:
    """Images of each part, stacked by stratum."""
    strata = sorted({name for bar in bars for name in bar.strata}, key=_natural)
    places = range(len(bars))
    base = [0] * len(bars)
    shown = len(strata) <= 14
    for number, name in enumerate(strata):
        heights = [bar.strata.get(name, 0) for bar in bars]
        colour = f"C{number % 10}" if len(strata) > 1 else "0.5"
        label = plain(name or "all images") if shown else None
        axes.bar(places, heights, bottom=base, color=colour, width=0.8, label=label, lw=0)
        base = [b + h for b, h in zip(base, heights, strict=True)]
    for place, total in zip(places, base, strict=True):
        axes.text(place, total, str(total), ha="center", va="bottom", fontsize=8)
    axes.set_xlim(-0.5, len(bars) - 0.5)
    axes.set_ylim(0, max(1, max(base)) * 1.12)
    axes.set_xticks(list(places), [plain(bar.name) for bar in bars], fontsize=8)
    axes.set_ylabel("images", fontsize=8)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if shown and len(strata) > 1:
        axes.legend(
            fontsize=7,
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.2,
        )


def _draw_shares(
    axes: Axes,
    bars: Sequence[Mapping[str, float]],
    rows: Sequence[str],
    overall: Mapping[str, float],
) -> None:
    """A cell a share: its value, red where the part has more than all images, blue where less."""
    ratio = [[_above(bar[row], overall[row]) for bar in bars] for row in rows]
    axes.imshow(ratio, cmap="coolwarm", vmin=-1, vmax=1, aspect="auto")
    size = 7 if len(bars) <= 20 else 5
    for y, row in enumerate(rows):
        for x, bar in enumerate(bars):
            text = f"{bar[row] * 100:.3g}"
            axes.text(x, y, text, ha="center", va="center", fontsize=size)
    labels = [f"{_short(row)}  {overall[row] * 100:.3g} %" for row in rows]
    axes.set_yticks(range(len(rows)), [plain(label) for label in labels], fontsize=8)
    axes.set_xticks([])
    axes.set_xlabel(
        "percent in each fold, beside the name in all; red: more than in all", fontsize=8
    )
    axes.tick_params(length=0)


def _above(part: float, whole: float) -> float:
    """-1 where there is nothing, 0 where it is as in all, 1 where it is twice as much or more."""
    return 0.0 if whole == 0 else min(part / whole - 1, 1.0)


def _short(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"


def _natural(name: str) -> tuple[str, int, str]:
    """``coverage 10`` after ``coverage 9``."""
    word, _, number = name.rpartition(" ")
    return (word, int(number), name) if number.isdecimal() else (name, -1, name)
