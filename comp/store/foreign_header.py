"""The head of an npy file that somebody else made: its numbers are believed only where the bytes can hold them.

Refuses objects (a pickle runs code), records, and a head that claims another size than there is.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

MAGIC = b"\x93NUMPY"
MOST_HEADER = 10_000  # bytes; numpy's own limit for heads that are not trusted
KINDS = ("float16", "float32", "float64", "uint8", "uint16", "bool")


class Refused(ValueError):
    """What is wrong with one image's values.

    Args:
        kind: the same words for every image that has it.
        detail: what only this one has.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        self.kind, self.detail = kind, detail
        super().__init__(f"{kind}: {detail}" if detail else kind)


@dataclass(frozen=True)
class Header:
    """What the head of an npy file says.

    Args:
        offset: of the first value.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: BinaryIO, n_bytes: int) -> Header:
    """Read the head of an npy file and nothing else.

    Args:
        file: at its first byte.
        n_bytes: of the whole file.

    Raises:
        Refused: not npy, objects, a kind of number that is no probability, or another size than claimed.
    """
    start = file.read(12)
    if start[:6] != MAGIC or len(start) < 12:
        raise Refused("not an npy array")
    if start[6:8] == b"\x01\x00":
        length, head = struct.unpack_from("<H", start, 8)[0], 10
    elif start[6:8] == b"\x02\x00":
        length, head = struct.unpack_from("<I", start, 8)[0], 12
    else:
        raise Refused(
            "an npy array of a version that no plain numbers need; save it with numpy.save"
        )
    if length > MOST_HEADER:
        raise Refused("an npy array with a head that is too long", f"{length} bytes")
    text = io.BytesIO(start + file.read(head + length - len(start)))
    try:
        np.lib.format.read_magic(text)
        read = (
            np.lib.format.read_array_header_1_0
            if head == 10
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(text, max_header_size=MOST_HEADER)
    except Exception as error:  # a head of any words: ValueError, SyntaxError, TokenError, ...
        raise Refused("a broken npy head", " ".join(str(error).split())[:80]) from error
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise Refused("a broken npy head", f"shape {shape}")
    check_kind(dtype)
    header = Header(tuple(shape), dtype, fortran, head + length)
    if header.offset + header.n_bytes != n_bytes:
        raise Refused(
            "the head claims another size than there is",
            f"{shape} {dtype} is {header.n_bytes} bytes, there are {max(0, n_bytes - header.offset)}",
        )
    return header


def check_kind(dtype: np.dtype) -> None:
    """Refuse what is not a plain number that may stand for a probability.

    Raises:
        Refused: naming the dtype.
    """
    if dtype.hasobject:
        raise Refused("pickled objects, which are never loaded; save plain numbers")
    if dtype.newbyteorder("=").name not in KINDS:
        raise Refused(f"expected {', '.join(KINDS)}", str(dtype))
