"""Where an image lies: read from its header, of any file an image may be."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from comp.data.images.bands import BandPath
from comp.data.images.geo import GeoReference, read_georeference
from comp.errors import DataError, UsageError

needs_rasterio = pytest.mark.skipif(
    find_spec("rasterio") is None, reason="rasterio is not installed"
)


def test_without_rasterio_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint8))
    with pytest.raises(UsageError, match=r'need rasterio: pip install "comp\[geo\]"'):
        read_georeference(tmp_path / "a.tif")


def test_a_file_that_is_no_tif_lies_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30, 3), np.uint8))
    assert read_georeference(tmp_path / "a.png") == GeoReference(None, None, (20, 30))
    with pytest.raises(DataError, match=r"cannot read .*b\.png: No such file"):
        read_georeference(tmp_path / "b.png")


@needs_rasterio
def test_the_place_is_the_files(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.Affine(10, 0.5, 500000, 0.25, -10, 4600000)  # turned a little
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=60, width=52, count=1, dtype="uint16",
        crs="EPSG:32633", transform=transform,
    ) as target:  # fmt: skip
        target.write(np.zeros((1, 60, 52), np.uint16))
    place = read_georeference(tmp_path / "a.tif")
    assert place.size == (60, 52) and place.transform == tuple(transform)[:6]
    assert place.crs is not None and rasterio.crs.CRS.from_wkt(place.crs).to_epsg() == 32633
    assert place.center == transform @ (26, 30)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((60, 52), np.uint8))
    assert read_georeference(tmp_path / "b.tif") == GeoReference(None, None, (60, 52))
    both = BandPath.of([tmp_path / "a.tif", tmp_path / "b.tif"])
    assert read_georeference(both) == place, "the first band speaks for all"


@needs_rasterio
def test_a_broken_tif_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0 and no more")
    with pytest.raises(DataError, match=r"a\.tif: not a GeoTIFF that can be opened"):
        read_georeference(tmp_path / "a.tif")
