"""Patterns -> records: images and masks paired, or the truth looked up in a table or JSON.

What does not pair is a line of the report, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from comp.config import BACKGROUND_NAMES, Competition, Pairs
from comp.data.images.bands import BandPath, files_of
from comp.data.sources.manifest import leaves_root
from comp.data.sources.patterns import Found, entries, match
from comp.data.sources.record import NO_OBJECTS, Record
from comp.data.sources.truth import Kind, Truth, listed_images
from comp.errors import CompError, some
from comp.registry import nearest

SAY_ABSENT = (
    "; data.train absent: empty if nothing is to be seen on them, leave_out if they are"
    " not labelled"
)


@dataclass
class Search:
    """A search for the files of a competition, and what it met.

    Args:
        tests: the test images, which ``{dir}`` of training images would take too.
        problems: a line for each kind of fault.
        taken: every file that a pattern or a row means.
        alone: images without a mask, masks without an image.
        met: ids that data.exclude names and that there are; left: their files; others: all ids,
            for a message.
    """

    competition: Competition
    root: Path
    tests: set[Path] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    taken: set[Path] = field(default_factory=set)
    alone: list[Path] = field(default_factory=list)
    met: set[str] = field(default_factory=set)
    left: set[Path] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def match(self, pattern: str, class_name: str = "", band: str = "") -> Found:
        """What a pattern of training files means, without the images that data.exclude names."""
        return self.without(match(self.root, pattern, class_name, band))

    def without(self, found: Found) -> Found:
        """The files of all ids but those that data.exclude names."""
        excluded = self.competition.data.excluded
        if not excluded:
            return found
        here = found.keys() & set(excluded)
        self.met |= here
        self.left |= {path for i in here for path in found[i]}
        self.taken |= self.left
        self.others |= found.keys()
        return {i: paths for i, paths in found.items() if i not in here}


def no_background(competition: Competition) -> str:
    """Why an image without objects cannot be told from one that is all of the first class, or nothing."""
    first = competition.classes[0]
    if competition.task != "multiclass" or first.lower() in BACKGROUND_NAMES:
        return ""
    return (
        f"data.train absent: empty, but the first class is {first!r}: an image without objects is all"
        f" background; name the class so ({', '.join(BACKGROUND_NAMES)}) if it is that, or say leave_out"
    )


# --------------------------------------------------------------------------------------------- patterns


def images_of(
    pattern: str, what: str, search: Search, found: Found | None = None, train: bool = True
) -> dict[str, Path]:
    """id -> the one image of the pattern, bands put together.

    Args:
        what: what it is, for messages.
        found: what the pattern matches, where the caller has it.
        train: data.exclude counts.
    """
    root, problems = search.root, search.problems
    bands = search.competition.data.bands if "{band}" in pattern else None
    if bands is None:
        if found is None:
            found = search.match(pattern) if train else match(root, pattern)
        search.taken |= files_in(found)
        if not found:
            problems.append(_nothing(what, root, pattern))
        return _one_each(found, what, problems)
    tables = []
    for band in bands:
        one = search.match(pattern, band=band) if train else match(root, pattern, band=band)
        search.taken |= files_in(one)
        if not one:
            problems.append(_nothing(f"{what} of band {band!r}", root, pattern))
        tables.append(_one_each(one, f"{what} of band {band!r}", problems))
    ids = sorted(set().union(*tables))
    for band, table in zip(bands, tables, strict=True):
        if table and (alone := [i for i in ids if i not in table]):
            problems.append(f"{len(alone)} {what}s without band {band!r}: {some(alone)}")
    whole = [i for i in ids if all(i in table for table in tables)]
    return {i: BandPath.of([table[i] for table in tables]) for i in whole}


def from_patterns(pairs: Pairs, search: Search) -> list[Record]:
    """The whole records of patterns."""
    assert pairs.images is not None
    found = None if "{band}" in pairs.images else search.match(pairs.images)
    if found is not None and "{dir}" in pairs.images:
        found = {
            i: kept
            for i, paths in found.items()
            if (kept := [p for p in paths if p not in search.tests])
        }
    masks: list[tuple[str, Found]] = []
    if pairs.masks is not None:
        names = search.competition.classes if "{class}" in pairs.masks else ("",)
        masks = [(name, search.match(pairs.masks, name)) for name in names]
        if found is not None:
            _share_one_folder(found, [table for _, table in masks], pairs)
    search.taken |= set().union(*(files_in(table) for _, table in masks))
    images = images_of(pairs.images, "image", search, found)
    if pairs.rle or pairs.coco is not None:
        return look_up(pairs, images, search)
    known = found if found is not None else {i: [path] for i, path in images.items()}
    bare = {i for i in known if masks and not any(i in table for _, table in masks)}
    each = _masks_each(pairs, masks, known, bare, search)
    if pairs.absent == "leave_out":
        search.taken -= {path for i in bare if i in images for path in files_of(images[i])}
    records = []
    for i, image in images.items():
        if all(i in table for table in each):
            files = tuple(path for table in each for path in table[i])
            records.append(Record(i, image, files, pairs.split))
        elif i in bare and pairs.absent == "empty":
            records.append(Record(i, image, (), pairs.split, NO_OBJECTS))
    return records


def _masks_each(
    pairs: Pairs,
    masks: list[tuple[str, Found]],
    known: Found,
    bare: set[str],
    search: Search,
) -> list[dict[str, tuple[Path, ...]]]:
    """id -> mask files, for each class; images and masks without a partner are said.

    Args:
        masks: class name ("" for all) -> what its pattern matches.
        known: the images; bare: those without any mask.
    """
    objects = "{object}" in (pairs.masks or "")
    each: list[dict[str, tuple[Path, ...]]] = []
    for name, table in masks:
        if objects:
            each.append({i: tuple(sorted(paths)) for i, paths in table.items()})
        else:
            one = _one_each(table, "mask", search.problems)
            each.append({i: (path,) for i, path in one.items()})
        of = f" of class {name!r}" if name else ""
        settled = bare if pairs.absent != "refuse" else set()
        if alone := [i for i in sorted(known) if i not in table and i not in settled]:
            files = [known[i][0] for i in alone]
            hint = SAY_ABSENT if bare.issuperset(alone) else ""
            search.alone += files
            search.problems.append(
                f"{len(alone)} image{'s' * (len(alone) > 1)} without a mask{of}"
                f" (expected {pairs.masks}): {some(files)}{hint}"
            )
        if files := [table[i][0] for i in sorted(table) if i not in known]:
            search.alone += files
            search.problems.append(
                f"{len(files)} mask{'s' * (len(files) > 1)}{of} without an image"
                f" (expected {pairs.images}): {some(files)}"
            )
    return each


# ----------------------------------------------------------------------------------------- table, JSON


def look_up(
    pairs: Pairs, images: dict[str, Path], search: Search, all_listed: bool = True
) -> list[Record]:
    """The records whose truth stands in a table of codes or in COCO JSON.

    Args:
        all_listed: every image that the file names should be among `images`.
    """
    competition, root = search.competition, search.root
    rle = competition.data.train_rle
    file = pairs.coco if pairs.coco is not None else rle.file if rle is not None else ""
    if leaves_root(file):
        search.problems.append(f"{file}: leaves the data's root; expected a path below it")
        return []
    kind: Kind = "coco" if pairs.coco is not None else "rle"
    try:
        keys, unknown = listed_images(kind, root / file, competition, images, root)
    except CompError as error:
        search.problems.append(str(error))
        return []
    if excluded := set(competition.data.excluded):
        search.met |= excluded & {*unknown, *(i.rpartition(".")[0] for i in unknown)}
        gone = _excluded_names(search)
        unknown = [i for i in unknown if i not in gone and i.rpartition(".")[0] not in excluded]
    if unknown and all_listed:
        search.problems.append(f"{file}: {len(unknown)} ids have no image: {some(unknown)}")
    absent = [i for i in images if i not in keys]
    if absent and pairs.absent == "refuse":
        search.problems.append(
            f"{file} says nothing of {len(absent)} of {len(images)} images: {some(absent)}{SAY_ABSENT}"
        )
    if pairs.absent == "leave_out":
        search.taken -= {path for i in absent for path in files_of(images[i])}
    return [
        Record(i, image, (root / file,), pairs.split, Truth(kind, keys.get(i)))
        for i, image in images.items()
        if i in keys or pairs.absent == "empty"
    ]


def _excluded_names(search: Search) -> set[str]:
    """What a table or JSON may call the images that data.exclude leaves out: ids, tails of their paths."""
    names = set(search.competition.data.excluded)
    for path in search.left:
        parts = path.relative_to(search.root).as_posix().split("/")
        tails = ["/".join(parts[n:]) for n in range(len(parts))]
        names |= {*tails, *(tail.rpartition(".")[0] for tail in tails)}
    return names


def say_unknown(search: Search, test: Collection[str]) -> str:
    """What is wrong with data.exclude: ids of no training image, with the nearest; "" where nothing is."""
    gone = [i for i in search.competition.data.excluded if i not in search.met]
    if not gone:
        return ""
    told = []
    for image_id in gone[:5]:
        near = nearest(image_id, search.others)
        of_test = " is a test image" if image_id in test else ""
        told.append(f"{image_id!r}" + (of_test or (f" (did you mean {near!r}?)" if near else "")))
    more = f" (and {len(gone) - 5} more)" if len(gone) > 5 else ""
    return f"data.exclude: {len(gone)} of its ids name no training image: {', '.join(told)}{more}"


# ------------------------------------------------------------------------------------------------ files


def _share_one_folder(images: Found, masks: list[Found], pairs: Pairs) -> None:
    """Where one file fits both patterns, the pattern that says more takes it."""
    both = files_in(images) & set().union(*(files_in(table) for table in masks))
    longer = len((pairs.masks or "").replace("{class}", "").replace("{object}", ""))
    masks_say_more = longer > len(pairs.images or "")
    for table in [images] if masks_say_more else masks:
        for i in [i for i, paths in table.items() if both.intersection(paths)]:
            table[i] = [path for path in table[i] if path not in both]
            if not table[i]:
                del table[i]


def files_in(found: Found) -> set[Path]:
    """Every file of a match."""
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
