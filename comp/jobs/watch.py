"""What the user sees while jobs run: one live table in a terminal, one plain line an event elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any


class Watch:
    """Shows events of jobs.

    Args:
        metric: column of the epoch events that is shown.
        total: number of jobs.
        live: a redrawn table; default: when stdout is a terminal.
    """

    def __init__(self, metric: str, total: int, live: bool | None = None) -> None:
        self.metric, self.total, self.done, self.failed = metric, total, 0, 0
        self.rows: dict[str, dict[str, Any]] = {}
        self.started = time.monotonic()
        self.live = sys.stdout.isatty() if live is None else live
        self.display: Any = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Watch]:
        """Show the table while the block runs."""
        if not self.live:
            yield self
            return
        from rich.live import Live

        with Live(get_renderable=self.table, refresh_per_second=4) as self.display:
            yield self

    def __call__(self, job: Any, event: dict[str, Any]) -> None:
        """Take one event of one job."""
        row = self.rows.setdefault(job.label, {"since": time.monotonic()})
        row.update({k: v for k, v in event.items() if k != "result"})
        self.done += event["type"] == "done"
        self.failed += event["type"] == "failed"
        line = self.line(job.label, event)
        if line and self.display is not None:
            if event["type"] in ("note", "failed"):
                self.display.console.print(line, markup=False, highlight=False)
        elif line:
            print(line, flush=True)

    def line(self, label: str, event: dict[str, Any]) -> str | None:
        """One plain line for an event."""
        kind = event["type"]
        if kind == "epoch":
            return f"{label}  epoch {event['epoch']}/{event['epochs']}  {self.numbers(event)}"
        if kind == "start":
            return f"{label}  starts on {event['device']}"
        if kind == "predict":
            return f"{label}  predicting"
        if kind == "done":
            result = event["result"]
            score = result["score"]
            ended = f"done in {result['seconds']:.0f} s: OOF {self.metric} {score:.4f}"
            return f"{label}  {ended}  [{self.done}/{self.total}]"
        if kind == "failed":
            return f"{label}  FAILED: {event['error']}"
        return f"{label}  {event.get('text', kind)}"

    def numbers(self, row: dict[str, Any]) -> str:
        """Losses, metric and speed of an epoch."""
        parts = [f"loss {row['train_loss']:.4f}"] if "train_loss" in row else []
        if "val_loss" in row:
            parts.append(f"val {row['val_loss']:.4f}")
        if f"val_{self.metric}" in row:
            parts.append(f"{self.metric} {row[f'val_{self.metric}']:.4f}")
        if "images_per_second" in row:
            parts.append(f"{row['images_per_second']:.1f} img/s")
        return "  ".join(parts)

    def table(self) -> Any:
        """The live table: a row a job that has started."""
        from rich.table import Table

        elapsed = time.monotonic() - self.started
        table = Table(
            title=f"{self.done + self.failed}/{self.total} job{'s' * (self.total != 1)}, {elapsed:.0f} s",
            title_justify="left",
        )
        for column in ("job", "device", "epoch", "numbers", "left"):
            table.add_column(column)
        for label, row in self.rows.items():
            state = row["type"] if row["type"] in ("done", "failed", "predict") else ""
            epoch = f"{row['epoch']}/{row['epochs']}" if "epoch" in row else "-"
            table.add_row(
                label, row.get("device", ""), state or epoch, self.numbers(row), self.left(row)
            )
        return table

    def left(self, row: dict[str, Any]) -> str:
        """Seconds this job still needs, by the mean epoch so far."""
        if row["type"] != "epoch":
            return ""
        per_epoch = (time.monotonic() - row["since"]) / row["epoch"]
        return f"{per_epoch * (row['epochs'] - row['epoch']):.0f} s"
