"""cv.md, the terminal lines and the demo's last table, from values shaped like cv.json and recipe.json."""

from __future__ import annotations

from typing import Any

from comp.plots.cv_report import (
    mean_by_weights,
    mean_heldout,
    render_cv,
    render_cv_lines,
    render_demo,
)


def fold(number: int, score: float | None, **more: Any) -> dict[str, Any]:
    row = {
        "fold": number,
        "score": score,
        "n_images": 20,
        "best_epoch": 9,
        "epochs": 10,
        "seconds": 27.31,
        "scores": {"iou_image_mean": score, "dice_image_mean": 0.85},
        "by_weights": {"last": 0.6, "best_metric": 0.7, "best_loss": 0.65},
        "heldout": None,
    }
    return row | more


def report(**more: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "run": "unet_small",
        "competition": "demo",
        "task": "binary",
        "classes": ["roof"],
        "metric": "iou_image_mean",
        "greater_is_better": True,
        "config_hash": "c0ffee",
        "folds_hash": "f01d",
        "n_folds": 2,
        "folds": [fold(0, 0.7), fold(1, 0.8)],
        "mean": 0.75,
        "std": 0.0707,
        "pooled": 0.7512,
        "pooled_scores": {"iou_image_mean": 0.7512, "dice_image_mean": 0.85},
        "pooled_views": {"none": 0.7512},
        "per_class": {"roof": 0.7512},
        "n_parameters": 488001,
        "precision": "float32",
        "seconds": 54.6,
        "views": ["none"],
        "weights": "best_metric",
        "complete": True,
    }
    return value | more


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_page_has_every_number() -> None:
    page = squeezed(render_cv(report()))
    for wanted in (
        "# unet_small on demo",
        "**iou_image_mean** (higher is better): mean 0.7500 +- 0.0707 over 2 of 2 folds, pooled OOF 0.7512",
        "| 0 | 0.7000 | 0.8500 | 20 | 9 | 10 | 27.3 s |",
        "| mean | 0.7500 | | | | | |",
        "| std | 0.0707 |",
        "| pooled OOF | 0.7512 | 0.8500 | 40 | | | 54.6 s |",
        "| dice_image_mean | 0.8500 |",
        "| best_metric (used) | 0.7000 | 0.7000 | 0.7000 |",
        "| last | 0.6000 | 0.6000 | 0.6000 |",
        "| parameters | 488,001 |",
        "| config | c0ffee |",
        "| folds file | f01d |",
    ):
        assert wanted in page
    for unwanted in ("Incomplete", "## Classes", "## Test-time", "## Held-out"):
        assert unwanted not in page


def test_classes_views_and_held_out_images_where_there_are_any() -> None:
    heldout = {"none": {"iou_image_mean": 0.66, "dice_image_mean": 0.77}}
    page = squeezed(
        render_cv(
            report(
                classes=["land", "water", "road"],
                per_class={"land": 0.9, "water": None, "road": 0.4},
                pooled_views={"none": 0.75, "d4": 0.77},
                folds=[fold(0, 0.7, heldout=heldout)],
                greater_is_better=False,
            )
        )
    )
    for wanted in (
        "(lower is better)",
        "| land | 0.9000 | | water | - | | road | 0.4000 |",
        "| d4 | 0.7700 |",
        "## Held-out images (fold -2)",
        "| 0 | none | 0.6600 | 0.7700 |",
    ):
        assert wanted in page


def test_an_incomplete_run_says_so() -> None:
    some = render_cv(report(folds=[fold(0, 0.7)], complete=False, std=None))
    assert "**Incomplete**: 1 of 2 folds done, missing: 1; run `comp cv` again." in some
    assert "mean 0.7500 over 1 of 2 folds" in some
    nothing = report(
        folds=[],
        complete=False,
        mean=None,
        std=None,
        pooled=None,
        pooled_scores={},
        per_class={},
        views=[],
        weights=None,
    )
    assert "mean - over 0 of 2 folds" in render_cv(nothing) and "## Folds" not in render_cv(nothing)
    assert (
        render_cv_lines(nothing)
        == "unet_small: iou_image_mean mean - over 0 of 2 folds, pooled OOF -\n"
        "incomplete, missing folds: 0, 1; `comp cv` without --folds does the rest"
    )


