"""cv.json: what the folds of a run say together. Pooled scores come from counts, never from fold scores.

With repeated folds an image is predicted, and scored, once a repeat, each time by a model that did not see
it: pooled scores, thresholds and weights are over all of these; probabilities of repeats are never averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.config import Competition, Tuned
from comp.files import write_json
from comp.metrics.scores import find_metric, per_class, score_counts
from comp.store.presence import Presence, presence_file, presence_scores, read_presence
from comp.store.runs import Run, read_counts


def summarise(
    run: Run,
    competition: Competition,
    folds: Sequence[int],
    metrics: Sequence[str],
    tuned: Tuned | None = None,
) -> dict[str, Any]:
    """Build the value of cv.json from the folds that are done.

    Args:
        folds: the folds the run must have to be complete.
        metrics: reported beside the competition's own, which comes first.
        tuned: which folds the values of the config were chosen on; None: on none.

    Returns:
        per fold scores, mean and std (ddof 1) over folds, pooled OOF scores over all images, per class.
    """
    metric = find_metric(competition.metric_name)
    names = [metric.name, *(m for m in metrics if m != metric.name)]
    done = [run.folds[k] for k in folds if k in run.folds]
    rows, all_counts, ids = [], [], []
    views = list(done[0]["views"]) if done else []
    for result in done:
        path = run.dir / f"fold{result['fold']}" / f"oof.{views[0]}.counts.csv"
        held, counts = read_counts(path, competition.n_classes)
        all_counts.append(counts)
        ids += held
        rows.append(
            {
                "fold": result["fold"],
                "score": finite(score_counts(metric.name, counts)),
                "n_images": result["n_images"],
                "best_epoch": result["best_epoch"],
                "epochs": result["epochs"],
                "seconds": result["seconds"],
                "scores": {m: finite(score_counts(m, counts)) for m in names},
                "by_weights": result["scores"],
                "heldout": result.get("heldout"),
            }
        )
    pooled = (
        np.concatenate(all_counts)
        if all_counts
        else np.zeros((0, competition.n_classes, 4), np.int64)
    )
    scores = [row["score"] for row in rows if row["score"] is not None]
    return {
        "run": run.name,
        "competition": competition.name,
        "task": competition.task,
        "classes": list(competition.classes),
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "config_hash": run.config_hash,
        "folds_hash": done[0]["folds_hash"] if done else None,
        "n_folds": len(folds),
        "n_images": len(set(ids)),
        "folds": rows,
        "mean": finite(float(np.mean(scores))) if scores else None,
        "std": finite(float(np.std(scores, ddof=1))) if len(scores) > 1 else None,
        "pooled": finite(score_counts(metric.name, pooled)) if rows else None,
        "pooled_scores": {m: finite(score_counts(m, pooled)) for m in names} if rows else {},
        "pooled_views": pooled_views(run, competition, done, views),
        "per_class": dict(
            zip(competition.classes, map(finite, per_class(metric.name, pooled)), strict=True)
        )
        if rows
        else {},
        "n_parameters": done[0]["n_parameters"] if done else None,
        "precision": done[0]["precision"] if done else None,
        "seconds": None
        if any(row["seconds"] is None for row in rows)
        else round(sum(row["seconds"] for row in rows), 1),
        "views": views,
        "weights": done[0]["weights"] if done else None,
        "complete": len(done) == len(folds) and bool(folds),
        **pooled_presence(run, competition, done, views),
        **(
            {}
            if run.pseudo is None
            else {"pseudo": {**run.pseudo, **run.config["train"]["pseudo"]}}
        ),
        **(
            {}
            if tuned is None
            else {"tuned": selection(tuned, competition.folds.n_repeats, folds, rows, done)}
        ),
    }


def selection(
    tuned: Tuned,
    n_repeats: int,
    folds: Sequence[int],
    rows: Sequence[dict[str, Any]],
    done: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Which folds the config was chosen on, and what the others say, whose images had no part in it.

    Args:
        rows: of cv.json, of the folds that are `done`.

    Returns:
        what `tuned` says; same_folds: whether its folds are those of this run; unused: the folds whose
        images no choice saw, unused_mean: of those done; again: of other repeats, with the same images.
    """
    a_repeat = max(1, len(folds) // n_repeats)
    others = [fold for fold in folds if fold not in tuned.folds]
    unused = [f for f in others if {t // a_repeat for t in tuned.folds} == {f // a_repeat}]
    scores = [row["score"] for row in rows if row["fold"] in unused and row["score"] is not None]
    return {
        **tuned.model_dump(mode="json"),
        "same_folds": all(result["folds_hash"] == tuned.folds_hash for result in done),
        "unused": unused,
        "unused_done": len(scores),
        "unused_mean": finite(float(np.mean(scores))) if scores else None,
        "again": [fold for fold in others if fold not in unused],
    }


def pooled_views(
    run: Run, competition: Competition, done: list[dict[str, Any]], views: list[str]
) -> dict[str, Any]:
    """The pooled competition metric of every stored set of views."""
    scores = {}
    for name in views:
        parts = [
            read_counts(
                run.dir / f"fold{r['fold']}" / f"oof.{name}.counts.csv", competition.n_classes
            )[1]
            for r in done
        ]
        scores[name] = finite(score_counts(competition.metric_name, np.concatenate(parts)))
    return scores


def pooled_presence(
    run: Run, competition: Competition, done: list[dict[str, Any]], views: list[str]
) -> dict[str, Any]:
    """How well an auxiliary classifier finds images with a class, out of fold; nothing where there is none."""
    paths = [presence_file(run.dir / f"fold{r['fold']}", "oof", views[0]) for r in done]
    if not paths or not all(path.name in r["files"] for path, r in zip(paths, done, strict=True)):
        return {}
    said = [read_presence(path, competition.n_classes) for path in paths]
    present = []
    for path, one in zip(paths, said, strict=True):
        table = path.with_name(path.name.replace(".presence.", ".counts."))
        ids, counts = read_counts(table, competition.n_classes)
        number = {image_id: n for n, image_id in enumerate(ids)}
        with_pixels = (counts[..., 0] + counts[..., 2]) > 0  # tp + fn: the truth has pixels
        present.append(with_pixels[[number[image_id] for image_id in one.ids]])
    whole = Presence(
        sum((one.ids for one in said), ()),
        np.concatenate([one.presence for one in said]),
        np.concatenate([one.peak for one in said]),
    )
    return {"presence": presence_scores(whole, np.concatenate(present))}


def finite(value: float | None) -> float | None:
    """`value`, or None where it is not a number: JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


def write_cv(run: Run, cv: dict[str, Any]) -> None:
    """Commit cv.json."""
    write_json(run.dir / "cv.json", cv)
