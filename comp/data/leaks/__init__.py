"""The leak radar: which images show the same thing, so that no fold is scored on what it was trained on.

Six witnesses (near duplicates, seams between crops, overlaps, names in sequence, a column of the meta
table, places on the map) -> one group an image. Each says what it found and what chance would find.
"""

from comp.data.leaks.auto import AUTO, auto_groups, meta_columns
from comp.data.leaks.prints import ImagePrint, make_print
from comp.data.leaks.radar import Leaks, look_for_leaks

__all__ = [
    "AUTO", "ImagePrint", "Leaks", "auto_groups", "look_for_leaks", "make_print", "meta_columns",
]  # fmt: skip
