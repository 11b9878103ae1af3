"""A submission of GeoTIFF masks: a zip with one tif an image, named by its id, and back.

Every tif is read again before it enters the zip, and the zip before it appears under its name. Read
back, it is a table of run-length codes like any other submission, so that it is scored the same way.
"""

from __future__ import annotations

import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from comp.config import Competition, Submission
from comp.errors import ConfigError, DataError, SubmissionError, some
from comp.files import DEVICE_NAME, commit_file, disk_error, sha256, temporary_or_disk_error
from comp.formats.geotiff import (
    TAG,
    GeoReference,
    Meaning,
    load_rasterio,
    opened,
    read_meaning,
    steps,
    write_geotiff,
)
from comp.formats.reading import Key, RleTable
from comp.formats.rle_table import has_classes
from comp.formats.writing import check_mask
from comp.masks.rle import text_of
from comp.masks.stream import RunStream

SUFFIXES = (".tif", ".tiff")
MAX_UNPACKED, MAX_RATIO = 1 << 30, 200  # bytes; beyond both of them a zip is taken for a bomb
MAX_SIDE, MAX_PIXELS = 200_000, 1 << 33  # of one mask: 2048 of its rows are read at once
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
)  # RuntimeError: with a password
WRITTEN = (1980, 1, 1, 0, 0, 0)  # the same masks make the same bytes, whenever they are written


def make_meaning(submission: Submission, task: str, classes: Sequence[str]) -> Meaning:
    """What the pixel values of a competition's masks mean.

    Raises:
        ConfigError: `submission.pixel_values` do not fit the classes.
    """
    expected = len(classes) if task == "multiclass" else 2
    values = submission.pixel_values or tuple(range(expected))
    if len(values) != expected:
        of = "one a class" if task == "multiclass" else "of background and foreground"
        raise ConfigError(
            f"submission.pixel_values: expected {expected} values, {of}, got {list(values)}"
        )
    return Meaning(task, tuple(map(str, classes)), tuple(values))


def write_maps(
    path: Path,
    submission: Submission,
    task: str,
    classes: Sequence[str],
    ids: Sequence[str],
    mask_of: Callable[[str], np.ndarray],
    place_of: Callable[[str], GeoReference],
) -> dict[str, Any]:
    """Write the masks of all test images as GeoTIFF files in one zip.

    Args:
        path: of the zip; `<image_id>.tif` stand in it.
        mask_of: image_id -> its decision, called once an image; masks are not kept.
        place_of: image_id -> where its image lies, and the size that its mask must have.

    Returns:
        path, rows (masks, of one an image and class), images, empty_rows, foreground_px, bytes,
        sha256, classes_not_in_sample (none); unplaced: ids whose images lie nowhere; values: what
        the pixel values mean, in words.

    Raises:
        UsageError: rasterio is not installed.
        SubmissionError: ids that cannot name files, a mask of another size, a file that does not
            read back. Nothing is written then.
        ConfigError: `submission.pixel_values` do not fit the classes.
    """
    load_rasterio()
    meaning = make_meaning(submission, task, classes)
    _check_ids(ids)
    places = {image_id: place_of(image_id) for image_id in ids}
    made = temporary_or_disk_error(path)
    empty = foreground = 0
    try:
        with (
            tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder,
            zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive,
        ):
            for image_id in ids:
                place, mask = places[image_id], mask_of(image_id)
                check_mask(mask, image_id, task, len(classes), place.size)
                areas = _areas(mask, task, len(classes))
                foreground += sum(areas)
                empty += areas.count(0)
                tif = write_geotiff(Path(folder) / "mask.tif", mask, place, meaning)
                _add(archive, tif, f"{image_id}.tif")
        with zipfile.ZipFile(made) as archive:
            wrong = archive.testzip()
            if wrong or archive.namelist() != [f"{image_id}.tif" for image_id in ids]:
                raise SubmissionError(f"{path}: does not read back as written: {wrong or 'names'}")
    except OSError as error:
        made.unlink(missing_ok=True)
        raise disk_error(path, 0, error) from error
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    commit_file(made, path)
    return {
        "path": str(path),
        "rows": len(ids) * len(classes),
        "images": len(ids),
        "empty_rows": empty,
        "foreground_px": foreground,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "classes_not_in_sample": [],
        "unplaced": [image_id for image_id in ids if places[image_id].transform is None],
        "values": meaning.said,
    }


