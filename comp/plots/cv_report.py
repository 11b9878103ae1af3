"""Words and tables of a cross-validation and of the demo, from cv.json and recipe.json values as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comp.plots.selected import selected_on
from comp.plots.tables import cell, count_of, duration, markdown_table, markdown_text, text_table

WEIGHTS = ("best_metric", "best_loss", "last", "ema", "top", "soup", "snapshots")
ENSEMBLE_ROWS = {"as_fitted": "as fitted", "cross_fitted": "cross-fitted", "uniform": "uniform"}
PARTS = {"all": "key", "public": "public", "private": "private"}


def render_cv(cv: Mapping[str, Any]) -> str:
    """Write cv.md from the value of cv.json: folds, mean, std, pooled OOF, classes, views, weights, cost."""
    better = "higher" if cv["greater_is_better"] else "lower"
    parts = [
        f"# {cv['run']} on {cv['competition']}",
        f"**{cv['metric']}** ({better} is better): {summary(cv)}",
    ]
    if selected_on(cv):
        parts.append(f"**{markdown_text(selected_on(cv))}**")
    if not cv["complete"]:
        parts.append(
            f"**Incomplete**: {len(cv['folds'])} of {count_of(cv['n_folds'], 'fold')} done, missing: "
            f"{missing(cv)}; run `comp cv` again."
        )
    if cv["folds"]:
        parts += ["## Folds", markdown_table(*fold_table(cv))]
        parts.append(
            "Std is over folds (ddof 1); pooled OOF is the metric over all held-out images together, "
            f"predicted with views `{cv['views'][0]}` and weights `{cv['weights']}`." + repeats(cv)
        )
        parts += [
            "## Metrics, pooled OOF",
            markdown_table(["metric", "score"], list(cv["pooled_scores"].items())),
        ]
    if len(cv["classes"]) > 1 and cv["per_class"]:
        rows = [(name, cv["per_class"].get(name)) for name in cv["classes"]]
        parts += [
            f"## Classes, pooled OOF ({cv['metric']} of each alone)",
            markdown_table(["class", "score"], rows, "lr"),
        ]
    if len(cv.get("pooled_views") or {}) > 1:
        parts += [
            "## Test-time augmentation, pooled OOF",
            markdown_table(["views", cv["metric"]], list(cv["pooled_views"].items())),
        ]
    parts += _pseudo_part(cv) + _presence_part(cv) + _weights_part(cv) + _heldout_part(cv)
    cost = [
        ("parameters", cell(cv.get("n_parameters"))),
        ("time of all folds", duration(cv.get("seconds"))),
        ("precision", cell(cv.get("precision"))),
        ("config", cell(cv.get("config_hash"))),
        ("folds file", cell(cv.get("folds_hash"))),
    ]
    parts += ["## Cost and identity", markdown_table(["what", "value"], cost, "ll")]
    return "\n\n".join(parts) + "\n"


def render_cv_lines(cv: Mapping[str, Any]) -> str:
    """Say a cv.json in a few lines for a terminal: a table of the folds, then the summary."""
    head = f"{cv['run']}: {cv['metric']} {summary(cv)}"
    if not cv["complete"] and missing(cv):
        head += (
            f"\nincomplete, missing folds: {missing(cv)}; `comp cv` without --folds does the rest"
        )
    if not cv["folds"]:
        return head
    lines = [text_table(*fold_table(cv)), head]
    if selected_on(cv):
        lines.append(selected_on(cv))
    if repeats(cv):
        lines.append(repeats(cv).strip())
    weights = mean_by_weights(cv)
    others = [f"{name} {cell(score)}" for name, score in weights.items() if name != cv["weights"]]
    if others:
        lines.append(
            f"weights {cv['weights']}; mean over folds with the other weights: {', '.join(others)}"
        )
    if cv.get("n_parameters"):
        lines.append(
            f"{cv['n_parameters'] / 1e6:.2f} M parameters, {duration(cv.get('seconds'))} for all folds"
        )
    return "\n".join(lines)


def summary(cv: Mapping[str, Any]) -> str:
    """Mean, std and pooled OOF in one line."""
    spread = f" +- {cell(cv['std'])}" if cv.get("std") is not None else ""
    over = f"over {len(cv['folds'])} of {count_of(cv['n_folds'], 'fold')}"
    return f"mean {cell(cv['mean'])}{spread} {over}, pooled OOF {cell(cv['pooled'])}"


def repeats(cv: Mapping[str, Any]) -> str:
    """With repeated folds: how often an image counts; else nothing."""
    n_scored, n_images = n_predictions(cv), cv.get("n_images")
    if not n_images or n_scored == n_images:
        return ""
    return (
        f" Folds are repeated: {count_of(n_images, 'image')}, {n_scored} predictions. Each is scored by "
        "itself, by a model that did not see the image; repeats are not averaged."
    )


def n_predictions(cv: Mapping[str, Any]) -> int:
    """Out-of-fold predictions: each image once, or once a repeat."""
    return sum(row["n_images"] for row in cv["folds"])


def missing(cv: Mapping[str, Any]) -> str:
    """The folds that are not done; folds are numbered from 0."""
    done = {row["fold"] for row in cv["folds"]}
    return ", ".join(str(fold) for fold in range(cv["n_folds"]) if fold not in done)


def fold_table(cv: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Headers and rows: one a fold with the metric and the other scores, then mean, std and pooled OOF."""
    others = [name for name in cv["pooled_scores"] if name != cv["metric"]]
    headers = ["fold", cv["metric"], *others, "images", "best epoch", "epochs", "time"]
    rows: list[list[object]] = [
        [
            str(row["fold"]),
            row["score"],
            *(row["scores"].get(name) for name in others),
            row["n_images"],
            row["best_epoch"],
            row["epochs"],
            duration(row["seconds"]),
        ]
        for row in cv["folds"]
    ]
    blank = [""] * len(others)
    rows.append(["mean", cv["mean"], *blank, "", "", "", ""])
    rows.append(["std", cv["std"], *blank, "", "", "", ""])
    pooled = [cv["pooled_scores"][name] for name in others]
    rows.append(
        [
            "pooled OOF",
            cv["pooled"],
            *pooled,
            n_predictions(cv),
            "",
            "",
            duration(cv.get("seconds")),
        ]
    )
    return headers, rows


