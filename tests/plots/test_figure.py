"""Figures: their size in pixels, no pyplot state, text as it stands."""

from __future__ import annotations

from pathlib import Path

import cv2

from comp.plots.figure import commit_png, new_figure, plain
from tests.processes import run_python


def test_a_figure_has_the_size_asked_for(tmp_path: Path) -> None:
    figure = new_figure(321, 123)
    figure.text(0.5, 0.5, plain("$x_1$ and $"))
    path = commit_png(figure, tmp_path / "new" / "f.png")
    drawn = cv2.imread(str(path))
    assert drawn is not None and drawn.shape == (123, 321, 3)
    assert b"Software" not in path.read_bytes()


def test_drawing_needs_no_pyplot_and_importing_no_matplotlib() -> None:
    code = (
        "import sys; import comp.plots.curves, comp.plots.pictures, comp.plots.cv_report\n"
        "assert not {'matplotlib', 'cv2', 'torch', 'pandas'} & set(sys.modules)\n"
        "from comp.plots.figure import new_figure; new_figure(10, 10)\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    run_python(code)
