"""The compiled walk against a plain one, on whole and on damaged files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from comp.data.images import jpeg_scans
from comp.data.images.entropy import make_table
from comp.data.images.jpeg import JpegHeader, Scan, jpeg_header


class Wrong(Exception):
    """What the plain walk says of codes that cannot be."""


class Bits:
    """The bits of one part of a scan, between two marks."""

    def __init__(self, part: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in part.replace(b"\xff\0", b"\xff"))
        self.at = 0

    def take(self, n: int) -> int:
        if self.at + n > len(self.bits):
            raise Wrong("short")
        self.at += n
        return int(self.bits[self.at - n : self.at] or "0", 2)

    def symbol(self, codes: dict[str, int]) -> int:
        for length in range(1, 17):
            code = self.bits[self.at : self.at + length]
            if len(code) == length and code in codes:
                self.at += length
                return codes[code]
        raise Wrong("no code")

    def signed(self, size: int) -> int:
        value = self.take(size)
        return value if size == 0 or value >> (size - 1) else value - (1 << size) + 1


def codes_of(table: tuple[bytes, bytes]) -> dict[str, int]:
    found, code, at = {}, 0, 0
    for length, n in enumerate(table[0], 1):
        for _ in range(n):
            found[f"{code:0{length}b}"] = table[1][at]
            code, at = code + 1, at + 1
        code <<= 1
    return found


def parts_of(codes: bytes) -> list[bytes]:
    """A scan cut at its restart marks, which must count 0..7 over and over."""
    found, start, n = [], 0, 0
    for at in range(len(codes) - 1):
        if codes[at] == 0xFF and 0xD0 <= codes[at + 1] <= 0xD7:
            if codes[at + 1] != 0xD0 + n % 8:
                raise Wrong("restart")
            found.append(codes[start:at])
            start, n = at + 2, n + 1
    return [*found, codes[start:]]


def plain_scan(raw: bytes, header: JpegHeader, scan: Scan, told: dict[int, Any]) -> None:
    """Walk a scan, one bit after the other."""
    across, down = jpeg_scans._units(header, scan)
    order = [p for p in scan.parts for _ in range(jpeg_scans._blocks(header, scan, p[0]))]
    n_units = across * down
    step = scan.interval or n_units
    parts = parts_of(raw[scan.start : scan.stop])
    if len(parts) != -(-n_units // step):
        raise Wrong("parts")
    numbers: list[set[int]] = []
    if scan.first:
        numbers = told.setdefault(scan.parts[0][0], [set() for _ in range(n_units)])
    for k, part in enumerate(parts):
        bits, means, flat = Bits(part), dict.fromkeys(range(256), 0), 0
        for unit in range(k * step, min((k + 1) * step, n_units)):
            for component, dc, ac in order:
                most = jpeg_scans._most(scan.steps.get(component), scan.after)
                progressive = header.frame == jpeg_scans.PROGRESSIVE
                if not progressive or scan.first == 0:
                    if progressive and scan.before:
                        bits.take(1)
                        continue
                    means[component] += bits.signed(bits.symbol(codes_of(dc)))
                    if abs(means[component]) > most[0]:
                        raise Wrong("mean")
                if not progressive:
                    sequential(bits, codes_of(ac), most)
                elif scan.first > 0:
                    walk = refined if scan.before else first_told
                    flat = walk(
                        bits, codes_of(ac), most, (scan.first, scan.last), numbers[unit], flat
                    )
        if flat:
            raise Wrong("flat beyond the end")
        left = part.replace(b"\xff\0", b"\xff")[-(-bits.at // 8) :]
        if len(left) > 2 and set(left) not in ({0}, {255}):
            raise Wrong("left over")


def sequential(bits: Bits, codes: dict[str, int], most: np.ndarray) -> None:
    k = 1
    while k < 64:
        run, size = divmod(bits.symbol(codes), 16)
        if size == 0 and run < 15:
            return
        k += run
        if size and (k > 63 or size > most[k]):
            raise Wrong("number")
        bits.take(size)
        k += 1


def first_told(
    bits: Bits,
    codes: dict[str, int],
    most: np.ndarray,
    reach: tuple[int, int],
    own: set[int],
    flat: int,
) -> int:
    if flat:
        return flat - 1
    k = reach[0]
    while k <= reach[1]:
        run, size = divmod(bits.symbol(codes), 16)
        if size == 0 and run < 15:
            return (1 << run) - 1 + bits.take(run)
        k += run
        if size:
            if k > reach[1] or size > most[k]:
                raise Wrong("number")
            own.add(k)
            bits.take(size)
        k += 1
    return 0


def refined(
    bits: Bits,
    codes: dict[str, int],
    most: np.ndarray,
    reach: tuple[int, int],
    own: set[int],
    flat: int,
) -> int:
    k = reach[0]
    while not flat and k <= reach[1]:
        run, size = divmod(bits.symbol(codes), 16)
        if size > 1:
            raise Wrong("size")
        if size == 0 and run < 15:
            flat = (1 << run) + bits.take(run)
            break
        bits.take(size)
        while k <= reach[1] and (k in own or run):
            run -= k not in own
            bits.take(k in own)
            k += 1
        if size:
            if k > reach[1]:
                raise Wrong("number")
            own.add(k)
        k += 1
    if not flat:
        return 0
    bits.take(len([n for n in own if k <= n <= reach[1]]))
    return flat - 1


def verdicts(data: bytes) -> Iterator[tuple[bool, bool]]:
    """(the compiled walk takes it, the plain one does), scan by scan, up to the first that is refused."""
    header = jpeg_header(data)
    told: tuple[dict[int, Any], dict[int, Any]] = {}, {}
    for scan in header.scans:
        taken = []
        walks: list[tuple[Any, Any, Any]] = [
            (jpeg_scans._check_one, np.frombuffer(data, np.uint8), told[0]),
            (plain_scan, data, told[1]),
        ]
        for walk, raw, own in walks:
            try:
                walk(raw, header, scan, own)
                taken.append(True)
            except (Wrong, ValueError):
                taken.append(False)
        yield taken[0], taken[1]
        if not all(taken):
            return


OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {"progressive": True}, {"optimize": True, "subsampling": 0},
    {"restart_marker_blocks": 2}, {"progressive": True, "restart_marker_blocks": 3},
)  # fmt: skip


def small(seed: int, **options: Any) -> bytes:
    pixels = (
        np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8).repeat(6, 0).repeat(7, 1)
    )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", OPTIONS)
def test_whole_files_are_taken_by_both(options: dict[str, Any]) -> None:
    for seed in range(3):
        assert set(verdicts(small(seed, **options))) == {(True, True)}


@settings(max_examples=60)
@given(st.sampled_from(OPTIONS), st.integers(0, 1 << 30), st.integers(1, 5))
def test_damaged_files_are_judged_alike(options: dict[str, Any], seed: int, n: int) -> None:
    whole = small(1, **options)
    rng = np.random.default_rng(seed)
    scan = jpeg_header(whole).scans[int(rng.integers(len(jpeg_header(whole).scans)))]
    damaged = bytearray(whole)
    for _ in range(n):
        at = int(rng.integers(scan.start, scan.stop))
        damaged[at] = int(rng.integers(1, 255))  # no new mark
        if damaged[at - 1] == 0xFF or at == scan.stop:
            damaged[at] = whole[at]
    for compiled, plain in verdicts(bytes(damaged)):
        assert compiled == plain


def test_tables_that_cannot_be() -> None:
    for lengths, symbols in ((bytes([3, *[0] * 15]), b"abc"), (bytes([1, *[0] * 15]), b"")):
        with pytest.raises(ValueError, match="a table of codes that cannot be"):
            make_table(lengths, symbols)
    with pytest.raises(ValueError, match="a table of codes that cannot be"):
        make_table(bytes(16), bytes(300))
