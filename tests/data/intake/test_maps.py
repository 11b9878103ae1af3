"""The submission without a sample: test images that lie on the map may be asked for as maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.commands import init
from comp.config import load_competition
from tests.data.leaks.test_places import write_geotiff
from tests.drawn import save


@pytest.mark.parametrize("crs", [32640, None])
def test_test_images_on_the_map(
    tmp_path: Path, crs: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    data, ws = tmp_path / "data", tmp_path / "ws"
    for part, n in (("train", 6), ("test", 2)):
        (data / part / "images").mkdir(parents=True)
        for i in range(n):
            write_geotiff(data / part / f"images/{part}{i}.tif", 100.0 * i, 0.0, crs)
    for i in range(6):
        mask = np.zeros((16, 16), np.uint8)
        mask[:i] = 255
        save(data / f"train/masks/train{i}.png", mask)
    init.run(ws, data)
    lines = [line for line in capsys.readouterr().out.splitlines() if "submission: " in line]
    assert "a guess, for no sample submission is there" in lines[0]
    told = [line for line in lines if "submission.format: geotiff" in line]
    assert len(told) == (crs is not None)
    text = (ws / "configs/competition.yaml").read_text()
    assert ("# format: geotiff" in text) == (crs is not None)
    assert load_competition(ws).submission.format == "csv"
