"""The history of runs, gathered by `comp leaderboard --runs`: a short table for a terminal, one wide CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comp.plots.tables import NOTHING, csv_table, duration, text_table

N_CHANGES = 3  # shown in a terminal; a file has all
VALUE_WIDTH = 24
PACKAGES = (
    "comp", "python", "torch", "segmentation-models-pytorch", "timm", "albumentations", "numpy"
)  # fmt: skip


def render_history(board: Mapping[str, Any]) -> str:
    """The rows as aligned text, newest first, and what the signs in them mean.

    Args:
        board: competition, metric, greater_is_better, price_per_hour, runs, problems.
    """
    rows = board["runs"]
    arrow = "higher is better" if board["greater_is_better"] else "lower is better"
    head = f"{board['competition']}: runs, newest first; {board['metric']} +- standard error over folds, {arrow}"
    lines = [head, _table(board) if rows else "  none yet: comp cv --config A"]
    notes = []
    if any(row["present_folds"] is False for row in rows):
        notes.append("* of other folds than those of now: not to be compared with the others")
    if any((row["git"] or {}).get("changed") for row in rows):
        notes.append("+ after a commit: files differed from it")
    if any(row["state"] == "gone" for row in rows):
        notes.append("gone: the folder is deleted or moved away; as last noted")
    if any(row["changes"] for row in rows):
        notes.append("parent: the earlier run that is most like it; changed: what differs from it")
    lines += [f"  {note}" for note in notes]
    if board["problems"]:
        lines += ["", "cannot be read:", *(f"  {problem}" for problem in board["problems"])]
    return "\n".join(lines)


def _table(board: Mapping[str, Any]) -> str:
    headers = ["run", "state", "started (UTC)", "folds", "score", "+-", "time"]
    with_cost = board["price_per_hour"] is not None
    headers += ["cost"] * with_cost + ["git", "config", "data", "folds of", "parent", "changed"]
    lines = [
        [
            row["name"],
            row["state"],
            row["started"][:16].replace("T", " "),
            f"{len(row['folds'])}/{row['n_folds'] or '?'}",
            row["score"] if row["metric"] == board["metric"] else NOTHING,
            row["error"] if row["metric"] == board["metric"] else NOTHING,
            duration(row["device_seconds"]),
            *([NOTHING if row["cost"] is None else f"{row['cost']:.2f}"] * with_cost),
            _git(row["git"]),
            (row["config_hash"] or NOTHING)[:8],
            (row["data_hash"] or NOTHING)[:6],
            (row["folds_hash"] or NOTHING)[:6] + "*" * (row["present_folds"] is False),
            row["parent"] or "",
            say_changes(row["changes"], N_CHANGES),
        ]
        for row in board["runs"]
    ]
    return text_table(headers, lines, "lllrrrr" + "r" * with_cost + "llllll")


def say_changes(changes: Sequence[Mapping[str, str]] | None, n: int | None = None) -> str:
    """``optim.lr: 0.001 -> 0.0003; train.epochs: 3 -> 4; and 2 more``; "" where there is no parent.

    Args:
        n: at most so many, and long values cut; None: all, whole.
    """
    if changes is None:
        return ""
    told = []
    for change in changes[:n]:
        before, after = change["from"], change["to"]
        if n is not None:
            before, after = _short(before), _short(after)
        told.append(f"{change['key']}: {before} -> {after}")
    if n is not None and len(changes) > n:
        told.append(f"and {len(changes) - n} more")
    return "; ".join(told) or "nothing"


def history_csv(board: Mapping[str, Any]) -> str:
    """All that is known of each run but for its whole config, as CSV for people and spreadsheets."""
    lines = [csv_cells(row) for row in board["runs"]]
    return csv_table(list(lines[0]) if lines else ["run"], [list(line.values()) for line in lines])


def csv_cells(row: Mapping[str, Any]) -> dict[str, object]:
    """One run's cells by their column."""
    git = row["git"] or {}
    return {
        "run": row["name"],
        "state": row["state"],
        "started": row["started"],
        "metric": row["metric"],
        "score": row["score"],
        "standard_error": row["error"],
        "folds_done": len(row["folds"]),
        "n_folds": row["n_folds"],
        "seconds": row["seconds"],
        "device_seconds": row["device_seconds"],
        "cost": row["cost"],
        "config_hash": row["config_hash"],
        "parent": row["parent"],
        "changes": say_changes(row["changes"]),
        "data_hash": row["data_hash"],
        "folds_hash": row["folds_hash"],
        "present_folds": row["present_folds"],
        "git_commit": git.get("commit"),
        "git_changed": git.get("changed"),
        **{package: row["versions"].get(package) for package in PACKAGES},
        "host": row["host"],
        "devices": ", ".join(map(str, row["devices"])),
        "id": row["id"],
        "damaged": row["damaged"],
    }


def _git(git: Mapping[str, Any] | None) -> str:
    return NOTHING if git is None else git["commit"][:8] + "+" * bool(git.get("changed"))


def _short(text: str) -> str:
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 3] + "..."
