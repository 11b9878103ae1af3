"""`comp leaderboard`: runs, ensembles and submissions of a competition with their scores, best first.

With `--runs`: the history of all its runs, newest first, also of those that failed or are gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comp.blending.recipe import Recipe, read_recipe
from comp.config import Competition
from comp.errors import CompError
from comp.files import Workspace, commit, read_json, write_json
from comp.jobs.status import LIVING, judge, read_status
from comp.metrics.scores import find_metric
from comp.plots.cv_report import mean_heldout
from comp.plots.ensemble_tables import render_leaderboard
from comp.plots.history_tables import history_csv, render_history
from comp.store import Run, read_run
from comp.store.history import JUNK, add_changes, list_history


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
            rows.append(run_row(read_run(workspace, name), metric))
        except (CompError, *JUNK) as error:
            problems.append(f"run {name}: {error}")
    return rows


def run_row(found: Run, metric: str) -> dict[str, Any]:
    """What the table says of one run."""
    cv = found.cv or {}
    same = cv.get("metric") == metric
    return {
        "name": found.name,
        "pooled": number(cv.get("pooled_scores", {}).get(metric)),
        "mean": number(cv.get("mean")) if same else None,
        "std": number(cv.get("std")) if same else None,
        "heldout": number(mean_heldout(cv, metric)),
        "folds": len(found.folds),
        "n_folds": cv.get("n_folds"),
        "complete": found.complete,
        "n_parameters": number(cv.get("n_parameters")),
        "seconds": number(cv.get("seconds")),
        "config_hash": found.config_hash,
        "folds_hash": cv.get("folds_hash"),
    }


def number(value: Any) -> Any:
    """`value` if it is a number or None.

    Raises:
        TypeError: it is neither.
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise TypeError(f"expected a number, got {value!r}")


def list_ensemble_rows(workspace: Workspace, problems: list[str]) -> list[dict[str, Any]]:
    """One row an ensemble with its three numbers; the cross-fitted one is its headline."""
    rows = []
    for path in sorted(workspace.ensembles.glob("*/recipe.json")):
        try:
            rows.append(ensemble_row(read_recipe(path)))
        except (CompError, *JUNK) as error:
            problems.append(f"ensemble {path.parent.name}: {error}")
    return rows


def ensemble_row(recipe: Recipe) -> dict[str, Any]:
    """What the table says of one ensemble."""
    gain = recipe.scores.errors.get("fitted over single")
    heldout = recipe.scores.heldout or {}
    return {
        "name": recipe.name,
        "metric": recipe.metric,
        "used": number(recipe.scores.used),
        "chosen": recipe.chosen,
        "cross_fitted": number(recipe.scores.cross_fitted),
        "as_fitted": number(recipe.scores.as_fitted),
        "uniform": number(recipe.scores.uniform),
        "best_single": number(recipe.scores.best_single),
        "heldout": number(heldout.get(recipe.metric)),
        "error": None if gain is None else number(gain[1]),
        "members": [member.run for member in recipe.members],
        "created": recipe.created,
    }


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
                    "cv": number(card["cv"]["used"]),
                    "heldout": number((card["cv"].get("heldout") or {}).get("score")),
                    "metric": card["metric"],
                    "scores": flat_scores(card.get("scores") or {}, card["metric"]),
                    "created": card["created"],
                    "file": path.with_name(card["submission"]).is_file(),
                }
            )
        except (CompError, *JUNK) as error:
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


def run_history(
    workspace: Workspace,
    competition: Competition,
    json_file: Path | None = None,
    csv_file: Path | None = None,
    price_per_hour: float | None = None,
) -> dict[str, Any]:
    """Print the history of all runs, write it where asked, and return it.

    Args:
        price_per_hour: of one device; None: no cost is told.
    """
    metric = find_metric(competition.metric_name)
    problems: list[str] = []
    rows = list_history(workspace, problems)
    add_changes(rows)
    present_hash, n_folds = present_folds(workspace)
    for row in rows:
        known = row["folds_hash"] is not None and present_hash is not None
        row["present_folds"] = row["folds_hash"] == present_hash if known else None
        if row["n_folds"] is None and row["present_folds"]:
            row["n_folds"] = n_folds
        row["state"] = state_of(workspace, row)
        seconds, row["cost"] = row["device_seconds"], None
        if price_per_hour is not None and seconds is not None:
            row["cost"] = round(seconds / 3600 * price_per_hour, 4)
    board: dict[str, Any] = {
        "competition": competition.name,
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "price_per_hour": price_per_hour,
        "runs": rows,
        "problems": problems,
    }
    print(render_history(board))
    if json_file is not None:
        print(f"written: {write_json(json_file, board)}")
    if csv_file is not None:
        print(f"written: {commit(csv_file, history_csv(board))}")
    return board


def present_folds(workspace: Workspace) -> tuple[str | None, int | None]:
    """Hash and number of the folds as they are now; None where there are none that can be read."""
    try:
        said = read_json(workspace.folds_json)
        return str(said["hash"]), int(said["n_splits"]) * int(said.get("n_repeats", 1))
    except (CompError, KeyError, TypeError, ValueError, AttributeError):
        return None, None


def state_of(workspace: Workspace, row: dict[str, Any]) -> str:
    """One word for a run: gone, damaged, running, waiting, silent, failed, killed, stopped, complete, incomplete.

    Of folds in several states the first of these is told.
    """
    if row["gone"]:
        return "gone"
    if row["damaged"]:
        return "damaged"
    states = set()
    for path in (workspace.runs / row["name"]).glob("fold*/status.json"):
        if path.parent.name not in {f"fold{fold}" for fold in row["folds"]}:
            try:
                states.add(judge(read_status(path.parent), False))
            except (TypeError, ValueError):  # a status of somebody else's words
                continue
    for state in (*LIVING, "silent", "failed", "killed", "stopped"):
        if state in states:
            return state
    whole = row["n_folds"] is not None and len(row["folds"]) >= row["n_folds"]
    return "complete" if whole else "incomplete"
