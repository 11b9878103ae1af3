"""A table of run-length codes against the masks, which are the truth: do they say the same pixels?

And, where they do not, which convention would make them agree. `masks.convention` does the
detecting; here tables and labels become what it looks at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from comp.config import IGNORE, Competition, Submission
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record
from comp.errors import DataError, some
from comp.formats.reading import RleTable
from comp.masks.convention import PROPERTIES, Convention, Unit, detect
from comp.masks.evidence import Reading
from comp.masks.rle import fill

LOOKED_AT = 48  # masks of two values or more that vote on the convention
STRINGS_LOOKED_AT = 2000  # images, where strings alone speak
THREADS = min(os.cpu_count() or 1, 16)


PACKED_CODES = {"": "counts", "coco": "coco", "zlib and base64": "coco_zlib"}


def reading_of(layout: Submission, code: str = "pairs") -> Reading:
    """The reading that a table's layout declares.

    Args:
        code: how its cells spell a mask, as in `Rle.code`.
    """
    if code != "pairs":
        return Reading("counts", layout.order, 0)
    return Reading("relative" if layout.relative else "absolute", layout.order, layout.base)


def keys_of(
    reading: Reading, declared: RleTable | Submission | None = None, packed: str = ""
) -> dict[str, object]:
    """The keys of `Rle` (but for counts those of `Submission` too) that say `reading`.

    Args:
        declared: only what it says otherwise is returned.
        packed: how counts are packed, as `Convention.packed`.
    """
    layout = declared.submission if isinstance(declared, RleTable) else declared
    code = declared.code if isinstance(declared, RleTable) else "pairs"
    keys: dict[str, object] = {"order": reading.order}
    if reading.kind != "counts":
        keys["base"] = reading.base
        if reading.kind == "relative" or layout is not None:
            keys["relative"] = reading.kind == "relative"
    if layout is not None:
        keys = {key: value for key, value in keys.items() if value != getattr(layout, key)}
    wanted = PACKED_CODES[packed] if reading.kind == "counts" else "pairs"
    if wanted != (code if layout is not None else "pairs"):
        keys = {"code": wanted, **keys}
    return keys


def _plane(labels: np.ndarray, k: int, task: str) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) bool of class number `k` of a table, and where labels count."""
    if task == "multilabel":
        return labels[k] == 1, labels[k] != IGNORE
    return labels == k + (task == "binary"), labels != IGNORE


def difference(
    table: RleTable, asked: list[int], image_id: str, labels: np.ndarray, task: str
) -> str | None:
    """Compare one image's rows with its labels, away from ignored pixels; None: the same.

    Args:
        asked: the classes that the table speaks of.
    """
    height, width = labels.shape[-2:]
    problems: list[str] = []
    wrong = 0
    for k in asked:
        plane, valid = _plane(labels, k, task)
        runs = table.runs(image_id, k, height, width, problems, apart=False)
        drawn = fill(runs, height, width, table.submission.order)
        wrong += int(((drawn > 0) != plane)[valid].sum())
    if problems:
        return problems[0]
    return f"{image_id}: {wrong} of {height * width} pixels differ" if wrong else None


def units_of(
    table: RleTable, asked: list[int], image_id: str, labels: np.ndarray, task: str
) -> list[Unit]:
    """What the table and the labels of one image say of each class, for `detect`."""
    units = []
    for k in asked:
        plane, valid = _plane(labels, k, task)
        units.append(
            Unit(
                image_id,
                tuple(cell for _, cell in table.cells.get((image_id, k), ())),
                (labels.shape[-2], labels.shape[-1]),
                (plane & valid).view(np.uint8),
                None if valid.all() else ~valid,
            )
        )
    return units


def find_convention(
    table: RleTable, records: Iterable[Record], competition: Competition, limit: int = LOOKED_AT
) -> Convention | None:
    """Let masks say which convention the table follows; None: no mask can be read.

    Args:
        records: images that are not square should come first: they tell more.
        limit: masks of more than one value to look at. Others, which tell how an empty mask is spelled,
            are looked at on the way.
    """
    asked = table.asked
    units: list[Unit] = []
    n = n_plain = 0
    for record in records:
        if n >= limit or n_plain >= 4 * limit:
            break
        try:
            labels = read_labels(record, competition)
        except DataError:
            continue
        plain = bool((labels == labels.flat[0]).all())  # looks the same in every order
        n, n_plain = n + (not plain), n_plain + plain
        units += units_of(table, asked, record.image_id, labels, competition.task)
    return detect(units) if units else None


def strings_convention(
    table: RleTable, sizes: Mapping[str, tuple[int, int]], limit: int = STRINGS_LOOKED_AT
) -> Convention:
    """Let the codes alone say which convention the table follows.

    Args:
        sizes: image_id -> (height, width), of as many images as known.
        limit: images looked at, spread over the table; those that are not square come first.
    """
    oblong = [i for i in table.ids if i in sizes and sizes[i][0] != sizes[i][1]]
    others = [i for i in table.ids if i not in sizes or sizes[i][0] == sizes[i][1]]
    chosen = [*_spread(oblong, limit), *_spread(others, max(limit - len(oblong), 0))]
    asked = table.asked
    return detect(
        [
            Unit(i, tuple(cell for _, cell in table.cells[i, k]), sizes.get(i))
            for i in chosen
            for k in asked
            if (i, k) in table.cells
        ]
    )


