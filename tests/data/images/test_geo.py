"""CRS and transform kept from picture to mask; what is said where rasterio is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile

from comp.data.images.geo import GeoReference, read_georeference, write_geotiff
from comp.data.images.read import read_image
from comp.data.sources.labels import read_mask_values
from comp.errors import DataError, UsageError

PLACE = GeoReference(None, (0.5, 0.0, 400.0, 0.0, -0.5, 9000.0), (20, 30))


def test_without_rasterio_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    for call in (
        lambda: read_georeference(tmp_path / "a.tif"),
        lambda: write_geotiff(tmp_path / "m.tif", np.zeros((20, 30), np.uint8), PLACE),
    ):
        with pytest.raises(UsageError, match=r"needs rasterio: pip install 'comp\[geo\]'"):
            call()
    assert not list(tmp_path.iterdir())


def test_the_place_of_a_pixel() -> None:
    assert PLACE.place(0, 0) == (400.0, 9000.0)
    assert PLACE.center == (407.5, 8995.0)
    assert GeoReference(None, None, (2, 2)).center is None
    with pytest.raises(ValueError, match="no transform"):
        GeoReference(None, None, (2, 2)).place(0, 0)


needs_rasterio = pytest.mark.skipif(
    find_spec("rasterio") is None, reason="rasterio is not installed"
)


@needs_rasterio
def test_a_mask_lies_where_its_picture_lies(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 3000, (4, 600, 520), dtype=np.uint16)
    transform = rasterio.transform.from_origin(500000, 4600000, 10, 10)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=600, width=520, count=4, dtype="uint16",
        crs="EPSG:32633", transform=transform, compress="deflate", tiled=True, interleave="band",
    ) as target:  # fmt: skip
        target.write(pixels)
    image = read_image(tmp_path / "a.tif", 4)
    assert np.allclose(image, np.moveaxis(pixels, 0, -1) / 65535, atol=1e-7)
    mask = (pixels[0] > 1500).astype(np.uint8)
    written = write_geotiff(tmp_path / "out" / "m.tif", mask, tmp_path / "a.tif")
    assert np.array_equal(read_mask_values(written), mask)
    with rasterio.open(written) as found, rasterio.open(tmp_path / "a.tif") as source:
        assert found.crs == source.crs and found.transform == source.transform
        assert (found.count, found.dtypes, found.nodata) == (1, ("uint8",), 255)
        assert np.array_equal(found.read(1), mask)
    place = read_georeference(written)
    assert place == read_georeference(tmp_path / "a.tif") and place.size == (600, 520)
    planes = np.stack([mask, 1 - mask])
    write_geotiff(written, planes, place, nodata=None)
    with rasterio.open(written) as found:
        assert found.nodata is None and np.array_equal(found.read(), planes)


@needs_rasterio
def test_files_without_a_place_and_masks_that_do_not_fit(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint8))
    place = read_georeference(tmp_path / "a.tif")
    assert place == GeoReference(None, None, (20, 30))
    with pytest.raises(DataError, match=r"the mask is 30 x 20 \(height x width\), its picture 20"):
        write_geotiff(tmp_path / "m.tif", np.zeros((30, 20), np.uint8), place)
    with pytest.raises(DataError, match=r"a mask of float32 \(20, 30\); expected uint8"):
        write_geotiff(tmp_path / "m.tif", np.zeros((20, 30), np.float32), place)
    (tmp_path / "b.tif").write_text("<VRTDataset/>")
    with pytest.raises(DataError, match=r"b\.tif: not a GeoTIFF"):
        read_georeference(tmp_path / "b.tif")
    assert read_mask_values(
        write_geotiff(tmp_path / "m.tif", np.ones((20, 30), np.uint8), place)
    ).all()
