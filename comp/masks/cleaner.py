"""Clean-up by all rules: one way, for out-of-fold masks and for a submission's.

A decision comes in bands of rows with the sums it was made from; kept are the mask and runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comp.masks.cleanup import remove_small
from comp.masks.components import find_parts
from comp.masks.decide import decide, level
from comp.masks.rules import Rules
from comp.masks.shapes import drop_parts, fill_holes, keep_parts, open_close, pixels_under
from comp.masks.stream import RunStream

CONNECTIVITY = 8


class Cleaner:
    """One image: bands of summed probabilities in, the cleaned mask out.

    Args:
        height, width: of the image.
        n_planes: K, of the sums.
        task: binary, multiclass or multilabel.
        full: the sum that stands for probability 1.
        thresholds: as `decide` takes them.
        presence: (K,) float, what the auxiliary classifiers say; needed by the rule of that name only.

    Raises:
        ValueError: a rule that these masks do not take, or whose numbers are missing.
    """

    def __init__(
        self,
        height: int,
        width: int,
        n_planes: int,
        task: str,
        full: int,
        thresholds: Sequence[float] | None,
        min_area_px: int,
        rules: Rules,
        presence: np.ndarray | None = None,
    ) -> None:
        if rules and task == "multiclass":
            raise ValueError("multiclass masks are not cleaned by rules")
        if rules.presence and presence is None:
            raise ValueError("no auxiliary classifier says anything of this image")
        self.task, self.full, self.thresholds = task, full, thresholds
        self.min_area_px, self.rules, self.presence = min_area_px, rules, presence
        shape = (n_planes, height, width) if task == "multilabel" else (height, width)
        self.mask = np.empty(shape, np.uint8)
        self.n_sure = np.zeros(n_planes, np.int64)
        self.cores = [RunStream(height, width, "row") for _ in range(n_planes)]
        self.row = 0

    def add(self, sums: np.ndarray) -> None:
        """Decide the next rows: (K, h, W) integers."""
        rows = slice(self.row, self.row + sums.shape[1])
        part = decide(sums, self.task, self.thresholds, full=self.full)
        if self.rules.exclusive:
            leave_one(part, sums)
        self.mask[..., rows, :] = part
        for k, plane in enumerate(sums if self.rules else ()):
            if self.rules.sure is not None:
                cut = level(self.rules.sure[k], self.full)
                self.n_sure[k] += np.count_nonzero(plane >= cut)
            if self.rules.top is not None:
                self.cores[k].add(plane >= level(self.rules.top[k], self.full))
        self.row = rows.stop

    def clean(self) -> np.ndarray:
        """The mask: (H, W) uint8, or (K, H, W) for multilabel. Called once, after the last band."""
        if not self.rules:
            return remove_small(self.mask, self.task, self.min_area_px, CONNECTIVITY, out=self.mask)
        height, width = self.mask.shape[-2:]
        planes = self.mask.reshape(-1, height, width)
        before = planes.copy() if self.rules.exclusive and self.rules.reshapes else None
        for k, plane in enumerate(planes):
            self._clean(k, plane)
        if before is not None:
            give_once(planes, before)
        return self.mask

    def _clean(self, k: int, plane: np.ndarray) -> None:
        rules = self.rules
        presence = None if self.presence is None else float(self.presence[k])
        if is_empty(rules, int(self.n_sure[k]), presence):
            plane[...] = 0
            return
        if rules.core_px and plane.size:
            parts = find_parts(plane, CONNECTIVITY)
            core = pixels_under(parts, self.cores[k].runs())
            drop_parts(plane, parts, core >= rules.core_px)
        open_close(plane, rules.open_px, rules.close_px)
        fill_holes(plane, rules.fill_px)
        keep_parts(plane, self.min_area_px, rules.keep, CONNECTIVITY)


def is_empty(rules: Rules, n_sure: int, presence: float | None) -> bool:
    """True when a rule says that a plane has nothing.

    Args:
        n_sure: its pixels at `rules.sure` or more.
        presence: what the auxiliary classifiers say.
    """
    return n_sure < rules.image_px or (presence is not None and presence < rules.presence)


def leave_one(mask: np.ndarray, sums: np.ndarray) -> None:
    """Where several planes of mask (K, h, W) uint8 0/1 are 1, leave the one of the largest sum, the first on a tie."""
    rows, columns = np.nonzero(mask.sum(axis=0, dtype=np.int64) > 1)
    claimed = np.where(mask[:, rows, columns] == 1, sums[:, rows, columns].astype(np.int64), -1)
    mask[:, rows, columns] = 0
    mask[claimed.argmax(axis=0), rows, columns] = 1


def give_once(planes: np.ndarray, before: np.ndarray) -> None:
    """Take back what rules added where another plane has been or an earlier one is now.

    Args:
        planes: (K, H, W) uint8 0/1, changed in place.
        before: the same before the rules; no two are 1 at one place.
    """
    for k, plane in enumerate(planes):
        for j, other in enumerate(before):
            if j != k:
                plane[other == 1] = 0
        for earlier in planes[:k]:
            plane[earlier == 1] = 0
