"""One reading of a folder tree, as every detector returns it, and what detectors share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comp.config import Pairs
from comp.data.layouts.pairing import affixes, pattern
from comp.data.layouts.tree import Tree, join, split_folder
from comp.data.sources.manifest import Row


@dataclass(frozen=True)
class Found:
    """One reading of a tree.

    Args:
        place: the folder, relative to the data's root, that holds the layout ("" is the root).
        train: the pairs of images and masks.
        test: the folder of test images, relative to the root; None: there is none.
        test_pattern: the pattern of the test images, where the folder does not say it.
        claims: (folder of images, folder of masks) of all that the reading explains.
        rows: what no pattern can say, image by image; `train` is then empty.
        data: further keys of the competition's data section (bands, train_rle).
        values: task, classes and submission, where the truth itself names them.
        notes: lines for the report.
        problems: what is to settle before training.
    """

    layout: str
    place: str
    train: tuple[Pairs, ...]
    test: str | None = None
    test_pattern: str | None = None
    claims: frozenset[tuple[str, str]] = frozenset()
    rows: tuple[Row, ...] = ()
    data: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The reading in a few words, for a choice among several."""
        if self.rows:
            return f"{self.layout}: {len(self.rows)} rows of {self.place or 'lists'}"
        first = self.train[0]
        truth = first.masks or first.coco or "a table of codes"
        more = f" and {len(self.train) - 1} more" if len(self.train) > 1 else ""
        return f"{self.layout}: {first.images} with {truth}{more}"


def found_pairs(
    layout: str, place: str, pairs: tuple[Pairs, ...], test: str | None, **more: Any
) -> Found:
    """A reading by patterns, its claims taken from them."""
    claims = frozenset(
        (split_folder(p.images or "")[0], split_folder(p.masks or "")[0]) for p in pairs
    )
    return Found(layout, place, pairs, test, **{"claims": claims, **more})


TEST_FOLDERS = ("test/images", "test/image", "test/imgs", "test", "test_images", "images_test")


def find_test(tree: Tree, place: str) -> str | None:
    """The folder of test images that belongs to `place`."""
    for name in TEST_FOLDERS:
        if join(place, name) in tree.images:
            return join(place, name)
    return None


def plain_pattern(tree: Tree, folder: str) -> str:
    """The pattern that takes every image of a folder, its whole stem the id."""
    names = tree.images[folder]
    return pattern(folder, affixes(names)[0], names)
