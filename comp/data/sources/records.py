"""Patterns, manifests, tables of codes -> records: every image found, with the files of its truth.

Nothing is dropped silently: an image without a mask, a mask without an image and two files of one
id are refused together, with counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comp.config import Competition, Pairs
from comp.data.images.bands import BandPath, files_of
from comp.data.sources.manifest import Row, leaves_root, missing_files, read_manifest
from comp.data.sources.patterns import Found, entries, image_files, is_image_name, is_litter, match
from comp.data.sources.truth import Kind, Truth, listed_images
from comp.errors import CompError, DataError, some

__all__ = [
    "Record",
    "Records",
    "entries",
    "find_records",
    "image_files",
    "is_image_name",
    "is_litter",
    "look_for_records",
    "match",
]


@dataclass(frozen=True)
class Record:
    """One image.

    Args:
        image_id: the key of the sample everywhere, spelled as in the file name; ``dir/name`` where
            names repeat in every folder.
        image: its file; one file a band: the first one's `BandPath`, which `read_image` stacks.
        masks: the files of its truth: one; multilabel with ``{class}``: one a class, in class order;
            binary: several are one an object, and their union is the mask; a table or JSON where
            `truth` says so; test: none.
        split: "train", "val" (the predefined validation part) or "test".
        truth: what to look up in `masks[0]` when that is a table of codes or COCO JSON.
    """

    image_id: str
    image: Path
    masks: tuple[Path, ...] = ()
    split: str = "train"
    truth: Truth | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the record is read from."""
        return (*files_of(self.image), *self.masks)


@dataclass(frozen=True)
class Records:
    """All images of a competition, each tuple sorted by image_id.

    Args:
        left_out: image files that stand beside those taken but match no pattern.
    """

    train: tuple[Record, ...]
    test: tuple[Record, ...] = ()
    left_out: tuple[Path, ...] = ()


def find_records(competition: Competition, data_root: Path) -> Records:
    """Find and pair every image of the competition.

    Raises:
        DataError: every unmatched or doubled file, with the first five and the count of each kind.
    """
    records, problems = look_for_records(competition, data_root)
    if problems:
        raise DataError("\n".join(problems))
    return records


def look_for_records(competition: Competition, data_root: Path) -> tuple[Records, list[str]]:
    """As `find_records`, but the problems are returned, beside the records that are whole."""
    problems: list[str] = []
    train: dict[str, Record] = {}
    test: dict[str, Record] = {}
    taken: set[Path] = set()
    pattern = competition.data.test
    tests = _files(match(data_root, pattern)) if pattern and "{band}" not in pattern else set()
    for pairs in competition.data.train:
        if pairs.manifest is not None:
            found = _from_manifest(pairs.manifest, competition, data_root, problems, taken)
        else:
            found = _paired(pairs, competition, data_root, problems, taken, tests)
        for record in found:
            part = test if record.split == "test" else train
            other = part.setdefault(record.image_id, record)
            if other is not record:
                files = f"{other.image} and {record.image}"
                problems.append(f"id {record.image_id!r} is used by two images: {files}")
    if pattern is not None:
        images = _images(data_root, pattern, competition, "test image", problems, taken)
        test = {i: Record(i, image, (), "test") for i, image in images.items()}
    beside = {path for folder in {p.parent for p in taken} for path in image_files(folder)}
    return Records(
        tuple(train[i] for i in sorted(train)),
        tuple(test[i] for i in sorted(test)),
        tuple(sorted(beside - taken)),
    ), problems


def records_of_rows(rows: list[Row], root: Path) -> list[Record]:
    """The records that the rows of a manifest name."""
    return [
        Record(
            row.image_id,
            BandPath.of([root / path for path in row.images]),
            () if row.split == "test" else tuple(root / path for path in row.masks),
            row.split,
        )
        for row in rows
    ]


