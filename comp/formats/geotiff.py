"""Masks as GeoTIFF: one 8-bit tif an image, where its picture lies, checked by reading it again.

rasterio (`pip install "comp[geo]"`) is imported when a function is called, never before. A mask is
written and read in bands of rows, so a large one is never held twice.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp.errors import DataError, SubmissionError, UsageError
from comp.files import commit_file, disk_error, temporary_or_disk_error

BLOCK = 512  # pixels of a tile's side
STEP = 4 * BLOCK  # rows written and read at once, whole rows of tiles
TAG = "COMP_CLASSES"  # what the values mean, as JSON, in the file's own metadata


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


@dataclass(frozen=True)
class Meaning:
    """What the values of a mask file mean.

    Args:
        task: binary, multiclass or multilabel.
        classes: in index order.
        values: pixel values: of background and foreground (binary; multilabel, in each band), or of
            each class (multiclass).
    """

    task: str
    classes: tuple[str, ...]
    values: tuple[int, ...]

    @property
    def lookup(self) -> np.ndarray:
        """Mask value -> pixel value: (256,) uint8."""
        table = np.zeros(256, np.uint8)
        table[: len(self.values)] = self.values
        return table

    @property
    def said(self) -> str:
        """In words: ``0 background, 1 roof``."""
        if self.task == "multilabel":
            named = ", ".join(f"band {k} {name}" for k, name in enumerate(self.classes, 1))
            return f"{named}; {self.values[0]} absent, {self.values[1]} present"
        names = ("background", *self.classes) if self.task == "binary" else self.classes
        return ", ".join(f"{v} {name}" for v, name in zip(self.values, names, strict=True))


def load_rasterio() -> Any:
    """The module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        raise UsageError('GeoTIFF files need rasterio: pip install "comp[geo]"') from error
    return rasterio


@contextmanager
def opened(path: str | Path, mode: str = "r", **more: Any) -> Iterator[Any]:
    """Open a tif with rasterio: no other driver (a text file that names other files would open
    them), little cache, no warning where a file has no place."""
    rasterio = load_rasterio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_CACHEMAX=64),
            rasterio.open(path, mode, driver="GTiff", **more) as file,
        ):
            yield file


def write_geotiff(
    path: Path,
    mask: np.ndarray,
    place: GeoReference,
    meaning: Meaning,
) -> Path:
    """Write a mask as GeoTIFF where its picture lies, read it again, and only then put it in place.

    Args:
        mask: (H, W) uint8, or (K, H, W) for one band a class.
        place: the picture's.
        meaning: which pixel value stands for which mask value; kept in the file's metadata. No
            value is declared as no data: every pixel has been decided.

    Raises:
        UsageError: rasterio is not installed.
        DataError: the mask has another size than the picture, or is not uint8.
        SubmissionError: what was written does not read back as given; nothing is left under `path`.
        DiskError: the disk refused; nothing is left under `path`.
    """
    rasterio = load_rasterio()
    bands = mask[None] if mask.ndim == 2 else mask
    if bands.dtype != np.uint8 or bands.ndim != 3:
        raise DataError(f"{path}: a mask of {mask.dtype} {mask.shape}; expected uint8 (H, W)")
    if bands.shape[1:] != tuple(place.size):
        raise DataError(
            f"{path}: the mask is {bands.shape[1]} x {bands.shape[2]} (height x width), its picture"
            f" {place.size[0]} x {place.size[1]}"
        )
    lookup = meaning.lookup
    made = temporary_or_disk_error(path)
    try:
        with opened(made, "w", **_profile(rasterio, bands.shape, place)) as target:
            for window in steps(*place.size):
                target.write(lookup[_rows(bands, window)], window=window)
            target.update_tags(**{TAG: json.dumps(asdict(meaning), ensure_ascii=False)})
            if meaning.task == "multilabel":
                target.descriptions = meaning.classes
        _check(path, made, bands, lookup, place)
    except (rasterio.errors.RasterioError, OSError) as error:
        made.unlink(missing_ok=True)
        kind = error if isinstance(error, OSError) else OSError(str(error))
        raise disk_error(path, 0, kind) from error
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    return commit_file(made, path)


