"""Ids and class names that mean something to a file system, a terminal, a spreadsheet, Markdown or matplotlib:
they are drawn and laid out as words, and nothing is written beside the file asked for."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from comp.plots.contact_sheet import Tile, plot_contact_sheet
from comp.plots.pictures import Case, plot_cases, plot_samples
from comp.plots.tables import cell, csv_table, is_formula, markdown_table, printable, text_table

ODD = [
    "../x", "/etc/passwd", "a/../../b", "a\0b", "x" * 5000, "é", "e\u0301", "NA", "007", "=1+1", "@x", "-5x", "+1",
    "con", "C:\\x", "a\nb", "a\tb", "\x1b[2J", "\x9b2J", "\u202eabc", "$x$", "$\\frac{", "<b>x</b>", "a|b", "`x`",
    "", "  ",
    "\ud800", "[x](javascript:alert(1))", "![x](http://x)", "**x**", "&lt;", "%s", "{0}", "\r", "\x07",
]  # fmt: skip
DRAWN = ["../x", "a\0b\t\r", "x" * 300, "\x1b[2J\ud800", "$\\frac{"]
PIXELS, LABELS = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)


@pytest.mark.filterwarnings("error")
def test_pictures_of_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    cases = [Case(name, PIXELS, LABELS, LABELS, 0.5) for name in DRAWN]
    plot_cases(cases, folder / "c.png", task="binary", classes=["roof"])
    samples = [(name, PIXELS, LABELS, [(PIXELS, LABELS)]) for name in DRAWN]
    plot_samples(samples, folder / "s.png", task="binary", classes=["$\x1b"])
    tiles = [Tile(name, PIXELS, LABELS) for name in DRAWN]
    plot_contact_sheet([("train", tiles)], folder / "t.png", task="binary", classes=["roof"])
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert found == ["a/b/c.png", "a/b/s.png", "a/b/t.png"]


@pytest.mark.parametrize("name", ODD)
def test_tables_of_odd_names(name: str) -> None:
    said = text_table([name], [[name], ["x"]])
    assert len(said.split("\n")) == 4
    assert all(line.isprintable() or "\u0301" in line for line in said.split("\n"))
    said.encode()  # no half of a letter is left
    rows = markdown_table([name, "b"], [[name, 1]]).split("\n")
    assert len(rows) == 3
    for row in (rows[0], rows[2]):
        bare = row.replace("\\\\", "")
        for mark in "|`*[]~":
            bare = bare.replace(f"\\{mark}", "")
        assert bare.count("|") == 3 and not set("<>`*[]") & set(bare)
    [[head], [value]] = csv.reader(io.StringIO(csv_table([name], [[name]]), newline=""))
    assert head == value == (f"'{printable(name)}" if is_formula(name) else printable(name))
    assert not value or value[0] not in "=@\t\r"


def test_what_is_a_formula() -> None:
    assert [text for text in ODD if is_formula(text)] == ["=1+1", "@x", "-5x", "\r"]
    assert not any(map(is_formula, ["-5", "+1", "-1e-3", "-inf", "", "a=1", "1-2"]))
    assert all(map(is_formula, ["=1", "@1", "-1-1", "+x", "\t=1", "\r1"]))


def test_words_stay_as_they_are() -> None:
    for name in ("iou_image_mean", "città", "日本", "a.b-c+d", "fold 0 (used)", "😀"):
        assert cell(name) == name
        assert f"| {name}" in markdown_table(["run"], [[name]])
