"""Every image and mask opened once, on all cores: sizes, types, class shares, prints, all faults."""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comp.config import Competition
from comp.data.cache.bands import ImageHasher, large_image, stored_bands
from comp.data.cache.label_bands import count_bands, labels_to_come
from comp.data.cache.stats import BLANK, count_labels, hash_pixels
from comp.data.checks.shift import measure_traits
from comp.data.images.bands import files_of
from comp.data.images.decode import Stored, decode, read_size
from comp.data.images.read import read_image, to_image
from comp.data.images.rows import large_file
from comp.data.images.tif_rows import LARGE_PIXELS
from comp.data.leaks.prints import ImagePrint, make_print, print_bands
from comp.data.sources.label_rows import check_mask
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record, Records
from comp.errors import DataError

LARGE = 16_000_000  # pixels; from here on images are opened one at a time, to bound the memory
MOST_THREADS = 32


@dataclass(frozen=True)
class Seen:
    """What one record's files hold.

    Args:
        problems: one line for each file that cannot be used; broken: those of files that cannot be read.
        size: (height, width); None: the image cannot be read, and the rest is not known.
        stored: type and bands as in the file: ``uint16 x 1``.
        pixels_hash: of size, type and pixels; ``blank-...`` for one colour.
        counts: pixels of each class, and of those that are not ignored; None without a mask.
        print_: what the leak radar compares; traits: what the train/test comparison does.
    """

    record: Record
    problems: tuple[str, ...]
    size: tuple[int, int] | None = None
    stored: str = ""
    pixels_hash: str = ""
    counts: tuple[list[int], list[int]] | None = None
    print_: ImagePrint | None = None
    traits: np.ndarray | None = None
    broken: tuple[str, ...] = ()
    emptied: bool = False

    @property
    def constant(self) -> bool:
        """The image is all of one colour."""
        return self.pixels_hash.startswith(BLANK)


@dataclass
class Scan:
    """What all files of some records hold.

    Args:
        seen: of each record, in their order.
        problems: one line for each file that cannot be used; broken: those of files that cannot be read.
        sizes: (height, width) -> images; stored: type and bands -> images.
        counts: pixels of each class, K; binary: K = 1, the foreground.
        valid: pixels that are not ignored, for each class.
        n_with: images that hold the class.
        n_masks: masks read; n_empty: those that hold no class (binary, multilabel: no foreground).
        n_ignored: ignored pixels, of n_pixels under masks (of the first class).
        emptied: records whose mask marks something, all of it below data.mask_threshold.
        by_hash: hash of size, type and pixels -> records, in order; more than one: duplicates.
    """

    seen: list[Seen] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    counts: list[int] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    n_with: list[int] = field(default_factory=list)
    n_masks: int = 0
    n_empty: int = 0
    n_ignored: int = 0
    n_pixels: int = 0
    by_hash: dict[str, list[Record]] = field(default_factory=dict)
    emptied: list[Record] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def duplicates(self) -> list[list[Record]]:
        """Groups of records whose decoded pixels are the same; images of one colour are left out."""
        return [
            group
            for pixels_hash, group in self.by_hash.items()
            if len(group) > 1 and not pixels_hash.startswith(BLANK)
        ]

    def constant(self) -> list[Record]:
        """Records whose image is all of one colour."""
        return [seen.record for seen in self.seen if seen.constant]

    def prints(self) -> list[ImagePrint | None]:
        """The print of each record's image; None where it cannot be read."""
        return [seen.print_ for seen in self.seen]

    def traits(self) -> tuple[np.ndarray, list[int]]:
        """(n, T) float32 traits of the images that can be read, and their positions."""
        there = [i for i, seen in enumerate(self.seen) if seen.traits is not None]
        return np.array([self.seen[i].traits for i in there], np.float32), there


def scan(
    records: Sequence[Record],
    competition: Competition,
    progress: Callable[[int, int], None] | None = None,
    n_threads: int | None = None,
) -> Scan:
    """Open every image and mask; nothing is raised for a broken file, it is listed.

    Args:
        progress: called as progress(done, total).
        n_threads: default: one a core (decoders let others run); the result does not depend on it.
    """
    n = competition.n_classes
    found = Scan(counts=[0] * n, valid=[0] * n, n_with=[0] * n)
    large = threading.Lock()
    workers = n_threads or min(MOST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, thread_name_prefix="scan") as pool:
        looked = pool.map(lambda record: _look(record, competition, large), records)
        for done, seen in enumerate(looked, start=1):
            _add(found, seen)
            if progress is not None:
                progress(done, len(records))
    return found


def _add(found: Scan, seen: Seen) -> None:
    found.seen.append(seen)
    found.problems += seen.problems
    found.broken += seen.broken
    if seen.size is not None:
        found.sizes[seen.size] += 1
        found.stored[seen.stored] += 1
        found.by_hash.setdefault(seen.pixels_hash, []).append(seen.record)
    if seen.counts is None or seen.size is None:
        return
    found.emptied += [seen.record] if seen.emptied else []
    found.n_masks += 1
    found.n_empty += not any(seen.counts[0])
    found.n_pixels += seen.size[0] * seen.size[1]
    found.n_ignored += seen.size[0] * seen.size[1] - seen.counts[1][0]
    for k, (count, valid) in enumerate(zip(*seen.counts, strict=True)):
        found.counts[k] += count
        found.valid[k] += valid
        found.n_with[k] += count > 0


