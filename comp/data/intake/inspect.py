"""One look at a folder of data: what it holds and how it should be read, for `comp init`.

Returns plain facts and the values of a competition.yaml; it prints and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comp.data.folds.heldout import read_heldout
from comp.data.images.palette import spelled
from comp.data.intake.codes import look_at_codes, look_at_sample
from comp.data.intake.images import look_at_images
from comp.data.intake.lists import divide_by_lists, row_of
from comp.data.intake.masks import MaskFacts, MaskRule, choose_rule, look_at_masks
from comp.data.intake.names import read_names, rule_with_names
from comp.data.intake.seen import Understood, draft_competition
from comp.data.intake.tables import class_table, group_columns, meta_table
from comp.data.intake.truth import first_draft, keep_class_names, look_at_truth
from comp.data.layouts.detect import Asked, Found, Tree, affixes, detect, pattern, stripped, walk
from comp.data.layouts.pairing import masks_of_test
from comp.data.sources.coco import looks_like_coco
from comp.data.sources.records import Record, Records, entries, look_for_records, records_of_rows
from comp.data.sources.tables import Table, is_sample, read_tables
from comp.errors import DataError, some

MANIFEST = "configs/manifest.csv"  # in the workspace
MAX_JSON_BYTES = 16 << 20  # of a list of ids


def inspect(root: Path, asked: Asked | None = None, absent: str | None = None) -> Understood:
    """Look at a folder of data.

    Args:
        asked: what the user decided: layout, folders.
        absent: what an image without a row in the only truth means: "empty" or "leave_out".

    Raises:
        DataError: no known layout, or more than one reading; the message says how to decide.
    """
    seen = Understood(root)
    tree = walk(root)
    found = detect(tree, asked or Asked())
    tables = read_tables(root, seen.problems)
    sample = _sample(tables)
    by_table = found.layout in ("rle_table", "coco")
    test = found.test_pattern or _test_pattern(tree, found, sample)
    data: dict[str, Any] = {"train": [p.model_dump(exclude_defaults=True) for p in found.train]}
    if test is not None:
        data["test"] = test
    data |= found.data or {}
    draft = first_draft(found, data)
    place = found.place and f" in {found.place}" + "/" * (root / found.place).is_dir()
    seen.lines.append(f"layout {found.layout}{place}")
    seen.lines += found.notes
    seen.problems += found.problems
    if absent is not None and by_table:
        for pairs in data["train"]:
            pairs["absent"] = absent
    records = _records(seen, tree, found, draft)
    if seen.needs_manifest:
        data["train"] = [{"manifest": MANIFEST}]
        if any(record.split == "test" for record in records.test):
            data.pop("test", None)
    _say_pairs(seen, tree, found, records, data.get("test"))
    if not records.train:
        raise DataError(f"{root}: no image has its mask:\n" + "\n".join(seen.problems))
    data |= look_at_images(seen, records, "bands" in data)
    if by_table:
        look_at_truth(seen, found, records, {**draft, "data": data}, tables)
    else:
        facts = look_at_masks(records.train)
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
    _choose_folds(seen, records.train, meta)
    seen.rows = tuple(row_of(record, root) for record in (*records.train, *records.test))
    return seen


def _records(seen: Understood, tree: Tree, found: Found, draft: dict[str, Any]) -> Records:
    """The images of the reading, divided by the lists beside them; what is wrong goes to the report."""
    rows = found.rows
    records = Records(())
    problems: list[str] = []
    if not rows:
        records, problems = look_for_records(draft_competition(draft), tree.root)
    if found.rows == () and found.layout not in ("rle_table", "coco", "named"):
        divided = divide_by_lists(tree, found, records)
        rows = divided.rows
        seen.lines += divided.notes
        seen.lines += [
            f"{path}: COCO annotations, not used: the masks are the truth; --layout coco takes them"
            for path in tree.files(".json")
            if looks_like_coco(tree.root / path)
        ]
        seen.problems += divided.problems
    if not rows:
        seen.problems += problems
        return records
    seen.needs_manifest = True
    made = sorted(records_of_rows(list(rows), tree.root), key=lambda record: record.image_id)
    return Records(
        tuple(record for record in made if record.split != "test"),
        tuple(record for record in made if record.split == "test") or records.test,
    )


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
        cells |= {cell.rpartition("_")[0] for cell in cells}
        choices.sort(key=lambda affix: -len(stripped(names, affix) & cells))  # stable: plain first
    return pattern(found.test, choices[0], names)


def _say_pairs(
    seen: Understood, tree: Tree, found: Found, records: Records, test: str | None
) -> None:
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
    if records.left_out:
        seen.lines.append(
            f"left out, {len(records.left_out)} image files that fit no pattern: "
            + some(path.relative_to(seen.root) for path in records.left_out)
        )


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
        seen.lines.append(f"ignored mask value: {rule.ignore_index}")
    seen.lines += [rule.told, *rule.notes]
    seen.problems += rule.problems
    if rule.notes:
        seen.why["task"] = rule.notes[0]


def _choose_folds(
    seen: Understood, train: Sequence[Record], meta: tuple[Table, str] | None
) -> None:
    """Predefined parts and lists of ids before groups, groups before plain stratified folds."""
    folds: dict[str, Any] = {"scheme": "stratified", "n_splits": min(5, len(train)), "seed": 0}
    why = "tries to give every fold the same mix of coverage and empty images, or of classes"
    if meta is not None:
        table, id_column = meta
        seen.values["data"] |= {"meta": table.name, "meta_id_column": id_column}
        seen.lines.append(
            f"{table.name}: one row an image, columns {some(table.frame.columns, 12)}"
        )
        groups = group_columns(table.frame, id_column, [r.image_id for r in train])
        if groups:
            column, n = next(iter(groups.items()))
            folds |= {"scheme": "stratified_group", "n_splits": min(5, n), "group": column}
            told = ", ".join(f"{c} ({k} groups)" for c, k in groups.items())
            why = f"images of one {column} stay together; possible group columns: {told}"
    if any(record.split == "val" for record in train):
        folds = {"scheme": "predefined"}
        n = sum(record.split == "val" for record in train)
        why = (
            f"one fold: trained on the makers' training part ({len(train) - n} images), validated on"
            f" their validation part ({n})"
        )
    elif listed := _heldout(seen, train):
        folds, why = {"scheme": "heldout", "heldout": listed}, "one fold: the images listed there"
    seen.values["folds"] = folds
    seen.why["folds"] = why
    seen.lines.append(f"folds: {folds['scheme']}: {why}")


def _heldout(seen: Understood, train: Sequence[Record]) -> str | None:
    """A JSON file at the top that lists some of the training images."""
    listed = {}
    for name, is_folder in entries(seen.root):
        if is_folder or not name.lower().endswith(".json"):
            continue
        if looks_like_coco(seen.root / name):
            continue
        if (seen.root / name).stat().st_size > MAX_JSON_BYTES:
            seen.lines.append(f"{name}: too large for a list of training images, not looked at")
            continue
        try:
            ids = read_heldout(seen.root / name, train)
        except (DataError, RecursionError) as error:
            told = "nested too deep" if isinstance(error, RecursionError) else error
            seen.lines.append(f"{name}: not a list of training images ({told})")
            continue
        if 0 < len(ids) < len(train):
            listed[name] = len(ids)
            seen.lines.append(f"{name}: lists {len(ids)} training images")
    validation = [name for name in listed if "val" in name.lower() or "held" in name.lower()]
    chosen = validation or [name for name in listed if "train" not in name.lower()]
    if len(chosen) > 1:
        raise DataError(
            f"{some(chosen)} each list training images; which ones validate? Keep one of them there"
        )
    return chosen[0] if chosen else None
