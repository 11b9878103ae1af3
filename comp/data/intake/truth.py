"""What a table of codes or COCO JSON says where it is the only truth: task, classes, convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.data.images.decode import read_size
from comp.data.intake.codes import known_sizes, say_repeats, settle_by_strings
from comp.data.intake.seen import Understood, draft_competition
from comp.data.layouts.detect import Found
from comp.data.sources.codes import CodeRules, gather_codes
from comp.data.sources.labels import read_labels
from comp.data.sources.overlaps import outside_told
from comp.data.sources.records import Record, Records
from comp.data.sources.tables import Table, code_shape
from comp.errors import CompError, DataError, some

LOOKED_AT = 64  # images drawn to see whether classes overlap


def first_draft(found: Found, data: dict[str, Any]) -> dict[str, Any]:
    """Values of a competition that can find its records, before the truth is looked at."""
    said = found.values or {}
    if cells := said.get("class_cells"):
        classes = sorted(cells, key=lambda c: (not c.isdigit(), int(c) if c.isdigit() else 0, c))
        task = "binary" if len(classes) == 1 else "multilabel"
        values: dict[str, Any] = {"task": task, "classes": classes}
        return {**values, "data": data, "submission": {"class_names": classes}}
    if "classes" in said:
        return {"task": said["task"], "classes": list(said["classes"]), "data": data}
    return {"task": "binary", "classes": ["object"], "data": data}


def look_at_truth(
    seen: Understood,
    found: Found,
    records: Records,
    draft: dict[str, Any],
    tables: Sequence[Table],
) -> None:
    """Settle task, classes and, for a table of codes, the convention; draw some images to check.

    Raises:
        DataError: images of which the table says nothing, with the two things that this may mean; or
            codes that are no start-length pairs.
    """
    _refuse_absent(seen)
    data = draft["data"]
    if found.layout == "rle_table":
        _settle_codes(seen, draft, records, tables)
    seen.values = {key: draft[key] for key in ("task", "classes")}
    seen.values["data"] = data
    drawn, problems = _draw(records.train, draft)
    seen.problems += problems
    seen.problems += outside_told(records.train, known_sizes(records.train))
    if not drawn:
        return
    if draft["task"] == "multilabel":
        whole = sum(bool((labels.sum(axis=0) == 1).all()) for labels in drawn)
        apart = sum(bool((labels.sum(axis=0) <= 1).all()) for labels in drawn)
        if whole == len(drawn) and all(labels.any() for labels in drawn):
            seen.values["task"] = draft["task"] = "multiclass"
            why = f"every pixel of {len(drawn)} images drawn has exactly one class"
        else:
            why = f"classes overlap in {len(drawn) - apart} of {len(drawn)} images drawn"
            if apart == len(drawn):
                why += "; if they never can: task multiclass, classes [background, ...]"
        seen.why["task"] = why
        seen.lines.append(f"task {draft['task']}: {why}")
        seen.lines.append(f"classes, as they are spelled there: {some(draft['classes'], 20)}")
    else:
        seen.lines.append(f"task binary: {some(draft['classes'])}")
    empty = sum(not (labels == 1).any() for labels in drawn)
    seen.lines.append(f"drawn to check: {len(drawn)} images, {empty} of them empty")


def _refuse_absent(seen: Understood) -> None:
    for problem in seen.problems:
        if " says nothing of " in problem:
            head = problem.partition("; data.train absent")[0]
            raise DataError(
                f"{head}. Is nothing to be seen on them, or are they not labelled? Decide with"
                " `comp init --absent empty` or `comp init --absent leave_out`"
            )


def _settle_codes(
    seen: Understood, draft: dict[str, Any], records: Records, tables: Sequence[Table]
) -> None:
    """The convention of the codes, from the strings and the sizes of the images."""
    data = draft["data"]
    name = data["train_rle"]["file"]
    table = next(table for table in tables if table.name == name)
    ids = {record.image_id for record in records.train}
    shape = code_shape(table.frame, ids)
    assert shape is not None
    rules = CodeRules.of(draft_competition(draft))
    codes = gather_codes(table.frame, name, rules, seen.problems, ids)
    seen.problems += say_repeats(codes, tables)
    keys = settle_by_strings(seen, name, shape, codes, known_sizes(records.train))
    data["train_rle"] = {"file": name, **keys}


def _draw(train: Sequence[Record], draft: dict[str, Any]) -> tuple[list[np.ndarray], list[str]]:
    """Labels of some images, spread over the set, and what is wrong with others."""
    competition = draft_competition(draft)
    drawn, problems = [], []
    for record in train[:: max(1, len(train) // LOOKED_AT)][:LOOKED_AT]:
        try:
            drawn.append(read_labels(record, competition, read_size(record.image)))
        except CompError as error:
            problems.append(str(error))
    return drawn, problems


def keep_class_names(seen: Understood) -> None:
    """How the table spells its classes, so that they may be renamed in the competition file."""
    rle = seen.values["data"].get("train_rle")
    if rle is None:
        return
    in_code = rle.get("code") == "coco_zlib" and len(seen.values["classes"]) > 1
    if in_code or "class_column" in rle or "class_in_id" in rle:
        submission = seen.values.setdefault("submission", {})
        submission.setdefault("class_names", list(seen.values["classes"]))
