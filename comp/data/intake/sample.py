"""The sample submission: its ids, row unit and columns; the rest as the table of training codes has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comp.data.intake.codes import CONVENTION_KEYS, class_spelling, rle_values
from comp.data.intake.seen import Understood, draft_competition
from comp.data.sources.records import Records
from comp.data.sources.tables import Table, code_shape
from comp.errors import ConfigError, some

PAIRS_ONLY = (
    "the training table holds COCO counts; what is submitted are pairs of start and length: see that"
    " the competition takes them"
)


def look_at_sample(
    seen: Understood, sample: Table | None, tables: Sequence[Table], records: Records
) -> None:
    """Settle the submission: ids and row unit from the sample, the rest from the training table.

    Without a sample, rows of several classes are guessed: one an image and class.
    """
    _settle_sample(seen, sample, tables, records)
    submission = seen.values.get("submission", {})
    named = "class_column" in submission or submission.get("class_in_id")
    n_classes = draft_competition(seen.values).n_classes
    if named or n_classes < 2 or not records.test:
        return
    if "sample" in submission:
        seen.problems.append(
            f"{submission['sample']}: its rows name no class, but the masks hold {n_classes} classes:"
            " one mask an image cannot hold them. Which class is submitted? Set task and mask_values"
            " so that it is the only one, or set submission.row and class_column"
        )
        return
    seen.values["submission"] = submission | {"row": "image_class", "class_column": "ClassId"}
    seen.why["submission"] = (
        "a guess, for no sample submission is there: a row an image and class, columns ImageId,"
        " ClassId, EncodedPixels"
    )
    seen.lines.append(f"submission: {seen.why['submission']}")


def _settle_sample(
    seen: Understood, sample: Table | None, tables: Sequence[Table], records: Records
) -> None:
    """As the sample and the training table say; nothing is set where they do not."""
    ids = {record.image_id for record in records.test}
    codes: dict[str, Any] = seen.values["data"].get("train_rle", {})
    plain = codes.get("code", "pairs") == "pairs"
    if sample is None:
        if codes:
            kept = {k: v for k, v in codes.items() if k not in ("file", "code")}
            seen.values["submission"] = kept if plain else {**kept, "order": "column"}
            if not plain:
                seen.why["submission"] = PAIRS_ONLY
        return
    classes = [name for k, own in enumerate(seen.values["classes"]) for name in (own, str(k))]
    shape = code_shape(sample.frame, ids, classes)
    if shape is None:
        seen.problems.append(
            f"{sample.name}: no column holds ids of the test images together with one of codes"
            f" (columns {some(sample.frame.columns)}; test ids such as {some(sorted(ids), 2)})"
        )
        return
    if shape.doubt:
        seen.problems.append(f"{sample.name}: {shape.doubt}")
    values = {"sample": sample.name, **rle_values(shape, None)}
    if codes and not plain:
        seen.why["submission"] = PAIRS_ONLY
    elif codes:
        values |= {key: codes[key] for key in CONVENTION_KEYS if key in codes}
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
