"""One look at a folder of data: what it holds and how it should be read, for `comp init`.

Returns plain facts and the values of a competition.yaml; it prints and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comp.config.competition import MAX_PIXELS
from comp.data.images.palette import spelled
from comp.data.intake.codes import look_at_codes
from comp.data.intake.folds import choose_folds
from comp.data.intake.gather import BY_TABLE, MANIFEST, gather
from comp.data.intake.images import look_at_images, look_at_limit
from comp.data.intake.lists import row_of
from comp.data.intake.masks import MaskFacts, MaskRule, choose_rule, look_at_masks
from comp.data.intake.names import read_names, rule_with_names
from comp.data.intake.sample import look_at_sample
from comp.data.intake.seen import Understood, draft_competition
from comp.data.intake.tables import class_table, meta_table, prefix_table
from comp.data.intake.truth import first_draft, keep_class_names, look_at_truth
from comp.data.intake.unused import unused_folders
from comp.data.layouts.detect import Asked, Found, Tree, affixes, detect, pattern, stripped, walk
from comp.data.layouts.pairing import masks_of_test
from comp.data.layouts.tree import join
from comp.data.sources.paired import no_background
from comp.data.sources.record import NO_OBJECTS, Records, say_left_out
from comp.data.sources.tables import Table, heads_of, is_sample, read_tables
from comp.errors import DataError, some

__all__ = ["MANIFEST", "inspect"]


def inspect(root: Path, asked: Asked | None = None, absent: str | None = None) -> Understood:
    """Look at a folder of data.

    Args:
        asked: what the user decided: layout, folders.
        absent: what an image without a mask, or without a row in the only truth, means: "empty" or
            "leave_out"; None: that is asked for where there are such images.

    Raises:
        DataError: no known layout, or more than one reading; the message says how to decide.
    """
    seen = Understood(root)
    tree = walk(root)
    found = detect(tree, asked or Asked())
    tables = read_tables(root, seen.problems)
    sample = _sample(tables)
    by_table = found.layout in BY_TABLE
    test = found.test_pattern or _test_pattern(tree, found, sample)
    data: dict[str, Any] = {"train": [p.model_dump(exclude_defaults=True) for p in found.train]}
    if test is not None:
        data["test"] = test
    data |= found.data or {}
    place = found.place and f" in {found.place}" + "/" * (root / found.place).is_dir()
    seen.lines.append(f"layout {found.layout}{place}")
    seen.lines += found.notes
    seen.problems += found.problems
    records = gather(seen, tree, found, data, absent)
    _say_pairs(seen, tree, found, records, data)
    if not records.train:
        raise DataError(f"{root}: no image has its mask:\n" + "\n".join(seen.problems))
    data |= look_at_limit(seen, records)
    data |= look_at_images(seen, records, "bands" in data)
    if by_table:
        look_at_truth(seen, found, records, first_draft(found, data), tables)
    else:
        limit = data.get("max_pixels", MAX_PIXELS)
        facts = look_at_masks([record for record in records.train if record.masks], limit)
        table = class_table(tables)
        names = read_names(tree, found.place) if table is None else None
        if names is None:
            rule = choose_rule(facts, table, found.layout)
        else:
            rule = rule_with_names(facts, names, found.layout)
        _say_masks(seen, facts, rule)
        seen.values = _values(rule, data)
    ids = [record.image_id for record in records.train]
    if not by_table:
        look_at_codes(seen, tables, records)
    look_at_sample(seen, sample, tables, records)
    if by_table:
        keep_class_names(seen)
    meta = meta_table(tables, ids)
    if meta is None:
        _say_prefix_table(seen, tables, ids)
    choose_folds(seen, records.train, tables, meta)
    if any(record.truth == NO_OBJECTS for record in records.train) and (
        told := no_background(draft_competition(seen.values))
    ):
        seen.problems.append(told)
    seen.rows = seen.rows or tuple(row_of(r, root) for r in (*records.train, *records.test))
    return seen


def _say_prefix_table(seen: Understood, tables: Sequence[Table], ids: Sequence[str]) -> None:
    """Propose a table whose rows speak of several images each, under what their ids begin with."""
    found = prefix_table(tables, ids)
    if found is None:
        return
    table, column = found
    others = some(c for c in table.frame.columns if c != column)
    seen.lines.append(
        f"not used: {table.name}: its {column!r} is the beginning of the ids; to fold by one of {others}:"
        f" data.meta: {table.name}, meta_id_column: {column}, meta_ids: prefix, and folds.group"
    )
    keys = {"meta": table.name, "meta_id_column": column, "meta_ids": "prefix"}
    seen.proposed |= {f"data.{key}": value for key, value in keys.items()}
    seen.why["data.meta"] = f"proposed: for folds.group, one of {others}"


def _values(rule: MaskRule, data: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"task": rule.task, "classes": list(rule.classes)}
    if rule.ignore_index is not None:
        values["ignore_index"] = rule.ignore_index
    values["data"] = data | rule.data
    return values


def _sample(tables: Sequence[Table]) -> Table | None:
    samples = [table for table in tables if is_sample(table.name)]
    if len(samples) > 1:
        raise DataError(
            f"{some(t.name for t in samples)} all look like the sample submission; keep one there"
        )
    return samples[0] if samples else None


def _test_pattern(tree: Tree, found: Found, sample: Table | None) -> str | None:
    """The pattern of the test images: the one whose ids the sample submission spells."""
    if found.test is None:
        return None
    names = tree.images[found.test]
    choices = affixes(names)
    if sample is not None:
        cells = {cell for column in sample.frame for cell in sample.frame[column]}
        cells |= heads_of(cells)
        choices.sort(key=lambda affix: -len(stripped(names, affix) & cells))  # stable: plain first
        if len(cells.intersection(names)) > len(stripped(names, choices[0]) & cells):
            return join(found.test, "{id}")  # the sample spells whole file names
    return pattern(found.test, choices[0], names)


def _say_pairs(
    seen: Understood, tree: Tree, found: Found, records: Records, data: dict[str, Any]
) -> None:
    test = data.get("test")
    n_of = Counter(record.split for record in records.train)
    for split in ("train", "val"):
        part = "validation " if split == "val" else ""
        said = [pairs for pairs in found.train if pairs.split == split and not seen.needs_manifest]
        if said:
            truth = said[0].masks or said[0].coco or "the table's codes"
            seen.lines.append(f"{n_of[split]} {part}pairs: {said[0].images} with {truth}")
        elif n_of[split]:
            seen.lines.append(f"{n_of[split]} {part}pairs, listed in {MANIFEST}")
    if test is not None or records.test:
        seen.lines.append(f"{len(records.test)} test images: {test or MANIFEST}")
    else:
        seen.lines.append("no test images")
    taken = {path for r in (*records.train, *records.test) for path in r.files}
    seen.lines += [
        f"{folder}/: {len(names)} masks of test images, not used"
        for folder, names in sorted(tree.images.items())
        if masks_of_test(folder) and tree.root / folder / names[0] not in taken
    ]
    lines, rivals = unused_folders(tree, records)
    seen.lines += lines
    seen.problems += rivals
    if records.left_out:
        told = say_left_out(
            len(records.left_out),
            patterns=test is not None or any("images" in p for p in data["train"]),
            manifest=seen.needs_manifest,
            unmasked=any(p.get("absent") == "leave_out" for p in data["train"]),
        )
        seen.lines.append(
            f"left out: {told}: " + some(path.relative_to(seen.root) for path in records.left_out)
        )


def _say_dropped(facts: MaskFacts, rule: MaskRule) -> str:
    """How much of the masks the ignored value takes away."""
    value, total = rule.ignore_index, sum(facts.pixels.values()) + facts.bits
    if value is None or not facts.pixels[value]:
        return ""
    share = f"{100 * facts.pixels[value] / total:.3g} % of the pixels"
    return f" ({share}, in {facts.files[value]} masks: neither trained nor scored)"


def _say_masks(seen: Understood, facts: MaskFacts, rule: MaskRule) -> None:
    total = sum(facts.pixels.values()) + facts.bits
    shares = [f"{v}: {facts.pixels[v] / total:.4f} ({facts.files[v]} masks)" for v in facts.values]
    if facts.bits:
        shares.append(f"set bit: {facts.bits / total:.4f}")
    if shares:
        seen.lines.append(f"mask values, share of pixels: {some(shares, 8)}")
    if facts.colored:
        total = sum(facts.colors.values())
        most = [
            f"{spelled(c)}: {n / total:.4f} ({facts.color_files[c]} masks)"
            for c, n in facts.colors.most_common()
        ]
        seen.lines.append(f"mask colours, share of pixels: {some(most, 8)}")
    seen.problems += facts.faults
    seen.lines.append(f"task {rule.task}, from {rule.source}: {some(rule.classes, 8)}")
    if rule.ignore_index is not None:
        seen.lines.append(f"ignored mask value: {rule.ignore_index}{_say_dropped(facts, rule)}")
    seen.lines += [rule.told, *rule.notes]
    seen.problems += rule.problems
    if rule.notes:
        seen.why["task"] = rule.notes[0]
