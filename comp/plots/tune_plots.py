"""Pictures of a study: its history, what mattered, every parameter against the score, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comp.plots.figure import commit_png, new_figure, plain
from comp.plots.tune_report import TuneReport, short_names, value_text
from comp.tuning.rows import COMPLETE, PRUNED, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, GREEN = "#4477aa", "#cc6633", "0.6", "#228833"
PANEL_PX, COLUMNS = (360, 270), 3
MOST_PANELS = 12  # parameters with pictures of their own: the most important
MOST_LETTERS = 36  # of categories on one line
HIGH_PX = 420


def plot_study(report: TuneReport, folder: Path) -> list[Path]:
    """Draw all that there is something to draw of, and commit the PNGs into `folder`.

    Returns:
        of history.png, importances.png, slices.png and pareto.png those that were written.
    """
    drawn = []
    if complete(report.rows):
        drawn.append(plot_history(report, folder / "history.png"))
        if any(row.params for row in complete(report.rows)):
            drawn.append(plot_slices(report, folder / "slices.png"))
        if len(report.objectives) > 1:
            drawn.append(plot_pareto(report, folder / "pareto.png"))
    if report.importances.shares:
        drawn.insert(1, plot_importances(report, folder / "importances.png"))
    return drawn


def plot_history(report: TuneReport, path: Path) -> Path:
    """Draw the value of every trial over its number, the best so far as a line, pruned and failed ones marked."""
    figure, axes = _one(report, 760, "history")
    done = complete(report.rows)
    sign = 1.0 if report.greater_is_better[0] else -1.0
    inside = [row for row in done if row.feasible]
    _points(axes, inside, BLUE, "o", "complete")
    best, line = -math.inf, []
    for row in inside:
        best = max(best, sign * _value(row))
        line.append((row.index, sign * best))
    if line:
        line.append((max(row.index for row in report.rows), line[-1][1]))
        axes.step(*zip(*line, strict=True), where="post", color=ORANGE, lw=1.4, label="best so far")
    _early(axes, [row for row in report.rows if row.over], "x", "over a limit", inside, report)
    pruned = [row for row in report.rows if row.state == PRUNED and not row.over]
    _early(axes, pruned, "v", "pruned (last value)", inside, report)
    for row in done:
        if row.index == 0:
            axes.axhline(_value(row), color=GREEN, lw=1, ls="--", label="untuned", zorder=0)
    lost = [row.index for row in report.rows if row.error]
    if lost:
        foot = [0.015] * len(lost)  # of the panel's height
        across = axes.get_xaxis_transform()
        axes.plot(lost, foot, "|", color="red", ms=9, label="failed", transform=across)
    axes.set_xlabel("trial", fontsize=9)
    axes.set_ylabel(plain(report.objectives[0]), fontsize=9)
    axes.locator_params(axis="x", integer=True)
    _legend_above(figure, axes)
    return commit_png(figure, path)


def plot_importances(report: TuneReport, path: Path) -> Path:
    """Draw a bar a parameter, the most important on top.

    Raises:
        ValueError: there are none.
    """
    shares = report.importances.shares
    if not shares:
        raise ValueError(f"{path}: no importances to draw")
    height = 100 + 28 * len(shares)
    figure = new_figure(760, height)
    axes = figure.add_subplot()
    names = list(shares)[::-1]
    axes.barh(range(len(names)), [shares[name] for name in names], color=BLUE, height=0.65)
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=9)
    for place, name in enumerate(names):
        axes.text(shares[name], place, f" {100 * shares[name]:.0f} %", va="center", fontsize=8)
    axes.set_xlim(0, max(shares.values()) * 1.12)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("share of what the parameters explain (PED-ANOVA)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    _title(figure, report, "what mattered")
    figure.tight_layout(rect=(0, 0, 1, 1 - 24 / height))
    return commit_png(figure, path)


def plot_slices(report: TuneReport, path: Path) -> Path:
    """Draw every parameter against the score, one panel each; late trials are darker, the best is ringed.

    Raises:
        ValueError: no complete trial has a parameter.
    """
    done = [row for row in complete(report.rows) if row.feasible] or complete(report.rows)
    names = list(dict.fromkeys(name for row in done for name in row.params))
    rank = {name: place for place, name in enumerate(report.importances.shares)}
    names.sort(key=lambda name: rank.get(name, len(rank)))
    shown = names[:MOST_PANELS]
    if not shown:
        raise ValueError(f"{path}: no complete trial has a parameter to draw")
    n_columns = min(COLUMNS, len(shown))
    n_rows = math.ceil(len(shown) / n_columns)
    top = 50
    height = PANEL_PX[1] * n_rows + top
    figure = new_figure(max(PANEL_PX[0] * n_columns, 560), height)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    short = short_names(names)
    for number, axes in enumerate(grid.flat):
        if number < len(shown):
            _draw_slice(axes, shown[number], short[shown[number]], done, report)
        else:
            axes.set_axis_off()
    for line in grid:
        line[0].set_ylabel(plain(report.objectives[0]), fontsize=8)
    which = f"the {len(shown)} " + ("most important" if rank else "first")
    what = f"{which} parameters" if len(shown) < len(names) else "parameters"
    _title(figure, report, f"{what} (dark: late, ring: best)")
    figure.tight_layout(rect=(0, 0, 1, 1 - (top - 20) / height))
    return commit_png(figure, path)


def plot_pareto(report: TuneReport, path: Path) -> Path:
    """Draw the first objective over the second, the front joined by a line.

    Raises:
        ValueError: one objective.
    """
    if len(report.objectives) < 2:
        raise ValueError(f"{path}: a Pareto front needs two objectives, got {report.objectives}")
    figure, axes = _one(report, 640, "Pareto front")
    done = complete(report.rows)
    rows = {row.index: row for row in done}
    front = sorted((rows[index] for index in report.front), key=lambda row: (row.values or [0])[1])

    def place(some: Sequence[Row]) -> tuple[list[float], list[float]]:
        return [row.values[1] for row in some if row.values], [_value(row) for row in some]

    rest = [row for row in done if row.index not in report.front]
    axes.plot(*place([r for r in rest if r.feasible]), "o", color=GREY, ms=5, label="beaten")
    if any(not row.feasible for row in rest):
        over = [row for row in rest if not row.feasible]
        axes.plot(*place(over), "x", color=GREY, ms=5, label="over a limit")
    axes.plot(*place(front), "o-", color=ORANGE, ms=6, lw=1.2, label="front")
    for row in [*front, *(row for row in rest if row.index == 0)]:
        spot = ((row.values or [0, 0])[1], _value(row))
        name = "untuned" if row.index == 0 else str(row.index)
        axes.annotate(name, spot, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.margins(0.08)
    arrows = ["higher is better" if up else "lower is better" for up in report.greater_is_better]
    axes.set_xlabel(plain(f"{report.objectives[1]} ({arrows[1]})"), fontsize=9)
    axes.set_ylabel(plain(f"{report.objectives[0]} ({arrows[0]})"), fontsize=9)
    _legend_above(figure, axes)
    return commit_png(figure, path)


def complete(rows: Sequence[Row]) -> list[Row]:
    """The rows with a value to draw, in order."""
    return [row for row in rows if row.state == COMPLETE and row.values and _finite(row)]


def _finite(row: Row) -> bool:
    return all(math.isfinite(value) for value in row.values or ())


def _value(row: Row) -> float:
    assert row.values
    return row.values[0]


def _one(report: TuneReport, width: int, what: str) -> tuple[Figure, Axes]:
    """A figure of one panel with its title and room for a legend above."""
    figure = new_figure(width, HIGH_PX)
    axes = figure.add_axes((88 / width, 50 / HIGH_PX, 1 - 112 / width, 1 - 116 / HIGH_PX))
    axes.grid(alpha=0.25, lw=0.6)
    axes.tick_params(labelsize=8)
    _title(figure, report, what)
    return figure, axes


def _title(figure: Figure, report: TuneReport, what: str) -> None:
    height = figure.get_figheight() * figure.get_dpi()
    text = plain(f"{report.study}: {what}")
    figure.text(0.5, 1 - 10 / height, text, fontsize=11, ha="center", va="top")


def _early(
    axes: Axes,
    rows: Sequence[Row],
    marker: str,
    label: str,
    done: Sequence[Row],
    report: TuneReport,
) -> None:
    """Trials that ended early at their last value; one far from the complete ones lies on the panel's edge."""
    values = [_value(row) for row in done] or [-math.inf, math.inf]
    span = max(values) - min(values)
    room = span if math.isfinite(span) and span > 0 else math.inf
    low, high = min(values) - room, max(values) + room
    told = [
        (row.index, (row.values or [*row.reported.values()][-1:] or [math.nan])[0]) for row in rows
    ]
    points = [(i, min(max(value, low), high)) for i, value in told if math.isfinite(value)]
    if points:
        axes.plot(*zip(*points, strict=True), marker, color=GREY, ms=5, label=label)


