"""Predictions that somebody else made: an npy stack with ids, an npz by id, a folder by id, a CSV of codes.

One image at a time. Nothing is unpickled, no link is followed, and what a file claims is judged against
the image before its values are read.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from comp.errors import DataError
from comp.store.foreign_header import MAGIC, Refused, check_kind, read_header
from comp.store.foreign_table import Reading, Size, Table, read_ids
from comp.store.foreign_values import Problems, arrange, as_planes

ENDINGS = (".npy", ".png", ".tif", ".tiff")
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # as numpy packs


class Foreign(Protocol):
    """Predictions by image.

    Attributes:
        ids: as they stand there, one that is there twice twice.
    """

    path: Path
    ids: list[str]

    def read(self, image_id: str, n_planes: int, size: Size) -> np.ndarray:
        """(K, H, W) as stored: float, uint8, uint16 or bool. Raises Refused."""
        ...


def open_foreign(
    path: Path, ids_file: Path | None, wanted: Collection[str], how: Reading, problems: Problems
) -> Foreign:
    """Open predictions by what they are.

    Args:
        ids_file: of an npy stack; None: the same name with .txt or .csv.
        wanted: the ids that there should be, for the spelling in a CSV.
        problems: told of links and of files that are no predictions.

    Raises:
        DataError: nothing of these kinds, or broken.
    """
    if path.is_dir():
        if ids_file is not None:
            raise DataError(f"{path}: a folder has the ids in its file names; drop {ids_file}")
        return Folder(path, how, problems)
    if path.exists() and not path.is_file():
        raise DataError(
            f"cannot read {path}: a pipe or a device; it is read twice, so save it as a file"
        )
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        if start.startswith(MAGIC):
            return Stack(path, ids_file)
        if ids_file is not None:
            raise DataError(f"{path}: only an npy array takes a file of ids; drop {ids_file}")
        if start.startswith(b"PK"):
            return Archive(path, problems)
    except Refused as error:
        raise DataError(f"{path}: {error}") from error
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return Table(path, wanted, how)
    raise DataError(
        f"{path}: expected an npy array, an npz archive, a folder of npy, png or tif, or a CSV of run-length "
        "codes; pickles and weights are never loaded"
    )


class Stack:
    """One npy array (N, K, H, W), (N, H, W, K) or, of one plane, (N, H, W), and a file of N ids."""

    def __init__(self, path: Path, ids_file: Path | None) -> None:
        self.path = path
        with open(path, "rb") as file:
            self.header = read_header(file, path.stat().st_size)
        self.ids = read_ids(path, ids_file)
        n = self.header.shape[0] if self.header.shape else 0
        if len(self.header.shape) not in (3, 4) or n != len(self.ids):
            raise Refused(
                f"expected an array of {len(self.ids)} images, one an id, each with its planes",
                f"got {self.header.shape}",
            )
        self.row = {image_id: number for number, image_id in enumerate(self.ids)}

    def read(self, image_id: str, n_planes: int, size: Size) -> np.ndarray:
        shape, dtype = self.header.shape[1:], self.header.dtype
        how = arrange(shape, n_planes, size)
        number = self.row[image_id]
        if self.header.fortran:
            whole = np.memmap(
                self.path, dtype, "r", self.header.offset, self.header.shape, order="F"
            )
            values = np.array(whole[number])
        else:
            count = int(np.prod(shape))
            offset = self.header.offset + number * count * dtype.itemsize
            with open(self.path, "rb") as file:
                file.seek(offset)
                values = read_values(file, dtype, count).reshape(shape)
        return as_planes(native(values), how)


class Archive:
    """An npz with one array an image, named by its id."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"cannot read {path}: {error}") from error
        for entry in entries:
            if not entry.filename.endswith(".npy"):
                problems.add(f"{path.name} holds what is no array of numbers", entry.filename)
        self.entries = {
            e.filename.removesuffix(".npy"): e for e in entries if e.filename.endswith(".npy")
        }
        self.ids = [e.filename.removesuffix(".npy") for e in entries if e.filename.endswith(".npy")]
        self.archive: zipfile.ZipFile | None = None

    def read(self, image_id: str, n_planes: int, size: Size) -> np.ndarray:
        entry = self.entries[image_id]
        if entry.flag_bits & 1 or entry.compress_type not in PACKED:
            raise Refused("encrypted, or packed as numpy does not pack")
        if self.archive is None:
            self.archive = zipfile.ZipFile(self.path)  # noqa: SIM115 - read from again and again
        try:
            with self.archive.open(entry) as file:
                header = read_header(file, entry.file_size)  # type: ignore[arg-type]
                how = arrange(header.shape, n_planes, size)
                data = file.read(header.n_bytes)
                whole = len(data) == header.n_bytes and not file.read(1)  # its end checks the sum
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
            raise Refused("broken, or cut short", " ".join(str(error).split())[:80]) from error
        if not whole:
            raise Refused("broken, or cut short", f"{len(data)} of {header.n_bytes} bytes")
        values = np.frombuffer(data, header.dtype)
        values = values.reshape(header.shape, order="F" if header.fortran else "C")
        return as_planes(native(values), how)


