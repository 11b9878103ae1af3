"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def no_pictures() -> Iterator[None]:
    """Drawing takes longer than training here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "comp.commands.cv.draw_samples",
            "comp.reports.plot_learning_curves",
            "comp.reports.write_cases",
        ):
            patch.setattr(name, lambda *_: None)
        yield
