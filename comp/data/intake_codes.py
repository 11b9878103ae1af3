"""Tables of run-length codes and the sample submission: found, compared with the masks, written down.

Where masks and a table disagree the masks are the truth and the disagreement is a problem said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comp.config import Competition
from comp.data.decode import read_size
from comp.data.intake import Records
from comp.data.intake_seen import Understood, draft_competition
from comp.data.intake_tables import Shape, Table, code_shape, is_sample
from comp.data.rle_check import Convention, disagreements, find_convention
from comp.errors import ConfigError, DataError, some
from comp.formats.reading import RleTable, gather
from comp.formats.rle_table import layout_of


def _rle_values(shape: Shape, convention: Convention | None) -> dict[str, Any]:
    """The keys that `Rle` and `Submission` share."""
    values: dict[str, Any] = {"id_column": shape.id_column, "rle_column": shape.rle_column}
    if shape.class_column is not None:
        values["class_column"] = shape.class_column
    if shape.class_in_id:
        values["class_in_id"] = True
    values["row"] = shape.row
    values["order"] = convention.order if convention else "column"
    values["base"] = convention.base if convention else 1
    values["empty"] = shape.empty
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
        shape = None if is_sample(table.name) else code_shape(table.frame, ids)
        if shape is None or not ids & set(shape.ids):
            continue
        try:
            names = class_spelling(shape.class_cells, seen.values["classes"])
            rle = {"file": table.name, **_rle_values(shape, None)}
            draft = {**seen.values, "data": {**seen.values["data"], "train_rle": rle}}
            competition = draft_competition(draft)
            assert competition.data.train_rle is not None
            faults: list[str] = []
            spelled = names or tuple(str(k) for k in range(competition.n_classes))
            layout = layout_of(competition.data.train_rle, names)
            codes = gather(table.frame, table.name, layout, spelled, faults, table.frame.columns)
        except ConfigError as error:
            seen.problems.append(f"{table.name}: not used: {error}")
            continue
        seen.problems += faults
        _compare(seen, table.name, shape, codes, competition, records)
        return


def _compare(
    seen: Understood,
    name: str,
    shape: Shape,
    codes: RleTable,
    competition: Competition,
    records: Records,
) -> None:
    """Settle order and base, list the images whose rows and mask differ."""
    listed = set(codes.ids)
    in_table = [record for record in records.train if record.image_id in listed]
    first = sorted(in_table, key=lambda record: _is_square(record.image))
    convention = find_convention(codes, first, competition)
    seen.lines.append(f"{name}: run-length codes, {shape.told}")
    if convention is None or not convention.agree[convention.order, convention.base]:
        told = convention.told if convention else "no image tells the conventions apart"
        seen.problems.append(f"{name}: not used: agrees with the masks in no convention ({told})")
        return
    seen.lines.append(f"{name}: {convention.told}")
    rle = _rle_values(shape, convention)
    seen.values["data"]["train_rle"] = {"file": name, **rle}
    seen.why["data.train_rle"] = f"{convention.told}"
    asked = codes.submission.model_copy(update={"order": convention.order, "base": convention.base})
    table = RleTable(codes.source, asked, codes.names, codes.ids, codes.cells)
    differ = disagreements(table, in_table, competition)
    seen.lines.append(f"{name}: {len(in_table) - len(differ)} of {len(in_table)} masks agree")
    if differ:
        seen.problems.append(
            f"{name}: {len(differ)} images differ from their masks: {some(differ)}"
        )
    known = {record.image_id for record in records.train}
    for told, alone in (
        ("ids without an image", [i for i in codes.ids if i not in known]),
        ("images without a row", sorted(known - listed)),
    ):
        if alone:
            seen.problems.append(f"{name}: {len(alone)} {told}: {some(alone)}")


def _is_square(path: Path) -> bool:
    """True also where the header cannot be read."""
    try:
        height, width = read_size(path)
    except DataError:
        return True
    return height == width


def look_at_sample(
    seen: Understood, sample: Table | None, tables: Sequence[Table], records: Records
) -> None:
    """Settle the submission: ids and row unit from the sample, the rest from the training table."""
    ids = {record.image_id for record in records.test}
    codes: dict[str, Any] = seen.values["data"].get("train_rle", {})
    if sample is None:
        if codes:
            seen.values["submission"] = {k: v for k, v in codes.items() if k != "file"}
        return
    shape = code_shape(sample.frame, ids)
    if shape is None:
        seen.problems.append(
            f"{sample.name}: no column holds ids of the test images together with one of codes"
            f" (columns {some(sample.frame.columns)}; test ids such as {some(sorted(ids), 2)})"
        )
        return
    values = {"sample": sample.name, **_rle_values(shape, None)}
    if codes:
        values |= {key: codes[key] for key in ("order", "base", "empty")}
    else:
        seen.why["submission"] = "no training table to check order, base and empty against"
    try:
        names = class_spelling(shape.class_cells, seen.values["classes"])
    except ConfigError as error:
        seen.problems.append(f"{sample.name}: {error}")
        return
    if names is not None:
        values["class_names"] = list(names)
    seen.values["submission"] = values
    seen.lines.append(f"{sample.name}: {shape.told}, columns {some(sample.frame.columns)}")
    if codes and codes["row"] != shape.row:
        seen.lines.append(
            f"{codes['file']} has one row an {codes['row']}, {sample.name} one an {shape.row}:"
            f" the submission takes the sample's unit, {shape.row}"
        )
    for told, alone in (
        (f"ids of {sample.name} have no test image", sorted(set(shape.ids) - ids)),
        (f"test images are not in {sample.name}", sorted(ids - set(shape.ids))),
    ):
        if alone:
            seen.problems.append(f"{len(alone)} {told}: {some(alone)}")
    keys = [t.name for t in tables if t is not sample and _is_key(t, ids)]
    if keys:
        seen.lines.append(f"{some(keys)}: an answer key; `comp score` reads it, nothing else does")


def _is_key(table: Table, ids: set[str]) -> bool:
    shape = code_shape(table.frame, ids)
    return shape is not None and bool(ids & set(shape.ids))
