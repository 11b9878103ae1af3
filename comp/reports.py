"""Gathers what a finished run left and has `plots` draw it: cv.json, cv.md, curves, best and worst pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.config import Competition, Tuned
from comp.data.cache.cache import Cache
from comp.files import Workspace, commit
from comp.masks.decide import decide
from comp.metrics.scores import image_scores
from comp.plots.curves import plot_learning_curves
from comp.plots.cv_report import render_cv
from comp.plots.pictures import Case, plot_cases
from comp.store import Probs, Run, read_counts, read_csv, read_run
from comp.store.cv import summarise, write_cv
from comp.store.history import note_run

N_CASES = 6  # best and worst pictures shown


def write_cv_report(
    workspace: Workspace,
    competition: Competition,
    name: str,
    folds: Sequence[int],
    metrics: Sequence[str],
    truth: Cache,
    forgive: bool = False,
    tuned: Tuned | None = None,
) -> dict[str, Any]:
    """Write cv.json, cv.md, curves.png, best.png and worst.png of a run, and return cv.json's value.

    Args:
        forgive: a fold that another process is writing counts as not done, instead of an error.
        tuned: which folds the values of its config were chosen on; None: what the last report of this
            very run said of it.
    """
    run = read_run(workspace, name, forgive)
    cv = summarise(run, competition, folds, metrics, tuned or earlier_selection(run))
    write_cv(run, cv)
    note_run(workspace, name)
    commit(run.dir / "cv.md", render_cv(cv))
    if run.folds:
        best = {fold: result["best_epoch"] for fold, result in run.folds.items()}
        plot_learning_curves(
            read_histories(run), run.dir / "curves.png", f"{name}: learning curves", best
        )
        write_cases(run, competition, cv["views"][0], truth)
    return cv


def earlier_selection(run: Run) -> Tuned | None:
    """The mark that the last report bore, where it was over this very run."""
    said = (run.cv or {}).get("tuned")
    if run.cv is None or said is None or run.cv.get("config_hash") != run.config_hash:
        return None
    return Tuned(**{key: said[key] for key in Tuned.model_fields if key in said})


def read_histories(run: Run) -> dict[int, list[dict[str, float]]]:
    """history.csv of every finished fold as numbers; blank cells are left out."""
    return {
        fold: [
            {k: float(v) for k, v in row.items() if v != ""}
            for row in read_csv(run.dir / f"fold{fold}" / "history.csv")
        ]
        for fold in run.folds
    }


def write_cases(run: Run, competition: Competition, views: str, truth: Cache) -> None:
    """Draw the best and the worst out-of-fold pictures by mean IoU over their classes, each image once."""
    found: list[tuple[float, str, int]] = []
    for fold in run.folds:
        ids, counts = read_counts(
            run.dir / f"fold{fold}" / f"oof.{views}.counts.csv", competition.n_classes
        )
        ious = np.where(counts[:, :, :3].any(axis=2), image_scores(counts)["iou"], np.nan)
        # An image without any class in truth or prediction is perfect: score 1.
        scores = [float(np.nanmean(row)) if np.isfinite(row).any() else 1.0 for row in ious]
        found += [(s, i, fold) for s, i in zip(scores, ids, strict=True)]
    found.sort()
    for name, ordered in (("worst", found), ("best", found[::-1])):
        once: dict[
            str, tuple[float, str, int]
        ] = {}  # with repeated folds: the first, which is the extreme
        for case in ordered:
            once.setdefault(case[1], case)
        chosen = list(once.values())[:N_CASES]
        cases = []
        for score, image_id, fold in chosen:
            number = truth.number(image_id)
            image, labels, step = truth.glance(number)
            mask = decide(_glance(run.oof(fold, views), image_id, step), competition.task)
            if labels is not None:
                cases.append(Case(f"{image_id} (fold {fold})", image, labels, mask, score))
        plot_cases(
            cases, run.dir / f"{name}.png", task=competition.task, classes=competition.classes
        )


def _glance(probs: Probs, image_id: str, step: int) -> np.ndarray:
    """Every step-th row and column of stored probabilities, read as `Cache.glance` reads the image."""
    if step == 1:
        return probs.read(image_id)
    height = probs.shape(image_id)[1]
    chunk = step * 64
    parts = [
        probs.read_rows(image_id, top, min(height, top + chunk))[:, ::step, ::step].copy()
        for top in range(0, height, chunk)
    ]
    return np.concatenate(parts, axis=1)
