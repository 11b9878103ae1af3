"""All mask files read once: which numbers and colours they hold, and where; what `comp init` decides from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from comp.config import IGNORE
from comp.config.competition import MAX_PIXELS
from comp.data.images.decode import Stored, decode
from comp.data.images.palette import color_codes, grey, palette_codes
from comp.data.images.rows import large_file
from comp.data.sources.label_rows import count_values
from comp.data.sources.labels import mask_values, nearly_grey
from comp.data.sources.records import Record
from comp.errors import DataError

MOST_COLORS = 4096  # of one file that are remembered


@dataclass
class MaskFacts:
    """What all masks hold together.

    Args:
        pixels: value -> pixels; the set pixels of 1-bit files are counted in `bits` instead.
        files: value -> files that hold it; `first`: the first of them.
        one_with_255: files that hold both 1 and 255.
        colors, color_files, color_first: the same for colours (0xrrggbb), greys and palettes too.
        colored: files whose bands differ; they have colours and no values.
        index_colors: palette index -> colours that it has, in files that use it.
        n_lossy: files saved with loss.
        white: files of more than one bit whose 0 is white -> the largest number of their type; their
            values are those of the picture as it is shown, turned over.
        marked: of each file with values, the share of its pixels, and of those on its border, that
            are above half of its largest value.
        tops: each file with values -> its largest one; files of one bit aside.
        by_depth: False: the files of 8-bit values, True: those that reach beyond 255; all-zero
            files count in both. Empty where all files are of one depth.
        faults: masks that cannot be read, one message each.
    """

    n_files: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    files: Counter[int] = field(default_factory=Counter)
    first: dict[int, Path] = field(default_factory=dict)
    bits: int = 0
    one_with_255: int = 0
    colors: Counter[int] = field(default_factory=Counter)
    color_files: Counter[int] = field(default_factory=Counter)
    color_first: dict[int, Path] = field(default_factory=dict)
    colored: list[Path] = field(default_factory=list)
    index_colors: dict[int, set[int]] = field(default_factory=dict)
    n_lossy: int = 0
    white: dict[Path, int] = field(default_factory=dict)
    marked: list[tuple[Path, float, float]] = field(default_factory=list)
    tops: dict[Path, int] = field(default_factory=dict)
    by_depth: dict[bool, MaskFacts] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def values(self) -> list[int]:
        return sorted(self.pixels)

    def without(self, values: Collection[int]) -> MaskFacts:
        """The facts as they would be, did no file hold these values."""
        kept = Counter({v: n for v, n in self.pixels.items() if v not in values})
        both = 0 if {1, IGNORE} & set(values) else self.one_with_255
        return replace(self, pixels=kept, one_with_255=both)

    def strays(self, share: float, of_files: float) -> list[int]:
        """Values of so few pixels and files that they may be mistakes, rarest first; 0 never is.

        Args:
            share: of all pixels that they may have together.
            of_files: share of all files that may hold one of them (one file always may).
        """
        if self.n_files < 3:
            return []
        total = sum(self.pixels.values()) + self.bits
        found: list[int] = []
        seen = 0
        for value in sorted(self.pixels, key=lambda v: (self.pixels[v], v)):
            seen += self.pixels[value]
            if seen > share * total:
                break
            if value != 0 and self.files[value] <= max(1, of_files * self.n_files):
                found.append(value)
        return found


@dataclass(frozen=True)
class _Look:
    """What one mask holds; `values` is None for a colour mask."""

    values: dict[int, int] | None
    one_bit: bool
    colors: dict[int, int]
    index_colors: dict[int, int]
    lossy: bool
    marked: tuple[float, float]
    white: int = 0


def look_at_masks(records: Sequence[Record], max_pixels: int = MAX_PIXELS) -> MaskFacts:
    """Read every mask once, two at a time; truth that stands in a table is none of them."""
    facts = MaskFacts()
    depths = {False: MaskFacts(), True: MaskFacts()}
    paths = [path for r in records if r.truth is None for path in r.masks]
    with ThreadPoolExecutor(2) as pool:
        for path, found in zip(paths, pool.map(lambda p: _look(p, max_pixels), paths), strict=True):
            facts.n_files += 1
            if isinstance(found, str):
                facts.faults.append(found)
            else:
                _add(facts, path, found)
                top = max(found.values) if found.values else 0
                for deep in [top > 255] if top else [False, True]:
                    depths[deep].n_files += 1
                    _add(depths[deep], path, found)
    if all(one.tops and max(one.tops.values()) for one in depths.values()):
        facts.by_depth = depths
    return facts


def _add(facts: MaskFacts, path: Path, found: _Look) -> None:
    """Count one file's look."""
    facts.n_lossy += found.lossy
    facts.colors.update(found.colors)
    facts.color_files.update(found.colors.keys())
    for color in found.colors:
        facts.color_first.setdefault(color, path)
    for index, color in found.index_colors.items():
        facts.index_colors.setdefault(index, set()).add(color)
    if found.values is None:
        facts.colored.append(path)
        return
    counts = dict(found.values)
    if found.one_bit:
        facts.bits += counts.pop(1, 0)
    facts.pixels.update(counts)
    facts.files.update(counts.keys())
    facts.one_with_255 += 1 in counts and IGNORE in counts
    facts.marked.append((path, *found.marked))
    if not found.one_bit:
        facts.tops[path] = max(counts)
        if found.white:
            facts.white[path] = found.white
    for value in counts:
        facts.first.setdefault(value, path)


