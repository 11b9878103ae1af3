"""Where a picture lies on the earth: its CRS and transform, and masks written as GeoTIFF with the same.

rasterio (`pip install 'comp[geo]'`) is imported when a function is called, never before. Reading
pixels does not need it: tif.py reads any GeoTIFF's bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp import files
from comp.config import IGNORE
from comp.errors import DataError, UsageError


@dataclass(frozen=True)
class GeoReference:
    """What a GeoTIFF says of its place.

    Args:
        crs: as WKT; None: it says none.
        transform: (a, b, c, d, e, f): x = a * column + b * row + c, y = d * column + e * row + f, of
            the pixel's upper left corner; None: the file has none.
        size: (H, W).
    """

    crs: str | None
    transform: tuple[float, float, float, float, float, float] | None
    size: tuple[int, int]

    def place(self, row: float, column: float) -> tuple[float, float]:
        """(x, y) in the CRS of a point, in pixels from the upper left corner.

        Raises:
            ValueError: no transform.
        """
        if self.transform is None:
            raise ValueError("the file has no transform")
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f

    @property
    def center(self) -> tuple[float, float] | None:
        """(x, y) of the picture's middle; None without a transform."""
        if self.transform is None:
            return None
        return self.place(self.size[0] / 2, self.size[1] / 2)


def _rasterio() -> Any:
    try:
        import rasterio
    except ImportError as error:
        raise UsageError(
            "reading or writing a place on the earth needs rasterio: pip install 'comp[geo]'"
        ) from error
    return rasterio


def read_georeference(path: Path) -> GeoReference:
    """Read CRS and transform from a file's header.

    Raises:
        UsageError: rasterio is not installed.
        DataError: no raster that GDAL opens.
    """
    rasterio = _rasterio()
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            # no other driver: a text file that names other files would open them
            with rasterio.open(path, driver="GTiff") as source:
                plain = source.transform.is_identity
                a, b, c, d, e, f = (float(v) for v in source.transform[:6])
                transform = None if plain else (a, b, c, d, e, f)
                crs = source.crs.to_wkt() if source.crs else None
                return GeoReference(crs, transform, (source.height, source.width))
    except rasterio.errors.RasterioError as error:
        raise DataError(f"{path}: not a GeoTIFF that can be opened: {error}") from error


def write_geotiff(
    path: Path, mask: np.ndarray, like: GeoReference | Path, nodata: int | None = IGNORE
) -> Path:
    """Write a mask as GeoTIFF where its picture lies, whole or not at all.

    Args:
        mask: (H, W) uint8, or (K, H, W) for one band a class.
        like: the picture's place, or its file.
        nodata: the value that the file declares as no data; None: none.

    Raises:
        UsageError: rasterio is not installed.
        DataError: the mask has another size than the picture, or is not uint8.
        DiskError: the disk refused; nothing is left under `path`.
    """
    rasterio = _rasterio()
    place = read_georeference(like) if isinstance(like, Path) else like
    bands = mask[None] if mask.ndim == 2 else mask
    if bands.dtype != np.uint8 or bands.ndim != 3:
        raise DataError(f"{path}: a mask of {mask.dtype} {mask.shape}; expected uint8 (H, W)")
    if bands.shape[1:] != tuple(place.size):
        raise DataError(
            f"{path}: the mask is {bands.shape[1]} x {bands.shape[2]} (height x width), its picture"
            f" {place.size[0]} x {place.size[1]}"
        )
    with rasterio.io.MemoryFile() as memory:
        with memory.open(**_profile(rasterio, bands.shape, place, nodata)) as target:
            target.write(bands)
        return files.commit(path, memory.read())


def _profile(
    rasterio: Any, shape: tuple[int, ...], place: GeoReference, nodata: int | None
) -> dict[str, Any]:
    """How the file is made: deflate, tiled where it is large enough to be read in parts."""
    count, height, width = shape
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": height, "width": width, "count": count, "dtype": "uint8",
        "nodata": nodata, "compress": "deflate", "photometric": "minisblack",
        "crs": rasterio.crs.CRS.from_wkt(place.crs) if place.crs else None,
    }  # fmt: skip
    if place.transform is not None:
        profile["transform"] = rasterio.transform.Affine(*place.transform)
    if min(height, width) >= 512:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    return profile
