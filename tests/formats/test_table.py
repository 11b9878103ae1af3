"""CSV text kept cell for cell; what pandas would repair is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.errors import DataError, SubmissionError
from comp.formats.table import parse_table, read_table, table_bytes

IDS = ["NA", "null", "007", "1e5", "", " a ", "=1+1", "città 日本", 'say "x"', "a,b", "True", "-1"]


def test_ids_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(table_bytes(["id", "rle"], [(name, "") for name in IDS]))
    frame = read_table(path)
    assert frame["id"].tolist() == IDS
    assert frame["rle"].tolist() == [""] * len(IDS)


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_marks_line_ends_quotes_and_blank_lines(tmp_path: Path, head: bytes, end: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(head + end.join([b'"id",rle', b'a,"1 2"', b"", b"b,", b""]))
    frame = read_table(path)
    assert list(frame.columns) == ["id", "rle"]
    assert frame.to_numpy().tolist() == [["a", "1 2"], ["b", ""]]


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"id,rle\na,1 2\n"))
    assert read_table(path)["rle"].tolist() == ["1 2"]
    path.write_bytes(gzip.compress(b"id,rle\na,1 2\n")[:-6])
    with pytest.raises(DataError, match=r"cannot read .*t.csv.gz"):
        read_table(path)
    path.write_bytes(b"id,rle\n")
    with pytest.raises(DataError, match=r"cannot read .*t.csv.gz"):
        read_table(path)


def test_a_code_longer_than_csv_allows_by_itself() -> None:
    code = "1 1 " * 100_000
    assert parse_table(f"id,rle\na,{code}\n".encode(), "t")["rle"][0] == code


def test_a_header_alone_is_a_table_without_rows() -> None:
    frame = parse_table(b"id,rle\n", "t")
    assert len(frame) == 0 and list(frame.columns) == ["id", "rle"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "t.csv: the file is empty; expected a header"),
        (b"\n\n", "the file is empty"),
        (
            b"a,b\n1,2\n3\n",
            r"1 rows are not as wide as the header \(2 cells\): rows 2; row 2 has 1",
        ),
        (b"a,b\n1,2,3\n", "row 1 has 3"),
        (b"a,a\n1,2\n", "columns said twice: 'a'"),
        (b"a,b\n\xff,2\n", r"not UTF-8 text \(byte 4\)"),
        (b'a,b\n"x,2\n', "not CSV: unexpected end of data"),
        (b'a,b\n"x"y,2\n', "not CSV: "),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(SubmissionError, match=said):
        parse_table(data, "t.csv", SubmissionError)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing file: .*no.csv"):
        read_table(tmp_path / "no.csv")
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path)


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)


@given(st.lists(st.tuples(CELL, CELL), max_size=6))
def test_any_text_comes_back(rows: list[tuple[str, str]]) -> None:
    frame = parse_table(table_bytes(["a", "b"], rows), "t")
    assert list(zip(frame["a"].tolist(), frame["b"].tolist(), strict=True)) == rows
