"""Sizes, bands and the range of numbers of the images that `comp init` found."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from comp.data.decode import decode, read_size
from comp.data.intake import Records
from comp.data.intake_seen import Understood
from comp.data.value_range import ValueRange
from comp.errors import DataError, some

BANDS_LOOKED_AT = 16


def look_at_images(seen: Understood, records: Records, stacked: bool) -> dict[str, Any]:
    """Sizes of all images from their headers; bands of a few, spread over the set.

    Returns:
        keys of the data section: channels, scale, where they say something.

    Raises:
        DataError: images of different numbers of bands.
    """
    every = [*records.train, *records.test]
    for what, part in (("train", records.train), ("test", records.test)):
        sizes: Counter[tuple[int, int]] = Counter()
        with ThreadPoolExecutor(2) as pool:
            for size in pool.map(_size, [record.image for record in part]):
                if isinstance(size, str):
                    seen.problems.append(size)
                else:
                    sizes[size] += 1
        if sizes:
            told = some((f"{h} x {w} ({n})" for (h, w), n in sizes.most_common()), 8)
            seen.lines.append(f"{what} sizes, height x width: {told}")
    kinds: Counter[tuple[int, str]] = Counter()
    first: dict[int, list[str]] = {}
    numbers = ValueRange()
    for record in every[:: max(1, len(every) // BANDS_LOOKED_AT)]:
        try:
            stored = decode(record.image)
        except DataError:
            continue  # `comp verify` names every one of these
        n_bands = stored.pixels.shape[2] - stored.alpha
        kinds[n_bands, str(stored.pixels.dtype)] += 1
        first.setdefault(n_bands, []).append(record.image.name)
        numbers.see(stored)
    told = ", ".join(f"{bands} x {dtype} ({n})" for (bands, dtype), n in kinds.most_common())
    seen.lines.append(f"bands of {kinds.total()} images looked at, without alpha: {told}")
    scale, told = numbers.proposed()
    seen.lines += [told] if told else []
    said = {} if scale is None else {"scale": scale}
    bands = {bands for bands, _ in kinds}
    if bands <= {1, 3} or stacked:
        return said  # one band is shown as three; bands in files of their own are counted there
    if len(bands) > 1:
        raise DataError(
            f"{seen.root}: images of {some(sorted(bands))} bands: "
            + "; ".join(
                f"{n} band{'s' * (n > 1)}: {len(first[n])} ({some(first[n], 3)})"
                for n in sorted(first)
            )
            + f", of {kinds.total()} looked at; all must have the same number (1 beside 3 is fine):"
            " convert them, or keep one kind there"
        )
    return {"channels": bands.pop(), **said}


def _size(path: Path) -> tuple[int, int] | str:
    try:
        return read_size(path)
    except DataError as error:
        return str(error)