def _look(record: Record, competition: Competition, large: threading.Lock) -> Seen:
    """Read one record's files; the memory of its pixels is free again when this returns."""
    with large if _is_large(record) else nullcontext():
        return _look_at(record, competition)


def _is_large(record: Record) -> bool:
    try:
        height, width = read_size(record.image)
    except DataError:
        return False
    return height * width >= LARGE


def _look_at(record: Record, competition: Competition) -> Seen:
    problems: list[str] = []
    broken: list[str] = []
    size, stored, pixels_hash, counts, print_, traits = None, "", "", None, None, None
    try:
        if (large := large_image(record.image, competition.data)) is not None:
            size, stored = large.size, _stored_kind(record, competition, large.size)
            hasher = ImageHasher(large)
            print_, sample = print_bands(size, hasher.passing(large.bands()))
            pixels_hash, traits = hasher.hexdigest(), measure_traits(sample, size)
        else:
            image, stored = _read(record, competition)
            size, pixels_hash = (image.shape[0], image.shape[1]), hash_pixels(image)
            print_, traits = make_print(image), measure_traits(image)
            del image
    except DataError as error:
        problems.append(str(error))
        broken += problems[-1:] if _unreadable(files_of(record.image), competition) else []
    if record.labelled and size is not None:
        try:
            counts = _counted(record, competition, size)
        except DataError as error:
            problems.append(str(error))
            broken += problems[-1:] if _unreadable(record.masks, competition) else []
    elif len(record.masks) == 1 and record.truth is None and competition.task != "multilabel":
        try:  # the mask's own faults are said although its image cannot be read
            check_mask(record.masks[0], competition)
        except DataError as error:
            problems.append(str(error))
            broken += problems[-1:] if _unreadable(record.masks, competition) else []
    emptied = counts is not None and not any(counts[0]) and _below(record, competition)
    faults = tuple(problems), tuple(broken)
    return Seen(
        record, faults[0], size, stored, pixels_hash, counts, print_, traits, faults[1], emptied
    )


def _below(record: Record, competition: Competition) -> bool:
    """Whether a mask that mask_threshold leaves nothing of is not all of one number."""
    data = competition.data
    if data.mask_threshold is None or data.mask_invert or record.truth is not None:
        return False
    if _is_large(record):
        return False
    for path in record.masks:
        stored = decode(path, max_pixels=data.max_pixels)
        pixels = stored.pixels[..., : stored.pixels.shape[2] - stored.alpha]
        if bool((pixels != pixels.flat[0]).any()):
            return True
    return False


def broken_alone(records: Records, competition: Competition) -> list[str]:
    """One line for each image without a mask, or mask without an image, that cannot be read."""
    paths = [path for file in dict.fromkeys(records.alone) for path in files_of(file)]
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        return [told for told in pool.map(lambda path: _fault(path, competition), paths) if told]


def _fault(path: Path, competition: Competition) -> str:
    try:
        if large_image(path, competition.data) is None:
            decode(path, max_pixels=competition.data.max_pixels)
    except DataError as error:
        return str(error)
    return ""


def _counted(
    record: Record, competition: Competition, size: tuple[int, int]
) -> tuple[list[int], list[int]]:
    """Pixels of each class and valid ones; of a large image by bands of rows."""
    rule = competition.task, competition.n_classes
    if size[0] * size[1] > LARGE_PIXELS:
        return count_bands(labels_to_come(record, competition, size), *rule)
    return count_labels(read_labels(record, competition, size), *rule)


def _unreadable(paths: Sequence[Path], competition: Competition) -> bool:
    """Whether one of the files holds no pixels that can be read; asked only of files at fault."""
    try:
        for path in paths:
            with large_file(path, competition.data.max_pixels) as large:
                if large is None:
                    decode(path, max_pixels=competition.data.max_pixels)
                else:
                    deque(large.bands(), maxlen=0)
    except DataError:
        return True
    return False


def _stored_kind(record: Record, competition: Competition, size: tuple[int, int]) -> str:
    """Type and bands of a large image as in the file, from its first rows."""
    paths = files_of(record.image)
    if len(paths) > 1:
        return f"{len(paths)} files of one band"
    return _kind(next(stored_bands(paths, competition.data.max_pixels, size)))


def _kind(stored: Stored) -> str:
    kind = "1-bit" if stored.pixels.dtype == bool else str(stored.pixels.dtype)
    return f"{kind} x {stored.pixels.shape[2]}"


def _read(record: Record, competition: Competition) -> tuple[np.ndarray, str]:
    """The image as models see it, and its type and bands as in the file."""
    paths = files_of(record.image)
    if len(paths) > 1:
        image = read_image(record.image, competition.data)
        return image, f"{len(paths)} files of one band"
    raw = decode(paths[0], max_pixels=competition.data.max_pixels)
    return to_image(paths[0], raw, competition.data), _kind(raw)
