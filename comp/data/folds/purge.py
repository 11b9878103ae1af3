"""Ground on both sides of a fold: how much of it, and the training images left out so that there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from comp.data.folds.table import HELD_OUT, FoldTable
from comp.data.leaks.ground import Ground
from comp.data.leaks.words import many
from comp.errors import FoldsError


def purge_ground(table: FoldTable, ground: Ground) -> FoldTable:
    """Leave out of each fold's training the images that show ground of its validation or held-out images.

    Args:
        ground: of the images of `table`, in its order.

    Returns:
        the table with those in `left_out`, and a note; itself where there are none.

    Raises:
        FoldsError: a fold that nothing is left to train on.
    """
    held_out = [i for i, f in enumerate(table.fold) if f == HELD_OUT]
    left_out: list[list[int]] = [list(folds) for folds in table.left_out] or [[] for _ in table.ids]
    counts, shares = [], []
    for fold in range(table.n_folds):
        learnt = table.training(fold)
        share = ground.shared(learnt, table.validation(fold) + held_out)[0]
        gone = [i for i, part in zip(learnt, share.tolist(), strict=True) if part > 0]
        if len(gone) == len(learnt):
            raise FoldsError(
                f"fold {fold}: all {many(len(learnt), 'training image')} show ground that its validation images show;"
                f" {_fewer(table)}"
            )
        for i in gone:
            left_out[i].append(fold)
        counts.append(len(gone))
        shares.append(len(gone) / len(learnt))
    if not any(counts):
        return table
    mean = float(np.mean(shares))
    note = (
        f"images overlap on the ground: {_range(counts)} of each fold's training images ({mean:.0%} on"
        " average) show ground of its validation images and are left out of its training (column left_out)"
    )
    if mean > 1 / 3:
        note += f"; to lose fewer, {_fewer(table)}"
    made = tuple(tuple(sorted(set(folds))) for folds in left_out)
    return replace(table, left_out=made, notes=(*table.notes, note))


def _fewer(table: FoldTable) -> str:
    if table.n_splits > 2:
        return f"lower folds.n_splits below {table.n_splits}, for larger blocks"
    return "drop folds.group (--groups) and know that the score flatters"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def ground_on_both_sides(table: FoldTable, ground: Ground, at: Sequence[int]) -> tuple[int, float]:
    """How many images are scored by a model that learnt from ground they show.

    Args:
        at: the position in `ground` of each image of `table`.

    Returns:
        (images, the mean over them of the share of each that the training image nearest to it shows).
    """
    place = np.asarray(at, np.int64)
    most = np.zeros(len(place))
    parts = [(table.validation(f), table.training(f)) for f in range(table.n_folds)]
    held_out = [i for i, f in enumerate(table.fold) if f == HELD_OUT]
    if held_out:
        learnt = sorted({i for _, training in parts for i in training})
        parts.append((held_out, learnt))
    for scored, learnt in parts:
        share = ground.shared(place[scored].tolist(), place[learnt].tolist())[0]
        most[scored] = np.maximum(most[scored], share)
    shared = most[most > 0]
    return len(shared), float(shared.mean()) if len(shared) else 0.0
