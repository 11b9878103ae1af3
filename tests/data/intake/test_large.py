"""`comp init` on large files: the same facts from bands of rows; a few rows stand for an image's numbers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from comp.data.images import png_rows, tif_rows
from comp.data.intake import images as intake_images
from comp.data.intake.images import look_at_images, look_at_limit
from comp.data.intake.mask_facts import look_at_masks
from comp.data.intake.seen import Understood
from comp.data.sources.record import Record, Records

RNG = np.random.default_rng(0)
SIZE = (60, 47)


def draw(*values: int, dtype: str = "uint8") -> np.ndarray:
    return RNG.choice(np.array(values, dtype), SIZE)


def masks() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    late = np.zeros((*SIZE, 3), np.uint8)
    late[55:, 9] = (9, 0, 200)
    return {
        "0 and 255": (draw(0, 255), {}),
        "mostly on": (np.pad(np.zeros((20, 20), np.uint8), ((19, 21), (20, 7)), constant_values=1), {}),
        "16 bits": (draw(0, 7, 60000, dtype="uint16"), {}),
        "int32": (draw(0, 7, 70000, dtype="int32"), {}),
        "one bit": (draw(0, 1).astype(bool), {}),
        "empty": (draw(0), {}),
        "colours that come late": (late, {"photometric": "rgb"}),
        "equal bands": (np.repeat(draw(0, 255)[..., None], 3, axis=2), {"photometric": "rgb"}),
        "palette": (draw(0, 1, 3), {"photometric": "palette", "colormap": RNG.integers(0, 65535, (3, 256), np.uint16)}),
        "fractions": (RNG.random(SIZE).astype(np.float32), {}),
    }  # fmt: skip


def test_masks_by_rows_are_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = []
    for n, (mask, options) in enumerate(masks().values()):
        path = tmp_path / f"{n}.tif"
        tifffile.imwrite(path, mask, **{"photometric": "minisblack", "rowsperstrip": 7, **options})
        records.append(Record(str(n), path, (path,)))
    whole = look_at_masks(records)
    assert len(whole.faults) == 1 and len(whole.colored) == 1
    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", 100)
    monkeypatch.setattr(tif_rows, "BAND_BYTES", 500)
    by_rows = look_at_masks(records)
    for key, value in asdict(whole).items():
        found = asdict(by_rows)[key]
        if key == "marked":
            assert [path for path, *_ in found] == [path for path, *_ in value]
            assert [s[1:] for s in found] == [pytest.approx(s[1:]) for s in value]
        elif key == "by_depth":
            assert {deep: one["pixels"] for deep, one in found.items()} == {
                deep: one["pixels"] for deep, one in value.items()
            }
        else:
            assert found == value, key


def test_a_few_rows_say_bands_and_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((900, 20, 5), np.float32)
    pixels[:10], pixels[450], pixels[-1] = 100, 7000, -3
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, rowsperstrip=10, compression="zlib", planarconfig="contig")
    records = Records((Record("a", path),))
    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", 100)
    monkeypatch.setattr(tif_rows, "BAND_BYTES", 5000)
    read = tif_rows.TifRows._parts
    rows: list[int] = []

    def counted(self: tif_rows.TifRows, start: int, stop: int) -> np.ndarray:
        rows.append(stop - start)
        return read(self, start, stop)

    monkeypatch.setattr(tif_rows.TifRows, "_parts", counted)
    seen = Understood(tmp_path)
    assert look_at_images(seen, records, False) == {"channels": 5, "scale": [-5.0, 10000.0]}
    assert sum(rows) <= 60
    assert "train sizes, height x width: 900 x 20 (1)" in seen.lines


def test_the_limit_is_raised_for_files_that_are_read_by_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rasterio")
    for module in (intake_images, png_rows):
        monkeypatch.setattr(module, "MAX_PIXELS", 1000)
    image, mask = tmp_path / "a.tif", tmp_path / "a.png"
    tifffile.imwrite(image, draw(0, 255))
    Image.fromarray(draw(0, 255)).save(mask)
    records = Records((Record("a", image, (mask,)),))
    seen = Understood(tmp_path)
    assert look_at_limit(seen, records) == {"max_pixels": 2820}
    assert seen.lines == [
        "a.png: up to 2820 pixels, more than the default limit of 1000, which keeps bombs out:"
        " data.max_pixels is raised to that; such files are read in bands of rows"
    ]
    assert look_at_limit(Understood(tmp_path), Records((Record("a", image),))) == {}
    monkeypatch.setattr(png_rows, "find_spec", lambda name: None)
    assert look_at_limit(Understood(tmp_path), records) == {}
