"""Tables of run-length codes: found, compared with the masks, written down.

Where masks and a table disagree the masks are the truth and the disagreement is a problem said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from comp.config import Competition
from comp.data.images.decode import read_size
from comp.data.intake.seen import Understood, draft_competition
from comp.data.sources.codes import CodeRules, gather_codes
from comp.data.sources.records import Record, Records
from comp.data.sources.repeats import repeats_told
from comp.data.sources.rle_check import (
    absent_rows,
    disagreements,
    find_convention,
    keys_of,
    strings_convention,
)
from comp.data.sources.tables import Shape, Table, code_shape, heads_of, is_sample
from comp.errors import ConfigError, DataError, some
from comp.formats.reading import RleTable
from comp.masks.convention import Convention, size_order

Sizes = Mapping[str, tuple[int, int]]
HEIGHT_NAMES = re.compile(r"(img|image|mask)?(h|height|rows)(px|pixels)?")
WIDTH_NAMES = re.compile(r"(img|image|mask)?(w|width|cols|columns)(px|pixels)?")
PLAIN_NUMBER = re.compile(r"[0-9]{1,9}")
CONVENTION_KEYS = ("order", "base", "relative", "empty")
PACKED_TITLES = {"coco": "COCO's text", "zlib and base64": "COCO's text in zlib and base64"}


def rle_values(shape: Shape, convention: Convention | None) -> dict[str, Any]:
    """The keys that `Rle` and `Submission` share."""
    values: dict[str, Any] = {"id_column": shape.id_column, "rle_column": shape.rle_column}
    if shape.class_column is not None:
        values["class_column"] = shape.class_column
    if shape.class_in_id:
        values["class_in_id"] = True
    values["row"] = shape.row
    if convention is None:
        values |= {"order": "column", "base": 1}
    else:
        values |= keys_of(convention.reading, packed=convention.packed)
    known = convention is not None and convention.empty is not None
    values["empty"] = convention.empty if convention is not None and known else shape.empty
    return values


def class_spelling(cells: Sequence[str], classes: Sequence[str]) -> tuple[str, ...] | None:
    """How a table spells the classes, in class order; None: as 0, 1, ...

    Raises:
        ConfigError: other words, or another number of them.
    """
    if set(cells) <= {str(k) for k in range(len(classes))}:
        return None
    if set(cells) <= set(classes):
        return tuple(classes)
    if len(cells) == len(classes) and all(cell.isdigit() for cell in cells):
        return tuple(sorted(cells, key=int))
    raise ConfigError(f"its classes {some(cells, 12)} are not the masks' {some(classes, 12)}")


def look_at_codes(seen: Understood, tables: Sequence[Table], records: Records) -> None:
    """Find the table of training codes and compare it with the masks, which are the truth."""
    ids = {record.image_id for record in records.train}
    for table in tables:
        classes = seen.values["classes"]
        shape = None if is_sample(table.name) else code_shape(table.frame, ids, classes)
        if shape is None or not ids & set(shape.ids):
            continue
        try:
            if shape.doubt:
                raise ConfigError(shape.doubt)
            names = class_spelling(shape.class_cells, seen.values["classes"])
            rle = {"file": table.name, **rle_values(shape, None), "code": shape.code}
            draft = {**seen.values, "data": {**seen.values["data"], "train_rle": rle}}
            competition = draft_competition(draft)
            assert competition.data.train_rle is not None
            faults: list[str] = []
            rules = CodeRules(competition.data.train_rle, names, competition.classes)
            codes = gather_codes(table.frame, table.name, rules, faults, ids)
        except ConfigError as error:
            seen.problems.append(f"{table.name}: not used: {error}")
            continue
        seen.problems += faults
        seen.problems += say_repeats(codes, tables)
        sizes = known_sizes([r for r in records.train if r.image_id in set(codes.ids)])
        _say_size_columns(seen, table, shape, sizes)
        _compare(seen, shape, codes, competition, records, sizes)
        return


def say_repeats(codes: RleTable, tables: Sequence[Table]) -> list[str]:
    """What is to be settled of ids that stand in several rows."""
    sample = next((table.frame for table in tables if is_sample(table.name)), None)
    return repeats_told(codes, sample)


def _compare(
    seen: Understood,
    shape: Shape,
    codes: RleTable,
    competition: Competition,
    records: Records,
    sizes: Sizes,
) -> None:
    """Settle the convention by the masks, list the images whose rows and mask differ."""
    name, listed = codes.source, set(codes.ids)
    in_table = [record for record in records.train if record.image_id in listed]
    square = {i for i, (height, width) in sizes.items() if height == width}
    first = sorted(in_table, key=lambda r: r.image_id in square or r.image_id not in sizes)
    convention = find_convention(codes, first, competition)
    seen.lines.append(f"{name}: run-length codes, {shape.told}")
    if convention is None or not convention.n_images or not convention.fits:
        told = "; ".join(convention.evidence) if convention else "no mask can be read"
        if convention and convention.n_images:
            told = f"{convention.told}"
        seen.problems.append(f"{name}: not used: agrees with the masks in no convention ({told})")
        return
    rle = _settle(seen, name, shape, convention)
    seen.values["data"]["train_rle"] = {"file": name, **rle}
    seen.why["data.train_rle"] = convention.told
    asked = codes.submission.model_copy(
        update={key: rle[key] for key in CONVENTION_KEYS if key in rle}
    )
    table = replace(codes, submission=asked, code=rle.get("code", "pairs"))
    differ = disagreements(table, in_table, competition)
    seen.lines.append(f"{name}: {len(in_table) - len(differ)} of {len(in_table)} masks agree")
    if differ:
        seen.problems.append(
            f"{name}: {len(differ)} images differ from their masks: {some(differ)}"
        )
    known = {record.image_id for record in records.train}
    if alone := [i for i in codes.ids if i not in known]:
        seen.problems.append(f"{name}: {len(alone)} ids without an image: {some(alone)}")
    problems, notes = absent_rows(table, records.train, competition)
    seen.problems += problems
    seen.lines += notes


def settle_by_strings(
    seen: Understood, name: str, shape: Shape, codes: RleTable, sizes: Sizes
) -> dict[str, Any]:
    """The keys of `data.train_rle` but `file`, for a table that is the only truth.

    What its codes tell is put into the report, and what they leave open into the problems, with the
    commonest value written.

    Args:
        codes: the table read with any convention.
        sizes: image_id -> (height, width) of the image files.
    """
    return _settle(seen, name, shape, strings_convention(codes, sizes))


def _settle(seen: Understood, name: str, shape: Shape, convention: Convention) -> dict[str, Any]:
    """Print what was inferred, list what is open; return the keys of the table."""
    packed = f", packed as {PACKED_TITLES[convention.packed]}" if convention.packed else ""
    said = f"{name}: {convention.told}{packed}"
    if convention.open and convention.by == "strings":
        open_words = " and ".join(convention.say(one).partition(":")[0] for one in convention.open)
        said += f" (they do not decide the {open_words}: the commonest is written)"
    seen.lines.append(said)
    rle = rle_values(shape, convention)
    seen.lines.append(f"{name}: {'; '.join(convention.evidence)}")
    if open_ := convention.open:
        for key in _keys(open_):
            seen.why[f"data.train_rle.{key}"] = "not decided by the data: look it up"
        written = ", ".join(f"{key}: {rle.get(key, False)}" for key in _keys(open_))
        told = "; ".join([*map(convention.say, open_), *convention.notes])
        seen.problems.append(
            f"{name}: its convention is not decided ({told}); written as {written}: look it up in"
            " the competition's pages and set data.train_rle and submission accordingly"
        )
    return rle


def _say_size_columns(seen: Understood, table: Table, shape: Shape, sizes: Sizes) -> None:
    """Compare a table's columns of height and width with the images: some have them exchanged."""
    columns = [_size_column(table.frame.columns, names) for names in (HEIGHT_NAMES, WIDTH_NAMES)]
    if columns[0] is None or columns[1] is None:
        return
    cells = zip(*(table.frame[name].tolist() for name in (shape.id_column, *columns)), strict=True)
    claimed = {
        i: (int(a), int(b))
        for cell, a, b in cells
        for i in ([cell] if not shape.class_in_id else [h for h in heads_of([cell]) if h in sizes])
        if PLAIN_NUMBER.fullmatch(a) and PLAIN_NUMBER.fullmatch(b)
    }
    found = size_order(claimed, sizes)
    where = f"{table.name}: columns {columns[0]}, {columns[1]}"
    right, swapped = found.votes["height_width"], found.votes["width_height"]
    told = (
        f"{right} images that are not square fit as named, {swapped} exchanged, {found.n_square}"
        " square ones fit both ways"
    )
    if found.order == "width_height":
        seen.problems.append(f"{where}: height and width are exchanged ({told})")
    elif found.order is None and right + swapped:
        seen.problems.append(f"{where}: height and width are mixed up ({told})")
    elif found.order is None and found.n_square:
        seen.lines.append(f"{where}: whether height stands first is not decided ({told})")
    elif found.order is not None:
        seen.lines.append(f"{where}: as named ({told})")
    if found.n_neither:
        seen.problems.append(f"{where}: {found.n_neither} images have another size than that")


def _size_column(columns: Iterable[str], names: re.Pattern[str]) -> str | None:
    return next((c for c in columns if names.fullmatch(re.sub(r"[^a-z]", "", c.lower()))), None)


def _keys(names: Sequence[str]) -> list[str]:
    return ["relative" if name == "kind" else name for name in names]


def known_sizes(records: Sequence[Record]) -> dict[str, tuple[int, int]]:
    """image_id -> (height, width), of the images whose header can be read."""
    sizes = {}
    for record in records:
        try:
            sizes[record.image_id] = read_size(record.image)
        except DataError:
            continue  # `comp verify` names it
    return sizes