def mean_by_weights(cv: Mapping[str, Any]) -> dict[str, float | None]:
    """The mean over folds of the validation score of each kind of weights; None where a fold lacks it."""
    found: dict[str, float | None] = {}
    kinds = dict.fromkeys(kind for row in cv["folds"] for kind in (row.get("by_weights") or {}))
    for kind in sorted(
        kinds, key=lambda k: (k not in WEIGHTS, WEIGHTS.index(k) if k in WEIGHTS else 0, k)
    ):
        values = [(row.get("by_weights") or {}).get(kind) for row in cv["folds"]]
        numbers = [value for value in values if value is not None]
        found[kind] = sum(numbers) / len(numbers) if len(numbers) == len(values) else None
    return found


def mean_heldout(cv: Mapping[str, Any], metric: str) -> float | None:
    """The mean over folds of the score on held-out images, in the first views; None where a fold lacks it."""
    values: list[float | None] = []
    for row in cv.get("folds") or ():
        scores: Mapping[str, Mapping[str, float]] = row.get("heldout") or {}
        values.append(next(iter(scores.values()), {}).get(metric))
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


def _weights_part(cv: Mapping[str, Any]) -> list[str]:
    """The validation score of every kind of weights, since choosing the epoch on the scored fold flatters."""
    means = mean_by_weights(cv)
    if not means:
        return []
    folds = [str(row["fold"]) for row in cv["folds"]]
    rows = [
        [f"{kind} (used)" if kind == cv["weights"] else kind]
        + [(row.get("by_weights") or {}).get(kind) for row in cv["folds"]]
        + [mean]
        for kind, mean in means.items()
    ]
    table = markdown_table(["weights", *(f"fold {fold}" for fold in folds), "mean"], rows)
    note = (
        "Validation without test-time augmentation at the end of the epoch each was taken from. The epoch of "
        "`best_metric` is chosen on the very images it is scored on, which flatters; `last` chooses nothing."
    )
    if chosen := [f"`{kind}`" for kind in ("top", "soup") if kind in means]:
        note += f" So are the epochs of {' and '.join(chosen)}."
    if made := [f"`{kind}`" for kind in ("ema", "snapshots") if kind in means]:
        note += f" {' and '.join(made)}: a mean along the training, nothing chosen."
    return ["## Weights", table, note]


