"""Stored probabilities of one fold: one flat memmap and its index, whatever the image sizes."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from comp.errors import DataError, some
from comp.files import commit, commit_file, discard, disk_error, remove, temporary_or_disk_error

STORE_DTYPES = {"uint8": (np.uint8, 255), "uint16": (np.uint16, 65535)}
INDEX_COLUMNS = ("image_id", "K", "H", "W", "offset")
LARGE_PIXELS = 1 << 26


def quantise(probs: np.ndarray, store: str = "uint8") -> np.ndarray:
    """Round probabilities in [0, 1] to the stored integers, to the nearest (never truncated)."""
    dtype, full = STORE_DTYPES[store]
    return np.rint(np.clip(probs, 0.0, 1.0) * np.float32(full)).astype(dtype)


class ProbsWriter:
    """Writes `<stem>.npy` (flat) and `<stem>.csv` (index): images are appended, then committed together.

    What was appended is no longer in memory: an image appended in bands of rows is never held whole.

    Args:
        stem: final path without suffix, e.g. ``.../fold0/oof.none``.
        store: uint8 or uint16.
    """

    def __init__(self, stem: Path, store: str = "uint8") -> None:
        self.dtype = np.dtype(STORE_DTYPES[store][0])
        self.npy, self.index = probs_files(stem)
        self.rows: list[tuple[str, int, int, int, int]] = []
        self.size = 0
        self.upto = 0  # rows that the image begun has already
        for stale in self.npy.parent.glob(f".{self.npy.name}.*.tmp"):  # of a killed attempt
            remove(stale)
        self.made = temporary_or_disk_error(self.npy)
        try:
            self.file = open(self.made, "wb")  # noqa: SIM115 - closed by commit or abandon
            self.file.write(b"\0" * 128)  # the npy header, rewritten when the length is known
        except OSError as error:
            discard(self.made)
            raise disk_error(self.npy, 0, error) from error

    def append(self, image_id: str, q: np.ndarray) -> None:
        """Append one image's (K, H, W) integers of the store's dtype."""
        if q.dtype != self.dtype or q.ndim != 3 or self.upto:
            raise ValueError(
                f"{image_id}: expected (K, H, W) {self.dtype}, got {q.shape} {q.dtype}"
            )
        try:
            self.file.write(np.ascontiguousarray(q).data)
        except OSError as error:
            self.abandon()
            raise disk_error(self.npy, q.nbytes, error) from error
        k, h, w = q.shape
        self.rows.append((image_id, k, h, w, self.size))
        self.size += q.size

    def append_rows(self, image_id: str, row: int, q: np.ndarray, height: int) -> None:
        """Append some rows of one image; its rows come in order, and no other image between them.

        Args:
            row: the first of them; 0 begins the image.
            q: (K, h, W) integers of the store's dtype.
            height: H of the whole image.
        """
        k, h, w = q.shape
        if row == 0 and h == height:
            return self.append(image_id, q)
        if q.dtype != self.dtype or row + h > height or row != self.upto:
            raise ValueError(
                f"{image_id}: expected rows from {self.upto} of {height} as {self.dtype}, "
                f"got {h} from {row} as {q.dtype}"
            )
        try:
            for plane in range(k):  # whole planes lie one after another
                at = self.size + (plane * height + row) * w
                self.file.seek(128 + at * self.dtype.itemsize)
                self.file.write(np.ascontiguousarray(q[plane]).data)
        except OSError as error:
            self.abandon()
            raise disk_error(self.npy, q.nbytes, error) from error
        self.upto = row + h
        if self.upto == height:
            self.rows.append((image_id, k, height, w, self.size))
            self.size += k * height * w
            self.upto = 0

    def commit(self) -> list[Path]:
        """Put both files under their final names; the probabilities first, the index last."""
        if self.upto:
            raise ValueError(f"{self.npy}: its last image has {self.upto} rows and wants more")
        header = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(
            header, {"descr": descr, "fortran_order": False, "shape": (self.size,)}
        )
        assert header.tell() == 128
        try:
            self.file.seek(0)
            self.file.write(header.getvalue())
            self.file.close()
        except OSError as error:
            self.abandon()
            raise disk_error(self.npy, 0, error) from error
        commit_file(self.made, self.npy)
        write_csv(self.index, INDEX_COLUMNS, self.rows)
        return [self.npy, self.index]

    def abandon(self) -> None:
        """Drop what was written; on a full disk closing fails too, and the space must be given back."""
        with contextlib.suppress(OSError):
            self.file.close()
        discard(self.made)

    def __enter__(self) -> ProbsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.abandon()


class Probs:
    """Stored probabilities of one fold and one set of views; images are read as views of a memmap.

    Raises:
        DataError: the two files are missing or do not fit each other.
    """

    def __init__(self, npy: Path) -> None:
        self.path = npy
        try:  # an array's header is judged before anything is read; an archive or a pickle is none
            self.flat = np.lib.format.open_memmap(npy, mode="r")
        except (OSError, ValueError, EOFError, OverflowError, SyntaxError) as error:
            raise DataError(f"cannot read probabilities {npy}: {error}") from error
        shape, dtype = self.flat.shape, self.flat.dtype
        if len(shape) != 1 or str(dtype) not in STORE_DTYPES:
            raise DataError(
                f"cannot read probabilities {npy}: expected one row of uint8 or uint16, got {shape} of {dtype}"
            )
        self.where, self.ids = read_index(npy.with_suffix(".csv"))
        end = max((k * h * w + o for k, h, w, o in self.where.values()), default=0)
        if len(self.where) != len(self.ids) or end != self.flat.size:
            raise DataError(
                f"{npy} and its index do not fit: {self.flat.size} values, index ends at {end}"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.flat.dtype

    def shape(self, image_id: str) -> tuple[int, int, int]:
        """(K, H, W) of one image."""
        k, h, w, _ = self._row(image_id)
        return k, h, w

    def read(self, image_id: str) -> np.ndarray:
        """One image's (K, H, W) integers, a read-only view.

        A large image is a map of its own each time: what was touched of it goes when the array goes.
        """
        k, h, w, offset = self._row(image_id)
        if h * w > LARGE_PIXELS:
            at = self.path.stat().st_size - self.flat.nbytes + offset * self.dtype.itemsize
            return np.asarray(np.memmap(self.path, self.dtype, "r", at, (k, h, w)))
        return self.flat[offset : offset + k * h * w].reshape(k, h, w)

    def read_rows(self, image_id: str, start: int, stop: int) -> np.ndarray:
        """Rows start..stop of one image, (K, rows, W), read into memory of their own.

        What a map of a large image has touched counts as memory of the process; this does not stay.
        """
        k, h, w, offset = self._row(image_id)
        itemsize, header = self.dtype.itemsize, self.path.stat().st_size - self.flat.nbytes
        planes = [
            np.fromfile(
                self.path,
                self.dtype,
                (stop - start) * w,
                offset=header + (offset + (plane * h + start) * w) * itemsize,
            )
            for plane in range(k)
        ]
        return np.stack(planes).reshape(k, stop - start, w)

    def _row(self, image_id: str) -> tuple[int, int, int, int]:
        if image_id not in self.where:
            raise DataError(f"{self.path} holds no image {image_id!r}")
        return self.where[image_id]


def read_index(path: Path) -> tuple[dict[str, tuple[int, int, int, int]], list[str]]:
    """Where each image lies: image_id -> (K, H, W, offset), and the ids in order.

    Raises:
        DataError: it is none, or says what cannot be.
    """
    rows = read_csv(path)
    try:
        where = {
            r["image_id"]: (int(r["K"]), int(r["H"]), int(r["W"]), int(r["offset"])) for r in rows
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no index of probabilities: {error}") from error
    wrong = [i for i, (k, h, w, offset) in where.items() if min(k, h, w) < 1 or offset < 0]
    if wrong:
        raise DataError(f"{path}: a size below 1 or an offset below 0: {some(wrong)}")
    return where, [r["image_id"] for r in rows]


def probs_files(stem: Path) -> tuple[Path, Path]:
    """The two files of stored probabilities: values and index."""
    return stem.with_name(stem.name + ".npy"), stem.with_name(stem.name + ".csv")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Commit rows as CSV (LF line ends)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return commit(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV that `write_csv` made."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"cannot read {path}: {said}") from error
