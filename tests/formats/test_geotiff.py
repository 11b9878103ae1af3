"""One mask as GeoTIFF: CRS, transform and pixels kept, nothing half-done."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.errors import DataError, DiskError, SubmissionError, UsageError
from comp.formats import geotiff
from comp.formats.geotiff import GeoReference, Meaning, read_meaning, read_reference, write_geotiff

BINARY = Meaning("binary", ("roof",), (0, 255))
NOWHERE = GeoReference(None, None, (20, 30))


def test_without_rasterio_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UsageError, match=r'GeoTIFF files need rasterio: pip install "comp\[geo\]"'):
        write_geotiff(tmp_path / "m.tif", np.zeros((20, 30), np.uint8), NOWHERE, BINARY)
    assert not list(tmp_path.iterdir())


def test_the_place_of_a_pixel() -> None:
    place = GeoReference(None, (0.5, 0.0, 400.0, 0.0, -0.5, 9000.0), (20, 30))
    assert place.place(0, 0) == (400.0, 9000.0)
    assert place.center == (407.5, 8995.0)
    assert NOWHERE.center is None
    with pytest.raises(ValueError, match="no transform"):
        NOWHERE.place(0, 0)


def test_what_the_values_mean_in_words() -> None:
    assert BINARY.said == "0 background, 255 roof"
    assert Meaning("multiclass", ("a", "b"), (7, 3)).said == "7 a, 3 b"
    both = Meaning("multilabel", ("a", "b"), (0, 1))
    assert both.said == "band 1 a, band 2 b; 0 absent, 1 present"


def somewhere(size: tuple[int, int]) -> GeoReference:
    rasterio = pytest.importorskip("rasterio")
    wkt = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    return GeoReference(wkt, (0.5, 0.1, 5e5, 0.2, -0.5, 4.6e6), size)


@pytest.mark.parametrize(
    "meaning",
    [
        BINARY,
        Meaning("multiclass", ("land", "sea", "ice"), (10, 20, 7)),
        Meaning("multilabel", ("wall", "über"), (0, 1)),
    ],
)
@pytest.mark.parametrize("size", [(20, 30), (2500, 520)])  # one step, and several
def test_a_mask_lies_where_its_picture_lies(
    tmp_path: Path, size: tuple[int, int], meaning: Meaning
) -> None:
    rasterio = pytest.importorskip("rasterio")
    shape = (2, *size) if meaning.task == "multilabel" else size
    mask = np.random.default_rng(0).integers(0, len(meaning.values), shape).astype(np.uint8)
    place = somewhere(size)
    path = write_geotiff(tmp_path / "out" / "m.tif", mask, place, meaning)
    with rasterio.open(path) as found:
        assert found.crs.to_epsg() == 32633
        assert tuple(found.transform)[:6] == place.transform
        assert set(found.dtypes) == {"uint8"} and found.nodata is None
        assert found.profile["compress"] == "deflate" and found.profile["tiled"] == (size[0] > 512)
        expected = np.array(meaning.values, np.uint8)[mask]
        np.testing.assert_array_equal(found.read(), expected.reshape(-1, *size))
        assert read_meaning(found) == meaning
        if meaning.task == "multilabel":
            assert found.descriptions == meaning.classes
    again = read_reference(path)
    assert again.transform == place.transform and again.size == size
    assert [p.name for p in path.parent.iterdir()] == ["m.tif"]


def test_a_picture_without_a_place_and_one_without_a_crs(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    mask = np.ones((20, 30), np.uint8)
    for place in (NOWHERE, GeoReference(None, (2.0, 0.0, 10.0, 0.0, -2.0, 50.0), (20, 30))):
        path = write_geotiff(tmp_path / "m.tif", mask, place, BINARY)
        assert read_reference(path) == place


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    with pytest.raises(DataError, match=r"the mask is 30 x 20 \(height x width\), its picture 20"):
        write_geotiff(tmp_path / "m.tif", np.zeros((30, 20), np.uint8), NOWHERE, BINARY)
    with pytest.raises(DataError, match=r"a mask of float32 \(20, 30\); expected uint8"):
        write_geotiff(tmp_path / "m.tif", np.zeros((20, 30), np.float32), NOWHERE, BINARY)
    nonsense = GeoReference("Atlantis", None, (20, 30))
    with pytest.raises(DataError, match="a coordinate system that is none: 'Atlantis'"):
        write_geotiff(tmp_path / "m.tif", np.zeros((20, 30), np.uint8), nonsense, BINARY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("pixel", "its pixels"),
        ("transform", "its transform"),
        ("crs", "its coordinate system"),
        ("size", "its size"),
        ("torn", "cannot be read again"),
    ],
)
def test_what_does_not_read_back_is_not_put_in_place(
    tmp_path: Path, fault: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rasterio")
    honest = geotiff._check

    def spoil(path: Path, made: Path, *rest: Any) -> None:
        other = np.zeros((20, 30), np.uint8)
        place = somewhere((20, 30))
        if fault == "pixel":
            other[19, 29] = 1
        if fault == "transform":
            place = GeoReference(place.crs, (0.5, 0.1, 5e5 + 1, 0.2, -0.5, 4.6e6), (20, 30))
        if fault == "crs":
            place = GeoReference(None, place.transform, (20, 30))
        if fault == "size":
            other, place = other[:19], GeoReference(place.crs, place.transform, (19, 30))
        monkeypatch.setattr(geotiff, "_check", lambda *_: None)
        write_geotiff(made, other, place, BINARY)
        if fault == "torn":
            made.write_bytes(made.read_bytes()[:100])
        honest(path, made, *rest)

    (tmp_path / "m.tif").write_text("old")
    monkeypatch.setattr(geotiff, "_check", spoil)
    with pytest.raises(SubmissionError, match=f"m.tif: what was written .*{said}"):
        write_geotiff(tmp_path / "m.tif", np.zeros((20, 30), np.uint8), somewhere((20, 30)), BINARY)
    assert (tmp_path / "m.tif").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        write_geotiff(tmp_path / "file" / "m.tif", np.zeros((20, 30), np.uint8), NOWHERE, BINARY)


@pytest.mark.parametrize("tag", [None, "{", "[]", json.dumps({"task": "binary"})])
def test_a_tif_that_says_nothing_of_its_values(tag: str | None) -> None:
    class Open:
        def tags(self) -> dict[str, str]:
            return {} if tag is None else {geotiff.TAG: tag}

    assert read_meaning(Open()) is None
