"""Where an image lies on the earth: read from its file, so that its mask can lie there too.

rasterio (`pip install "comp[geo]"`) is imported when a function is called, never before. Reading
pixels does not need it: tif.py reads any GeoTIFF's bands.
"""

from __future__ import annotations

from pathlib import Path

from comp.data.images.bands import files_of
from comp.data.images.decode import read_size
from comp.data.images.tif import SIGNATURES
from comp.errors import DataError
from comp.formats.geotiff import GeoReference, read_reference

__all__ = ["GeoReference", "read_georeference"]


def read_georeference(path: Path) -> GeoReference:
    """Read CRS and transform from an image's header; a file that is no tif has none.

    Args:
        path: a file, or a `BandPath`: its first band speaks for all.

    Raises:
        UsageError: a tif, and rasterio is not installed.
        DataError: a missing file, or no image.
    """
    first = files_of(path)[0]
    try:
        with open(first, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise DataError(f"cannot read {first}: {error.strerror or error}") from error
    if magic not in SIGNATURES:
        return GeoReference(None, None, read_size(first))
    return read_reference(first)
