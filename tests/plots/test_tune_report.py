"""Words, tables and pictures of a study, from plain rows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest

from comp.plots.tune_plots import plot_history, plot_importances, plot_pareto, plot_study
from comp.plots.tune_report import (
    SHOWN,
    TuneReport,
    best_first,
    code,
    render_tune,
    render_tune_lines,
    short_names,
    value_text,
)
from comp.tuning.confirm import Verdict
from comp.tuning.importance import Importances
from comp.tuning.rows import COMPLETE, FAIL, PRUNED, RUNNING, STALE, Row

LR, WEIGHT, ENCODER = "optim.lr", "loss.1.weight", "model.encoder_name"


def row(index: int, value: float | None, state: str = COMPLETE, **more: Any) -> Row:
    params = {LR: 0.001 * (index + 1), WEIGHT: 1.0 / (index + 1)}
    params[ENCODER] = '"resnet18"' if index % 2 else '"resnet34"'
    attrs: dict[str, Any] = {"seconds": 61.0 + index} | more.pop("attrs", {})
    if value is not None:
        attrs["scores"] = {"1": value - 0.01, "0": value + 0.01}
    values = None if value is None else [value]
    base = Row(index, index, state, params, values, 1, {}, attrs, {})
    return replace(base, **more)


ROWS = [
    row(0, 0.70),
    row(1, 0.75),
    row(2, 0.65),
    row(3, None, PRUNED, reported={(0, 1): 0.1, (0, 2): 0.2}),
    row(4, None, FAIL, attrs={"error": "image 'a|b' is `broken`\nsecond line"}),
    row(5, None, FAIL, attrs={"error": "image 'a|b' is `broken`\nthird line"}),
    row(6, None, PRUNED, over={"seconds": 12.0}),
    row(7, None, RUNNING, attrs={"seconds": None}),
    row(8, None, STALE, attrs={"seconds": None}),
    row(9, math.nan),
]
VERDICT = Verdict(
    True,
    1,
    0.0412,
    0.0031,
    0.001,
    0.691,
    "trial 1, the best of 3 run again, is 0.0412 +- 0.0031 better: real (p = 0.001)",
    {1: 0.7322, 2: 0.68},
    {1: (0.0412, 0.0031), 2: (-0.011, 0.0031)},
    (9,),
)


def report(**more: Any) -> TuneReport:
    base = TuneReport(
        study="unet-1",
        competition="demo",
        config="unet.yaml",
        objectives=("iou_image_mean",),
        greater_is_better=(True,),
        folds=(1, 0),
        epochs=6,
        rows=ROWS,
        space=(f"{LR}   0.0001 .. 0.01, log",),
        logs=frozenset({LR}),
        importances=Importances({LR: 0.91, WEIGHT: 0.09, ENCODER: 0.0}, None, 12),
        verdict=VERDICT,
        seeds=(5, 6, 7),
        tuned="configs/unet.tuned.yaml",
        next_command="comp cv --config unet.tuned.yaml",
        pictures=("history.png",),
        notes=("Study unet-1 goes on with --trials 60.",),
    )
    return replace(base, **more)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_page_has_everything() -> None:
    page = squeezed(render_tune(report()))
    for wanted in (
        "# Study unet-1: unet.yaml on demo",
        "**iou_image_mean** (higher is better), mean over folds 1, 0, 6 epochs each: 10 trials: "
        "4 complete, 1 pruned, 2 failed, 1 running, 1 waiting, 1 over a limit.",
        "Trial 1, the best of 3 run again, is 0.0412 +- 0.0031 better: real (p = 0.001).",
        "New seeds: 5, 6, 7.",
        "| untuned | 0.7000 | 0.6910 | | |",
        "| trial 1 | 0.7500 | 0.7322 | +0.0412 | 0.0031 |",
        "| trial 2 | 0.6500 | 0.6800 | -0.0110 | 0.0031 |",
        "| trial 9 | - | - | failed | - |",
        "| 1 | 0.7500 | 0.7400 | 0.7600 | 1 min 02 s | complete | lr=0.002 loss.1.weight=0.5 "
        "encoder_name=resnet18 |",
        "| 0 (untuned) | 0.7000 |",
        "| pruned at fold 0, epoch 2 |",
        "| over the limit of seconds |",
        "- `trial 4 and 1 more: image 'a|b' is 'broken'`",
        "| optim.lr | 91.0 % |",
        "PED-ANOVA over 12 complete trials",
        "- `optim.lr 0.0001 .. 0.01, log`",
        "![history](history.png)",
        "- Study unet-1 goes on with --trials 60.",
        "Written: `configs/unet.tuned.yaml`. `comp cv --config unet.tuned.yaml`",
    ):
        assert wanted in page
    for unwanted in ("Not shown", "Pareto", "No importances", "second line", "Not confirmed"):
        assert unwanted not in page


def test_the_terminal_says_it_too() -> None:
    lines = squeezed(render_tune_lines(report()))
    for wanted in (
        "1 0.7500 0.7400 0.7600 1 min 02 s complete lr=0.002 loss.1.weight=0.5 encoder_name=resnet18",
        "what mattered: optim.lr 91 %, loss.1.weight 9 %, model.encoder_name 0 %",
        "trial 1 0.7500 0.7322 +0.0412 0.0031",
        "Trial 1, the best of 3 run again,",
        "trial 4 and 1 more: image 'a|b' is `broken`",
        "written: configs/unet.tuned.yaml next: comp cv --config unet.tuned.yaml",
    ):
        assert wanted in lines


def test_without_confirming_and_importances() -> None:
    bare = report(
        verdict=None, importances=Importances(why="4 complete trials; at least 10 are needed")
    )
    page = squeezed(render_tune(bare))
    assert "Not confirmed: the best of many noisy scores flatters" in page
    assert "No importances: 4 complete trials; at least 10 are needed." in page
    lines = render_tune_lines(bare)
    assert "what mattered: 4 complete trials; at least 10 are needed" in lines
    assert "`--confirm 3`" in lines and "run again" not in lines
    empty = report(rows=(), verdict=None, tuned=None, next_command="")
    assert "6 epochs each: no trials." in render_tune(empty) and "next:" not in render_tune_lines(
        empty
    )


@pytest.mark.parametrize("up", [True, False])
def test_best_first_then_what_has_no_value(up: bool) -> None:
    order = [row.index for row in best_first(report(greater_is_better=(up,)))]
    assert order == [*([1, 0, 2] if up else [2, 0, 1]), 9, 6, 3, 4, 5, 7, 8]


def test_many_trials_are_cut_but_not_the_untuned_one() -> None:
    rows = [row(0, 0.1), *(row(n, 0.5 + n / 100) for n in range(1, 30))]
    page = render_tune(report(rows=rows, verdict=None))
    table = [line for line in page.splitlines() if "encoder_name=" in line]
    assert len(table) == SHOWN + 1 and "| 0 (untuned) |" in page
    assert f"Not shown: {30 - SHOWN - 1} trials: {30 - SHOWN - 1} complete." in page
    assert "| 29 " in page and "| 14 " not in page


def test_many_parameters_are_cut_in_the_terminal_only() -> None:
    rows = [row(1, 0.7, params={f"model.argument_{n}": 0.5 for n in range(12)})]
    many = report(rows=rows, verdict=None)
    assert "argument_11=0.5" in render_tune(many)
    line = render_tune_lines(many).splitlines()[2]
    assert line.endswith("…") and "argument_4=0.5" in line and len(line) < 200


def test_many_kinds_of_errors_are_cut() -> None:
    rows = [row(n, None, FAIL, attrs={"error": f"kind {n}"}) for n in range(5)]
    page = render_tune(report(rows=rows, verdict=None))
    assert "trial 2: kind 2" in page and "kind 3" not in page and "2 more kinds of errors" in page


def two_objectives() -> TuneReport:
    rows = [
        replace(r, values=[r.values[0], 100.0 - 10 * r.index]) if r.values else r for r in ROWS[:9]
    ]
    rows.append(row(9, None, values=[0.9, 1.0], over={"peak_bytes": 1.0}))
    return report(
        rows=rows,
        objectives=("iou_image_mean", "seconds"),
        greater_is_better=(True, False),
        front=(1, 2),
        verdict=None,
    )


def test_the_pareto_front_is_a_table() -> None:
    page = squeezed(render_tune(two_objectives()))
    assert "## Pareto front | trial | iou_image_mean | seconds | parameters |" in page
    assert "| 1 | 0.7500 | 90 | lr=0.002 loss.1.weight=0.5 encoder_name=resnet18 |" in page
    assert "No trial beats one of these in every objective at once." in page
    assert "Pareto front:" in render_tune_lines(two_objectives())
    assert "1 min" not in page  # the seconds are there once


def test_names_stay_apart() -> None:
    paths = [
        LR,
        WEIGHT,
        "augment.1.Blur.p",
        "loss.dice.weight",
        "model.size",
        "train.size",
        "schedule",
    ]
    short = short_names(paths)
    assert short == {
        LR: "lr",
        WEIGHT: WEIGHT,
        "augment.1.Blur.p": "Blur.p",
        "loss.dice.weight": "dice.weight",
        "model.size": "model.size",
        "train.size": "train.size",
        "schedule": "schedule",
    }


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.0012345, "0.00123"),
        (5, "5"),
        ('"resnet34"', "resnet34"),
        ("resnet34", "resnet34"),
        ('{"name": "poly", "power": 0.9}', "poly power=0.9"),
        ('{"name": "cosine"}', "cosine"),
        ("[1, 2]", "[1, 2]"),
        ("null", "null"),
        ("true", "True"),
        ("x" * 40, "x" * 27 + "…"),
    ],
)
def test_values_are_short(value: Any, wanted: str) -> None:
    assert value_text(value) == wanted


def test_markdown_shows_words_as_they_stand() -> None:
    assert code("a `b` *c*\nd") == "`a 'b' *c* d`"
    rows = [row(1, 0.7, params={"model.arch": '"*A|B*"'})]
    assert r"arch=\*A\|B\*" in render_tune(report(rows=rows, verdict=None))


def test_pictures_are_drawn_the_same_every_time(tmp_path: Path) -> None:
    first = plot_study(two_objectives(), tmp_path / "a")
    again = plot_study(two_objectives(), tmp_path / "b")
    names = ["history.png", "importances.png", "slices.png", "pareto.png"]
    assert [path.name for path in first] == names
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(names)
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        drawn = cv2.imread(str(one))
        assert drawn is not None and drawn.std() > 5 and drawn.shape[1] >= 560


def test_pictures_of_little(tmp_path: Path) -> None:
    """One trial; a study where only the untuned one is complete; none at all."""
    bare = report(importances=Importances(why="few"), verdict=None)
    alone = plot_study(replace(bare, rows=[row(0, 0.7), row(1, None, FAIL)]), tmp_path / "a")
    assert [path.name for path in alone] == ["history.png", "slices.png"]
    assert plot_study(replace(bare, rows=[row(0, None, FAIL)]), tmp_path / "b") == []
    without = replace(row(0, 0.7), params={})
    assert [p.name for p in plot_study(replace(bare, rows=[without]), tmp_path / "c")] == [
        "history.png"
    ]
    with pytest.raises(ValueError, match=r"importances\.png: no importances to draw"):
        plot_importances(bare, tmp_path / "importances.png")
    with pytest.raises(ValueError, match=r"pareto\.png: a Pareto front needs two objectives"):
        plot_pareto(bare, tmp_path / "pareto.png")


def test_an_early_pruned_value_does_not_squeeze_the_rest(tmp_path: Path) -> None:
    """Its mark lies on the edge: where it was pruned changes no pixel once it is far below."""
    pictures = []
    for value in (0.01, -50.0):
        rows = [*ROWS[:3], row(3, None, PRUNED, reported={(0, 1): value})]
        rows.append(row(4, None, PRUNED, reported={(0, 1): value}, over={"seconds": 1.0}))
        path = plot_history(report(rows=rows), tmp_path / f"{value}.png")
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1]