def _check_ids(ids: Sequence[str]) -> None:
    """Refuse ids that repeat, that would name a file outside the folder it is unpacked to, or no file at all."""
    twice = [image_id for image_id, n in Counter(ids).items() if n > 1]
    if twice:
        raise SubmissionError(f"{len(twice)} test ids repeat: {some(map(repr, twice))}")
    wrong = [
        image_id if len(image_id) < 80 else image_id[:77] + "..."
        for image_id in ids
        if not names_a_file(image_id)
    ]
    if wrong:
        raise SubmissionError(
            f"{len(wrong)} test ids cannot name a file: {some(map(repr, wrong))}; write a CSV "
            "(submission.format: csv), or rename the images"
        )


def names_a_file(image_id: str) -> bool:
    """True where ``<image_id>.tif`` names a file below the folder it is unpacked to, on any system."""
    parts = image_id.split("/")
    return (
        image_id.isprintable()
        and not set('\\:*?"<>|') & set(image_id)
        and not PurePosixPath(image_id).is_absolute()
        and all(p.strip(". ") and len(p.encode()) <= 200 for p in parts)
        and not any(DEVICE_NAME.fullmatch(part) for part in parts)
        and len(image_id.encode()) <= 1000
    )


def _add(archive: zipfile.ZipFile, tif: Path, name: str) -> None:
    info = zipfile.ZipInfo(name, WRITTEN)
    info.external_attr = 0o644 << 16
    with open(tif, "rb") as source, archive.open(info, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _areas(mask: np.ndarray, task: str, n_classes: int) -> list[int]:
    """Pixels of each class, counted in bands of rows."""
    if task != "multiclass":
        planes = mask if mask.ndim == 3 else mask[None]
        return [int(np.count_nonzero(plane)) for plane in planes]
    areas = np.zeros(n_classes, np.int64)
    for start in range(0, len(mask), 256):
        areas += np.bincount(mask[start : start + 256].reshape(-1), minlength=n_classes)
    return [int(area) for area in areas]


def read_maps(
    path: Path,
    layout: Submission,
    names: Sequence[str],
    shown: Sequence[str],
    competition: Competition | None,
    problems: list[str],
) -> tuple[RleTable, dict[str, tuple[int, int]]]:
    """Read a zip of tif masks as a table of run-length codes; what is wrong goes to `problems`.

    Args:
        layout: pixel order, base and empty marker of the codes: the key's.
        names, shown: how the key spells its classes, and what it calls them.
        competition: says what the values mean where the files do not.

    Returns:
        the table, and image_id -> (height, width).

    Raises:
        UsageError: rasterio is not installed.
        SubmissionError: no zip, or no tif in it.
    """
    rasterio = load_rasterio()
    cells: dict[Key, tuple[tuple[int, str], ...]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    row, seen = 0, Counter[str]()
    with _unzipped(path) as archive, tempfile.TemporaryDirectory() as folder:
        for info in sorted(archive.infolist(), key=lambda i: i.filename):
            image_id, _, _ = info.filename.rpartition(".")
            if info.is_dir() or not info.filename.lower().endswith(SUFFIXES):
                continue
            seen[image_id] += 1
            if seen[image_id] > 1:
                problems.append(f"{path.name}: {info.filename}: a second mask of {image_id!r}")
                continue
            tif = Path(folder) / "mask.tif"
            try:
                _unpack(archive, info, tif)
                with opened(tif) as file:
                    texts = _codes(file, layout, names, shown, competition)
                    sizes[image_id] = file.height, file.width
            except rasterio.errors.RasterioError as error:
                problems.append(f"{path.name}: {info.filename}: cannot be read: {error}")
                continue
            except DataError as error:
                problems.append(f"{path.name}: {info.filename}: {error}")
                continue
            for k, text in texts.items():
                row += 1
                cells[image_id, k] = ((row, text or layout.empty),)
    if not cells and not problems:
        raise SubmissionError(f"{path.name}: no .tif in it; expected one an image, named by its id")
    table_names = tuple(names) if has_classes(layout) else ("",)
    return RleTable(path.name, layout, table_names, tuple(sizes), cells), sizes


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Unpack one member to `path`, whatever its own name.

    Raises:
        SubmissionError: it is damaged, or locked by a password.
    """
    try:
        with archive.open(info) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except DAMAGED as error:
        raise SubmissionError(f"cannot be read: {error}") from error
    except OSError as error:
        if error.errno is None:  # bzip2's way of saying that its data are damaged
            raise SubmissionError(f"cannot be read: {error}") from error
        raise disk_error(path, info.file_size, error) from error


def _unzipped(path: Path) -> zipfile.ZipFile:
    """Open a zip; no member of it is unpacked under its own name.

    Raises:
        SubmissionError: no zip, or one that claims to unpack to far more than its size.
    """
    try:
        archive = zipfile.ZipFile(path)
        size = path.stat().st_size
    except FileNotFoundError:
        raise SubmissionError(f"missing file: {path}") from None
    except (OSError, ValueError, *DAMAGED) as error:
        raise SubmissionError(f"cannot read {path}: {error}") from error
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * size):
        archive.close()
        raise SubmissionError(
            f"{path}: claims to unpack to {unpacked / 1e6:,.0f} MB from {size / 1e6:,.1f} MB, which no masks do"
        )
    return archive


def _codes(
    file: Any,
    layout: Submission,
    names: Sequence[str],
    shown: Sequence[str],
    competition: Competition | None,
) -> dict[int, str]:
    """The run-length code of each class of the key, class index in the key -> text.

    Raises:
        SubmissionError: values or classes that nobody explains.
    """
    if max(file.height, file.width) > MAX_SIDE or file.height * file.width > MAX_PIXELS:
        raise SubmissionError(f"claims {file.height} x {file.width} pixels")
    meaning = read_meaning(file)
    if meaning is None and competition is not None:
        meaning = make_meaning(competition.submission, competition.task, competition.classes)
    if meaning is None:
        raise SubmissionError(
            f"does not say what its values mean (no tag {TAG}); score inside the workspace "
            "(--root, --competition)"
        )
    bands = len(meaning.classes) if meaning.task == "multilabel" else 1
    if file.count != bands or file.dtypes[0] != "uint8":
        raise SubmissionError(f"{file.count} bands of {file.dtypes[0]}; expected {bands} of uint8")
    wanted = _places(meaning, names, shown)
    streams = {k: RunStream(file.height, file.width, layout.order) for k in wanted}
    known = np.isin(np.arange(256), meaning.values)
    for window in steps(file.height, file.width):
        pixels = file.read(window=window)
        strange = np.unique(pixels)[~known[np.unique(pixels)]]
        if len(strange):
            raise SubmissionError(
                f"holds the value {strange[0]}; expected {', '.join(map(str, meaning.values))}"
            )
        for k, place in wanted.items():
            band = pixels[place if meaning.task == "multilabel" else 0]
            value = meaning.values[place if meaning.task == "multiclass" else 1]
            streams[k].add(band == value)
    return {k: text_of(s.runs(), layout.base, layout.relative) for k, s in streams.items()}


def _places(meaning: Meaning, names: Sequence[str], shown: Sequence[str]) -> dict[int, int]:
    """Class index in the key -> class index in the file: by name, else by number."""
    if len(meaning.classes) == 1 and len(names) == 1:
        return {0: 0}
    found: dict[int, int] = {}
    for k, called in enumerate(zip(names, shown, strict=True)):
        for word in reversed(called):
            if word in meaning.classes:
                found[k] = meaning.classes.index(word)
            elif k not in found and word.isdecimal() and int(word) < len(meaning.classes):
                found[k] = int(word)
    lacking = [shown[k] for k in range(len(names)) if k not in found]
    if lacking:
        raise SubmissionError(
            f"has no class {some(map(repr, lacking))} of the key; its classes: "
            f"{some(meaning.classes, 30)}"
        )
    return found
