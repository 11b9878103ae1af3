"""A split that was given, and groups that cross it: which images, and the nearest split that keeps groups whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from comp import files
from comp.data.leaks.words import many, short
from comp.errors import FoldsError, some


class CrossingError(FoldsError):
    """Groups lie on both sides of a split that was given.

    Args:
        scheme: predefined or heldout; ids, given, groups: of N images; given: (N,) their folds.
    """

    def __init__(
        self, scheme: str, ids: Sequence[str], given: np.ndarray, groups: Sequence[str]
    ) -> None:
        self.ids, self.groups = tuple(ids), tuple(groups)
        self.given = np.asarray(given)
        self.whole = keep_whole(self.given, groups)
        crossing = self.crossing
        n = sum(map(len, crossing.values()))
        name, members = next(iter(crossing.items()))
        moved = int((self.whole != self.given).sum())
        listed = some(short(ids[i]) for i in members)
        super().__init__(
            f"scheme {scheme}: {len(crossing)} of {many(len(set(groups) - {''}), 'group')}"
            f" {'crosses' if len(crossing) == 1 else 'cross'} the given split, {n}"
            f" images; group {short(name)!r} lies on both sides of the given split: {listed}."
            f" Moving {many(moved, 'image')} would keep all groups whole; or divide anew"
            " (`-o folds.scheme=stratified_group`), or drop folds.group (--groups) and know that the score flatters"
        )

    @property
    def crossing(self) -> dict[str, list[int]]:
        """The groups that cross, with the positions of their images."""
        return crossing_groups(self.given, self.groups)

    def write(self, path: Path) -> Path:
        """Write every image with the fold that keeps its group whole: a file for `folds.listed`."""
        crossing = set(self.crossing)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image_id", "fold", "given", "crosses", "group"])
        for image_id, fold, given, group in zip(
            self.ids, self.whole.tolist(), self.given.tolist(), self.groups, strict=True
        ):
            writer.writerow([image_id, fold, given, "yes" if group in crossing else "", group])
        files.commit(path, text.getvalue())
        return path


def crossing_groups(fold: np.ndarray, groups: Sequence[str]) -> dict[str, list[int]]:
    """Groups whose images have more than one fold: name -> positions; "" is no group."""
    members: dict[str, list[int]] = {}
    for i, name in enumerate(groups):
        if name:
            members.setdefault(name, []).append(i)
    return {name: m for name, m in members.items() if len({int(fold[i]) for i in m}) > 1}


def keep_whole(fold: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """(N,) each group in the fold that holds most of its images; of equals the highest number.

    Where that would empty a fold, the group that has most images in it goes there whole.
    """
    whole = np.array(fold)
    crossing = crossing_groups(whole, groups)
    for members in crossing.values():
        values, counts = np.unique(np.asarray(fold)[members], return_counts=True)
        whole[members] = values[np.flatnonzero(counts == counts.max())[-1]]
    for empty in sorted(set(np.asarray(fold).tolist()) - set(whole.tolist())):
        most = max(crossing.values(), key=lambda m: int((np.asarray(fold)[m] == empty).sum()))
        whole[most] = empty
    return whole
