"""Tables of ensembles and of the leaderboard from plain values."""

from __future__ import annotations

from typing import Any

from comp.plots.ensemble_tables import (
    cuts,
    render_empty,
    render_ensemble,
    render_ensemble_lines,
    render_leaderboard,
    settings,
    share,
)

MEMBERS = [{"run": "a|b", "views": "d4", "weight": 2}, {"run": "c", "views": "none", "weight": 1}]


def recipe() -> dict[str, Any]:
    return {
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
        "thresholds": (0.4705,),
        "min_area_px": 16,
        "members": MEMBERS,
        "scores": {
            "as_fitted": 0.81234,
            "cross_fitted": None,
            "uniform": 0.8,
            "best_single": 0.7,
            "used": 0.8,
            "singles": {"a|b": 0.7, "c": 0.6, "left": 0.1},
            "errors": {"fitted over uniform": (-0.01, None)},
            "per_class": {"roof": 0.8},
            "uniform_as_fitted": 0.8125,
            "best_single_as_fitted": 0.75,
            "heldout": None,
        },
    }


def test_terminal_lines() -> None:
    text = render_ensemble_lines(recipe())
    assert "0.8123" in text and "66.7 %" in text and "0 %" in text
    cross = next(line for line in text.splitlines() if line.startswith("cross-fitted"))
    assert cross.split()[1] == "-"
    assert "used: fitted (weights greedy, threshold 0.47, objects below 16 px removed)" in text


def test_report() -> None:
    part = {
        "name": "fold 1",
        "n_images": 4,
        "score": 0.5,
        "weights": {"a|b (d4)": "100 %"},
        "thresholds": None,
        "clean_up": ["holes filled", "only the largest object kept"],
        "method": "uniform",
    }
    text = render_ensemble(recipe(), [part], ["a note"])
    assert "holes filled; only the largest object kept" in text
    for piece in ("# Ensemble e", "It gains.", "-0.0100", "a\\|b", "| left", "fold 1", "- a note"):
        assert piece in text
    assert "Fitted without each part" not in render_ensemble(recipe(), [], [])


def test_the_final_score_is_shown_where_there_is_one() -> None:
    plain = recipe()
    assert "held out |" not in render_ensemble(plain, [], [])
    plain["scores"]["heldout"] = {"iou_image_mean": 0.6543, "n_images": 7}
    text = render_ensemble(plain, [], [])
    assert "0.6543" in text and "on 7 images that nothing was trained or chosen on" in text
    assert "best single, as fitted" in text and "0.8125" in text
    line = next(x for x in render_ensemble_lines(plain).splitlines() if x.startswith("held out"))
    assert "0.6543" in line


def test_small_words() -> None:
    assert cuts(None) == "-" and cuts((0.5, 0.25)) == "0.5, 0.25"
    assert share(1, MEMBERS) == "33.3 %"
    plain = {"method": "uniform", "thresholds": None, "min_area_px": 0}
    assert settings(plain) == "weights uniform"
    plain["clean_up"] = {"keep": 1, "words": ["only the largest object kept"]}
    assert settings(plain) == "weights uniform, only the largest object kept"


def test_an_empty_leaderboard_names_the_commands() -> None:
    board: dict[str, Any] = {key: [] for key in ("runs", "ensembles", "submissions", "problems")}
    board |= {"competition": "toy", "metric": "m", "greater_is_better": False}
    text = render_leaderboard(board)
    assert "toy: m, lower is better" in text and text.count("none yet") == 3


def test_an_ensemble_is_headed_by_its_cross_fitted_number() -> None:
    row = {"name": "e", "cross_fitted": 0.7, "used": 0.71, "chosen": "uniform", "as_fitted": 0.8}
    row |= {"uniform": 0.71, "best_single": 0.6, "members": ["a", "b"], "heldout": None}
    board: dict[str, Any] = {key: [] for key in ("runs", "submissions", "problems")}
    board |= {"competition": "toy", "metric": "m", "greater_is_better": True, "ensembles": [row]}
    lines = render_leaderboard(board).splitlines()
    head, _, told = lines[
        (start := lines.index(next(x for x in lines if "cross-fitted  " in x))) :
    ][:3]
    assert start and head.split()[:2] == ["ensemble", "cross-fitted"] and "held out" not in head
    assert told.split()[:5] == ["e", "0.7000", "uniform", "blend", "0.7100"]
    row["heldout"] = 0.55
    assert "held out" in render_leaderboard(board) and "0.5500" in render_leaderboard(board)


def test_shares_of_empty_masks() -> None:
    shares = {"test": {"empty": 1, "of": 8}, "oof": {"empty": 5, "of": 10}, "truth": None}
    text = render_empty(shares, [])
    assert text == (
        "  empty masks: of this submission 12.5 % (1 of 8), out of fold 50.0 % (5 of 10), "
        "of the training truth not known"
    )
    warned = render_empty(shares, ["oof", "truth"]).splitlines()[1]
    assert warned.startswith(
        "warning: the share of empty masks is far from that out of fold and of"
    )
    assert "more than 10 points and three standard errors" in warned


def test_one_image_is_one_image() -> None:
    one = recipe() | {"n_images": 1}
    assert render_ensemble_lines(one).startswith("ensemble e, 1 image\n")
    assert "task binary, 1 image, folds 0, 1. Made" in render_ensemble(one, [], [])
