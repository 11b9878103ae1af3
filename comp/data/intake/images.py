"""Sizes, bands and the range of numbers of the images that `comp init` found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comp.config.competition import MAX_PIXELS
from comp.data.images.bands import files_of
from comp.data.images.decode import Stored, decode, read_size
from comp.data.images.png_rows import claimed_by_rows
from comp.data.images.rows import large_file
from comp.data.images.tif_rows import MOST_PIXELS
from comp.data.intake.seen import Understood
from comp.data.intake.value_range import ValueRange
from comp.data.sources.records import Record, Records
from comp.errors import DataError, some

BANDS_LOOKED_AT = 16


def look_at_images(seen: Understood, records: Records, stacked: bool) -> dict[str, Any]:
    """Sizes of all images from their headers; bands of a few, spread over the set.

    Returns:
        keys of the data section: channels, scale, where they say something.

    Raises:
        DataError: images of different numbers of bands, or none that can be read.
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
    alone = [path for image in dict.fromkeys(records.alone) for path in files_of(image)]
    seen.problems += [fault for path in alone if isinstance(fault := _size(path), str)]
    looked = look_at_range(every)
    if not looked.kinds:
        looked = look_at_range(_readable(seen.root, every))
    kinds, first = looked.kinds, looked.first
    told = ", ".join(f"{bands} x {dtype} ({n})" for (bands, dtype), n in kinds.most_common())
    seen.lines.append(f"bands of {kinds.total()} images looked at, without alpha: {told}")
    scale, lines = propose_scale(looked.files)
    said = {} if scale is None else {"scale": scale}
    if scale is None and (advised := dark_scale(looked.files)):
        seen.problems += lines
        seen.proposed["data.scale"] = advised
        seen.why["data.scale"] = "proposed: the images are dark without it"
    else:
        seen.lines += lines
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


def _readable(root: Path, every: Sequence[Record]) -> list[Record]:
    """The first image that can be read.

    Raises:
        DataError: there is none; what is wrong with the first of them.
    """
    faults = []
    for record in every:
        try:
            for path in files_of(record.image):
                _some_of(path)
            return [record]
        except DataError as error:
            faults.append(str(error))
    raise DataError(
        f"{root}: none of the {len(every)} images can be read:\n  " + "\n  ".join(faults[:3])
    )


@dataclass
class Range:
    """What some images, spread over a set, hold.

    Args:
        kinds: (bands, type) -> images; first: bands -> names of images.
        numbers: place of the file in its image -> its numbers; one place, or one a band.
    """

    kinds: Counter[tuple[int, str]] = field(default_factory=Counter)
    first: dict[int, list[str]] = field(default_factory=dict)
    numbers: dict[int, ValueRange] = field(default_factory=dict)

    @property
    def files(self) -> list[ValueRange]:
        """The numbers of each file of an image, in order."""
        return [self.numbers[place] for place in sorted(self.numbers)]


def look_at_range(every: Sequence[Record]) -> Range:
    """Decode a few images; those that cannot be read are left to `comp verify`."""
    looked = Range()
    for record in every[:: max(1, len(every) // BANDS_LOOKED_AT)]:
        try:
            each = [_some_of(path) for path in files_of(record.image)]
        except DataError:
            continue
        stored = each[0][0]
        n_bands = stored.pixels.shape[2] - stored.alpha
        looked.kinds[n_bands, str(stored.pixels.dtype)] += 1
        looked.first.setdefault(n_bands, []).append(record.image.name)
        for place, one in enumerate(each):  # several where each band has a file of its own
            for rows in one:
                looked.numbers.setdefault(place, ValueRange()).see(rows)
    return looked


def told_dark(every: Sequence[Record]) -> list[str]:
    """What to say of images that are dark without a `data.scale`."""
    files = look_at_range(every).files
    _, lines = propose_scale(files)
    return lines if dark_scale(files) else []


def propose_scale(files: Sequence[ValueRange]) -> tuple[list[Any] | None, list[str]]:
    """`data.scale` for what the files of an image hold, one file or one a band, and what is told of it.

    Returns:
        None, one pair [lo, hi] for all, or a pair a band where they differ.
    """
    found = [one.proposed() for one in files]
    scales = [scale for scale, _ in found]
    lines = [
        told if len(found) == 1 else f"band {n}: {told}"
        for n, (_, told) in enumerate(found, 1)
        if told
    ]
    if all(scale == scales[0] for scale in scales):
        return (scales[0] if scales else None), list(
            dict.fromkeys(told for _, told in found if told)
        )
    if None in scales:
        lines.append(
            "one data.scale reads all bands, and some need none: set data.scale with a pair a band"
        )
        return None, lines
    return scales, lines


def dark_scale(files: Sequence[ValueRange]) -> str:
    """The `data.scale` that `propose_scale` told of without setting it; "" where it did not."""
    ends = [one.advised for one in files]
    if not ends or None in ends:
        return ""
    return f"[0, {max(end for end in ends if end is not None):g}]"


def _some_of(path: Path) -> list[Stored]:
    """A file as stored; of a large one a few bands of rows."""
    with large_file(path, MOST_PIXELS) as large:
        return [decode(path)] if large is None else list(large.some())


def look_at_limit(seen: Understood, records: Records) -> dict[str, Any]:
    """Whether files that are read in bands of rows claim more than the default limit of pixels.

    Returns:
        max_pixels, where it must be raised for them; it is told of.
    """
    paths = [
        path
        for record in (*records.train, *records.test)
        for path in (record.files if record.truth is None else files_of(record.image))
    ]
    claims = {path: claimed_by_rows(path) for path in dict.fromkeys(paths)}
    large = [
        path.relative_to(seen.root) for path, n in claims.items() if MAX_PIXELS < n <= MOST_PIXELS
    ]
    if not large:
        return {}
    most = max(n for n in claims.values() if n <= MOST_PIXELS)
    seen.lines.append(
        f"{some(large, 3)}: up to {most} pixels, more than the default limit of {MAX_PIXELS}, which"
        " keeps bombs out: data.max_pixels is raised to that; such files are read in bands of rows"
    )
    seen.why["data.max_pixels"] = "the largest file has so many"
    return {"max_pixels": most}


def _size(path: Path) -> tuple[int, int] | str:
    try:
        return read_size(path)
    except DataError as error:
        return str(error)