def read_meaning(file: Any) -> Meaning | None:
    """What an open tif says of its values; None: it was not written here, or says what cannot be."""
    text = file.tags().get(TAG)
    if text is None:
        return None
    try:
        said = json.loads(text)
        task, classes, values = said["task"], tuple(said["classes"]), tuple(said["values"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    expected = len(classes) if task == "multiclass" else 2
    named = task in ("binary", "multiclass", "multilabel") and classes
    bytes_ = len(values) == expected and all(type(v) is int and 0 <= v <= 255 for v in values)
    if not (named and bytes_ and all(isinstance(name, str) for name in classes)):
        return None
    return Meaning(task, classes, values)


def steps(height: int, width: int) -> Iterator[Any]:
    """Windows of whole rows of tiles, from the top."""
    rasterio = load_rasterio()
    for start in range(0, height, STEP):
        yield rasterio.windows.Window(0, start, width, min(STEP, height - start))


def _rows(bands: np.ndarray, window: Any) -> np.ndarray:
    return bands[:, window.row_off : window.row_off + window.height]


def _check(
    path: Path, made: Path, bands: np.ndarray, lookup: np.ndarray, place: GeoReference
) -> None:
    """Read a written file again.

    Raises:
        SubmissionError: its place, its shape or a pixel is not as given.
    """
    rasterio = load_rasterio()
    try:
        with opened(made) as found:
            wrong = []
            crs = rasterio.crs.CRS.from_wkt(place.crs) if place.crs else None
            transform = place.transform or tuple(rasterio.Affine.identity())[:6]
            if found.crs != crs:
                wrong.append("its coordinate system")
            if not np.allclose(tuple(found.transform)[:6], transform, rtol=1e-12, atol=1e-12):
                wrong.append("its transform")
            if (found.count, found.height, found.width) != bands.shape:
                wrong.append("its size")
            elif any(
                not np.array_equal(found.read(window=window), lookup[_rows(bands, window)])
                for window in steps(*place.size)
            ):
                wrong.append("its pixels")
    except rasterio.errors.RasterioError as error:
        raise SubmissionError(f"{path}: what was written cannot be read again: {error}") from error
    if wrong:
        raise SubmissionError(
            f"{path}: what was written does not read back as given: {', '.join(wrong)}"
        )


def _profile(rasterio: Any, shape: tuple[int, ...], place: GeoReference) -> dict[str, Any]:
    """How the file is made: deflate, tiled where it is large enough to be read in parts."""
    count, height, width = shape
    try:
        crs = rasterio.crs.CRS.from_wkt(place.crs) if place.crs else None
    except rasterio.errors.CRSError as error:
        raise DataError(f"a coordinate system that is none: {place.crs!r:.80}") from error
    profile: dict[str, Any] = {
        "height": height, "width": width, "count": count, "dtype": "uint8",
        "compress": "deflate", "photometric": "minisblack", "interleave": "band", "crs": crs,
        "bigtiff": "if_safer",
    }  # fmt: skip
    if place.transform is not None:
        profile["transform"] = rasterio.Affine(*place.transform)
    if min(height, width) >= BLOCK:
        profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    return profile


def read_reference(path: Path) -> GeoReference:
    """Read CRS and transform from a tif's header.

    Raises:
        UsageError: rasterio is not installed.
        DataError: no GeoTIFF that GDAL opens.
    """
    rasterio = load_rasterio()
    try:
        with opened(path) as source:
            plain = source.transform.is_identity
            a, b, c, d, e, f = (float(v) for v in source.transform[:6])
            crs = source.crs.to_wkt() if source.crs else None
            size = source.height, source.width
            return GeoReference(crs, None if plain else (a, b, c, d, e, f), size)
    except rasterio.errors.RasterioError as error:
        raise DataError(f"{path}: not a GeoTIFF that can be opened: {error}") from error
