"""`comp verify`: open every file once, check every pair and table, report everything at once."""

from __future__ import annotations

from pathlib import Path

from comp.config import Competition, data_root
from comp.data.competition_check import check_competition
from comp.data.heldout import read_heldout
from comp.data.intake import Records, look_for_records
from comp.data.rle_check import disagreements
from comp.data.scan import Scan, scan
from comp.errors import CompError, ConfigError, DataError, some
from comp.files import Workspace
from comp.formats.reading import RleTable, gather
from comp.formats.rle_table import class_names, layout_of
from comp.formats.table import read_table

MAX_LISTED = 20


def run(workspace: Workspace, competition: Competition) -> None:
    """Print sizes, class shares and duplicates; the data are only read.

    Raises:
        ConfigError: names in the competition file that no table holds.
        DataError: every fault of the data, the first 20 listed.
    """
    if wrong := check_competition(competition):
        raise ConfigError(wrong)
    root = data_root(workspace, competition)
    records, problems = look_for_records(competition, root)
    train, test = scan(records.train, competition), scan(records.test, competition)
    problems += train.problems + test.problems
    problems += _check_tables(competition, root, records)
    print(f"competition {competition.name!r}, task {competition.task}, data in {root}")
    _print_sizes("train", len(records.train), train)
    _print_sizes("test", len(records.test), test)
    _print_classes(competition, train)
    _print_duplicates(train, test)
    if records.left_out:
        names = some(path.relative_to(root) for path in records.left_out)
        print(f"\nnot used, {len(records.left_out)} image files fit no pattern: {names}")
    if problems:
        listed = "\n  ".join(line.replace("\n", "\n  ") for line in problems[:MAX_LISTED])
        n = len(problems)
        more = f"\n  and {n - MAX_LISTED} more" if n > MAX_LISTED else ""
        raise DataError(f"{n} problem{'s' * (n > 1)} in the data:\n  {listed}{more}")
    print("\nno problems")


def _print_sizes(what: str, n: int, found: Scan) -> None:
    print(f"\n{n} {what} images" + (", height x width:" if found.sizes else ""))
    common = found.sizes.most_common()
    for (height, width), count in common[:MAX_LISTED]:
        print(f"  {height:>6} x {width:<6} {count:>7}")
    if len(common) > MAX_LISTED:
        print(f"  and {len(common) - MAX_LISTED} more sizes")


def _print_classes(competition: Competition, train: Scan) -> None:
    if not train.n_masks:
        return
    longest = max(len("class"), *(len(name) for name in competition.classes))
    print(f"\n{'class':<{longest}}  share of valid pixels  images with it")
    for k, name in enumerate(competition.classes):
        share = train.counts[k] / train.valid[k] if train.valid[k] else 0.0
        without = train.n_masks - train.n_with[k]
        print(
            f"{name:<{longest}}  {share:>21.4f}  {train.n_with[k]:>14}"
            + (f"  ({without} without)" if without else "")
        )


def _print_duplicates(train: Scan, test: Scan) -> None:
    """Images of exactly the same pixels; folds keep those of train together."""
    groups = [sorted(r.image_id for r in group) for group in train.duplicates()]
    both = [key for key in train.by_hash if key in test.by_hash]
    print(f"\nexact duplicates among train images: {len(groups)} groups")
    for group in groups[:MAX_LISTED]:
        print(f"  {some(group)}")
    if len(groups) > MAX_LISTED:
        print(f"  and {len(groups) - MAX_LISTED} more")
    if test.by_hash:
        pairs = (f"{train.by_hash[k][0].image_id} = {test.by_hash[k][0].image_id}" for k in both)
        told = f": {some(pairs)}" if both else ""
        print(f"train images that are test images too: {len(both)}{told}")


def _check_tables(competition: Competition, root: Path, records: Records) -> list[str]:
    """Meta, held-out list, run-length table and sample against the files found."""
    problems: list[str] = []
    for check in (_check_meta, _check_heldout, _check_codes, _check_sample):
        try:
            problems += check(competition, root, records)
        except CompError as error:
            problems.append(str(error))
    return problems


def _check_meta(competition: Competition, root: Path, records: Records) -> list[str]:
    data, folds = competition.data, competition.folds
    if data.meta is None:
        return []
    frame = read_table(root / data.meta)
    wanted = [data.meta_id_column, *(c for c in (folds.group, folds.stratify) if c is not None)]
    if absent := [column for column in wanted if column not in frame.columns]:
        return [f"{data.meta}: no column {some(absent)}; it has {some(frame.columns, 12)}"]
    ids = list(frame[data.meta_id_column])
    problems = []
    if twice := sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []:
        problems.append(f"{data.meta}: {len(twice)} ids stand there twice: {some(twice)}")
    problems += _compare(data.meta, ids, {r.image_id for r in records.train}, "train", extra=False)
    return problems


def _check_heldout(competition: Competition, root: Path, records: Records) -> list[str]:
    if competition.folds.heldout is not None:
        read_heldout(root / competition.folds.heldout, records.train)
    return []


def _check_codes(competition: Competition, root: Path, records: Records) -> list[str]:
    rle = competition.data.train_rle
    if rle is None:
        return []
    problems: list[str] = []
    frame = read_table(root / rle.file)
    layout = layout_of(rle, competition.submission.class_names)
    names = class_names(layout, competition.n_classes)
    table: RleTable = gather(frame, rle.file, layout, names, problems, frame.columns)
    if problems:
        return problems
    differ = disagreements(table, records.train, competition)
    if differ:
        problems.append(f"{rle.file}: {len(differ)} images differ from their masks: {some(differ)}")
    problems += _compare(rle.file, table.ids, {r.image_id for r in records.train}, "train")
    return problems


def _check_sample(competition: Competition, root: Path, records: Records) -> list[str]:
    submission = competition.submission
    if submission.sample is None:
        return []
    problems: list[str] = []
    frame = read_table(root / submission.sample)
    names = class_names(submission, competition.n_classes)
    table = gather(frame, submission.sample, submission, names, problems, frame.columns)
    if problems or competition.data.test is None:
        return problems
    return _compare(submission.sample, table.ids, {r.image_id for r in records.test}, "test")


def _compare(
    source: str, ids: tuple[str, ...] | list[str], known: set[str], what: str, extra: bool = True
) -> list[str]:
    """Ids of a table against the ids of the images.

    Args:
        extra: ids without an image are a fault too.
    """
    problems = []
    listed = set(ids)
    if absent := sorted(known - listed):
        problems.append(f"{source}: {len(absent)} {what} images are not there: {some(absent)}")
    if extra and (alone := [i for i in dict.fromkeys(ids) if i not in known]):
        problems.append(f"{source}: {len(alone)} ids have no {what} image: {some(alone)}")
    return problems
