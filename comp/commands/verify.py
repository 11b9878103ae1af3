"""`comp verify`: open every file once, check every pair and table, look for leaks, report all at once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from comp.config import Competition, data_root
from comp.data.checks.findings import (
    Findings,
    find_cut_groups,
    find_ground_on_both_sides,
    find_leaks,
    find_shift,
    find_split_groups,
)
from comp.data.checks.findings_json import as_json
from comp.data.checks.scan import LARGE, Seen, broken_alone, scan
from comp.data.checks.tables import check_tables
from comp.data.checks.warned import warn
from comp.data.folds.check import check_competition
from comp.data.folds.groups import declared_groups
from comp.data.folds.split import check_whole
from comp.data.folds.table import FoldTable, read_folds
from comp.data.images.read import read_image
from comp.data.intake.images import told_dark
from comp.data.leaks import meta_columns
from comp.data.leaks.near import turn_image
from comp.data.sources.labels import read_labels
from comp.data.sources.record import say_left_out
from comp.data.sources.records import Record, Records, look_for_records
from comp.errors import CompError, ConfigError, DataError, FoldsError, some
from comp.files import Workspace, write_json
from comp.plots.contact_sheet import Tile, plot_contact_sheet
from comp.plots.verify_tables import MAX_LISTED, render_findings

N_TRAIN, N_TEST, N_PAIRS = 24, 8, 8  # pictures on the contact sheet
MAX_BROKEN = 50  # unreadable files that are listed


def run(workspace: Workspace, competition: Competition) -> Findings:
    """Print what the data hold, write `verify.json` and a contact sheet; the data are only read.

    Raises:
        ConfigError: names in the competition file that no table holds.
        DataError: every fault of the data, files that cannot be read first; all are in `verify.json`.
    """
    if wrong := check_competition(competition):
        raise ConfigError(wrong)
    root = data_root(workspace, competition)
    records, problems = look_for_records(competition, root)
    print(f"competition {competition.name!r}, task {competition.task}, data in {root}")
    found = look(workspace, competition, root, records, problems)
    print(render_findings(found, competition))
    if records.left_out:
        names = ", ".join(str(path.relative_to(root)) for path in records.left_out[:5])
        more = f" (and {len(records.left_out) - 5} more)" if len(records.left_out) > 5 else ""
        train = competition.data.train
        told = say_left_out(
            len(records.left_out),
            patterns=any(p.images is not None for p in train) or competition.data.test is not None,
            manifest=any(p.manifest is not None for p in train),
            unmasked=any(p.absent == "leave_out" for p in train),
        )
        print(f"\nnot used, {told}: {names}{more}")
    write_json(workspace.verify_json, as_json(found, competition))
    sheet = draw_sheet(workspace.verify_json.with_suffix(".png"), competition, found)
    also = "" if sheet is None else f", contact sheet {workspace.relative(sheet)}"
    print(f"\nall of it: {workspace.relative(workspace.verify_json)}{also}")
    if found.train.broken:
        print("training images that cannot be mended: data.exclude leaves them out by their ids")
    if found.problems:
        raise DataError(list_problems(found, workspace.relative(workspace.verify_json)))
    n = len(found.warnings)
    print("no problems" + (f", {n} warning{'s' * (n > 1)}: see above" if n else ""))
    return found


def list_problems(found: Findings, path: str) -> str:
    """The problems, unreadable files first: up to 50 of those, and 20 in all at least."""
    n, n_broken = len(found.problems), len(found.train.broken) + len(found.test.broken)
    shown = max(MAX_LISTED, min(n_broken, MAX_BROKEN))
    lines = [line.replace("\n", "\n  ") for line in found.problems[:shown]]
    lines += [f"and {n - shown} more: see {path}"] if n > shown else []
    return f"{n} problem{'s' * (n > 1)} in the data:\n  " + "\n  ".join(lines)


def look(
    workspace: Workspace,
    competition: Competition,
    root: Path,
    records: Records,
    problems: list[str],
) -> Findings:
    """Open every file and hear every check; nothing that is wrong stops the others.

    Args:
        problems: those of finding the files; they stand after the files that cannot be read.
    """
    train = scan(records.train, competition, progress_of("train"))
    test = scan(records.test, competition, progress_of("test"))
    train.broken += broken_alone(records, competition)
    broken = [*train.broken, *test.broken]
    others = [line for line in (*train.problems, *test.problems) if line not in set(broken)]
    problems = [*broken, *problems, *others]
    sizes = {seen.record.image_id: seen.size for seen in train.seen if seen.size is not None}
    told, warnings = check_tables(competition, root, records, sizes)
    problems += told
    if emptied := train.emptied:
        files = some(record.masks[0].relative_to(root) for record in emptied)
        warnings.append(
            f"{len(emptied)} masks mark something, but all of it lies below data.mask_threshold"
            f" ({competition.data.mask_threshold}), so that they are empty: {files}"
        )
    warnings += say_range(records, competition)
    try:
        columns = meta_columns(competition, root, [r.image_id for r in records.train])
    except CompError:
        columns = {}  # said by check_tables
    leaks = find_leaks(records, train, test, columns, competition.folds.n_splits)
    found = Findings(
        records, train, test, leaks, find_shift(leaks, train, test), problems, warnings
    )
    table = read_table_if_there(workspace, competition, root, records, found)
    if table is not None:
        found.cut = find_cut_groups(leaks, table)
        found.both_sides = find_ground_on_both_sides(leaks, table)
    else:
        found.cut = find_split_groups(leaks, competition, records, root)
    warn(found, competition, table, workspace.relative(workspace.folds_csv))
    return found


def say_range(records: Records, competition: Competition) -> list[str]:
    """What to say of images whose numbers fill little of their type's range, where data.scale is not set."""
    if competition.data.scale != "dtype":
        return []
    return told_dark([*records.train, *records.test])