def _from_manifest(
    manifest: str, competition: Competition, root: Path, problems: list[str], taken: set[Path]
) -> list[Record]:
    """The whole records of a manifest; test rows count where `data.test` says nothing."""
    path = root / manifest
    rows = read_manifest(path)
    if competition.data.test is not None:
        rows = [row for row in rows if row.split != "test"]
    problems += missing_files(rows, root, path.name)
    taken |= {root / file for row in rows for file in (*row.images, *row.masks)}
    masked = {bool(row.masks) for row in rows if row.split != "test"}
    if len(masked) > 1:
        bare = [row.image_id for row in rows if row.split != "test" and not row.masks]
        problems.append(f"{path.name}: {len(bare)} images have no mask: {some(bare)}")
    n = len(competition.data.bands or ("",))
    if odd := [row.image_id for row in rows if len(row.images) != n]:
        problems.append(f"{path.name}: expected {n} image files a row; not so for {some(odd)}")
    whole = [r for r in rows if r.masks or r.split == "test" or masked == {False}]
    return [r for r in records_of_rows(whole, root) if all(f.is_file() for f in r.files)]


def _images(
    root: Path,
    pattern: str,
    competition: Competition,
    what: str,
    problems: list[str],
    taken: set[Path],
    found: Found | None = None,
) -> dict[str, Path]:
    """id -> the one image of the pattern, bands put together.

    Args:
        found: what the pattern matches, where the caller has it.
    """
    bands = competition.data.bands if "{band}" in pattern else None
    if bands is None:
        found = match(root, pattern) if found is None else found
        taken |= _files(found)
        if not found:
            problems.append(_nothing(what, root, pattern))
        return _one_each(found, what, problems)
    tables = []
    for band in bands:
        one = match(root, pattern, band=band)
        taken |= _files(one)
        if not one:
            problems.append(_nothing(f"{what} of band {band!r}", root, pattern))
        tables.append(_one_each(one, f"{what} of band {band!r}", problems))
    ids = sorted(set().union(*tables))
    for band, table in zip(bands, tables, strict=True):
        if table and (alone := [i for i in ids if i not in table]):
            problems.append(f"{len(alone)} {what}s without band {band!r}: {some(alone)}")
    whole = [i for i in ids if all(i in table for table in tables)]
    return {i: BandPath.of([table[i] for table in tables]) for i in whole}


def _paired(
    pairs: Pairs,
    competition: Competition,
    root: Path,
    problems: list[str],
    taken: set[Path],
    tests: set[Path],
) -> list[Record]:
    """The whole records of one `Pairs`; adds to `problems` and `taken`.

    Args:
        tests: the test images, which {dir} would take too.
    """
    assert pairs.images is not None
    found = None if "{band}" in pairs.images else match(root, pairs.images)
    if found is not None and "{dir}" in pairs.images:
        found = {
            i: kept for i, paths in found.items() if (kept := [p for p in paths if p not in tests])
        }
    masks: list[tuple[str, Found]] = []
    if pairs.masks is not None:
        names = competition.classes if "{class}" in pairs.masks else ("",)
        masks = [(name, match(root, pairs.masks, name)) for name in names]
        if found is not None:
            _share_one_folder(found, [table for _, table in masks], pairs)
    taken |= set().union(*(_files(table) for _, table in masks))
    images = _images(root, pairs.images, competition, "image", problems, taken, found)
    if pairs.rle or pairs.coco is not None:
        return _looked_up(pairs, competition, root, images, problems, taken)
    objects = "{object}" in (pairs.masks or "")
    known = found if found is not None else {i: [path] for i, path in images.items()}
    each: list[dict[str, tuple[Path, ...]]] = []
    for name, table in masks:
        if objects:
            each.append({i: tuple(sorted(paths)) for i, paths in table.items()})
        else:
            one = _one_each(table, "mask", problems)
            each.append({i: (path,) for i, path in one.items()})
        of = f" of class {name!r}" if name else ""
        if alone := [known[i][0] for i in sorted(known) if i not in table]:
            problems.append(
                f"{len(alone)} image{'s' * (len(alone) > 1)} without a mask{of}"
                f" (expected {pairs.masks}): {some(alone)}"
            )
        if alone := [table[i][0] for i in sorted(table) if i not in known]:
            problems.append(
                f"{len(alone)} mask{'s' * (len(alone) > 1)}{of} without an image"
                f" (expected {pairs.images}): {some(alone)}"
            )
    whole = [i for i in images if all(i in table for table in each)]
    return [
        Record(i, images[i], tuple(path for t in each for path in t[i]), pairs.split) for i in whole
    ]