def _legend_above(figure: Figure, axes: Axes) -> None:
    """The legend in one line between title and panel."""
    handles, labels = axes.get_legend_handles_labels()
    spot = (0.5, 1 - 32 / HIGH_PX)
    figure.legend(
        handles, labels, loc="upper center", ncols=6, fontsize=8, frameon=False, bbox_to_anchor=spot
    )


def _points(axes: Axes, rows: Sequence[Row], colour: str, marker: str, label: str) -> None:
    if rows:
        where = [row.index for row in rows], [_value(row) for row in rows]
        axes.plot(*where, marker, color=colour, ms=5, label=label)


def _log_axis(axes: Axes, low: float, high: float) -> None:
    """A log axis whose labels, 0.001 0.002 0.005 or only powers of ten, do not run into each other."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    decades = math.log10(high / low)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_slice(axes: Axes, name: str, short: str, rows: Sequence[Row], report: TuneReport) -> None:
    """One parameter's panel: numbers on an axis, categories side by side."""
    rows = [row for row in rows if name in row.params]
    values: list[Any] = [row.params[name] for row in rows]
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if numbers:
        x = [float(v) for v in values]
        axes.locator_params(axis="x", nbins=5)
        if name in report.logs and max(x) > 3 * min(x) > 0:
            _log_axis(axes, min(x), max(x))
    else:
        kinds = sorted({value_text(v) for v in values})
        x = [float(kinds.index(value_text(v))) for v in values]
        slant = 20 if sum(map(len, kinds)) > MOST_LETTERS else 0
        align = "right" if slant else "center"
        axes.set_xticks(
            range(len(kinds)), [plain(kind) for kind in kinds], rotation=slant, ha=align
        )
        axes.set_xlim(-0.6, len(kinds) - 0.4)
    last = max(1, max(row.index for row in report.rows))
    shades = [0.25 + 0.75 * row.index / last for row in rows]
    y = [_value(row) for row in rows]
    axes.scatter(
        x, y, c=shades, cmap="Blues", vmin=0, vmax=1, s=22, edgecolors="0.4", linewidths=0.4
    )
    best = (max if report.greater_is_better[0] else min)(range(len(y)), key=y.__getitem__)
    axes.scatter(x[best], y[best], s=80, facecolors="none", edgecolors=ORANGE, linewidths=1.6)
    axes.set_title(plain(short), fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25, lw=0.6)
