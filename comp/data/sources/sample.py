"""The sample submission in the data folder: how it spells the test ids, and one that nobody follows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from comp.config import Competition
from comp.data.sources.spelled import spelled_as
from comp.data.sources.tables import heads_of, is_sample, read_tables
from comp.errors import some
from comp.formats.rle_table import columns_of
from comp.formats.table import read_table


def sample_ids(competition: Competition, root: Path, ids: Collection[str]) -> dict[str, str]:
    """Test id -> how the sample submission spells it: with _ for / where its ids stand so.

    Args:
        root: of the data.
    """
    asked = competition.submission
    plain = {image_id: image_id for image_id in ids}
    if asked.sample is None or asked.format != "csv" or not any("/" in i for i in ids):
        return plain
    frame = read_table(root / asked.sample)
    if asked.id_column not in frame.columns:
        return plain
    cells = set(frame[asked.id_column])
    return spelled_as(ids, cells | heads_of(cells) if asked.class_in_id else cells)


def other_sample(competition: Competition, root: Path) -> str:
    """What to say of a sample submission in the data folder whose columns the competition file does not have.

    Returns:
        "" where there is none, or where the submission's columns are its.
    """
    asked = competition.submission
    if asked.sample is not None or asked.format != "csv":
        return ""
    wanted = columns_of(asked)
    for table in read_tables(root, []):
        columns = [str(column) for column in table.frame.columns]
        if is_sample(table.name) and not set(wanted) <= set(columns):
            return (
                f"{table.name}: a sample submission that submission.sample does not name: its columns are"
                f" {some(columns)}, a submission as it is written now has {some(wanted)} and would be"
                f" refused; set submission.sample: {table.name}, id_column and rle_column"
            )
    return ""
