"""What folds cannot promise, said where it shows: too few images to score on, and mixes that groups spoil."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from comp.data.folds.iterative import make_labels
from comp.data.folds.schemes import FOLD_SCHEMES, ONE_FOLD, Problem
from comp.data.folds.table import HELD_OUT, FoldTable
from comp.errors import FoldsError, some

FEW = 20  # images below which a score of them alone is worth little
WORSE = 0.1  # of the mix of strata, by which groups must spoil it to be told


def few_notes(table: FoldTable) -> list[str]:
    """Say where a score rests on a handful of images: one validation set, or what is held out."""
    sets = {}
    if table.scheme in ONE_FOLD and table.n_folds == 1:
        sets["validation"] = len(table.validation(0))
    if HELD_OUT in table.fold:
        sets["held-out"] = table.fold.count(HELD_OUT)
    few = [f"{n} {name} image{'s' * (n > 1)}" for name, n in sets.items() if n < FEW]
    if not few:
        return []
    better = "use more of them, or cross-validation (scheme stratified), which scores every image"
    return [f"{' and '.join(few)}: a score on fewer than {FEW} images is worth little; {better}"]


def uneven_notes(problem: Problem, fold: np.ndarray) -> list[str]:
    """Say where groups make the mix of strata in the folds worse than the same images without groups.

    Args:
        fold: (N,) of the images of `problem`.
    """
    folds = problem.folds
    if not any(problem.groups):
        return []
    free = replace(problem, units=np.arange(len(fold)), groups=("",) * len(fold))
    try:
        if folds.scheme == "iterative":
            return _uneven_labels(problem, fold, FOLD_SCHEMES["iterative"](free).fold)
        if folds.scheme not in ("group", "stratified_group") or not any(problem.strata):
            return []
        alone = FOLD_SCHEMES["stratified"](free).fold
    except FoldsError:  # nothing to compare with
        return []
    with_groups = unevenness(problem.strata, fold)
    without = unevenness(problem.strata, alone)
    if with_groups < without + WORSE:
        return []
    return [
        f"groups make the folds less even: {with_groups:.0%} of a fold's images, on average, would have"
        f" to change their stratum for the mix of all; without groups {without:.0%} ({_sizes(fold)})"
    ]


def _uneven_labels(problem: Problem, fold: np.ndarray, alone: np.ndarray) -> list[str]:
    """The same for many labels an image: the label that is spread worst."""
    folds = problem.folds
    column = None if folds.stratify is None else problem.column(folds.stratify, "folds.stratify")
    labels, names = make_labels(problem.competition.task, problem.stats, folds.n_splits, column)
    if not names:
        return []
    with_groups, without = label_unevenness(labels, fold), label_unevenness(labels, alone)
    worst = int(with_groups.argmax())
    if with_groups[worst] < without.max() + WORSE:
        return []
    return [
        f"groups make the folds less even: {named_label(names[worst], problem.competition.classes)!r} is in"
        f" {with_groups[worst]:.0%} of a fold's images, on average, more or fewer than in all; without groups"
        f" no label is off by more than {without.max():.0%} ({_sizes(fold)})"
    ]


def named_label(label: str, classes: Sequence[str]) -> str:
    """A label of `make_labels` with the name of its class instead of its number."""
    head, _, number = label.rpartition("class ")
    if number.isdecimal() and int(number) < len(classes):
        return f"{head}{classes[int(number)]}"
    return label


def _sizes(fold: np.ndarray) -> str:
    return f"folds of {some(sorted(Counter(fold.tolist()).values()), 10)} images"


def label_unevenness(labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Of each label the mean over the folds of how far its share there is from its share in all.

    Args:
        labels: (N, L) bool; fold: (N,), negative ones are not counted.

    Returns:
        (L,) float64, 0 (every fold has the share of all) to 1.
    """
    whole = labels.mean(axis=0)
    apart = [np.abs(labels[fold == f].mean(axis=0) - whole) for f in np.unique(fold[fold >= 0])]
    return np.mean(apart, axis=0) if apart else np.zeros(labels.shape[1])


def unevenness(strata: Sequence[str], fold: np.ndarray) -> float:
    """Mean over the folds of the total variation distance between a fold's mix of strata and that of all.

    Args:
        strata: N names; fold: (N,), negative ones are not counted.

    Returns:
        0 (every fold has the mix of all) to 1 (nothing in common).
    """
    names, number = np.unique(np.array(strata, dtype=str), return_inverse=True)
    whole = np.bincount(number, minlength=len(names)) / len(number)
    apart = [
        0.5
        * np.abs(
            np.bincount(number[fold == f], minlength=len(names)) / (fold == f).sum() - whole
        ).sum()
        for f in np.unique(fold[fold >= 0])
    ]
    return float(np.mean(apart)) if apart else 0.0
