"""`comp leaderboard`: runs, ensembles and submissions of a competition with their scores, best first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comp.blending.recipe import read_recipe
from comp.config import Competition
from comp.errors import CompError
from comp.files import Workspace, read_json, write_json
from comp.metrics.scores import find_metric
from comp.plots.cv_report import mean_heldout
from comp.plots.ensemble_tables import render_leaderboard
from comp.store import read_run


def run(
    workspace: Workspace, competition: Competition, json_file: Path | None = None
) -> dict[str, Any]:
    """Print the tables, write them as JSON where asked, and return them.

    What cannot be read is named in `problems` instead of hiding the rest.
    """
    metric = find_metric(competition.metric_name)
    problems: list[str] = []
    board: dict[str, Any] = {
        "competition": competition.name,
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "runs": list_run_rows(workspace, metric.name, problems),
        "ensembles": list_ensemble_rows(workspace, problems),
        "submissions": list_submission_rows(workspace, competition.name, problems),
        "problems": problems,
    }
    sign = -1 if metric.greater_is_better else 1
    for key, score in (("runs", "pooled"), ("ensembles", "cross_fitted")):
        board[key].sort(key=lambda row: (row[score] is None, sign * (row[score] or 0), row["name"]))
    print(render_leaderboard(board))
    if json_file is not None:
        write_json(json_file, board)
        print(f"written: {json_file}")
    return board


def list_run_rows(workspace: Workspace, metric: str, problems: list[str]) -> list[dict[str, Any]]:
    """One row a run; scores are of `metric`, whatever the run was trained for."""
    rows = []
    for config in sorted(workspace.runs.glob("*/config.json")):
        name = config.parent.name
        try:
            found = read_run(workspace, name)
        except CompError as error:
            problems.append(f"run {name}: {error}")
            continue
        cv = found.cv or {}
        same = cv.get("metric") == metric
        rows.append(
            {
                "name": name,
                "pooled": cv.get("pooled_scores", {}).get(metric),
                "mean": cv.get("mean") if same else None,
                "std": cv.get("std") if same else None,
                "heldout": mean_heldout(cv, metric),
                "folds": len(found.folds),
                "n_folds": cv.get("n_folds"),
                "complete": found.complete,
                "n_parameters": cv.get("n_parameters"),
                "seconds": cv.get("seconds"),
                "config_hash": found.config_hash,
                "folds_hash": cv.get("folds_hash"),
            }
        )
    return rows


def list_ensemble_rows(workspace: Workspace, problems: list[str]) -> list[dict[str, Any]]:
    """One row an ensemble with its three numbers; the cross-fitted one is its headline."""
    rows = []
    for path in sorted(workspace.ensembles.glob("*/recipe.json")):
        try:
            recipe = read_recipe(path)
        except CompError as error:
            problems.append(f"ensemble {path.parent.name}: {error}")
            continue
        gain = recipe.scores.errors.get("fitted over single")
        heldout = recipe.scores.heldout or {}
        rows.append(
            {
                "name": recipe.name,
                "metric": recipe.metric,
                "used": recipe.scores.used,
                "chosen": recipe.chosen,
                "cross_fitted": recipe.scores.cross_fitted,
                "as_fitted": recipe.scores.as_fitted,
                "uniform": recipe.scores.uniform,
                "best_single": recipe.scores.best_single,
                "heldout": heldout.get(recipe.metric),
                "error": None if gain is None else gain[1],
                "members": [member.run for member in recipe.members],
                "created": recipe.created,
            }
        )
    return rows


def list_submission_rows(
    workspace: Workspace, competition: str, problems: list[str]
) -> list[dict[str, Any]]:
    """One row a submission card of the competition, newest first, with what `comp score` put into it."""
    rows = []
    for path in sorted(workspace.submissions.glob("*.json"), reverse=True):
        try:
            card = read_json(path)
            if not isinstance(card, dict) or card.get("competition") != competition:
                continue
            rows.append(
                {
                    "name": card["submission"],
                    "ensemble": card["ensemble"],
                    "members": [member["run"] for member in card["members"]],
                    "cv": card["cv"]["used"],
                    "heldout": (card["cv"].get("heldout") or {}).get("score"),
                    "metric": card["metric"],
                    "scores": flat_scores(card.get("scores") or {}, card["metric"]),
                    "created": card["created"],
                    "file": path.with_name(card["submission"]).is_file(),
                }
            )
        except (CompError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"card {path.name}: not a whole card ({error})")
    return rows


def flat_scores(kept: dict[str, Any], metric: str) -> dict[str, float | None]:
    """Return ``{part: value}`` of one metric from what `comp score` keeps in a card.

    Args:
        kept: ``{"scores": {part: {metric: value}}, ...}``, or only what stands below "scores".
    """
    flat: dict[str, float | None] = {}
    for part, value in kept.get("scores", kept).items():
        found = value.get(metric) if isinstance(value, dict) else value
        if found is None or (isinstance(found, int | float) and not isinstance(found, bool)):
            flat[part] = found
    return flat
