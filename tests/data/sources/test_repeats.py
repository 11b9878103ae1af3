"""Ids of several rows: told where they may be a mistake, silent where rows are plainly objects."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from comp.commands import init
from comp.config import Submission, load_competition
from comp.data.checks.tables import check_tables
from comp.data.sources.records import find_records
from comp.data.sources.repeats import repeats_told
from comp.formats.reading import RleTable, gather
from tests.data.intake.test_truth import draw, ellipse, encode

LAYOUT = Submission(id_column="id", rle_column="rle", row="object")


def table(ids: list[int], cells: list[str] | None = None) -> RleTable:
    cells = cells or [f"{k + 1} 3" for k in range(len(ids))]
    frame = pd.DataFrame({"id": [f"i{k}" for k in ids], "rle": cells})
    return gather(frame, "train.csv", LAYOUT, ("",), [])


def test_one_id_twice_among_many() -> None:
    (told,) = repeats_told(table([0, 1, 2, 3, 4, 0]))
    assert told.startswith(
        "train.csv: 1 id stands in several rows, the other ids in one (5 in all): id 'i0' (rows 1, 6);"
    )
    assert "set data.train_rle.row: image" in told


def test_rows_that_are_objects_are_not_told() -> None:
    assert repeats_told(table([0, 0, 1, 1, 2, 3])) == []
    assert repeats_told(table([0, 1, 2, 3])) == []
    assert repeats_told(table([0, 0, 1, 2])) == []  # too few to say what is usual


def test_rows_that_say_the_same() -> None:
    told = repeats_told(table([0, 0, 1, 1, 1], ["1 2", "5 2", "9 1", "3 1", " 9 1"]))
    assert told == [
        "train.csv: 1 id stands in rows that say the same: id 'i1' (rows 3, 5); take out all but one of them"
    ]


@pytest.mark.parametrize("unique", [True, False])
def test_a_sample_of_one_row_an_image_speaks(unique: bool) -> None:
    sample = pd.DataFrame({"id": ["t0", "t1" if unique else "t0"], "rle": ["", ""]})
    told = repeats_told(table([0, 0, 1, 1, 2, 3, 4, 5]), sample)
    assert len(told) == unique
    assert all(
        "2 ids stand in several rows, the other ids in one, as in the sample" in t for t in told
    )


def test_init_and_verify_both_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [f"img_{n}" for n in range(8)]
    rows = [(i, encode(ellipse(n))) for n, i in enumerate(ids)]
    draw(tmp_path / "d", ["id", "rle"], [*rows, (ids[0], "1 2")], ids)
    init.run(tmp_path / "ws", tmp_path / "d")
    said = capsys.readouterr().out.partition("to settle")[2]
    assert "1 id stands in several rows, the other ids in one (8 in all): id 'img_0'" in said
    competition = load_competition(tmp_path / "ws")
    root = tmp_path / "d"
    problems, warnings = check_tables(competition, root, find_records(competition, root), {})
    assert problems == [] and any("id 'img_0' (rows 1, 9)" in line for line in warnings)
