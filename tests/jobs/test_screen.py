"""A table that is drawn again in place, as a small terminal shows it; at every width and height."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st

from comp.jobs.screen import Screen, cells_of, cut, is_live, printed_above, table_lines


class Terminal(io.StringIO):
    """What a terminal shows: letters, newlines, carriage returns, cursor up, clear to the end; it wraps."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column = [""], 0, 0
        self.whole: list[str] = []  # without wraps, for a resize

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[\d*[A-Z]|\r|\n|[^\x1b\r\n]", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.lines):
                    self.lines.append("")
            elif part[0] == "\x1b" and part[-1] == "A":
                self.row = max(self.row - int(part[2:-1]), len(self.lines) - self.rows, 0)
            elif part[0] == "\x1b":
                del self.lines[self.row + 1 :]
                self.lines[self.row] = self.lines[self.row][: self.column]
            else:
                if self.column == self.columns:
                    self.row, self.column = self.row + 1, 0
                    if self.row == len(self.lines):
                        self.lines.append("")
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + 1 :]
                self.column += 1
        return len(text)

    def narrow(self, columns: int) -> None:
        """Wrap what stands here anew, as terminals do."""
        self.lines = [
            line[at : at + columns]
            for line in self.lines
            for at in range(0, max(1, len(line)), columns)
        ]
        self.columns, self.row = columns, len(self.lines) - 1
        self.column = len(self.lines[-1])


def screen_of(terminal: Terminal) -> Screen:
    return Screen(terminal, lambda: (terminal.columns, terminal.rows))


def test_lines_are_drawn_in_place_and_the_log_stays_above() -> None:
    terminal = Terminal(40, 10)
    screen = screen_of(terminal)
    screen.draw(["1/3 jobs", "net/fold0  2/9"])
    screen.draw(["2/3 jobs", "net/fold0  3/9"], above=["net/fold1  FAILED: full"])
    screen.draw(["3/3 jobs"])
    screen.close()
    assert terminal.lines == ["net/fold1  FAILED: full", "3/3 jobs", ""]


def test_a_terminal_made_narrower_or_wider_is_drawn_anew() -> None:
    terminal = Terminal(60, 12)
    screen = screen_of(terminal)
    table = ["title " + "x" * 50, "row " + "y" * 40]
    screen.draw(table, above=["before"])
    for columns in (23, 11, 100):
        terminal.narrow(columns) if columns < terminal.columns else setattr(
            terminal, "columns", columns
        )
        screen.draw(table)
        assert terminal.lines == ["before", *(cut(line, columns - 1) for line in table)]


@given(
    st.lists(
        st.tuples(
            st.lists(st.text("ab c", max_size=30), max_size=8),
            st.lists(st.text("LOG", min_size=1, max_size=15), max_size=2),
        ),
        max_size=6,
    ),
    st.integers(4, 30),
    st.integers(2, 9),
)
def test_nothing_of_an_older_table_is_left(
    frames: list[tuple[list[str], list[str]]], columns: int, rows: int
) -> None:
    terminal = Terminal(columns, rows)
    screen = screen_of(terminal)
    said: list[str] = []
    for lines, above in frames:
        short = [line[: columns - 1] for line in above]
        said += short
        screen.draw(lines or ["-"], short)
        shown = [cut(line, columns - 1) for line in (lines or ["-"])[: rows - 1]]
        assert [line.rstrip() for line in terminal.lines] == [
            line.rstrip() for line in [*said, *shown]
        ]


def test_a_terminal_that_is_gone_is_written_to_no_more() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    screen = screen_of(Gone(80, 24))
    screen.draw(["a"])
    screen.draw(["b"], ["said"])
    assert screen.gone


def test_who_is_a_terminal(monkeypatch: object) -> None:
    closed = io.StringIO()
    closed.close()
    assert not is_live(io.StringIO()) and not is_live(None) and not is_live(closed)
    assert Screen(io.StringIO()).terminal_size() == (80, 24)


def test_what_is_printed_in_this_process_goes_above() -> None:
    said: list[str] = []
    with printed_above(said.append):
        print("one\ntwo", end="")
        print("-half", flush=True)
        print("10%\r100%")
        print("rest", end="")
    assert said == ["one", "two-half", "100%", "rest"]


def test_a_narrow_table_loses_columns_before_letters() -> None:
    rows = [["net/fold0", "cuda:0", "3/20", "0.9123"], ["net/fold1", "cuda:1", "12/20", ""]]
    headers = ("job", "device", "epoch", "iou")
    wide = table_lines(headers, rows, 80, ("device", "iou"))
    assert wide[0].split() == list(headers) and wide[1].split() == rows[0]
    assert "cuda" not in "".join(table_lines(headers, rows, 27, ("device", "iou")))
    tiny = table_lines(headers, rows, 7, ("device", "iou"))
    assert all(len(line) <= 7 for line in tiny) and tiny[1] == "net/fol"


def test_letters_of_two_cells_and_of_none() -> None:
    assert cells_of("図1") == 3 and cells_of("e\u0301") == 1
    assert cut("図図図", 4) == "図図" and cut("a\x1b[2Jb\n", 99) == "a?[2Jb?"
