"""Worth of members, intervals and errors in common: tables in the terminal and the report, and the picture."""

from __future__ import annotations

from typing import Any

import cv2

from comp.plots.ensemble_plots import plot_errors
from comp.plots.ensemble_tables import render_ensemble, render_ensemble_lines
from comp.plots.ensemble_values import adds, limits, parts, render_worth, seconds

RECIPE: dict[str, Any] = {
    "name": "e",
    "competition": "toy",
    "task": "binary",
    "folds": (0, 1),
    "n_images": 9,
    "created": "2026-01-01T00:00:00Z",
    "metric": "iou_image_mean",
    "chosen": "fitted",
    "method": "greedy",
    "reason": "it gains",
    "thresholds": (0.47,),
    "min_area_px": 0,
    "members": [
        {"run": "a|b", "views": "d4", "weight": 3},
        {"run": "c", "views": "d4", "weight": 1},
    ],
    "scores": {
        "as_fitted": 0.8123,
        "cross_fitted": 0.8012,
        "uniform": 0.8,
        "best_single": 0.7,
        "used": 0.8,
        "singles": {"a|b": 0.7, "c": 0.6},
        "errors": {},
        "per_class": {},
        "uniform_as_fitted": 0.8125,
        "best_single_as_fitted": 0.75,
        "heldout": None,
    },
}


def judged() -> dict[str, Any]:
    empty: dict[str, Any] = {"without": None, "value": None, "error": None}
    return {
        "intervals": {
            "as_fitted": [0.79, 0.83],
            "cross_fitted": [0.781, 0.822],
            "uniform": [0.78, 0.82],
            "best_single": None,
        },
        "optimism": {"value": 0.0111, "interval": [-0.001, 0.023]},
        "members": [
            {
                "run": "a|b",
                "views": "d4",
                "parts": [0.7, 0.85],
                "without": 0.79,
                "value": 0.0112,
                "error": 0.004,
                "seconds_an_image": 0.05,
                "value_a_second": 0.224,
            },
            {"run": "c", "views": "d4", "parts": [0.3, 0.15], "seconds_an_image": None, **empty}
            | {"value_a_second": None},
        ],
        "left_out": {"score": 0.8012, "n_members": 1, "n_images": 9},
        "views": [
            {"run": "a|b", "views": "none", "score": 0.69, "seconds_an_image": 0.01},
            {"run": "a|b", "views": "d4", "score": 0.7, "seconds_an_image": 0.05},
            {"run": "c", "views": "d4", "score": 0.6, "seconds_an_image": None},
        ],
        "errors": {
            "runs": ["a|b", "c"],
            "wrong": [0.031, 0.052],
            "correlation": [[1.0, 0.43], [0.43, None]],
            "n_pixels": 12345,
            "n_images": 9,
        },
    }


def row_of(text: str, start: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(start)).split()


def test_the_terminal_shows_intervals_optimism_worth_and_price() -> None:
    text = render_ensemble_lines(RECIPE, judged())
    assert row_of(text, "cross-fitted") == ["cross-fitted", "0.8012", "0.7810", "to", "0.8220"]
    assert row_of(text, "best single")[-1] == "-"
    assert row_of(text, "optimism") == ["optimism", "+0.0111", "-0.0010", "to", "+0.0230"]
    assert row_of(text, "a|b") == ["a|b", "0.7000", "75", "%", "+0.0112", "±", "0.0040", "0.0500"]
    assert row_of(text, "c ") == ["c", "0.6000", "25", "%", "-", "-"]


def test_the_report_shows_what_members_and_views_are_worth_and_cost() -> None:
    text = render_ensemble(RECIPE, [], [], judged())
    assert "| optimism" in text and "-0.0010 to +0.0230" in text and "0.7900 to 0.8300" in text
    worth = next(line for line in text.split("## Worth")[1].splitlines() if "a\\|b" in line)
    assert [c.strip() for c in worth.replace("\\|", "/").split("|")[1:-1]] == [
        *("a/b", "75 %", "70 % to 85 %", "0.7900", "+0.0112 ± 0.0040", "0.0500", "+0.224")
    ]
    assert "| a\\|b | none  | 0.6900 |           0.0100 |" in text
    assert "over 12,345 decisions on 9 images" in text and "![correlation of errors]" in text
    assert "3.1 %" in text and "0.43" in text
    assert "## Worth" not in render_ensemble(RECIPE, [], [])


def test_one_set_of_views_each_needs_no_table_of_views_and_one_member_no_map() -> None:
    plain = judged()
    plain["views"] = plain["views"][1:]
    assert "## Views" not in "\n".join(render_worth(plain, {}))
    plain["errors"]["runs"] = ["a|b"]
    assert "## Errors in common" not in "\n".join(render_worth(plain, {}))


def test_many_members_are_in_the_picture_only() -> None:
    plain = judged()
    names = [f"m{i}" for i in range(13)]
    plain["errors"] |= {"runs": names, "wrong": [0.1] * 13, "correlation": [[0.5] * 13] * 13}
    text = "\n".join(render_worth(plain, {}))
    assert "![correlation of errors]" in text and "| m3" not in text


def test_small_words() -> None:
    assert limits(None) == "-" and limits([0.1, 0.2]) == "0.1000 to 0.2000"
    assert adds({"value": 0.1, "error": None}) == "+0.1000"
    assert seconds(0.01234) == "0.0123" and seconds(12.34) == "12.34" and seconds(None) == "-"
    assert parts([]) == "-"


def test_the_map_is_drawn_whatever_the_number_and_the_names(tmp_path) -> None:
    for n, name in ((2, "run_with_$x^2$_and_a_name_of_many_more_letters_than_fit"), (25, "m")):
        matrix = [[1.0 if i == j else 0.4 for j in range(n)] for i in range(n)]
        matrix[0][1] = None
        path = plot_errors(
            {"runs": [f"{name}{i}" for i in range(n)], "correlation": matrix},
            tmp_path / f"{n}.png",
        )
        image = cv2.imread(str(path))
        assert image is not None and image.std() > 10
        again = plot_errors(
            {"runs": [f"{name}{i}" for i in range(n)], "correlation": matrix},
            tmp_path / "again.png",
        )
        assert again.read_bytes() == path.read_bytes()
