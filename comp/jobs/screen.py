"""A few lines at the foot of a terminal that are drawn again in place, and lines of a log above them.

Plain ANSI. A terminal made narrower wraps what stands there: its rows are counted at the width of now.
"""

from __future__ import annotations

import contextlib
import io
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

UP, CLEAR = "\x1b[{}A", "\x1b[J"


def is_live(stream: Any) -> bool:
    """True for a terminal that can move its cursor."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM", "") != "dumb"
    except (AttributeError, ValueError):  # closed, or none at all
        return False


class Screen:
    """Lines at the foot of `stream`. A terminal that is gone is written to no more."""

    def __init__(self, stream: IO[str], size: Callable[[], tuple[int, int]] | None = None) -> None:
        self.stream, self.size = stream, size or self.terminal_size
        self.drawn: list[int] = []  # cells of each line that stands there
        self.gone = False

    def terminal_size(self) -> tuple[int, int]:
        """(columns, rows) of now."""
        try:
            columns, rows = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def draw(self, lines: Sequence[str], above: Sequence[str] = ()) -> None:
        """Draw `lines` in place of those that stand there, and log lines `above` them for good."""
        columns, rows = self.size()
        shown = [cut(line, columns - 1) for line in lines[: max(1, rows - 1)]]
        occupied = sum(max(1, -(-cells // max(1, columns))) for cells in self.drawn)
        back = (
            "\r" + (UP.format(occupied - 1) if occupied > 1 else "") + CLEAR if self.drawn else ""
        )
        said = "".join(f"{line}\n" for line in above)
        self.write(back + said + "\n".join(shown))
        self.drawn = [cells_of(line) for line in shown]

    def close(self) -> None:
        """Leave what stands there; what is printed next begins on its own line."""
        if self.drawn:
            self.write("\n")
        self.drawn = []

    def write(self, text: str) -> None:
        """Write and flush."""
        if self.gone or not text:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            self.gone = True


class Lines(io.TextIOBase):
    """A text stream whose whole lines go to `take`: what a job in this very process prints."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self.take, self.rest = take, ""

    def write(self, text: str) -> int:
        *whole, self.rest = (self.rest + text).split("\n")
        for line in whole:
            self.take(line.rpartition("\r")[2])
        return len(text)


@contextlib.contextmanager
def printed_above(take: Callable[[str], None]) -> Iterator[None]:
    """Hand lines that are printed in this process to `take` while the block runs."""
    lines = Lines(take)
    with contextlib.redirect_stdout(lines), contextlib.redirect_stderr(lines):
        try:
            yield
        finally:
            if lines.rest:
                take(lines.rest)


def cells_of(text: str) -> int:
    """Cells that a text takes in a terminal."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def cut(text: str, cells: int) -> str:
    """The beginning of `text` that fits into so many cells, without control characters."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    while text and cells_of(text) > max(1, cells):
        text = text[: len(text) - max(1, (cells_of(text) - cells) // 2)]
    return text


def table_lines(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int,
    least: Sequence[str] = (),
) -> list[str]:
    """An aligned table that fits into so many cells.

    Args:
        least: headers of the columns that are left out first where there is no room.
    """
    kept = list(range(len(headers)))
    kept = [c for c in kept if any(row[c] for row in rows)] or kept
    gone = [headers.index(name) for name in least]
    while True:
        widths = {c: max(cells_of(t) for t in (headers[c], *(r[c] for r in rows))) for c in kept}
        drop = next((c for c in gone if c in kept), None)
        if sum(widths.values()) + 2 * (len(kept) - 1) <= columns or drop is None:
            break
        kept.remove(drop)
    return [
        cut(
            "  ".join(line[c] + " " * (widths[c] - cells_of(line[c])) for c in kept).rstrip(),
            columns,
        )
        for line in (headers, *rows)
    ]
