"""JPEG walked code by code: refuses scans that tell fewer, more or other blocks than the picture has.

Decoders show grey or wrong blocks there, without a word. Not seen: wrong bytes after which the codes fall
into step again with no block lost and no number too large (one bit: mostly; 16 bytes: one time in three;
256: hardly ever), and anything in arithmetic, lossless or 12-bit files.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import numpy as np

from comp.data.images.jpeg import JpegHeader, Scan

SEQUENTIAL, PROGRESSIVE = (0xC0, 0xC1), 0xC2
_LARGEST = (
    1400  # of a number: 1024 can be (T.81, A.3.3), and encoders that round or sharpen add little
)
_HOLE = 48  # in a scan: more zero bytes than two blocks of -1 all over


def check_scans(data: bytes, header: JpegHeader) -> None:
    """Walk every code of a Huffman-coded 8-bit JPEG; takes about as long as decoding it.

    Raises:
        ValueError: its scans do not tell its picture, once and whole.
    """
    if header.bits != 8 or header.frame not in (*SEQUENTIAL, PROGRESSIVE):
        return
    if not header.sampling or any(not 1 <= v <= 4 for hv in header.sampling.values() for v in hv):
        raise ValueError("a frame of parts that cannot be")
    raw = np.frombuffer(data, np.uint8)
    told: dict[int, np.ndarray] = {}
    for scan in header.scans:
        if any(component not in header.sampling for component, _, _ in scan.parts):
            raise ValueError("a scan of a part that its frame does not name")
        if header.frame == PROGRESSIVE and not (
            scan.first == scan.last == 0
            or (0 < scan.first <= scan.last < 64 == 63 + len(scan.parts))
        ):
            raise ValueError("a scan that cannot be")
        _check_one(raw, header, scan, told)
    missing = set(header.sampling) - {c for scan in header.scans for c, _, _ in scan.parts}
    if header.frame == PROGRESSIVE:
        missing |= _rough(header)
    if missing:
        raise ValueError("its pixels end before the picture does: scans are missing")


def _rough(header: JpegHeader) -> set[int]:
    """Components of which no scan brings the mean, or the numbers beyond it, to their last bit."""
    done = set()
    for scan in header.scans:
        if scan.after == 0:
            reach = [*[False] * (scan.first == 0), *[True] * (scan.last == 63)]
            done |= {(component, beyond) for component, _, _ in scan.parts for beyond in reach}
    return {c for c in header.sampling if not {(c, False), (c, True)} <= done}


def _check_one(
    raw: np.ndarray, header: JpegHeader, scan: Scan, told: dict[int, np.ndarray]
) -> None:
    from comp.data.images import entropy

    across, down = _units(header, scan)
    order = [part for part in scan.parts for _ in range(_blocks(header, scan, part[0]))]
    progressive = header.frame == PROGRESSIVE
    beyond = scan.first > 0 if progressive else True
    mean = not progressive or (scan.first == 0 and scan.before == 0)
    if (mean and any(dc is None for _, dc, _ in order)) or (
        beyond and any(ac is None for _, _, ac in order)
    ):
        return  # the standard's own tables, left out, as some cameras do
    at = raw, scan.stop, scan.start
    most = np.stack([_most(scan.steps.get(component), scan.after) for component, _, _ in order])
    bands = np.array([component for component, _, _ in order], np.int32)
    none = np.zeros((len(order), 1), np.int32)
    dc = np.stack([_table(*one[1]) for one in order]) if mean else none
    if not progressive:
        ac = np.stack([_table(*one[2]) for one in order])
        rest = across * down, scan.interval, dc, ac, most, bands
        filling = _hole(raw, scan)  # before the end mark, where the picture is whole without it
        stop = scan.stop if filling is None else filling + _HOLE // 2
        result, unit = entropy.walk_sequential(raw, stop, scan.start, *rest)
    elif not beyond:
        result, unit = entropy.walk_means(*at, across * down, scan.interval, dc, most, bands, mean)
    else:
        walk = entropy.walk_first if scan.before == 0 else entropy.walk_refining
        numbers = told.setdefault(scan.parts[0][0], np.zeros(across * down, np.int64))
        table = _table(*scan.parts[0][2])
        reach = scan.first, scan.last
        result, unit = walk(*at, scan.interval, table, most[0], reach, numbers)
    if result == entropy.WHOLE:
        return
    row = min(header.height - 1, unit // across * header.height // down)
    where = f", from about row {row} of {header.height}"
    raise ValueError(
        {
            entropy.SHORT: "its pixels end before the picture does" + where,
            entropy.WRONG: "wrong bytes in its pixels" + where,
            entropy.LOST: "wrong bytes in its pixels (a restart mark out of its order)" + where,
            entropy.OVER: "wrong bytes in its pixels: more of them than the picture has",
        }[result]
    )


def _units(header: JpegHeader, scan: Scan) -> tuple[int, int]:
    """(across, down): the units of a scan; of one component a unit is a block."""
    most = [max(hv[k] for hv in header.sampling.values()) for k in (0, 1)]
    sides = header.width, header.height
    if len(scan.parts) > 1:
        across, down = (ceil(side / (8 * top)) for side, top in zip(sides, most, strict=True))
    else:
        own = header.sampling[scan.parts[0][0]]
        across, down = (
            ceil(ceil(side * v / top) / 8) for side, v, top in zip(sides, own, most, strict=True)
        )
    return across, down


def _blocks(header: JpegHeader, scan: Scan, component: int) -> int:
    across, down = header.sampling[component]
    return across * down if len(scan.parts) > 1 else 1


def _hole(raw: np.ndarray, scan: Scan) -> int | None:
    """Where zeros stand that pixels are not written with, up to the end of the scan, or None.

    Raises:
        ValueError: they are followed by other bytes of pixels.
    """
    if not any(ac[1][0] for _, _, ac in scan.parts if ac and ac[1]):
        return None  # zero bits say "the rest of this block is flat" for every band: a flat picture
    codes = raw[scan.start : scan.stop].tobytes()
    end = 0
    while (first := codes.find(bytes(_HOLE), end)) >= 0:
        end = len(codes) - len(codes[first:].lstrip(b"\0"))
        if end == len(codes):
            return scan.start + first
        if codes[end] != 0xFF:
            raise ValueError(f"a hole of zeros in its pixels, from byte {scan.start + first}")
    return None


def _most(steps: np.ndarray | None, after: int) -> np.ndarray:
    """(64,) int32: the largest mean of a block, then how many bits each other number may have."""
    if steps is None:
        return np.full(64, 1 << 15, np.int32)
    return _most_by(steps.tobytes(), after)


@lru_cache(64)
def _most_by(packed: bytes, after: int) -> np.ndarray:
    steps = np.frombuffer(packed, np.int64)
    reach = (_LARGEST + steps) // np.maximum(steps, 1) >> after
    most = np.array([int(v).bit_length() for v in reach], np.int32)
    most[0] = reach[0] + 1
    return most


@lru_cache(64)
def _table(lengths: bytes, symbols: bytes) -> np.ndarray:
    from comp.data.images import entropy

    return entropy.make_table(lengths, symbols)
