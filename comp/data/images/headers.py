"""PNG and JPEG walked by structure: size, bands, depth before decoding; proof of a whole file.

Decoders return half a picture for half a file or for wrong bytes; here such files are refused.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, replace

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_HOLE = bytes(128)  # in a scan: more zeros than a block of a picture is written with
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
        end: of a JPEG, the byte of its end mark (EOI).
        rough: a progressive JPEG without the scans that bring its numbers to their last bit.
    """

    height: int
    width: int
    bands: int
    bits: int
    plain: bool
    end: int = 0
    rough: bool = False


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
    at, header, frame = 2, None, 0
    last_bits: set[tuple[int, bool]] = set()
    zero_codes: dict[int, int] = {}
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
            frame = marker
        if marker == 0xC4:
            zero_codes |= _zero_codes(data[at + 4 : end])
        if marker == 0xDA:
            found = _MARKER.search(data, end)
            if found is None:
                raise ValueError("the file ends inside its pixels, before its end mark (EOI)")
            if frame == 0xC2:
                last_bits |= _scan_ends(data[at:end])
            elif frame in (0xC0, 0xC1):
                _check_holes(data, at, end, found.start(), zero_codes)
            end = found.start()
        at = end
    if header is None:
        raise ValueError("a JPEG without a frame")
    return replace(header, end=at, rough=frame == 0xC2 and len(last_bits) < 2 * header.bands)


def _scan_ends(start: bytes) -> set[tuple[int, bool]]:
    """(component, is it beyond the mean) of the numbers that a scan brings to their last bit."""
    n = start[4] if len(start) > 4 else 0
    if len(start) < 8 + 2 * n or start[7 + 2 * n] & 15:
        return set()
    first, last = start[5 + 2 * n], start[6 + 2 * n]
    reach = [beyond for beyond, there in ((False, first == 0), (True, last == 63)) if there]
    return {(start[5 + 2 * k], beyond) for k in range(n) for beyond in reach}


def _zero_codes(part: bytes) -> dict[int, int]:
    """Table of the numbers beyond the mean -> what zero bits alone say there: the first of its codes."""
    found, at = {}, 0
    while at + 17 < len(part):
        if part[at] & 0x10:
            found[part[at] & 15] = part[at + 17]
        at += 17 + sum(part[at + 1 : at + 17])
    return found


def _check_holes(data: bytes, at: int, start: int, stop: int, zero_codes: dict[int, int]) -> None:
    """Refuse zeros where pixels should be, in the scan whose header stands at `at`.

    Long runs of zeros are pixels only where zero bits say "the rest of this block is flat" (0) for
    every band of the scan; before a mark they may be filling.

    Raises:
        ValueError: a hole.
    """
    tables = data[at + 6 : at + 6 + 2 * data[at + 4] : 2]
    if not any(zero_codes.get(table & 15) for table in tables):
        return
    hole = data.find(_HOLE, start, stop)
    if hole >= 0 and data[hole:stop].lstrip(b"\0")[:1] not in (b"", b"\xff"):
        raise ValueError(f"a hole of zeros in its pixels, from byte {hole}")
