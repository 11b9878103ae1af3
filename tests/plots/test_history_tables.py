"""The history as a table and as CSV: short for a terminal, whole in a file, and only ever words."""

from __future__ import annotations

import csv
import io
from typing import Any

from comp.plots.history_tables import history_csv, render_history, say_changes
from comp.store.history import blank_row


def row(**more: Any) -> dict[str, Any]:
    known = {"present_folds": None, "state": "complete", "cost": None, "parent": None}
    return blank_row("id", "run") | known | {"changes": None} | more


def board(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = {"competition": "toy", "metric": "m", "greater_is_better": True, "price_per_hour": None}
    return said | {"runs": list(rows), "problems": []} | more


def test_a_run_of_which_nothing_is_known_has_its_row() -> None:
    said = render_history(board(row()))
    assert "run  complete" in said and "0/?" in said
    [cells] = csv.DictReader(io.StringIO(history_csv(board(row()))))
    assert cells["run"] == "run" and cells["score"] == "" and cells["folds_done"] == "0"


def test_changes_are_few_in_a_terminal_and_all_in_a_file() -> None:
    changes = [{"key": f"k{n}", "from": "a" * 60, "to": str(n)} for n in range(6)]
    short = say_changes(changes, 3)
    assert short.count("->") == 3 and short.endswith("; and 3 more") and "a" * 30 not in short
    assert say_changes(changes).count("->") == 6 and "a" * 60 in say_changes(changes)
    assert say_changes([]) == "nothing" and say_changes(None) == ""
    one = [{"key": "optim.lr", "from": "0.001", "to": "0.0003"}]
    assert say_changes(one, 3) == "optim.lr: 0.001 -> 0.0003"


def test_scores_of_another_metric_are_not_shown_beside_these() -> None:
    rows = row(name="a", metric="m", score=0.25, error=0.01), row(name="b", metric="n", score=0.75)
    said = render_history(board(*rows))
    assert "0.2500" in said and "0.0100" in said and "0.7500" not in said
    assert "0.75" in history_csv(board(*rows))


def test_costs_are_shown_where_there_is_a_price() -> None:
    rows = row(cost=1.5, device_seconds=60.0), row(name="b")
    assert "cost" not in render_history(board(*rows))
    said = render_history(board(*rows, price_per_hour=90.0))
    assert "1.50" in said and "1 min 00 s" in said


def test_cells_are_words_only() -> None:
    odd = '=cmd|"/c calc"!A1'
    change = [{"key": "x", "from": "\x1b[2J", "to": "@SUM(1)"}]
    evil = row(
        name=odd, host="+1+1", damaged="-2", parent="@a", changes=change, versions={"torch": "\t=1"}
    )
    [cells] = csv.DictReader(io.StringIO(history_csv(board(evil))))
    assert [cells[k] for k in ("run", "host", "damaged", "parent", "torch")] == [
        f"'{odd}", "'+1+1", "-2", "'@a", r"'\t=1",
    ]  # fmt: skip
    assert "\x1b" not in render_history(board(evil)) and r"\x1b[2J" in render_history(board(evil))


def test_problems_stand_below() -> None:
    said = render_history(board(problems=["run x: torn"]))
    assert "none yet: comp cv --config A" in said and said.endswith(
        "cannot be read:\n  run x: torn"
    )