def _looked_up(
    pairs: Pairs,
    competition: Competition,
    root: Path,
    images: dict[str, Path],
    problems: list[str],
    taken: set[Path],
) -> list[Record]:
    """Records whose truth stands in a table of codes or in COCO JSON."""
    rle = competition.data.train_rle
    file = pairs.coco if pairs.coco is not None else rle.file if rle is not None else ""
    if leaves_root(file):
        problems.append(f"{file}: leaves the data's root; expected a path below it")
        return []
    kind: Kind = "coco" if pairs.coco is not None else "rle"
    try:
        keys, unknown = listed_images(kind, root / file, competition, images, root)
    except CompError as error:
        problems.append(str(error))
        return []
    if unknown:
        problems.append(f"{file}: {len(unknown)} ids have no image: {some(unknown)}")
    absent = [i for i in images if i not in keys]
    if absent and pairs.absent == "refuse":
        problems.append(
            f"{file} says nothing of {len(absent)} of {len(images)} images: {some(absent)};"
            " data.train absent: empty if nothing is to be seen on them, leave_out if they are"
            " not labelled"
        )
    if pairs.absent == "leave_out":
        taken -= {path for i in absent for path in files_of(images[i])}
    return [
        Record(i, image, (root / file,), pairs.split, Truth(kind, keys.get(i)))
        for i, image in images.items()
        if i in keys or pairs.absent == "empty"
    ]


def _share_one_folder(images: Found, masks: list[Found], pairs: Pairs) -> None:
    """Where one file fits both patterns, the pattern that says more takes it."""
    both = _files(images) & set().union(*(_files(table) for table in masks))
    longer = len((pairs.masks or "").replace("{class}", "").replace("{object}", ""))
    masks_say_more = longer > len(pairs.images or "")
    for table in [images] if masks_say_more else masks:
        for i in [i for i, paths in table.items() if both.intersection(paths)]:
            table[i] = [path for path in table[i] if path not in both]
            if not table[i]:
                del table[i]


def _files(found: Found) -> set[Path]:
    return {path for paths in found.values() for path in paths}


def _one_each(found: Found, what: str, problems: list[str]) -> dict[str, Path]:
    """Ids that have exactly one file; the others go to `problems`, naming the files."""
    doubled = {i: sorted(paths) for i, paths in sorted(found.items()) if len(paths) > 1}
    if doubled:
        listed = some(f"{i!r} ({' and '.join(map(str, p))})" for i, p in doubled.items())
        ids = "id has" if len(doubled) == 1 else "ids have"
        problems.append(f"{len(doubled)} {ids} more than one {what} file: {listed}; keep one")
    return {i: paths[0] for i, paths in sorted(found.items()) if len(paths) == 1}


def _nothing(what: str, root: Path, pattern: str) -> str:
    """Say that a pattern matches no file, and what stands where it points."""
    folder = root
    for part in pattern.split("/")[:-1]:
        if "{" in part or not (folder / part).is_dir():
            break
        folder = folder / part
    names = [name for name, _ in entries(folder)]
    seen = f"holds {some(names)}" if names else "is empty" if folder.is_dir() else "is missing"
    return f"no {what} matches {pattern!r} in {root}: {folder} {seen}"
