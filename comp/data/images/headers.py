"""What a file's header claims, and PNG walked by structure: proof of a whole file. JPEG: see jpeg.py."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from mmap import mmap

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PART, _CHECK = struct.Struct(">I4s"), struct.Struct(">I")


@dataclass(frozen=True)
class Header:
    """What a file's header claims.

    Args:
        bits: of one sample.
        bands: 1, 3 or 4 (PNG: with alpha); a palette counts as 1.
        plain: nothing in it that the fast decoder shows differently (palette, colour key, CMYK).
    """

    height: int
    width: int
    bands: int
    bits: int
    plain: bool


def png_header(data: bytes | mmap) -> Header:
    """Walk a whole PNG file, checking every checksum.

    Raises:
        ValueError: cut short, or bytes that do not match their checksum.
    """
    at, kinds = len(PNG_SIGNATURE), set()
    with memoryview(data) as view:  # a map can only be closed when nobody looks at it
        while True:
            if at + 12 > len(data):
                raise ValueError("the file ends before its end mark (IEND)")
            length, kind = _PART.unpack_from(data, at)
            end = at + 12 + length
            if end > len(data):
                raise ValueError(f"the file ends inside a {kind.decode('latin-1')} part")
            with view[at + 4 : end - 4] as part:
                found = zlib.crc32(part)
            if found != _CHECK.unpack_from(data, end - 4)[0]:
                raise ValueError(f"wrong checksum in a {kind.decode('latin-1')} part")
            kinds.add(kind)
            at = end
            if kind == b"IEND":
                break
    if data[12:16] != b"IHDR" or b"IDAT" not in kinds:
        raise ValueError("a PNG without a header or without pixels")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    bands = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    plain = bits >= 8 and colour in (0, 2, 6) and not kinds & {b"tRNS", b"acTL"}
    return Header(height, width, bands, bits, plain)
