"""Meta table, held-out list, run-length table and sample against the files found; every fault a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from comp.config import Competition
from comp.data.folds.heldout import read_heldout
from comp.data.folds.listed import read_listed
from comp.data.leaks.guesses import AUTO, BY_FOLDERS, BY_NAMES
from comp.data.sources.codes import CodeRules, gather_codes
from comp.data.sources.meta_ids import rows_of, say_prefix
from comp.data.sources.overlaps import outside_told, overlaps_told
from comp.data.sources.records import Records
from comp.data.sources.repeats import repeats_told
from comp.data.sources.rle_check import check_table, open_by_strings, wrong_by_strings
from comp.data.sources.sample import other_sample, sample_ids
from comp.errors import CompError, some
from comp.formats.reading import gather
from comp.formats.rle_table import class_names
from comp.formats.table import read_table


def check_tables(
    competition: Competition,
    root: Path,
    records: Records,
    sizes: Mapping[str, tuple[int, int]],
) -> tuple[list[str], list[str]]:
    """Compare every table that the competition names with the images.

    Args:
        sizes: training image_id -> (height, width), of those that can be read.

    Returns:
        problems and warnings, one line each; nothing is raised.
    """
    problems: list[str] = []
    warnings: list[str] = []
    for check in (_check_meta, _check_heldout, _check_sample, _check_other_sample):
        try:
            problems += check(competition, root, records)
        except CompError as error:
            problems.append(str(error))
    try:
        told = _check_codes(competition, root, records, sizes)
        problems += told[0]
        warnings += told[1]
        warnings += overlaps_told(records.train, competition, sizes)
        warnings += outside_told(records.train, sizes)
    except CompError as error:
        problems.append(str(error))
    return problems, warnings


def _check_meta(competition: Competition, root: Path, records: Records) -> list[str]:
    data, folds = competition.data, competition.folds
    if data.meta is None:
        return []
    frame = read_table(root / data.meta)
    group = None if folds.group in (AUTO, BY_NAMES, BY_FOLDERS) else folds.group
    asked = (group, folds.stratify, folds.time)
    wanted = [data.meta_id_column, *(column for column in asked if column is not None)]
    if absent := [column for column in wanted if column not in frame.columns]:
        return [f"{data.meta}: no column {some(absent)}; it has {some(frame.columns, 12)}"]
    ids = list(frame[data.meta_id_column])
    problems = []
    if twice := sorted(i for i, n in Counter(ids).items() if n > 1):
        problems.append(f"{data.meta}: {len(twice)} ids stand there twice: {some(twice)}")
    known = {r.image_id for r in records.train}
    rows = rows_of(known, ids, data.meta_ids)
    for told in _compare(data.meta, rows, known, "train", extra=False):
        gone = sorted(known.difference(rows))
        problems.append(told + ("" if rows else say_prefix(gone, ids, data.meta)))
    return problems


def _check_heldout(competition: Competition, root: Path, records: Records) -> list[str]:
    if competition.folds.heldout is not None:
        read_heldout(root / competition.folds.heldout, records.train)
    if competition.folds.listed is not None:
        read_listed(root / competition.folds.listed, records.train)
    return []


def _check_codes(
    competition: Competition,
    root: Path,
    records: Records,
    sizes: Mapping[str, tuple[int, int]],
) -> tuple[list[str], list[str]]:
    """The run-length table against the masks; where it is the truth itself, against what its codes tell."""
    rle = competition.data.train_rle
    if rle is None:
        return [], []
    truth = any(pairs.rle for pairs in competition.data.train)
    if truth and not records.train:
        return [], []  # finding the records said why
    problems: list[str] = []
    known = {record.image_id for record in records.train}
    frame = read_table(root / rle.file)
    table = gather_codes(frame, rle.file, CodeRules.of(competition), problems, known)
    if problems:
        return problems, []
    sample = competition.submission.sample
    there = sample is not None and (root / sample).is_file()
    repeated = repeats_told(table, read_table(root / sample) if sample and there else None)
    if truth:
        said = wrong_by_strings(table, sizes), open_by_strings(table, sizes)
        return [], [*(told for told in said if told), *repeated]
    problems, notes = check_table(table, records.train, competition)
    notes += repeated
    listed = [i for i in table.ids if i not in set(competition.data.excluded)]
    problems += _compare(rle.file, listed, known, "train", absent=False)
    return problems, notes


def _check_sample(competition: Competition, root: Path, records: Records) -> list[str]:
    submission = competition.submission
    if submission.sample is None:
        return []
    problems: list[str] = []
    frame = read_table(root / submission.sample)
    names = class_names(submission, competition.classes, frame)
    ids = {record.image_id for record in records.test}
    known = set(sample_ids(competition, root, ids).values())
    columns = frame.columns
    table = gather(
        frame, submission.sample, submission, names, problems, columns, known=known or None
    )
    if problems or not records.test:
        return problems
    return _compare(submission.sample, table.ids, known, "test")


def _check_other_sample(competition: Competition, root: Path, records: Records) -> list[str]:
    """A sample submission that the competition file does not follow, where it would be refused."""
    told = other_sample(competition, root) if records.test else ""
    return [told] if told else []


def _compare(
    source: str,
    ids: Collection[str],
    known: set[str],
    what: str,
    extra: bool = True,
    absent: bool = True,
) -> list[str]:
    """Ids of a table against the ids of the images.

    Args:
        extra: ids without an image are a fault; absent: so are images without a row.
    """
    problems = []
    if absent and (gone := sorted(known.difference(ids))):
        problems.append(f"{source}: {len(gone)} {what} images are not there: {some(gone)}")
    if extra and (alone := [i for i in dict.fromkeys(ids) if i not in known]):
        problems.append(f"{source}: {len(alone)} ids have no {what} image: {some(alone)}")
    return problems
