"""What a fold's auxiliary classifier says of each image: P(class is there), beside the map's own highest.

The second number is what can be known without a classifier: where it orders the images as well, the
classifier was not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comp.errors import DataError
from comp.store.probs import read_csv, write_csv

COLUMNS = ("image_id", "class", "presence", "peak")


@dataclass(frozen=True)
class Presence:
    """One fold's answers.

    Args:
        ids: N image ids.
        presence: (N, K) float32 in [0, 1], of the classifier; of an image seen by windows their highest.
        peak: (N, K) float32 in [0, 1], the highest probability of a pixel.
    """

    ids: tuple[str, ...]
    presence: np.ndarray
    peak: np.ndarray


class PresenceWriter:
    """Gathers answers as windows and bands come, image by image; the highest of each stays."""

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes
        self.presence: dict[int, np.ndarray] = {}
        self.peak: dict[int, np.ndarray] = {}

    def say(self, index: int, presence: np.ndarray) -> None:
        """Take (K,) of one window of an image."""
        before = self.presence.get(index, np.zeros(self.n_classes, np.float32))
        self.presence[index] = np.maximum(before, presence)

    def see(self, index: int, probs: np.ndarray) -> None:
        """Take (K, h, W) probabilities of some rows of an image that the classifier has spoken of."""
        if index not in self.presence:
            return
        before = self.peak.get(index, np.zeros(self.n_classes, np.float32))
        self.peak[index] = np.maximum(before, probs.max(axis=(1, 2)))

    def commit(self, path: Path, ids: Mapping[int, str], classes: Sequence[str]) -> Path | None:
        """Write the table, one row an image and class; None where no classifier said anything."""
        if not self.presence:
            return None
        rows = [
            (image_id, name, f"{self.presence[index][k]:.8g}", f"{self.peak[index][k]:.8g}")
            for index, image_id in ids.items()
            for k, name in enumerate(classes)
        ]
        return write_csv(path, COLUMNS, rows)


def presence_file(folder: Path, kind: str, views: str) -> Path:
    """Where the answers stand: kind is oof, heldout or test."""
    return folder / f"{kind}.{views}.presence.csv"


def read_presence(path: Path, n_classes: int) -> Presence:
    """Read what `PresenceWriter` wrote.

    Raises:
        DataError: rows that are not a multiple of the classes, or cells that are no numbers.
    """
    rows = read_csv(path)
    if len(rows) % n_classes:
        raise DataError(f"{path}: {len(rows)} rows are not a multiple of {n_classes} classes")
    try:
        values = np.array([(float(r["presence"]), float(r["peak"])) for r in rows], np.float32)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: not a table of {', '.join(COLUMNS)}: {error}") from error
    values = values.reshape(-1, n_classes, 2)
    ids = tuple(r["image_id"] for r in rows[::n_classes])
    return Presence(ids, values[..., 0], values[..., 1])


def presence_scores(said: Presence, present: np.ndarray) -> dict[str, list[float | None]]:
    """How well the answers order images with a class before those without.

    Args:
        present: (N, K) bool, the truth.

    Returns:
        auc, peak_auc: area under the ROC curve a class, of the classifier and of the map's highest
        probability; None where all images or none have the class. share: of images with the class.
    """
    from sklearn.metrics import roc_auc_score

    def aucs(values: np.ndarray) -> list[float | None]:
        return [
            float(roc_auc_score(truth, value)) if 0 < truth.sum() < len(truth) else None
            for truth, value in zip(present.T, values.T, strict=True)
        ]

    shares: list[float | None] = [float(share) for share in present.mean(axis=0)]
    return {"auc": aucs(said.presence), "peak_auc": aucs(said.peak), "share": shares}