def test_the_terminal_lines() -> None:
    lines = render_cv_lines(report()).splitlines()
    assert lines[0].split() == [
        "fold",
        "iou_image_mean",
        "dice_image_mean",
        "images",
        "best",
        "epoch",
        "epochs",
        "time",
    ]
    assert (
        lines[-3]
        == "unet_small: iou_image_mean mean 0.7500 +- 0.0707 over 2 of 2 folds, pooled OOF 0.7512"
    )
    assert (
        "best_metric; mean over folds with the other weights: best_loss 0.6500, last 0.6000"
        in lines[-2]
    )
    assert lines[-1] == "0.49 M parameters, 54.6 s for all folds"


def test_weights_missing_in_a_fold_have_no_mean() -> None:
    folds = [fold(0, 0.7), fold(1, 0.8, by_weights={"best_metric": 0.8, "last": None, "ema": 0.7})]
    found = mean_by_weights(report(folds=folds))
    assert list(found.items()) == [
        ("best_metric", 0.75),
        ("best_loss", None),
        ("last", None),
        ("ema", None),
    ]


def test_the_demo_table() -> None:
    other = report(run="fpn_small", folds=[fold(0, 0.6), fold(1, 0.7)], mean=0.65, pooled=0.6512)
    recipe = {
        "chosen": "fitted",
        "scores": {"as_fitted": 0.79, "cross_fitted": 0.78, "uniform": 0.77, "used": 0.78},
    }
    score = {
        "scores": {
            part: {"iou_image_mean": 0.7 + n / 10}
            for n, part in enumerate(("all", "public", "private"))
        }
    }
    baseline = {
        "rule": "84 <= excess_green < 128",
        "train": 0.27,
        "iou_image_mean": 0.295,
        "dice_image_mean": 0.42,
        "public": 0.31,
        "private": 0.288,
    }
    table = render_demo([report(), other], recipe, score, baseline)
    lines = [line.split() for line in table.splitlines()]
    assert (
        " ".join(lines[0]) == "iou_image_mean fold 0 fold 1 mean std pooled OOF key public private"
    )
    assert lines[2:9] == [
        ["unet_small", "0.7000", "0.8000", "0.7500", "0.0707", "0.7512"],
        ["fpn_small", "0.6000", "0.7000", "0.6500", "0.0707", "0.6512"],
        ["ensemble,", "as", "fitted", "0.7900"],
        ["ensemble,", "cross-fitted", "0.7800"],
        ["ensemble,", "uniform", "0.7700"],
        ["submission", "(fitted)", "0.7000", "0.8000", "0.9000"],
        ["threshold", "baseline", "0.2700", "0.2950", "0.3100", "0.2880"],
    ]
    assert "threshold baseline: 84 <= excess_green < 128" in table


def test_what_was_not_scored_is_a_dash() -> None:
    recipe: dict[str, Any] = {"chosen": "single", "scores": {}}
    score: dict[str, Any] = {"scores": {}}
    baseline = {"rule": "none", "train": 0.2}
    table = render_demo([report()], recipe, score, baseline)
    assert "submission (single)" in table and "nan" not in table.lower()


def test_one_fold_is_one_fold_and_missing_ones_are_named() -> None:
    one = render_cv_lines(report(folds=[fold(0, 0.7)], n_folds=1, std=None))
    assert "over 1 of 1 fold, pooled" in one and "missing" not in one
    some = render_cv_lines(report(folds=[fold(1, 0.7)], n_folds=4, complete=False))
    assert "incomplete, missing folds: 0, 2, 3; `comp cv` without --folds does the rest" in some


def test_the_held_out_score_of_a_run_is_the_mean_over_its_folds() -> None:
    scores = [{"none": {"m": 0.5}, "d4": {"m": 0.9}}, {"none": {"m": 0.7}}]
    folds = [fold(k, 0.7, heldout=scores[k]) for k in (0, 1)]
    assert mean_heldout(report(folds=folds), "m") == 0.6
    assert mean_heldout(report(folds=folds), "other") is None
    assert mean_heldout(report(folds=[folds[0], fold(1, 0.7)]), "m") is None
    assert mean_heldout({}, "m") is None


def test_pseudo_labels_are_told() -> None:
    said = {"share": 0.25, "confidence": [0.1, 0.9], "members": {"first (none)": {}}}
    assert "Pseudo" not in render_cv(report())
    text = render_cv(report(pseudo={**said, "run": "first"}))
    assert "## Pseudo-labels" in text and "by run `first`: 25 % of every batch" in text
    assert "between 0.1 and 0.9 ignored" in text and "Mean, each alike" not in text
    two = {"first (none)": {}, "other (d4)": {}}
    text = render_cv(report(pseudo={**said, "ensemble": "both", "members": two}))
    assert "by ensemble `both`" in text and "of: first (none), other (d4)." in text
