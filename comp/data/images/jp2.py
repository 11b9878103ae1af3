"""JPEG 2000 walked by structure: size, bands and depth before decoding; proof that no part is cut off.

OpenJPEG, by which Pillow reads it, shows what there is of a cut file without a word.
"""

from __future__ import annotations

import struct

from comp.data.images.headers import Header

JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODES_SIGNATURE = b"\xff\x4f\xff\x51"
_SOT, _SOD, _EOC = 0xFF90, 0xFF93, b"\xff\xd9"


def jp2_header(data: bytes) -> Header:
    """Walk a whole JPEG 2000 file, or bare stream of codes, from part to part (ITU-T T.800, annexes A, I).

    Raises:
        ValueError: cut short, or no such structure; bands of different depths or sizes.
    """
    start, stop = _codes(data)
    if data[start : start + 4] != CODES_SIGNATURE:
        raise ValueError("a JPEG 2000 file without its size")
    width, height, left, top = struct.unpack_from(">4I", data, start + 8)
    (bands,) = struct.unpack_from(">H", data, start + 40)
    kinds = {data[start + 42 + 3 * k : start + 45 + 3 * k] for k in range(bands)}
    if len(kinds) != 1:
        raise ValueError("a JPEG 2000 file whose bands differ in depth or size")
    ((depth, across, down),) = kinds
    at = start + 2
    while data[at : at + 2] != _EOC:
        if at + 12 > stop:
            raise ValueError("the file ends before its end mark (EOC)")
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _SOT:
            (part,) = struct.unpack_from(">I", data, at + 6)
            if part == 0:  # up to the end
                if data[:stop].rstrip(b"\0")[-2:] != _EOC:
                    raise ValueError("the file ends before its end mark (EOC)")
                break
            length = part - 2
        if marker < 0xFF00 or length < 2 or at + 2 + length > stop:
            raise ValueError("the file ends inside its pixels, before its end mark (EOC)")
        at += 2 + length
    plain = depth < 0x80 and (across, down) == (1, 1)
    return Header(height - top, width - left, bands, (depth & 0x7F) + 1, plain)


def _codes(data: bytes) -> tuple[int, int]:
    """First and last byte of the stream of codes."""
    if not data.startswith(JP2_SIGNATURE):
        return 0, len(data)
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1 and at + 16 <= len(data):
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        end = len(data) if length == 0 else at + length
        if kind == b"jp2c":
            if end > len(data):
                raise ValueError("the file ends inside its pixels, before its end mark (EOC)")
            return at + head, end
        if length < head and length != 0:
            break
        at = end
    raise ValueError("a JPEG 2000 file without pixels")