class Folder:
    """A folder with one file an image, named by its id: npy, png or tif."""

    def __init__(self, path: Path, how: Reading, problems: Problems) -> None:
        self.path, self.how = path, how
        self.files: dict[str, Path] = {}
        self.ids: list[str] = []
        for folder, names, files in os.walk(path):
            names[:] = sorted(n for n in names if not is_litter(n))
            for name in sorted([*names, *files]):
                file = Path(folder) / name
                if is_litter(name) or (name in names and not file.is_symlink()):
                    continue
                self._take(file, problems)

    def _take(self, file: Path, problems: Problems) -> None:
        shown = file.relative_to(self.path).as_posix()
        if file.is_symlink():
            problems.add(f"{self.path.name} holds links, which are not followed", shown)
        elif not file.is_file() or file.suffix.lower() not in ENDINGS:
            problems.add(f"{self.path.name} holds what is no {', '.join(ENDINGS)} file", shown)
        else:
            image_id = shown.removesuffix(file.suffix)
            self.ids.append(image_id)
            self.files[image_id] = file

    def read(self, image_id: str, n_planes: int, size: Size) -> np.ndarray:
        file = self.files[image_id]
        if file.suffix.lower() != ".npy":
            try:
                values = self.how.decode(file)
            except DataError as error:
                raise Refused("cannot be decoded", str(error)) from error
            check_kind(values.dtype)
            return as_planes(values, arrange(values.shape, n_planes, size))
        with open(file, "rb") as opened:
            header = read_header(opened, file.stat().st_size)
            how = arrange(header.shape, n_planes, size)
            opened.seek(header.offset)
            values = read_values(opened, header.dtype, int(np.prod(header.shape)))
        values = values.reshape(header.shape, order="F" if header.fortran else "C")
        return as_planes(native(values), how)


def read_values(file: BinaryIO, dtype: np.dtype, count: int) -> np.ndarray:
    """The next numbers of a file.

    Raises:
        Refused: it became shorter.
    """
    values = np.fromfile(file, dtype, count)
    if values.size != count:
        raise Refused("broken, or cut short", f"{values.size} of {count} numbers")
    return values


def native(values: np.ndarray) -> np.ndarray:
    """The same numbers in this machine's order of bytes."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def is_litter(name: str) -> bool:
    """What operating systems leave in folders."""
    return name.startswith(".") or name.lower() in LITTER


def gather(
    source: Foreign,
    wanted: Sequence[str],
    size_of: Callable[[str], Size],
    n_planes: int,
    problems: Problems,
    where: str,
    visit: Callable[[str, np.ndarray], None],
    some: bool = False,
) -> None:
    """Compare the ids, then visit every image that is there with its planes; what is wrong goes to `problems`.

    Args:
        size_of: (H, W) of an image.
        where: begins every line of `problems`.
        visit: may raise Refused.
        some: `wanted` are only some of the source's images.
    """
    there = set(source.ids)
    missing = sorted(set(wanted) - there)
    extra = [] if some else sorted(there - set(wanted))
    bare = {image_id.rpartition(".")[0] for image_id in extra}
    hint = "; without their endings they are ours" if extra and bare <= set(missing) else ""
    for kind, ids in (
        ("missing", missing),
        (f"not asked for{hint}", extra),
        ("more than once", sorted(i for i, n in Counter(source.ids).items() if n > 1)),
    ):
        for image_id in ids:
            problems.add(f"{where}: {kind}", image_id)
    for image_id in wanted:
        if image_id not in there:
            continue
        try:
            planes = source.read(image_id, n_planes, size_of(image_id))
        except Refused as error:
            problems.add(f"{where}: {error.kind}", named(image_id, error.detail))
            continue
        except (OSError, MemoryError, DataError) as error:
            problems.add(f"{where}: cannot be read", named(image_id, str(error)))
            continue
        try:
            visit(image_id, planes)
        except Refused as error:
            problems.add(f"{where}: {error.kind}", named(image_id, error.detail))


def named(image_id: str, detail: str) -> str:
    """An image in a message."""
    return f"{image_id} ({detail})" if detail else image_id