def _pseudo_part(cv: Mapping[str, Any]) -> list[str]:
    """Whose labels of the test images the run was trained with, and why its scores are still out of fold."""
    said = cv.get("pseudo")
    if not said:
        return []
    low, high = said["confidence"]
    kind = "run" if "run" in said else "ensemble"
    text = (
        f"Trained with pseudo-labels of the test images by {kind} `{said[kind]}`: "
        f"{said['share'] * 100:.3g} % of every batch, soft, pixels with probabilities between {low:g} and "
        f"{high:g} ignored. The model of fold k saw only what the source's models of fold k say, which "
        "were trained without fold k, so the scores above are out of fold as ever (the epoch that the "
        "source kept may be chosen on fold k, which flatters as it does above)."
    )
    if len(said["members"]) > 1:
        text += f" Mean, each alike, of: {', '.join(said['members'])}."
    return ["## Pseudo-labels", text]


def _presence_part(cv: Mapping[str, Any]) -> list[str]:
    """What the auxiliary classifier knows, beside what the masks' highest probability knows already."""
    said = cv.get("presence")
    if not said:
        return []
    rows = [
        [name, share, auc, peak]
        for name, share, auc, peak in zip(
            cv["classes"], said["share"], said["auc"], said["peak_auc"], strict=True
        )
    ]
    return [
        "## Which images have the class at all, pooled OOF",
        markdown_table(["class", "images with it", "classifier AUC", "highest pixel AUC"], rows),
        "The auxiliary classifier (`model.aux_params`) beside the highest probability of any pixel, which "
        "every model has: where the second is as good, the classifier tells nothing new.",
    ]


def _heldout_part(cv: Mapping[str, Any]) -> list[str]:
    """Scores on the images of fold -2, which nothing was chosen on."""
    rows: list[list[object]] = []
    for row in cv["folds"]:
        for views, scores in (row.get("heldout") or {}).items():
            rows.append(
                [str(row["fold"]), views, *(scores.get(name) for name in cv["pooled_scores"])]
            )
    if not rows:
        return []
    return [
        "## Held-out images (fold -2), chosen on by nothing",
        markdown_table(["fold", "views", *cv["pooled_scores"]], rows),
    ]


def render_demo(
    cvs: Sequence[Mapping[str, Any]],
    recipe: Mapping[str, Any],
    score: Mapping[str, Any],
    baseline: Mapping[str, Any],
) -> str:
    """Lay out the demo's last table: models, ensemble and threshold baseline, out of fold and on the key.

    Args:
        cvs: the cv.json values, all of one metric.
        recipe: the value of recipe.json: scores.as_fitted, .cross_fitted and .uniform are shown.
        score: what `comp score` found: scores.{all, public, private}.{metric}.
        baseline: what `threshold_baseline` returned: rule, train, the metric's name, public, private.
    """
    metric = cvs[0]["metric"]
    folds = list(dict.fromkeys(row["fold"] for cv in cvs for row in cv["folds"]))
    headers = [
        metric,
        *(f"fold {fold}" for fold in folds),
        "mean",
        "std",
        "pooled OOF",
        *PARTS.values(),
    ]
    blank = ["", "", ""]
    rows: list[list[object]] = []
    for cv in cvs:
        each = {row["fold"]: row["score"] for row in cv["folds"]}
        rows.append([cv["run"], *map(each.get, folds), cv["mean"], cv["std"], cv["pooled"], *blank])
    gap: list[object] = [""] * (len(folds) + 2)
    on_key = [score["scores"].get(part, {}).get(metric) for part in PARTS]
    for name, label in ENSEMBLE_ROWS.items():
        rows.append([f"ensemble, {label}", *gap, recipe["scores"].get(name), *blank])
    rows.append([f"submission ({recipe['chosen']})", *gap, "", *on_key])
    floor = [baseline.get(part) for part in (metric, "public", "private")]
    rows.append(["threshold baseline", *gap, baseline.get("train"), *floor])
    notes = [
        "pooled OOF: all held-out images together; the ensemble's honest one is cross-fitted.",
        f"threshold baseline: {baseline['rule']}; in its OOF column the score on the train masks it was fitted on.",
    ]
    return "\n".join([text_table(headers, rows, "l" + "r" * (len(headers) - 1)), "", *notes])
