"""The ids of a meta table against the images: a row an image, or a row whose id begins those of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal


def rows_of(
    ids: Iterable[str], cells: Sequence[str], how: Literal["exact", "prefix"] = "exact"
) -> dict[str, int]:
    """Image id -> the number of its row, of the images that have one.

    Args:
        cells: the column of ids, each once.
        how: prefix: a cell is the beginning of the id, up to a character that is no letter or digit;
            of several the longest.
    """
    row = {cell: number for number, cell in enumerate(cells)}
    if how == "exact":
        return {image_id: row[image_id] for image_id in ids if image_id in row}
    found = {}
    for image_id in ids:
        ends = [len(image_id), *(n for n in range(len(image_id) - 1, 0, -1) if _ends(image_id, n))]
        head = next((image_id[:n] for n in ends if image_id[:n] in row), None)
        if head is not None:
            found[image_id] = row[head]
    return found


def _ends(image_id: str, n: int) -> bool:
    """Whether a word ends before place n."""
    return not (image_id[n - 1].isalnum() and image_id[n].isalnum())


def say_prefix(ids: Sequence[str], cells: Sequence[str], source: str) -> str:
    """The next step where ids have no row but begin with the table's; "" where they do not."""
    if len(rows_of(ids, cells, "prefix")) < len(ids):
        return ""
    return f"; all ids begin with those of {source}: set data.meta_ids: prefix"
