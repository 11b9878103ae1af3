"""Every image and mask opened once, two at a time: sizes, class shares, exact duplicates, all faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from comp.config import Competition
from comp.data.images import read_image
from comp.data.intake import Record
from comp.data.labels import read_labels, read_mask_values, to_labels
from comp.data.stats import count_labels, hash_pixels
from comp.errors import DataError


@dataclass
class Scan:
    """What all files of some records hold.

    Args:
        problems: one line for each file that cannot be used.
        sizes: (height, width) -> images.
        counts: pixels of each class, K; binary: K = 1, the foreground.
        valid: pixels that are not ignored, for each class.
        n_with: images that hold the class.
        n_masks: masks read.
        by_hash: hash of size, type and pixels -> records, in order; more than one: duplicates.
    """

    problems: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    counts: list[int] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    n_with: list[int] = field(default_factory=list)
    n_masks: int = 0
    by_hash: dict[str, list[Record]] = field(default_factory=dict)

    def duplicates(self) -> list[list[Record]]:
        """Groups of records whose decoded pixels are the same."""
        return [group for group in self.by_hash.values() if len(group) > 1]


@dataclass(frozen=True)
class _Seen:
    record: Record
    problems: tuple[str, ...]
    size: tuple[int, int] | None = None
    pixels_hash: str = ""
    counts: tuple[list[int], list[int]] | None = None


def scan(records: Sequence[Record], competition: Competition) -> Scan:
    """Open every image and mask; nothing is raised for a broken file, it is listed."""
    n = competition.n_classes
    found = Scan(counts=[0] * n, valid=[0] * n, n_with=[0] * n)
    with ThreadPoolExecutor(2) as pool:
        for seen in pool.map(lambda record: _look(record, competition), records):
            found.problems += seen.problems
            if seen.size is not None:
                found.sizes[seen.size] += 1
                found.by_hash.setdefault(seen.pixels_hash, []).append(seen.record)
            if seen.counts is not None:
                found.n_masks += 1
                for k, (count, valid) in enumerate(zip(*seen.counts, strict=True)):
                    found.counts[k] += count
                    found.valid[k] += valid
                    found.n_with[k] += count > 0
    return found


def _look(record: Record, competition: Competition) -> _Seen:
    problems: list[str] = []
    size, pixels_hash, counts = None, "", None
    try:
        image = read_image(record.image, competition.data.channels)
        size, pixels_hash = (image.shape[0], image.shape[1]), hash_pixels(image)
    except DataError as error:
        problems.append(str(error))
    if record.masks and size is not None:
        try:
            labels = read_labels(record, competition, size)
            counts = count_labels(labels, competition.task, competition.n_classes)
        except DataError as error:
            problems.append(str(error))
    elif len(record.masks) == 1 and competition.task != "multilabel":
        try:  # the mask's own faults are said although its image cannot be read
            to_labels(read_mask_values(record.masks[0]), competition, record.masks[0])
        except DataError as error:
            problems.append(str(error))
    return _Seen(record, tuple(problems), size, pixels_hash, counts)
