"""Words of messages: numbers with their nouns, and ids short enough for a line."""

from __future__ import annotations

MAX_ID = 28  # characters of an id in a line; JSON has them whole


def many(n: int, noun: str) -> str:
    """``1 group``, ``2 groups``."""
    return f"{n} {noun}" + "s" * (n != 1)


def short(image_id: str) -> str:
    """An id as it is, or shortened in the middle: both ends tell ids apart."""
    if len(image_id) <= MAX_ID:
        return image_id
    return f"{image_id[: MAX_ID // 2 - 1]}..{image_id[-(MAX_ID // 2 - 1) :]}"
