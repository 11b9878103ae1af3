"""The sample submission: its ids, row unit and columns; the rest as the table of training codes has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comp.config import Submission
from comp.data.images.bands import files_of
from comp.data.intake.codes import CONVENTION_KEYS, class_spelling, rle_values
from comp.data.intake.seen import Understood, draft_competition
from comp.data.leaks.places import read_footprint
from comp.data.sources.records import Records
from comp.data.sources.spelled import spelled_with_underscores
from comp.data.sources.tables import Table, blank_shape, code_shape
from comp.errors import ConfigError, some

GUESSED = ("id_column", "rle_column", "row", "order", "base", "empty")
LOOKED_AT = 8  # test images whose place is looked for
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
    if not records.test:
        return
    if named or n_classes < 2:
        if sample is None:
            _say_no_sample(seen)
            _say_maps(seen, records)
        return
    if "sample" in submission:
        seen.problems.append(
            f"{submission['sample']}: its rows name no class, but the masks hold {n_classes} classes:"
            " one mask an image cannot hold them. Which class is submitted? Set task and mask_values"
            " so that it is the only one, or set submission.row and class_column"
        )
        return
    if sample is not None:
        return  # it is not read, which was said
    guess = {"row": "image_class", "class_column": "ClassId"}
    seen.values["submission"] = submission | guess
    _say_no_sample(seen)
    _say_maps(seen, records)


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
    joined = spelled_with_underscores(ids)
    shape = code_shape(sample.frame, ids, classes) or code_shape(sample.frame, joined, classes)
    guess = ""
    if shape is None and (
        shape := blank_shape(sample.frame, ids, classes)
        or blank_shape(sample.frame, joined, classes)
    ):
        guess = (
            f"a guess: its cells hold no codes; {shape.id_column} holds the test ids, so that the codes"
            f" are to stand in {shape.rle_column}: see submission.id_column and rle_column"
        )
    if shape is None:
        _say_unread(seen, sample, ids)
        return
    if not ids & set(shape.ids) and joined.keys() & set(shape.ids):
        seen.lines.append(
            f"{sample.name}: its ids spell / as _; they are taken for the images' ids"
        )
        ids = set(joined)
    if guess:
        seen.lines.append(f"{sample.name}: {guess}")
    if shape.doubt:
        seen.problems.append(f"{sample.name}: {shape.doubt}")
    values = {"sample": sample.name, **rle_values(shape, None)}
    if codes and not plain:
        seen.why["submission"] = PAIRS_ONLY
    elif codes:
        values |= {key: codes[key] for key in CONVENTION_KEYS if key in codes}
    else:
        told = "order, base and empty are a guess: no training table to check them against"
        seen.why["submission"] = told
        seen.lines.append(f"{sample.name}: {told}; look them up in the competition's pages")
    if guess:
        seen.why["submission.id_column"] = "a guess, by its cells alone"
        seen.why["submission.rle_column"] = "a guess: the other column"
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


def _say_no_sample(seen: Understood) -> None:
    """Without a sample everything of the submission is a guess, which is written and said."""
    codes = "train_rle" in seen.values["data"]
    written = seen.values.get("submission", {})
    defaults = Submission().model_dump(include=set(GUESSED))
    seen.values["submission"] = {
        key: defaults[key] for key in GUESSED if key not in written
    } | written
    asked = Submission.model_validate(seen.values["submission"])
    columns = [c for c in (asked.id_column, asked.class_column, asked.rle_column) if c]
    told = (
        "a guess, for no sample submission is there: a row an"
        f" {asked.row.replace('_', ' and ')}, columns {', '.join(columns)}"
        + ", as the training table has them"
        * codes
    )
    seen.lines.append(f"submission: {told}; compare it with the competition's pages")
    seen.why["submission"] = "; ".join(filter(None, (told, seen.why.get("submission"))))


def _say_maps(seen: Understood, records: Records) -> None:
    """Without a sample, test images that lie on the map may be asked for as maps."""
    firsts = (files_of(record.image)[0] for record in records.test[:LOOKED_AT])
    if any(read_footprint(path) is not None for path in firsts):
        seen.lines.append(
            "submission: the test images are GeoTIFF files with a place on the map: where masks are handed"
            " in so too, not as a CSV, set submission.format: geotiff"
        )
        seen.proposed["submission.format"] = "geotiff"


def _say_unread(seen: Understood, sample: Table, ids: set[str]) -> None:
    """Say that a sample is not read, and write its columns down as a proposal."""
    columns = [str(c) for c in sample.frame.columns]
    if ids:
        told = (
            "no column holds ids of the test images together with one of codes"
            f" (columns {some(columns)}; test ids such as {some(sorted(ids), 2)}"
            f"; its first row: {some(sample.frame.iloc[0]) if len(sample.frame) else 'none'})"
        )
    else:
        told = "its ids cannot be compared: no test images were found (data.test)"
    seen.problems.append(
        f"{sample.name}: {told}; set submission.sample, id_column and rle_column by hand"
    )
    first, last = (columns[0], columns[-1]) if columns else ("ImageId", "EncodedPixels")
    for key, value in (("sample", sample.name), ("id_column", first), ("rle_column", last)):
        seen.proposed[f"submission.{key}"] = value
    seen.why.setdefault("submission", f"{sample.name} is not followed yet: see its columns")


def _is_key(table: Table, ids: set[str]) -> bool:
    shape = code_shape(table.frame, ids)
    return shape is not None and bool(ids & set(shape.ids))
