"""The numbers that stand in all mask files -> task, classes and the rule that reads them, or a refusal.

Only what one look settles is settled; two readings of the same numbers are an error that shows both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comp.config import IGNORE
from comp.data.intake import Record
from comp.data.labels import present_values, read_mask_values
from comp.errors import DataError, some

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
IGNORE_NAMES = ("ignore", "ignored", "void")
BACKGROUND_NAMES = ("background", "bg", "other", "none")


@dataclass
class MaskFacts:
    """What all masks hold together.

    Args:
        pixels: value -> pixels; the set pixels of 1-bit files are counted in `bits` instead.
        files: value -> files that hold it.
        one_with_255: files that hold both 1 and 255.
        faults: masks that cannot be read, one message each.
    """

    n_files: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    files: Counter[int] = field(default_factory=Counter)
    first: dict[int, Path] = field(default_factory=dict)
    bits: int = 0
    one_with_255: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def values(self) -> list[int]:
        return sorted(self.pixels)


@dataclass(frozen=True)
class ClassTable:
    """A list of classes beside the data.

    Args:
        names: mask value -> name, in the file's order, without the ignored one.
        ignore: the value named ignore or void, or 255.
    """

    source: str
    names: dict[int, str]
    ignore: int | None


@dataclass(frozen=True)
class MaskRule:
    """How the masks are read; the fields are those of competition.yaml."""

    task: str
    classes: tuple[str, ...]
    ignore_index: int | None = None
    mask_values: dict[int, int] | None = None
    mask_threshold: int | None = None
    notes: tuple[str, ...] = ()


def look_at_masks(records: Sequence[Record]) -> MaskFacts:
    """Read every mask once, two at a time."""
    facts = MaskFacts()
    paths = [path for record in records for path in record.masks]
    with ThreadPoolExecutor(2) as pool:
        for path, found in zip(paths, pool.map(_count, paths), strict=True):
            facts.n_files += 1
            if isinstance(found, str):
                facts.faults.append(found)
                continue
            counts, one_bit = found
            if one_bit:
                facts.bits += counts.pop(1, 0)
            facts.pixels.update(counts)
            facts.files.update(counts.keys())
            facts.one_with_255 += 1 in counts and IGNORE in counts
            for value in counts:
                facts.first.setdefault(value, path)
    return facts


def _count(path: Path) -> tuple[dict[int, int], bool] | str:
    try:
        values = read_mask_values(path)
    except DataError as error:
        return str(error)
    if values.dtype == bool:
        on = int(values.sum())
        return {v: n for v, n in ((0, values.size - on), (1, on)) if n}, True
    if values.dtype == np.uint8:
        table = np.bincount(values.ravel(), minlength=256)
        return {v: int(table[v]) for v in present_values(values)}, False
    found, n = np.unique(values, return_counts=True)
    return {int(v): int(k) for v, k in zip(found, n, strict=True)}, False


def choose_rule(facts: MaskFacts, table: ClassTable | None, layout: str) -> MaskRule:
    """Settle task, classes and rule.

    Raises:
        DataError: no mask can be read, or the numbers allow more than one reading.
    """
    if not facts.pixels and not facts.bits:
        raise DataError("no mask can be read: " + some(facts.faults, 2))
    if table is not None:
        return _by_table(facts, table)
    values = facts.values
    if layout == "voc" and all(v <= 20 or v == IGNORE for v in values):
        note = "classes 0..20 of Pascal VOC, 255 marks their borders: nothing is scored there"
        return MaskRule("multiclass", VOC_CLASSES, IGNORE, notes=(note,))
    if set(values) <= {0, 1, IGNORE, 65535}:
        return _binary(facts)
    inner = [v for v in values if v != IGNORE]
    if max(inner) < 64 and min(inner) >= 0 and 2 * len(inner) > max(inner):
        names = tuple(f"class_{k}" for k in range(max(inner) + 1))
        ignore = IGNORE if IGNORE in values else None
        told = "; 255 is taken as ignore (nothing trained or scored there)" if ignore else ""
        note = f"values are taken as class numbers 0..{max(inner)}{told}; give the classes names"
        return MaskRule("multiclass", names, ignore, notes=(note,))
    if len(values) == 2 and values[0] == 0:
        return MaskRule("binary", ("object",), mask_values={0: 0, values[1]: 1})
    if len(values) > 32 and _two_peaks(facts):
        threshold = (max(values) + 1) // 2
        note = f"soft edges ({len(values)} values up to {max(values)}): foreground from {threshold}"
        return MaskRule("binary", ("object",), mask_threshold=threshold, notes=(note,))
    raise DataError(
        f"masks hold {len(values)} values ({some(values, 12)}; {values[-1]} first in"
        f" {facts.first[values[-1]]}), which can be read in more than one way. Decide by adding"
        " classes.csv (ClassId,Name; a class named ignore is not scored) to the data; or write"
        " configs/competition.yaml by hand with data.mask_values, such as {0: 0, 128: 1, 255: 2},"
        " or data.mask_threshold for soft binary masks"
    )


def _binary(facts: MaskFacts) -> MaskRule:
    """Masks of 0 against one of 1, 255, 65535; in 0, 1 and 255 together, 255 is ignored."""
    on = [v for v in facts.values if v != 0]
    if not on and not facts.bits:
        note = "every mask is empty: nothing can be learned from them"
        return MaskRule("binary", ("object",), mask_values={0: 0, 1: 1}, notes=(note,))
    if facts.one_with_255:
        if IGNORE in on and facts.files[IGNORE] > facts.one_with_255 + facts.n_files // 2:
            raise DataError(
                f"255 stands beside 1 in {facts.one_with_255} masks and without it in"
                f" {facts.files[IGNORE] - facts.one_with_255}: ignore or foreground? Add"
                " classes.csv (ClassId,Name) to the data, or write configs/competition.yaml by hand"
            )
        note = f"255 stands beside 1 in {facts.one_with_255} masks: taken as ignore, not scored"
        rule = {0: 0, 1: 1, IGNORE: IGNORE}
        return MaskRule("binary", ("object",), IGNORE, mask_values=rule, notes=(note,))
    notes = (f"masks of different scales: each of {on} is foreground",) if len(on) > 1 else ()
    return MaskRule("binary", ("object",), mask_values={0: 0, **dict.fromkeys(on, 1)}, notes=notes)


def _by_table(facts: MaskFacts, table: ClassTable) -> MaskRule:
    """Classes as the table names them; values that it does not name are refused."""
    known = {*table.names, *([] if table.ignore is None else [table.ignore])}
    if unnamed := [v for v in facts.values if v not in known]:
        raise DataError(
            f"masks hold value {some(unnamed)} (first in {facts.first[unnamed[0]]}), which"
            f" {table.source} does not name; add it there (a class named ignore is not scored)"
        )
    names = tuple(table.names.values())
    plain = list(table.names) == list(range(len(names)))
    values = None if plain else {v: k for k, v in enumerate(table.names)}
    if values is not None and table.ignore is not None:
        values[table.ignore] = table.ignore
    if len(names) == 2 and names[0].lower() in BACKGROUND_NAMES:
        one = {v: k for k, v in enumerate(table.names)}
        return MaskRule("binary", names[1:], table.ignore, mask_values=one)
    if len(names) == 1:
        one = {0: 0, next(iter(table.names)): 1}
        return MaskRule("binary", names, table.ignore, mask_values=one)
    absent = [name for v, name in table.names.items() if v not in facts.pixels]
    notes = (f"no mask holds {some(absent)}",) if absent else ()
    return MaskRule("multiclass", names, table.ignore, mask_values=values, notes=notes)


def _two_peaks(facts: MaskFacts) -> bool:
    """True when nearly all pixels lie near 0 or near the top: a blurred or compressed binary mask."""
    top = max(facts.values)
    ends = sum(n for v, n in facts.pixels.items() if v <= top // 4 or v >= top - top // 4)
    return 128 <= top <= 255 and ends >= 0.8 * sum(facts.pixels.values())
