"""How even the folds are, as a text table."""

from __future__ import annotations

import numpy as np

from comp.config import Competition
from comp.data.fold_table import ALWAYS_TRAIN, HELD_OUT, FoldTable
from comp.data.stats import ImageStats


def balance_table(table: FoldTable, competition: Competition, stats: ImageStats) -> str:
    """Describe each fold: images, groups, mean coverage and empty images; with several classes, in how
    many images each occurs and its share of the valid pixels.

    Args:
        stats: of the images of `table`, in its order.
    """
    fold = np.array(table.fold)
    named = [(str(f), f) for f in range(table.n_splits)]
    named += [("train", ALWAYS_TRAIN), ("held out", HELD_OUT)]
    parts = [(name, np.flatnonzero(fold == f)) for name, f in named if f in table.fold]
    parts.append(("all", np.arange(len(fold))))
    groups = np.array(table.group)
    binary = competition.task == "binary"
    rows = [["fold", "images", "groups", *(["coverage"] if binary else []), "empty"]]
    empty = np.logical_not(stats.presence().any(axis=1))
    for name, part in parts:
        n_groups = len(set(groups[part]) - {""})
        coverage = [f"{stats.coverage()[part, 0].mean():.4f}"] if binary else []
        shown = str(n_groups) if n_groups else "-"
        rows.append([name, str(len(part)), shown, *coverage, str(int(empty[part].sum()))])
    lines = [
        f"{table.scheme}, seed {table.seed}, {table.n_splits} fold(s), {len(table.ids)} images, hash {table.hash}",
        *_aligned(rows),
    ]
    if not binary:
        lines += [
            "",
            "images with the class (and its share of valid pixels) by fold",
            *_aligned(_classes(parts, competition, stats)),
        ]
    return "\n".join([*lines, *table.notes])


def _classes(
    parts: list[tuple[str, np.ndarray]], competition: Competition, stats: ImageStats
) -> list[list[str]]:
    rows = [["class", *(name for name, _ in parts)]]
    for k, name in enumerate(competition.classes):
        cells = []
        for _, part in parts:
            share = stats.counts[part, k].sum() / max(1, int(stats.valid[part, k].sum()))
            cells.append(f"{int((stats.counts[part, k] > 0).sum())} ({share:.1%})")
        rows.append([name, *cells])
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
