"""The doctor's tables: text from plain values."""

from __future__ import annotations

from typing import Any

import pytest

from comp.plots.doctor_tables import (
    PROBLEM,
    fold_seconds,
    render_archs,
    render_catalogue,
    render_fact,
    render_trials,
)

DONE: dict[str, Any] = {
    "parameters": 14_328_209,
    "batch": [8, 3, 128, 128],
    "compute": "cpu bf16",
    "seconds_step": 0.25,
    "steps": 10,
    "epochs": 6,
    "seconds_val": 5.0,
    "peak_bytes": 2**30,
    "views": [31, 32, 32],
}


def built(error: str = "", size: int = 256) -> dict[str, Any]:
    return {"parameters": None if error else 5, "size": size, "error": error}


def test_a_fact_of_several_lines_stands_below_its_name() -> None:
    assert render_fact("data", "one\ntwo", PROBLEM) == "  WRONG data: one\n        two"


def test_time_is_steps_and_validation_of_every_fold_in_turn() -> None:
    assert fold_seconds(DONE) == pytest.approx(10 * 6 * 0.25 + 5)
    text = render_trials({"unet": DONE}, n_folds=5, n_slots=2)
    line = text.splitlines()[-1]
    assert "14.33 M" in line and "8x3x128x128" in line and "1.00 GiB" in line
    assert "31 of 32" in line and line.split()[-6:] == ["20.0", "s", "1", "min", "00", "s"]


def test_what_a_trial_did_not_come_to_is_a_dash() -> None:
    assert fold_seconds({"steps": 3, "epochs": 1}) is None
    line = render_trials({"broken": {}}, 3, 1).splitlines()[-1]
    assert line.split() == ["broken", *["-"] * 8]


def test_architectures_without_an_encoder_say_so() -> None:
    row = {
        "arch": "PlainUnet",
        "encoder": None,
        "parameters": 7_760_000,
        "stride": 16,
        "min_batch": 1,
        "error": "",
    }
    assert "(has none)" in render_archs([row]) and "7.76 M" in render_archs([row])


def test_the_catalogue_says_what_fits_and_why_the_rest_does_not() -> None:
    archs = ("Unet", "FPN", "DPT")
    encoders = [
        {
            "name": "resnet18",
            "parameters": 11_176_512,
            "strides": (2, 4),
            "built": {"Unet": built(), "FPN": built(), "DPT": built("needs a ViT")},
        },
        {
            "name": "vit",
            "parameters": None,
            "strides": (),
            "built": {"Unet": built("no pyramid"), "FPN": built("no pyramid"), "DPT": built()},
        },
        {
            "name": "swin",
            "parameters": 5,
            "strides": (4,),
            "built": {"Unet": built(size=224), "FPN": built(size=224), "DPT": built()},
        },
    ]
    text = render_catalogue(archs, encoders, [f"e{i}" for i in range(9)], 256)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["resnet18"].endswith("11.18 M  2 4      all but DPT")
    assert lines["vit"].endswith("DPT")
    assert lines["swin"].endswith("all; at 224 x 224 only, in DPT at any")
    assert "  no pyramid\n    (Unet on vit and 1 other pair)" in text
    assert "needs a ViT" not in text  # said once, in the table of architectures
    assert "not built yet: 9 encoders: e0, e1, e2, e3, e4, e5, e6, e7, ..." in text


def test_an_encoder_that_fits_nowhere() -> None:
    encoder = {"name": "odd", "parameters": None, "strides": (), "built": {"Unet": built("no")}}
    assert "none" in render_catalogue(["Unet"], [encoder], [], 256)
    assert render_catalogue(["Unet"], [], [], 256) == ""
