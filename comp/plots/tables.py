"""Text, Markdown and CSV tables from plain rows. Numbers to the right, words to the left.

Cells are words for people: none of them writes Markdown or HTML, moves a terminal or runs in a spreadsheet.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Sequence

RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")  # first letters of a formula
MARKS = re.compile(
    r"([\\|`*\[\]~])"
)  # what Markdown reads inside a cell; _ within words is left alone
NOTHING = "-"  # a value that does not exist: std of one fold, a class that never occurs


def text_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    align: str | None = None,
    digits: int = 4,
) -> str:
    """Lay out an aligned table for a terminal.

    Args:
        headers: one a column.
        rows: cells as text or numbers; floats get `digits` decimals, None and NaN become "-".
        align: one of "l" and "r" a column; default: "r" where every value of the column is a number.

    Returns:
        lines joined by newlines, without one at the end; no spaces at line ends.
    """
    headers = [cell(header) for header in headers]
    texts, align = _texts(headers, rows, align, digits)
    widths = [
        max(width(line[column]) for line in [list(headers), *texts])
        for column in range(len(headers))
    ]
    lines = [list(headers), ["-" * wide for wide in widths], *texts]
    return "\n".join(
        "  ".join(
            _pad(text, wide, side) for text, wide, side in zip(line, widths, align, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    align: str | None = None,
    digits: int = 4,
) -> str:
    """Lay out a Markdown table (GitHub's form), arguments as in `text_table`; cells are escaped."""
    headers = [cell(header) for header in headers]
    texts, align = _texts(headers, rows, align, digits)
    cells = [[markdown_text(text) for text in line] for line in [list(headers), *texts]]
    widths = [max(3, *(width(line[column]) for line in cells)) for column in range(len(headers))]
    rule = [
        "-" * (wide - 1) + (":" if side == "r" else "-")
        for wide, side in zip(widths, align, strict=True)
    ]
    return "\n".join(
        "| "
        + " | ".join(
            _pad(text, wide, side) for text, wide, side in zip(line, widths, align, strict=True)
        )
        + " |"
        for line in [cells[0], rule, *cells[1:]]
    )


def cell(value: object, digits: int = 4) -> str:
    """One value as text: floats with `digits` decimals, None and NaN as "-", large whole numbers with commas."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return NOTHING if math.isnan(value) else f"{value:.{digits}f}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return printable(str(value).replace("\r\n", " ").replace("\n", " "))


def printable(text: str) -> str:
    """`text` with letters that steer a terminal or turn the direction of writing as ``\\x1b``."""
    if text.isprintable():
        return text
    steering = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) in steering else letter
        for letter in text
    )


def csv_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV for people and spreadsheets: words that one would run as a formula get a ``'`` before them.

    Not for files whose words are keys, such as submissions: they would be others. None is an empty cell.
    """

    def guard(value: object) -> object:
        if not isinstance(value, str):
            return value
        return f"'{printable(value)}" if is_formula(value) else printable(value)

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([guard(value) for value in row] for row in [headers, *rows])
    return text.getvalue()


def is_formula(text: str) -> bool:
    """True for a text that a spreadsheet would compute; a number is what it says."""
    if not text.startswith(RUN_BY_SPREADSHEETS):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return text.startswith(("\t", "\r"))


def count_of(n: int, noun: str, plural: str | None = None) -> str:
    """``1 fold``, ``3 folds``; `plural` where an s does not make it."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them: 4.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def width(text: str) -> int:
    """Columns that a text takes in a terminal: wide letters two, combining marks none."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def _texts(
    headers: Sequence[str], rows: Sequence[Sequence[object]], align: str | None, digits: int
) -> tuple[list[list[str]], str]:
    for number, row in enumerate(rows):
        if len(row) != len(headers):
            raise ValueError(
                f"row {number} has {len(row)} cells, expected {len(headers)}: {list(row)}"
            )
    if align is None:
        align = "".join(
            "r" if _is_number_column([row[column] for row in rows]) else "l"
            for column in range(len(headers))
        )
    if len(align) != len(headers) or set(align) - set("lr"):
        raise ValueError(
            f"align {align!r}: expected one of l and r for each of {len(headers)} columns"
        )
    return [[cell(value, digits) for value in row] for row in rows], align


def _is_number_column(values: list[object]) -> bool:
    told = [
        value
        for value in values
        if value is not None and not (isinstance(value, str) and value in (NOTHING, ""))
    ]
    return bool(told) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in told
    )


def _pad(text: str, wide: int, side: str) -> str:
    space = " " * (wide - width(text))
    return space + text if side == "r" else text + space


def markdown_text(text: str) -> str:
    """`text` as Markdown that shows it: no marks, no links, no HTML."""
    escaped = MARKS.sub(r"\\\1", text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
