"""What the user sees while jobs run: one live table in a terminal, one plain line an event elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from comp.jobs.pace import left_of_all, say_seconds
from comp.jobs.screen import Screen, is_live, printed_above, table_lines
from comp.jobs.status import announce, note_end

DRAW_SECONDS = 0.25  # a redraw at most so often
HEADERS = ("job", "device", "epoch", "metric", "img/s", "left")
LEAST = ("device", "img/s", "metric")  # left out first in a narrow terminal
ENDS = ("done", "failed")
NAMED = 3  # waiting jobs that are named


class Watch:
    """Shows events of jobs.

    Args:
        metric: column of the epoch events that is shown.
        total: number of jobs.
        live: a redrawn table; default: when stdout is a terminal.
        jobs: all of them; the status files of those that wait say so.
        slots: jobs at once, for the time that is left.
        seconds: that each job will take by its estimate, None where nobody knows; only ratios count.
    """

    def __init__(
        self,
        metric: str,
        total: int,
        live: bool | None = None,
        jobs: Sequence[Any] = (),
        slots: int = 1,
        seconds: Sequence[float | None] | None = None,
    ) -> None:
        self.metric, self.total, self.slots = metric, total, slots
        self.done = self.failed = 0
        self.jobs = jobs
        labels = [job.label for job in jobs]
        self.seconds = dict(zip(labels, seconds or [None] * len(jobs), strict=True))
        self.rows: dict[str, dict[str, Any]] = {}
        self.started = time.monotonic()
        self.live = is_live(sys.stdout) if live is None else live
        self.screen: Screen | None = None
        self.above: list[str] = []
        self.changed, self.over = threading.Event(), threading.Event()
        self.holds = threading.RLock()

    @contextlib.contextmanager
    def running(self) -> Iterator[Watch]:
        """Show the table while the block runs."""
        announce(self.jobs)
        if not self.live:
            yield self
            return
        self.screen = Screen(sys.stdout)
        drawer = threading.Thread(target=self.draw_again, daemon=True, name="table")
        drawer.start()
        try:
            with printed_above(self.print_above):
                yield self
        finally:
            self.over.set()
            drawer.join(2)
            self.draw()
            self.screen.close()
            self.screen = None

    def draw_again(self) -> None:
        """Draw when something changed, and each second because time passes."""
        drawn = -1e9
        while not self.over.wait(DRAW_SECONDS):
            if self.changed.is_set() or time.monotonic() - drawn >= 1:
                self.changed.clear()
                drawn = time.monotonic()
                self.draw()

    def draw(self) -> None:
        """Draw the table of now, and what is to stand above it."""
        with self.holds:
            above, self.above = self.above, []
            if self.screen is not None:
                columns, rows = self.screen.size()
                self.screen.draw(self.table(columns - 1, rows - 1), above)

    def print_above(self, line: str) -> None:
        """Put a line above the table for good, at its next redraw."""
        with self.holds:
            self.above.append(line)
        self.changed.set()

    def __call__(self, job: Any, event: dict[str, Any]) -> None:
        """Take one event of one job."""
        now = time.monotonic()
        with self.holds:
            row = self.rows.setdefault(job.label, {"since": now})
            if event["type"] == "start":
                row = self.rows[job.label] = {"since": now}
            row.update({k: v for k, v in event.items() if k != "result"})
            row["heard"] = now
            if event["type"] == "epoch":
                row |= {"step": None, "steps": None, "stage": "trains"}
            elif event["type"] == "predict":
                row |= {"step": None, "steps": None, "stage": "predicts", "left": None}
            elif event["type"] == "done":
                row |= {"score": event["result"]["score"], "took": event["result"]["seconds"]}
            if event["type"] in ENDS:
                row["ended"] = event["type"]
            self.done += event["type"] == "done"
            self.failed += event["type"] == "failed"
            line = self.line(job.label, event)
        if event["type"] == "failed" and hasattr(job, "folder"):
            note_end(job, event)
        self.changed.set()
        if line and self.live:
            if event["type"] not in ("start", "epoch", "predict"):
                self.print_above(line)
        elif line:
            print(line, flush=True)

    def line(self, label: str, event: dict[str, Any]) -> str | None:
        """One plain line for an event; None for one that only the table shows."""
        kind = event["type"]
        if kind == "step":
            return None
        if kind == "epoch":
            return f"{label}  epoch {event['epoch']}/{event['epochs']}  {self.numbers(event)}"
        if kind == "start":
            return f"{label}  starts on {event['device']}"
        if kind == "predict":
            return f"{label}  predicting"
        if kind == "done":
            result = event["result"]
            score = result["score"]
            ended = result.get("text") or (
                f"done in {result['seconds']:.0f} s: OOF {self.metric} {score:.4f}"
            )
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

    def title(self) -> str:
        """How many jobs are over, since when, and how long the others will take."""
        over = f"{self.done + self.failed}/{self.total} job{'s' * (self.total != 1)}"
        failed = f" ({self.failed} failed)" if self.failed else ""
        left = self.left()
        about = f", about {say_seconds(left)} left" if left else ""
        return f"{over}{failed}, {say_seconds(time.monotonic() - self.started)}{about}"

    def left(self) -> float | None:
        """Seconds until all jobs are over; None while nobody knows."""
        now = time.monotonic()
        if self.done + self.failed >= self.total:
            return None
        busy = {label: row for label, row in self.rows.items() if "ended" not in row}
        lefts = {label: left_of(row, now) for label, row in busy.items()}
        whole = {n: row["took"] for n, row in self.rows.items() if "took" in row}
        whole |= {n: now - busy[n]["since"] + s for n, s in lefts.items() if s is not None}
        if not whole:
            return None
        mean = sum(whole.values()) / len(whole)
        judged = {n: said for n in whole if (said := self.seconds.get(n)) is not None}
        true = sum(whole[n] for n in judged) / sum(judged.values()) if any(judged.values()) else 0

        def takes(label: str) -> float:
            said = self.seconds.get(label)
            return mean if said is None or not true else said * true

        running = [
            s if s is not None else max(0.0, takes(n) - (now - busy[n]["since"]))
            for n, s in lefts.items()
        ]
        waiting = [takes(n) for n in self.seconds if n not in self.rows]
        unseen = self.total - len(self.rows) - len(waiting)
        return left_of_all(running, waiting + [mean] * max(0, unseen), self.slots)

    def table(self, columns: int = 120, rows: int = 40) -> list[str]:
        """The lines of the live table: running jobs, failed ones, then the last that were done.

        Args:
            columns, rows: what there is room for.
        """
        now = time.monotonic()
        jobs = sorted(self.rows.items(), key=lambda each: rank(each[1]))
        lines = [self.title()]
        waiting = [j.label for j in self.jobs if j.label not in self.rows]
        foot = []
        if waiting:
            more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
            foot = [f"waiting: {', '.join(waiting[:NAMED])}{more}"]
        room = max(1, rows - 2 - len(foot))
        hidden = len(jobs) - room
        if hidden > 0:
            room -= 1
            foot = [f"... and {len(jobs) - room} more", *foot]
        cells = [self.cells(label, row, now) for label, row in jobs[:room]]
        if cells:
            metric = [self.metric if h == "metric" else h for h in HEADERS]
            least = [self.metric if h == "metric" else h for h in LEAST]
            lines += table_lines(metric, cells, columns, least)
        return (lines + foot)[:rows]

    def cells(self, label: str, row: dict[str, Any], now: float) -> list[str]:
        """One row of the table."""
        score = row.get("score", row.get(f"val_{self.metric}"))
        speed = row.get("images_per_second")
        busy = "ended" not in row
        return [
            label,
            str(row.get("device", "")),
            where(row),
            "" if score is None else f"{score:.4f}",
            f"{speed:.1f}" if speed is not None and busy else "",
            say_seconds(left_of(row, now)) if busy else "",
        ]


def rank(row: dict[str, Any]) -> tuple[int, float]:
    """Running jobs first, in the order they began; then failed ones; then the last done first."""
    if "ended" not in row:
        return 0, row["since"]
    return (1 if row["ended"] == "failed" else 2), -row["since"]


def left_of(row: dict[str, Any], now: float) -> float | None:
    """Seconds a job still needs, by what it said and when."""
    if row.get("left") is None:
        return None
    return max(0.0, row["left"] - (now - row["heard"]))


def where(row: dict[str, Any]) -> str:
    """How far a job is: ``3/20 45%``, ``predicts 12/30``, ``done``."""
    if "ended" in row:
        took = f" in {say_seconds(row['took'])}" if "took" in row else ""
        return {"failed": "FAILED"}.get(row["ended"], row["ended"]) + took
    step, steps, stage = row.get("step"), row.get("steps"), row.get("stage")
    if stage == "predicts":
        return "predicts" + (f" {step}/{steps}" if steps else "")
    epoch, epochs = row.get("epoch_now", row.get("epoch")), row.get("epochs")
    if not epochs:
        return "starts"
    if not step or not steps:
        return f"{row.get('epoch', 0)}/{epochs}"
    if stage == "validates":
        return f"{epoch}/{epochs} val {step}/{steps}"
    return f"{epoch}/{epochs} {100 * step // steps}%"
