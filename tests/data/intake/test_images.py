"""Images for `comp init`: where not one can be read, it says so and writes nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from comp.commands import init
from comp.errors import DataError


def draw(root: Path, n_good: int) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(40):
        pixels = rng.integers(0, 255, (24, 32, 5), np.uint8)
        kwargs = {"planarconfig": "contig"} if k >= 40 - n_good else {}
        tifffile.imwrite(root / f"images/a{k:02d}.tif", pixels, photometric="minisblack", **kwargs)
        mask = np.zeros((24, 32), np.uint8)
        mask[k % 8 : 14, 4:9] = 255
        cv2.imwrite(str(root / f"masks/a{k:02d}.png"), mask)


def test_no_image_that_can_be_read_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "d", 0)
    with pytest.raises(
        DataError, match=r"none of the 40 images can be read:\n  .*a00\.tif: 24 pages"
    ):
        init.run(tmp_path / "ws", tmp_path / "d")
    assert not (tmp_path / "ws/configs/competition.yaml").exists()


def test_the_one_image_that_can_be_read_tells_the_bands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "d", 1)
    init.run(tmp_path / "ws", tmp_path / "d")
    assert "bands of 1 images looked at, without alpha: 5 x uint8" in capsys.readouterr().out
