"""CSV text to a table of strings, cell for cell as written, and back. It refuses what readers
usually repair.

`pandas.read_csv` turns the ids NA and 007 into nothing and a number, pads short lines, and takes a
first column without a header as the index; here every cell stays the text that it is.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comp.errors import DataError, some

if TYPE_CHECKING:
    import pandas as pd

LONGEST_CELL = (
    1 << 31
) - 1  # Python's csv stops at 131072 characters, a code of a large mask does not


def read_table(path: Path, error: type[DataError] = DataError) -> pd.DataFrame:
    """Read a CSV (plain or .gz; UTF-8 with or without a byte order mark; any line end).

    Args:
        error: the kind of error to raise.

    Returns:
        a table of str, one column a header, rows in the file's order; an empty cell is "".

    Raises:
        DataError: missing, empty, not CSV, a header said twice, or lines of another length.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise error(f"missing file: {path}") from None
    except (OSError, EOFError, zlib.error) as fault:
        raise error(f"cannot read {path}: {fault}") from fault
    return parse_table(data, str(path), error)


def parse_table(data: bytes, source: str, error: type[DataError] = DataError) -> pd.DataFrame:
    """Read the bytes of a CSV; `read_table` says what comes out and what is refused."""
    import pandas as pd

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise error(
            f"{source}: not UTF-8 text (byte {fault.start}); save it as CSV UTF-8"
        ) from fault
    csv.field_size_limit(LONGEST_CELL)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as fault:
        raise error(f"{source}: not CSV: {fault}") from fault
    if not lines:
        raise error(f"{source}: the file is empty; expected a header and one row an item")
    header, *rows = lines
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise error(f"{source}: columns said twice: {some(map(repr, twice))}")
    ragged = [number for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if ragged:
        first = rows[ragged[0] - 1]
        raise error(
            f"{source}: {len(ragged)} rows are not as wide as the header ({len(header)} cells): "
            f"rows {some(ragged)}; "
            f"row {ragged[0]} has {len(first)}"
        )
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return pd.DataFrame(
        dict(zip(header, (list(column) for column in columns), strict=True)), dtype=str
    )


def table_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a CSV as UTF-8 bytes: plain commas, quotes only where needed, one ``\\n`` a line."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()
