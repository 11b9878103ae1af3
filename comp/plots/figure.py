"""Figures without pyplot: no global state, no window system, nothing to close; the PNG is committed whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from comp.files import commit
from comp.plots.tables import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100


def new_figure(width_px: int, height_px: int) -> Figure:
    """An empty figure of so many pixels on the Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def commit_png(figure: Figure, path: Path) -> Path:
    """Write the figure to `path`: the same bytes for the same figure, without a software stamp."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return commit(path, buffer.getvalue())


def plain(text: str) -> str:
    """Text that matplotlib draws as it stands: a dollar sign starts no formula, what no font has is spelled."""
    return printable(text).replace("$", r"\$")
