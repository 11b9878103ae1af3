"""Compiled walk through the codes of JPEG scans (ITU-T T.81, annexes F and G), numbers skipped, not kept.

Imported when first used. It says whether a scan tells every block of its picture, no more and no less.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

WHOLE, SHORT, WRONG, OVER, LOST = range(
    5
)  # what a walk returns, and the block row where it stopped
LOOK = 9  # bits that one look into a table takes; longer codes are searched
_LONGEST = LOOK + 1
_MAX = 1 << LOOK  # where in a table the largest code of each length stands
_FIRST = _MAX + 17  # then what to add to a code to find its symbol
_SYMBOLS = _FIRST + 17
TABLE = _SYMBOLS + 256
_INT: Any = np.int64  # numba would mix in unsigned numbers, and so floats
_SPARE = 2  # bytes that may be left over after the last block without being wrong


def make_table(lengths: bytes, symbols: bytes) -> np.ndarray:
    """A Huffman table for the walk: (TABLE,) int32.

    Args:
        lengths: 16 bytes, the number of codes of each length.
        symbols: what the codes mean, in their order.

    Raises:
        ValueError: more codes than their lengths have room for, or fewer symbols.
    """
    if len(symbols) > 256:
        raise ValueError("a table of codes that cannot be")
    table = np.zeros(TABLE, np.int32)
    table[_MAX:_FIRST] = -1
    table[_SYMBOLS : _SYMBOLS + len(symbols)] = np.frombuffer(symbols, np.uint8)
    code = at = 0
    for length, n in enumerate(lengths, 1):
        if code + n > 1 << length or at + n > len(symbols):
            raise ValueError("a table of codes that cannot be")
        if n:
            table[_FIRST + length] = at - code
            table[_MAX + length] = code + n - 1
        if length <= LOOK:
            for k in range(n):
                spread = 1 << (LOOK - length)
                first = (code + k) * spread
                table[first : first + spread] = length << 8 | symbols[at + k]
        code, at = (code + n) << 1, at + n
    return table


@njit(cache=True, nogil=True, inline="always")
def _fill(data: Any, pos: int, stop: int, acc: int, n: int, pad: int) -> tuple[int, int, int, int]:
    """32 bits or more, zeros (counted in `pad`) after a marker or the end; only the last `n` of `acc` count."""
    if pos + 4 <= stop:
        four = _INT(data[pos]) << 24 | _INT(data[pos + 1]) << 16
        four |= _INT(data[pos + 2]) << 8 | _INT(data[pos + 3])
        if ((four ^ 0xFFFFFFFF) - 0x01010101) & four & 0x80808080 == 0:  # none is 0xFF
            return pos + 4, acc << 32 | four, n + 32, pad
    while n <= 40:
        byte = _INT(0)
        if pos < stop and data[pos] != 0xFF:
            byte = _INT(data[pos])
            pos += 1
        elif pos + 1 < stop and data[pos + 1] == 0:
            byte = _INT(0xFF)
            pos += 2
        else:
            pad += 8
        acc = acc << 8 | byte
        n += 8
    return pos, acc, n, pad


@njit(cache=True, nogil=True, inline="always")
def _code(table: Any, acc: int, n: int) -> tuple[int, int]:
    """(symbol, length) of the code at the front of at least 16 bits; length 0: there is none."""
    entry = _INT(table[acc >> (n - LOOK) & (_MAX - 1)])
    if entry:
        return entry & 255, entry >> 8
    for length in range(_LONGEST, 17):
        code = acc >> (n - length) & ((_INT(1) << length) - 1)
        if code <= table[_MAX + length]:
            return _INT(table[_SYMBOLS + table[_FIRST + length] + code]), _INT(length)
    return _INT(0), _INT(0)


@njit(cache=True, nogil=True, inline="always")
def _signed(bits: int, size: int) -> int:
    """The number that `size` bits after a code say."""
    return bits if size == 0 or bits >> (size - 1) else bits - (_INT(1) << size) + 1


@njit(cache=True, nogil=True)
def _between(data: Any, pos: int, stop: int, n: int, pad: int, wanted: int) -> tuple[int, int]:
    """What stands between the last block of a part and the mark after it: (result, where to go on).

    Args:
        wanted: 0..7: the restart mark that must follow; -1: the scan must end, or one more may.
    """
    mark = pos
    while mark < stop and not (data[mark] == 0xFF and mark + 1 < stop and data[mark + 1] >= 0xD0):
        mark += 1
    left = mark - pos + max(0, (n - pad) >> 3)
    if left > _SPARE:
        for k in range(mark - left + 1, mark):
            if data[k] != data[mark - 1] or (data[k] != 0 and data[k] != 0xFF):
                return OVER, mark
    while mark + 1 < stop and data[mark + 1] == 0xFF:
        mark += 1
    if wanted < 0:
        return (WHOLE if mark + 2 >= stop else OVER), mark
    if mark + 1 >= stop:
        return SHORT, mark
    return (WHOLE if data[mark + 1] == 0xD0 + wanted else LOST), mark + 2


@njit(cache=True, nogil=True)
def walk_sequential(
    data: Any,
    stop: int,
    pos: int,
    n_units: int,
    interval: int,
    dc: Any,
    ac: Any,
    most: Any,
    bands: Any,
) -> tuple[int, int]:
    """Walk a scan of a baseline or extended picture.

    Args:
        data: (N,) uint8, the file; the scan's codes are `data[pos:stop]`.
        n_units: of the scan: each is len(dc) blocks.
        interval: units between restart marks; 0: there are none.
        dc, ac: (blocks of a unit, TABLE) int32.
        most: (blocks of a unit, 64) int32, how large a mean may be; how many bits other numbers have.
        bands: (blocks of a unit,) int32, whose means are told by their differences.

    Returns:
        the result, and the unit where it was known.
    """
    acc, n, pad = _INT(0), _INT(0), _INT(0)
    means = np.zeros(256, np.int64)
    for unit in range(n_units):
        if interval and unit and unit % interval == 0:
            result, pos = _between(data, pos, stop, n, pad, (unit // interval - 1) % 8)
            if result != WHOLE:
                return result, unit
            acc, n, pad = _INT(0), _INT(0), _INT(0)
            means[:] = 0
        for block in range(len(dc)):
            if n < 32:
                pos, acc, n, pad = _fill(data, pos, stop, acc, n, pad)
            size, length = _code(dc[block], acc, n)
            if length == 0 or size > 15:
                return (SHORT if pad else WRONG), unit
            n -= length + size
            means[bands[block]] += _signed(acc >> n & ((_INT(1) << size) - 1), size)
            if abs(means[bands[block]]) > most[block, 0]:
                return (SHORT if pad > n else WRONG), unit
            k = 1
            table, bits = ac[block], most[block]
            while k < 64:
                if n < 32:
                    pos, acc, n, pad = _fill(data, pos, stop, acc, n, pad)
                symbol, length = _code(table, acc, n)
                if length == 0:
                    return (SHORT if pad else WRONG), unit
                n -= length + (symbol & 15)
                if symbol & 15 == 0:
                    if symbol != 0xF0:
                        break
                    k += 16
                    continue
                k += symbol >> 4
                if k > 63 or symbol & 15 > bits[k]:
                    return (SHORT if pad > n else WRONG), unit
                k += 1
            if pad > n:
                return SHORT, unit
    return _between(data, pos, stop, n, pad, -1)[0], n_units


@njit(cache=True, nogil=True)
def walk_means(
    data: Any,
    stop: int,
    pos: int,
    n_units: int,
    interval: int,
    dc: Any,
    most: Any,
    bands: Any,
    first: bool,
) -> tuple[int, int]:
    """Walk a progressive scan of means (DC); see `walk_sequential`.

    Args:
        first: not a scan that adds one bit to each.
    """
    acc, n, pad = _INT(0), _INT(0), _INT(0)
    means = np.zeros(256, np.int64)
    for unit in range(n_units):
        if interval and unit and unit % interval == 0:
            result, pos = _between(data, pos, stop, n, pad, (unit // interval - 1) % 8)
            if result != WHOLE:
                return result, unit
            acc, n, pad = _INT(0), _INT(0), _INT(0)
            means[:] = 0
        for block in range(len(dc)):
            if n < 32:
                pos, acc, n, pad = _fill(data, pos, stop, acc, n, pad)
            if first:
                size, length = _code(dc[block], acc, n)
                if length == 0 or size > 15:
                    return (SHORT if pad else WRONG), unit
                n -= length + size
                means[bands[block]] += _signed(acc >> n & ((_INT(1) << size) - 1), size)
                if abs(means[bands[block]]) > most[block, 0]:
                    return (SHORT if pad > n else WRONG), unit
            else:
                n -= 1
            if pad > n:
                return SHORT, unit
    return _between(data, pos, stop, n, pad, -1)[0], n_units


@njit(cache=True, nogil=True)
def walk_first(
    data: Any,
    stop: int,
    pos: int,
    interval: int,
    ac: Any,
    most: Any,
    reach: tuple[int, int],
    told: Any,
) -> tuple[int, int]:
    """Walk a progressive scan that is the first to tell some numbers beyond the mean.

    Args:
        ac: (TABLE,) int32.
        most: (64,) int32, how many bits a number has.
        reach: first and last number of each block that it tells.
        told: (blocks of the component,) int64, a bit for each number that is not 0; written.
    """
    acc, n, pad, flat = _INT(0), _INT(0), _INT(0), _INT(0)
    for block in range(len(told)):
        if interval and block and block % interval == 0:
            if flat:
                return WRONG, block
            result, pos = _between(data, pos, stop, n, pad, (block // interval - 1) % 8)
            if result != WHOLE:
                return result, block
            acc, n, pad = _INT(0), _INT(0), _INT(0)
        if flat:
            flat -= 1
            continue
        k = reach[0]
        while k <= reach[1]:
            if n < 32:
                pos, acc, n, pad = _fill(data, pos, stop, acc, n, pad)
            symbol, length = _code(ac, acc, n)
            if length == 0:
                return (SHORT if pad else WRONG), block
            run, size = symbol >> 4, symbol & 15
            n -= length
            if size == 0 and run < 15:
                n -= run
                flat = (_INT(1) << run) - 1 + (acc >> n & ((_INT(1) << run) - 1))
                break
            n -= size
            k += run
            if size:
                if k > reach[1] or size > most[k]:
                    return (SHORT if pad > n else WRONG), block
                told[block] |= _INT(1) << k
            k += 1
        if pad > n:
            return SHORT, block
    if flat:
        return WRONG, len(told)
    return _between(data, pos, stop, n, pad, -1)[0], len(told)


@njit(cache=True, nogil=True)
def walk_refining(
    data: Any,
    stop: int,
    pos: int,
    interval: int,
    ac: Any,
    most: Any,
    reach: tuple[int, int],
    told: Any,
) -> tuple[int, int]:
    """Walk a progressive scan that adds one bit to numbers beyond the mean; see `walk_first`."""
    acc, n, pad, flat = _INT(0), _INT(0), _INT(0), _INT(0)
    for block in range(len(told)):
        if interval and block and block % interval == 0:
            if flat:
                return WRONG, block
            result, pos = _between(data, pos, stop, n, pad, (block // interval - 1) % 8)
            if result != WHOLE:
                return result, block
            acc, n, pad = _INT(0), _INT(0), _INT(0)
        k = reach[0]
        while flat == 0 and k <= reach[1]:
            if n < 32:
                pos, acc, n, pad = _fill(data, pos, stop, acc, n, pad)
            symbol, length = _code(ac, acc, n)
            run, size = symbol >> 4, symbol & 15
            if length == 0 or size > 1:
                return (SHORT if pad else WRONG), block
            n -= length + size
            if size == 0 and run < 15:
                n -= run
                flat = (_INT(1) << run) + (acc >> n & ((_INT(1) << run) - 1))
                break
            while k <= reach[1]:  # over numbers that have a bit to add, and `run` that are still 0
                if told[block] >> k & 1:
                    if n < 1:
                        pos, acc, n, pad = _fill(data, pos, stop, acc, n, pad)
                    n -= 1
                else:
                    run -= 1
                    if run < 0:
                        break
                k += 1
            if size:
                if k > reach[1]:
                    return (SHORT if pad > n else WRONG), block
                told[block] |= _INT(1) << k
            k += 1
        if flat:
            while k <= reach[1]:
                if told[block] >> k & 1:
                    if n < 1:
                        pos, acc, n, pad = _fill(data, pos, stop, acc, n, pad)
                    n -= 1
                k += 1
            flat -= 1
        if pad > n:
            return SHORT, block
    if flat:
        return WRONG, len(told)
    return _between(data, pos, stop, n, pad, -1)[0], len(told)