def _spread(items: Sequence[str], limit: int) -> list[str]:
    if len(items) <= limit:
        return list(items)
    return [items[n * len(items) // limit] for n in range(limit)]


def disagreements(
    table: RleTable, records: Sequence[Record], competition: Competition
) -> list[str]:
    """Compare the rows of every record that the table lists with its mask.

    Returns:
        one line for each image that differs or whose rows or mask cannot be read.
    """
    return [line for line in _differences(table, records, competition) if line is not None]


def _differences(
    table: RleTable, records: Sequence[Record], competition: Competition
) -> list[str | None]:
    asked, listed = table.asked, set(table.ids)

    def one(record: Record) -> str | None:
        try:
            labels = read_labels(record, competition)
        except DataError as error:
            return str(error)
        return difference(table, asked, record.image_id, labels, competition.task)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, [r for r in records if r.image_id in listed]))


def wrong_convention(
    table: RleTable,
    records: Sequence[Record],
    competition: Competition,
    key: str = "data.train_rle",
) -> str | None:
    """Say which convention the table follows where it is not the declared one; None: it is, or open.

    Args:
        records: images whose rows differ from their masks.
        key: the section of competition.yaml that declares it.
    """
    listed = set(table.ids)
    found = find_convention(table, [r for r in records if r.image_id in listed], competition)
    declared = reading_of(table.submission, table.code)
    if found is None or not found.near[found.reading] or found.reading == declared:
        return None
    if (
        found.near[found.reading] < 2 * found.near[declared]
        or found.near[found.reading] * 2 < found.n_images
    ):
        return None
    n = f"{found.near[found.reading]} of {found.n_images} images looked at"
    keys = keys_of(found.reading, table, found.packed)
    same = reading_of(competition.submission) == declared and found.reading.kind != "counts"
    return (
        f"{table.source}: wrong convention: declared {declared.told}, but {n} agree as"
        f" {found.reading.told}: set "
        + ", ".join(f"{key}.{name}: {_yaml(v)}" for name, v in keys.items())
        + (" (submission declares the same as before: is it wrong too?)" if same else "")
    )


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def wrong_by_strings(table: RleTable, sizes: Mapping[str, tuple[int, int]]) -> str | None:
    """Say where the codes alone speak against the declared convention: for a table without masks.

    Args:
        sizes: image_id -> (height, width).
    """
    found, declared = strings_convention(table, sizes), reading_of(table.submission, table.code)
    against = [
        name
        for name in PROPERTIES
        if name not in found.open and getattr(found, name) != getattr(declared, name)
    ]
    if not against:
        return None
    told = "; ".join(map(found.say, against))
    keys = keys_of(found.reading, table, found.packed)
    advice = f": set data.train_rle.code: {keys['code']}" if "code" in keys else ""
    return (
        f"{table.source}: declared {declared.told}, but the codes of {found.n_images} images speak"
        f" for another convention: {told}{advice}"
    )


def open_by_strings(table: RleTable, sizes: Mapping[str, tuple[int, int]]) -> str:
    """Say what of the declared convention the codes alone do not decide; "" where they decide all."""
    found = strings_convention(table, sizes)
    if not found.open:
        return ""
    told = "; ".join(map(found.say, found.open))
    declared = reading_of(table.submission, table.code).told
    return (
        f"{table.source}: read as declared, {declared}, but its codes do not decide all of it ({told});"
        " look it up in the competition's pages"
    )


def check_table(
    table: RleTable, records: Sequence[Record], competition: Competition
) -> tuple[list[str], list[str]]:
    """Compare a table with the masks of all records: rows, convention, images without a row.

    Returns:
        problems and notes, one line each.
    """
    listed = set(table.ids)
    inside = [r for r in records if r.image_id in listed]
    problems: list[str] = []
    lines = _differences(table, inside, competition)
    differ = [line for line in lines if line is not None]
    if differ:
        problems.append(
            f"{table.source}: {len(differ)} images differ from their masks: {some(differ)}"
        )
        odd = [r for r, line in zip(inside, lines, strict=True) if line is not None]
        told = wrong_convention(table, odd, competition)
        problems += [told] if told else []
    absent, notes = absent_rows(table, records, competition)
    return problems + absent, notes


def absent_rows(
    table: RleTable, records: Sequence[Record], competition: Competition
) -> tuple[list[str], list[str]]:
    """Images without a row, which is right where their masks are empty and wrong where they are not.

    Returns:
        problems and notes, one line each.
    """
    listed = set(table.ids)
    absent = [r for r in records if r.image_id not in listed]
    asked = table.asked

    def drawn(record: Record) -> bool:
        try:
            labels = read_labels(record, competition)
        except DataError:
            return True
        blank = replace(table, cells={})
        return difference(blank, asked, record.image_id, labels, competition.task) is not None

    with ThreadPoolExecutor(THREADS) as pool:
        filled = [
            r.image_id for r, told in zip(absent, pool.map(drawn, absent), strict=True) if told
        ]
    problems, notes = [], []
    if filled:
        problems.append(
            f"{table.source}: {len(filled)} images without a row: {some(sorted(filled))}"
        )
    if n := len(absent) - len(filled):
        notes.append(f"{table.source}: {n} images without a row, their masks are empty")
    return problems, notes
