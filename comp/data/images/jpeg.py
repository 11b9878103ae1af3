"""JPEG walked mark by mark: size, bands, tables and scans before decoding. Its pixels: jpeg_scans.py."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from comp.data.images.headers import Header

JPEG_SIGNATURE = b"\xff\xd8\xff"
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
# in a scan: neither a stuffed zero, nor a restart, nor fill
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True)
class Scan:
    """One scan: where its codes stand, and what must be known to walk them.

    Args:
        start, stop: bytes of the file.
        parts: (component, its DC table, its AC table); a table is (lengths, symbols), None: unknown.
        steps: component -> (64,) the steps of its numbers, absent: unknown.
        first, last, before: the numbers of a block that it tells, and the bit that was told before.
        after: the lowest bit told.
        interval: units between restart marks.
    """

    start: int
    stop: int
    parts: tuple[tuple[int, Any, Any], ...]
    steps: dict[int, np.ndarray]
    first: int
    last: int
    before: int
    after: int
    interval: int


@dataclass(frozen=True)
class JpegHeader(Header):
    """What a JPEG holds.

    Args:
        frame: the kind of its frame (0xC0 baseline, 0xC2 progressive, ...).
        sampling: component -> (across, down).
    """

    frame: int = 0
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    scans: tuple[Scan, ...] = ()


def jpeg_header(data: bytes) -> JpegHeader:
    """Walk the marks of a whole JPEG file, from its first to its end mark.

    Raises:
        ValueError: cut short, or no JPEG structure.
    """
    at, header, frame, interval = 2, None, 0, 0
    sampling: dict[int, tuple[int, int]] = {}
    kinds: dict[int, int] = {}
    tables: dict[int, tuple[bytes, bytes]] = {}
    steps: dict[int, np.ndarray] = {}
    scans: list[Scan] = []
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
        part = data[at + 4 : end]
        if marker in _FRAMES and end <= len(data) and end - at >= 10:
            bits, height, width, bands = struct.unpack_from(">BHHB", part)
            header = Header(height, width, bands, bits, bits == 8 and bands in (1, 3))
            frame, sampling = marker, _sampling(part, bands)
            kinds = {part[6 + 3 * k]: part[8 + 3 * k] for k in range(len(sampling))}
        if marker == 0xC4:
            tables |= _tables(part)
        if marker == 0xDB:
            steps |= _steps(part)
        if marker == 0xDD and len(part) >= 2:
            (interval,) = struct.unpack_from(">H", part)
        if marker == 0xDA:
            found = _MARKER.search(data, end)
            if found is None:
                raise ValueError("the file ends inside its pixels, before its end mark (EOI)")
            own = {c: steps[q] for c, q in kinds.items() if q in steps}
            scan = _scan(part, (end, found.start()), tables, own, interval)
            scans += [] if scan is None else [scan]
            end = found.start()
        at = end
    if header is None:
        raise ValueError("a JPEG without a frame")
    return JpegHeader(
        header.height, header.width, header.bands, header.bits, header.plain,
        frame, sampling, tuple(scans),
    )  # fmt: skip


def _sampling(frame: bytes, bands: int) -> dict[int, tuple[int, int]]:
    each = [frame[6 + 3 * k : 9 + 3 * k] for k in range(bands)]
    return {one[0]: (one[1] >> 4, one[1] & 15) for one in each if len(one) == 3}


def _tables(part: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Number (0x1n: beyond the mean) -> (lengths, symbols) of the tables of codes in one segment."""
    found, at = {}, 0
    while at + 17 <= len(part):
        n = sum(part[at + 1 : at + 17])
        found[part[at]] = part[at + 1 : at + 17], part[at + 17 : at + 17 + n]
        at += 17 + n
    return found


def _steps(part: bytes) -> dict[int, np.ndarray]:
    """Number -> the 64 steps of the tables in one segment, in the order of the codes."""
    found, at = {}, 0
    while at < len(part):
        wide = part[at] >> 4
        end = at + 1 + 64 * (1 + bool(wide))
        if end > len(part):
            break
        found[part[at] & 15] = np.frombuffer(
            part[at + 1 : end], ">u2" if wide else np.uint8
        ).astype(np.int64)
        at = end
    return found


def _scan(
    part: bytes,
    span: tuple[int, int],
    tables: dict[int, Any],
    steps: dict[int, np.ndarray],
    interval: int,
) -> Scan | None:
    n = part[0] if part else 0
    if not 1 <= n <= 4 or len(part) < 4 + 2 * n:
        return None
    parts = tuple(
        (part[1 + 2 * k], tables.get(part[2 + 2 * k] >> 4), tables.get(part[2 + 2 * k] & 15 | 16))
        for k in range(n)
    )
    first, last, bits = part[1 + 2 * n : 4 + 2 * n]
    return Scan(*span, parts, steps, first, last, bits >> 4, bits & 15, interval)