def _look(path: Path, max_pixels: int) -> _Look | str:
    """Read one mask; a text says why it cannot be read."""
    try:
        with large_file(path, max_pixels) as large:
            if large is not None:
                return _look_by_rows(path, large.bands(indices=True))
        stored = decode(path, indices=True, max_pixels=max_pixels)
        bands = stored.pixels[..., :-1] if stored.alpha else stored.pixels
        if bands.shape[2] == 3 and bands.dtype == np.uint8 and _differ(bands, stored.lossy):
            return _Look(None, False, _counted(color_codes(path, stored)), {}, stored.lossy, (0, 0))
        values = mask_values(path, stored)
        counts = _value_counts(values)
        colors, index_colors = _colors_of(path, stored, counts)
    except DataError as error:
        return str(error)
    return _Look(
        counts, values.dtype == bool, colors, index_colors, stored.lossy, _marked(values, counts),
        (stored.top or 0) * stored.white,
    )  # fmt: skip


def _look_by_rows(path: Path, rows: Iterable[Stored]) -> _Look:
    """`_look` of a large mask."""
    counts: Counter[int] = Counter()
    colors: Counter[int] = Counter()
    border: Counter[int] = Counter()
    stored, values = None, np.empty((0, 0), np.uint8)
    for stored in rows:
        bands = stored.pixels[..., :-1] if stored.alpha else stored.pixels
        if bands.shape[2] == 3 and bands.dtype == np.uint8 and _differ(bands, stored.lossy):
            colors.update(_counted(color_codes(path, stored)))
            continue
        values = mask_values(path, stored)
        top = int(not border)  # of the first row all is border
        border.update(count_values(values[:top]))
        border.update(count_values(values[top:, [0, -1]]))
        counts.update(count_values(values))
    assert stored is not None
    if colors:
        colors.update({grey(v): n for v, n in counts.items()})
        return _Look(None, False, dict(colors.most_common(MOST_COLORS)), {}, stored.lossy, (0, 0))
    border.update(count_values(values[-1, 1:-1]))
    shown, index_colors = _colors_of(path, stored, counts)
    half = max(counts) // 2
    marked = [
        sum(n for v, n in seen.items() if v > half) / seen.total() if max(counts) > 0 else 0.0
        for seen in (counts, border)
    ]
    one_bit = values.dtype == bool
    white = (stored.top or 0) * stored.white
    parts = shown, index_colors, stored.lossy, (marked[0], marked[1]), white
    return _Look(dict(counts), one_bit, *parts)


def _differ(bands: np.ndarray, lossy: bool) -> bool:
    """True where bands are colours: `mask_values` would not read them as numbers."""
    apart = bool((bands[..., 1:] != bands[..., :1]).any())
    return apart and not (lossy and nearly_grey(bands))


def _value_counts(values: np.ndarray) -> dict[int, int]:
    if values.dtype in (np.uint8, bool):
        table = np.bincount(values.ravel().view(np.uint8), minlength=256)
        return {int(v): int(table[v]) for v in np.flatnonzero(table)}
    found, n = np.unique(values, return_counts=True)
    return {int(v): int(k) for v, k in zip(found, n, strict=True)}


def _colors_of(
    path: Path, stored: Stored, counts: dict[int, int]
) -> tuple[dict[int, int], dict[int, int]]:
    """Colour -> pixels of a file with values, and index -> colour where it has a palette."""
    if stored.pixels.dtype == bool:
        return {grey(255 * v): n for v, n in counts.items()}, {}
    if stored.pixels.dtype != np.uint8:
        return {}, {}
    if stored.colors is None:
        return {grey(v): n for v, n in counts.items()}, {}
    codes = palette_codes(stored.colors)
    if max(counts) >= len(codes):
        raise DataError(
            f"{path}: index {max(counts)} in a palette of {len(codes)} colours; save it again"
        )
    by_index = {v: int(codes[v]) for v in counts}
    colors: Counter[int] = Counter()
    for value, n in counts.items():
        colors[by_index[value]] += n
    return dict(colors), by_index


def _counted(codes: np.ndarray) -> dict[int, int]:
    """Colour -> pixels, the most frequent ones."""
    found, n = np.unique(codes, return_counts=True)
    if len(found) > MOST_COLORS:
        most = np.argsort(-n, kind="stable")[:MOST_COLORS]
        found, n = found[most], n[most]
    return {int(c): int(k) for c, k in zip(found, n, strict=True)}


def _marked(values: np.ndarray, counts: dict[int, int]) -> tuple[float, float]:
    """Share of all pixels, and of those on the border, above half of the largest value."""
    largest = max(counts)
    if largest <= 0:
        return 0.0, 0.0
    on = values if values.dtype == bool else values > largest // 2
    border = np.concatenate([on[0], on[-1], on[1:-1, 0], on[1:-1, -1]])
    return float(on.mean()), float(border.mean())
