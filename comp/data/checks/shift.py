"""Do the test images look like the training images? An adversarial classifier on cheap traits says.

AUC 0.5: nobody can tell them apart; 1: everybody can. It is cross-validated, and images of one group
(crops of one picture) stay in one part: else it would know the pictures, not the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRAITS = (
    "height", "width", "brightness", "contrast", "darkest", "brightest", "red", "green", "blue",
    "saturation", "detail", "noise", "entropy",
)  # fmt: skip
N_PARTS = 5
MIN_IMAGES = 10  # of either kind; below, nothing is said
CLEAR = 0.65  # a trait from which AUC on is named as a difference
LEAST, PLAIN = 0.6, 0.8  # adversarial AUC above which they differ, and from which they do clearly
LARGE_ERROR = 0.1  # a standard error from which on even an AUC of 0.7 may be chance
PIXELS = 96  # side of the sample that is looked at


@dataclass(frozen=True)
class Shift:
    """How well train and test can be told apart.

    Args:
        auc: cross-validated area under the curve of a classifier on all traits.
        error: its standard error (Hanley and McNeil 1982).
        differ: (trait, AUC from 0.5 on, median of train, median of test), the clearest first.
    """

    auc: float
    error: float
    differ: tuple[tuple[str, float, float, float], ...]

    @property
    def differs(self) -> bool:
        """Whether the AUC is above 0.6 and more than two standard errors above 0.5."""
        return self.auc > LEAST and self.auc - 2 * self.error > 0.5

    @property
    def verdict(self) -> str:
        if self.differs:
            return "they differ" + (" clearly" if self.auc >= PLAIN else "")
        if self.auc > LEAST or self.error >= LARGE_ERROR:
            return "too few images to tell whether they differ"
        return "a classifier cannot tell them apart"

    @property
    def told(self) -> str:
        head = f"train against test: {self.verdict}: adversarial AUC {self.auc:.2f} +- {self.error:.2f}"
        if not self.differs:
            return head
        named = [
            f"{name} (AUC {auc:.2f}; median {a:.4g} in train, {b:.4g} in test)"
            for name, auc, a, b in self.differ
            if auc >= CLEAR
        ]
        return head + (f"; most by {', '.join(named[:4])}" if named else "")


def measure_traits(image: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """(len(TRAITS),) float32 of an image (H, W, C), uint8 or float32 in [0, 1].

    Taken of a sample: about 96 x 96 pixels at even distances, and as large a piece of the middle.

    Args:
        size: (H, W) of the whole, where `image` is a sample of it already.
    """
    height, width = image.shape[:2]
    full = 255.0 if image.dtype == np.uint8 else 1.0
    sample = image[:: -(-height // PIXELS), :: -(-width // PIXELS), :3].astype(np.float32) / full
    bands = np.resize(sample.mean(axis=(0, 1)), 3)
    grey = sample.mean(axis=2)
    low, high = np.quantile(grey, (0.02, 0.98))
    top, left = max(0, (height - PIXELS) // 2), max(0, (width - PIXELS) // 2)
    middle = image[top : top + PIXELS, left : left + PIXELS, :3].astype(np.float32) / full
    middle = middle.mean(axis=2)
    histogram = np.histogram(grey, bins=32, range=(0.0, 1.0))[0] / grey.size
    there = histogram[histogram > 0]
    return np.array(
        [
            *(size or (height, width)), grey.mean(), grey.std(), low, high, *bands,
            (sample.max(axis=2) - sample.min(axis=2)).mean(),
            np.log10(_mean_abs(np.diff(middle, axis=1)) + 1e-4),
            np.log10(_mean_abs(np.diff(middle, 2, axis=1)) + 1e-4),
            -(there * np.log2(there)).sum(),
        ],
        np.float32,
    )  # fmt: skip


def _mean_abs(values: np.ndarray) -> float:
    return float(np.abs(values).mean()) if values.size else 0.0


def measure_shift(
    train: np.ndarray, test: np.ndarray, groups: Sequence[int] | np.ndarray | None = None
) -> Shift | None:
    """Train a classifier to tell the two apart.

    Args:
        train: (N, T) traits; test: (M, T).
        groups: a number an image, train first: images of one number stay in one part.

    Returns:
        None where there are too few images, or too few groups, to say anything.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    n, m = len(train), len(test)
    if min(n, m) < MIN_IMAGES:
        return None
    x = np.concatenate([train, test])
    y = np.repeat([0, 1], (n, m))
    named = np.arange(n + m) if groups is None else np.asarray(groups)
    if min(len(set(named[:n])), len(set(named[n:]))) < N_PARTS:
        return None
    guess = np.full(n + m, np.nan)
    parts = StratifiedGroupKFold(N_PARTS, shuffle=True, random_state=0)
    for fit, held in parts.split(x, y, named):
        if len(set(y[fit])) < 2:
            return None
        trees = ExtraTreesClassifier(
            100, min_samples_leaf=3, class_weight="balanced", random_state=0, n_jobs=1
        )
        guess[held] = trees.fit(x[fit], y[fit]).predict_proba(x[held])[:, 1]
    auc = float(roc_auc_score(y, guess))
    differ = [
        (name, float(max(a, 1 - a)), float(np.median(train[:, k])), float(np.median(test[:, k])))
        for k, name in enumerate(TRAITS)
        for a in [roc_auc_score(y, x[:, k])]
    ]
    differ.sort(key=lambda row: -row[1])
    # Images of one group are no independent witnesses: the groups are counted.
    n_units, m_units = len(set(named[:n])), len(set(named[n:]))
    return Shift(auc, _error(auc, n_units, m_units), tuple(differ))


def _error(auc: float, n: int, m: int) -> float:
    """Standard error of an AUC of n against m (Hanley and McNeil 1982)."""
    a = max(auc, 1 - auc)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (n * m)
    return float(np.sqrt(max(variance, 0.0)))