def read_table_if_there(
    workspace: Workspace, competition: Competition, root: Path, records: Records, found: Findings
) -> FoldTable | None:
    """The folds file; one that does not fit the images, or cuts a group of `folds.group`, is a problem."""
    if not workspace.folds_csv.is_file():
        return None
    try:
        table = read_folds(workspace, records)
    except FoldsError as error:
        found.problems.append(str(error))
        return None
    with contextlib.suppress(
        DataError, FoldsError
    ):  # a group that cannot be read: said by check_tables
        groups = declared_groups(competition, root, table.ids)
        if groups is not None:
            try:
                check_whole(groups, table, workspace.relative(workspace.folds_csv))
            except FoldsError as error:  # what `comp cv` would refuse
                found.problems.append(str(error))
    return table


def progress_of(what: str) -> Callable[[int, int], None] | None:
    """A line that counts on a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        if done == total or done % 20 == 0:
            end = "\r\x1b[K" if done == total else ""
            print(f"\rreading {what} images: {done} of {total}{end}", end="", file=sys.stderr)

    return show


def draw_sheet(path: Path, competition: Competition, found: Findings) -> Path | None:
    """Draw training images from the emptiest to the fullest, test images, and pairs that belong together."""
    both = [*found.train.seen, *found.test.seen]
    shown = [seen for seen in found.train.seen if seen.size is not None]
    shown.sort(key=lambda seen: (_coverage(seen), seen.record.image_id))
    near = [
        _pair(competition, both[p.i], both[p.j], "", p.turn) for p in found.leaks.near[:N_PAIRS]
    ]
    links = found.leaks.seams.links
    seams = [
        _pair(competition, both[links[k].i], both[links[k].j], links[k].side)
        for k in _spread(len(links), N_PAIRS)
    ]
    laps = found.leaks.overlaps.links
    overlaps = [
        _pair(competition, both[laps[k].i], both[laps[k].j], "", 0)
        for k in _spread(len(laps), N_PAIRS)
    ]
    test = [seen for seen in found.test.seen if seen.size is not None]
    sections = [
        ("training images, from the least to the most foreground",
         [_tile(competition, shown[k]) for k in _spread(len(shown), N_TRAIN)]),
        ("test images", [_tile(competition, test[k]) for k in _spread(len(test), N_TEST)]),
        ("near duplicates, side by side", near),
        ("seams: crops of one picture, put together", seams),
        ("overlaps: crops that share a part, side by side", overlaps),
    ]  # fmt: skip
    whole = [(heading, [tile for tile in tiles if tile is not None]) for heading, tiles in sections]
    return plot_contact_sheet(whole, path, task=competition.task, classes=competition.classes)


def _coverage(seen: Seen) -> float:
    """Share of the valid pixels that is of any class but the first (binary, multilabel: of any)."""
    if seen.counts is None:
        return 0.0
    counts, valid = seen.counts
    return sum(counts[1:] if len(counts) > 1 else counts) / max(1, valid[0])


def _spread(n: int, wanted: int) -> Sequence[int]:
    """At most `wanted` places of n at even distances, both ends among them."""
    return sorted({round(k) for k in np.linspace(0, n - 1, min(n, wanted))}) if n else []


def _tile(competition: Competition, seen: Seen) -> Tile | None:
    image = _pixels(competition, seen)
    return None if image is None else Tile(seen.record.image_id, image, _labels(competition, seen))


def _labels(competition: Competition, seen: Seen) -> np.ndarray | None:
    if not seen.record.labelled or seen.counts is None:
        return None
    try:
        return read_labels(seen.record, competition, seen.size)
    except CompError:
        return None


def _pixels(competition: Competition, seen: Seen) -> np.ndarray | None:
    """The image again; None where it is too large to open for a small picture, or gone since."""
    if seen.size is None or seen.size[0] * seen.size[1] > LARGE:
        return None
    try:
        return read_image(seen.record.image, competition.data)
    except CompError:
        return None


def _pair(competition: Competition, a: Seen, b: Seen, side: str, turn: int = 0) -> Tile | None:
    """Two images as one: as crops are put together, or side by side with the second turned back."""
    first, second = _pixels(competition, a), _pixels(competition, b)
    if first is None or second is None:
        return None
    title = f"{_short(a.record)} | {_short(b.record)}"
    if side:
        return Tile(title, np.concatenate([first, second], axis=0 if side == "below" else 1))
    second = turn_image(second, turn)
    height, width = (min(first.shape[k], second.shape[k]) for k in (0, 1))
    both = [first[:height, :width], second[:height, :width]]
    return Tile(title, np.concatenate(both, axis=0 if width > height else 1))


def _short(record: Record) -> str:
    name = record.image_id
    return name if len(name) <= 12 else f"{name[:5]}..{name[-5:]}"
