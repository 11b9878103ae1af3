"""How even the folds are: as plain rows, and as a text table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from comp.config import Competition
from comp.data.cache.stats import ImageStats
from comp.data.folds.table import ALWAYS_TRAIN, HELD_OUT, FoldTable


@dataclass(frozen=True)
class Part:
    """One fold's validation images, or all that are always trained on, held out, or there at all.

    Args:
        name: the fold's number, train, held out, or all.
        n_train: images that the fold's model learns from; None for what is no fold.
        coverage: mean over the images of the foreground's share (binary), else nan.
        n_with: images that hold each class, (K,).
        share: of the valid pixels that is of each class, (K,).
        strata: stratum -> images.
    """

    name: str
    n_images: int
    n_groups: int
    n_empty: int
    n_train: int | None
    coverage: float
    n_with: tuple[int, ...]
    share: tuple[float, ...]
    strata: dict[str, int]


def fold_parts(table: FoldTable, competition: Competition, stats: ImageStats) -> list[Part]:
    """Describe each fold, then, where there are any, the images always trained on, those held out, and all.

    Args:
        stats: of the images of `table`, in its order.
    """
    fold = np.array(table.fold)
    parts = [
        (str(f), np.array(table.validation(f)), len(table.training(f)))
        for f in range(table.n_folds)
    ]
    rest = [("train", ALWAYS_TRAIN), ("held out", HELD_OUT)]
    described = [_part(table, competition, stats, *part) for part in parts]
    described += [
        _part(table, competition, stats, name, np.flatnonzero(fold == f), None)
        for name, f in rest
        if f in table.fold
    ]
    return [*described, _part(table, competition, stats, "all", np.arange(len(fold)), None)]


def _part(
    table: FoldTable,
    competition: Competition,
    stats: ImageStats,
    name: str,
    rows: np.ndarray,
    n_train: int | None,
) -> Part:
    presence = stats.presence()[rows]
    binary = competition.task == "binary"
    pixels, valid = stats.counts[rows].sum(axis=0), stats.valid[rows].sum(axis=0)
    groups = {table.group[i] for i in rows} - {""}
    strata, counts = np.unique([table.stratum[i] for i in rows], return_counts=True)
    return Part(
        name=name,
        n_images=len(rows),
        n_groups=len(groups),
        n_empty=int(np.logical_not(presence.any(axis=1)).sum()),
        n_train=n_train,
        coverage=float(stats.coverage()[rows, 0].mean()) if binary else float("nan"),
        n_with=tuple(int(n) for n in presence.sum(axis=0)),
        share=tuple(float(n) for n in pixels / np.maximum(valid, 1)),
        strata=dict(zip(map(str, strata), map(int, counts), strict=True)),
    )


def balance_table(table: FoldTable, competition: Competition, stats: ImageStats) -> str:
    """Describe each fold: images, groups, mean coverage and empty images; with several classes, in how
    many images each occurs and its share of the valid pixels; where folds are not trained on all the
    others, on how many images.

    Args:
        stats: of the images of `table`, in its order.
    """
    parts = fold_parts(table, competition, stats)
    binary = competition.task == "binary"
    head = ["fold", "images", "groups", *(["coverage"] if binary else []), "empty"]
    rows = [[*head, *(["trained on"] if table.left_out else [])]]
    for part in parts:
        rows.append([part.name, str(part.n_images), str(part.n_groups) if part.n_groups else "-"])
        rows[-1] += [f"{part.coverage:.4f}"] if binary else []
        rows[-1] += [str(part.n_empty)]
        if table.left_out:
            rows[-1] += ["" if part.n_train is None else str(part.n_train)]
    folds = f"{table.n_splits} fold(s)"
    if table.n_repeats > 1:
        folds = f"{table.n_repeats} repeats of {folds}"
    lines = [
        f"{table.scheme}, seed {table.seed}, {folds}, {len(table.ids)} images, hash {table.hash}",
        *_aligned(rows),
    ]
    if not binary:
        lines += [
            "",
            "images with the class (and its share of valid pixels) by fold",
            *_aligned(_classes(parts, competition)),
        ]
    return "\n".join([*lines, *table.notes])


def _classes(parts: list[Part], competition: Competition) -> list[list[str]]:
    rows = [["class", *(part.name for part in parts)]]
    for k, name in enumerate(competition.classes):
        rows.append([name, *(f"{part.n_with[k]} ({part.share[k]:.1%})" for part in parts)])
    return rows


def _aligned(rows: list[list[str]]) -> list[str]:
    """First column to the left, the others to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if c == 0 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
