"""What a column scores at every threshold, counted once and kept in a file: afterwards no pixel is read for it.

The file's name is a hash of what was counted, so that another file, other labels or other images are counted anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comp.blending.blend import Source, bands_of
from comp.files import commit_file, discard, disk_error, temporary_or_disk_error
from comp.masks.decide import decide, level
from comp.metrics.counts import count_image, count_levels

LEVELS = 256
AT_HALF = LEVELS  # the last row

VERSION = 1  # of what a table holds: raised where counting changes


@dataclass(frozen=True)
class Levels:
    """Counts of one column, whatever the threshold.

    Args:
        full: 255 or 65535.
        on: (N, K, 257, 2) int32: pixels called foreground, on false and on true ones. Row v: where the stored
            value, as uint8, is v or more. The last row: the decision at 0.5; multiclass, of the largest plane.
    """

    task: str
    full: int
    on: np.ndarray

    def counts(self, thresholds: Sequence[float] | None = None) -> np.ndarray:
        """Count every image.

        Args:
            thresholds: one a plane, also for one class of multiclass against the rest; default: 0.5, or the
                largest plane. uint16 is known half-way between two uint8 values only, as 0.5 is.

        Returns:
            (N, K, 4) int64 tp, fp, fn, tn.
        """
        n_classes = self.on.shape[1]
        rows = [AT_HALF] * n_classes
        if thresholds is not None:
            rows = [level(t, 255) for t in thresholds]
            halves = [abs(v - 0.5 - 255 * t) < 1e-6 for v, t in zip(rows, thresholds, strict=True)]
            if len(rows) != n_classes or not (self.full == 255 or all(halves)):
                raise ValueError(
                    f"expected {n_classes} thresholds, of uint16 half-way between two uint8 values, got {thresholds}"
                )
        on = np.stack([self.on[:, k, v] for k, v in enumerate(rows)], axis=1).astype(np.int64)
        support = self.on[:, :, 0].astype(np.int64)  # at level 0 every pixel is foreground
        fp, tp = on[..., 0], on[..., 1]
        return np.stack([tp, fp, support[..., 1] - tp, support[..., 0] - fp], axis=-1)


def count_table(source: Source, image: int, column: int) -> np.ndarray:
    """(K, 257, 2) int32 as `Levels.on` holds it, of one image; a large one by bands of rows."""
    labels, planes = source.labels(image), source.planes(image, column)
    table = np.zeros((source.n_classes, LEVELS + 1, 2), np.int64)
    for rows in bands_of(labels.shape):
        q, truth = np.asarray(planes[:, rows]), np.asarray(labels[..., rows, :])
        counts = count_image(
            decide(q, source.task, full=source.full), truth, source.task, source.n_classes
        )
        table[:, AT_HALF] += counts[:, [1, 0]]
        if q.dtype == np.uint16:
            q = ((q.astype(np.uint32) + 128) // 257).astype(np.uint8)  # to the nearest
        for k in range(source.n_classes):
            one = truth[k] if source.task == "multilabel" else truth
            counts = count_levels(q[k], one, k if source.task == "multiclass" else 1)
            table[k, :LEVELS] += counts[:, [1, 0]]
    return table.astype(np.int32)


def read_levels(source: Source, column: int, path: Path) -> Levels:
    """The counts of one column from `path`; where that is missing or no such table, from the pixels.

    Args:
        path: named by everything that decides what is in it; written when it is counted.
    """
    shape = (source.n_images, source.n_classes, LEVELS + 1, 2)
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
        if kept.shape == shape and kept.dtype == np.int32:
            return Levels(source.task, source.full, kept)
    except (OSError, ValueError, EOFError):  # missing or damaged: counted again
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    made = temporary_or_disk_error(path)
    try:
        table = np.lib.format.open_memmap(made, "w+", np.int32, shape)
        for image in range(source.n_images):
            table[image] = count_table(source, image, column)
        table.flush()
        del table
    except OSError as error:
        discard(made)
        raise disk_error(path, int(np.prod(shape)) * 4, error) from error
    except BaseException:
        discard(made)
        raise
    commit_file(made, path)
    return Levels(source.task, source.full, np.load(path, mmap_mode="r", allow_pickle=False))
