"""PNG and JPEG walked by structure: size, bands, depth before decoding; proof of a whole file.

Decoders return half a picture for half a file or for wrong bytes; here such files are refused.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_MARKER = re.compile(
    rb"\xff[^\x00\xd0-\xd7\xff]"
)  # in a scan: neither a stuffed zero, nor a restart, nor fill


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


def png_header(data: bytes) -> Header:
    """Walk a whole PNG file, checking every checksum.

    Raises:
        ValueError: cut short, or bytes that do not match their checksum.
    """
    at, kinds = len(PNG_SIGNATURE), set()
    while True:
        if at + 12 > len(data):
            raise ValueError("the file ends before its end mark (IEND)")
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            raise ValueError(f"the file ends inside a {kind.decode('latin-1')} part")
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
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


def jpeg_header(data: bytes) -> Header:
    """Walk a whole JPEG file from its first to its end mark.

    Raises:
        ValueError: cut short, or no JPEG structure.
    """
    at, header = 2, None
    while True:
        if at + 2 > len(data):
            raise ValueError("the file ends before its end mark (EOI)")
        if data[at] != 0xFF:
            raise ValueError(f"no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xD9:
            break
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
            continue
        if at + 4 > len(data):
            raise ValueError("the file ends before its end mark (EOI)")
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker in _FRAMES and end <= len(data) and end - at >= 10:
            bits, height, width, bands = struct.unpack_from(">BHHB", data, at + 4)
            header = Header(height, width, bands, bits, bits == 8 and bands in (1, 3))
        if marker == 0xDA:
            found = _MARKER.search(data, end)
            if found is None:
                raise ValueError("the file ends inside its pixels, before its end mark (EOI)")
            end = found.start()
        at = end
    if header is None:
        raise ValueError("a JPEG without a frame")
    return header
