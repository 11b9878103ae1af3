"""What is decided of masks: the rule that reads them, and the list of classes that stands beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comp.config import BACKGROUND_NAMES as BACKGROUND_NAMES
from comp.config import IGNORE
from comp.errors import DataError, some

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
IGNORE_NAMES = ("ignore", "ignored", "void")
# more names of what is not scored, squeezed: letters alone
_IGNORED = {*IGNORE_NAMES, "ignoreregion", "dontcare", "donotcare", "notscored", "unscored"}
# these may be classes as well: at 255 alone, where such pixels usually stand, they are ignored
_IGNORED_AT_255 = {
    "unlabelled", "unlabeled", "unlabel", "notlabelled", "notlabeled", "border", "borders", "boundary",
    "boundaries", "contour", "edge", "edges", "undefined", "unknown", "invalid", "nodata", "na", "nan",
}  # fmt: skip


def is_ignored(name: str, value: int | None = None) -> bool:
    """True for the name of what is not scored: a name decides, 255 alone does not.

    Args:
        value: its mask value, where that is known; at 255 more names tell it.
    """
    word = squeezed(name)
    return word in _IGNORED or (value == IGNORE and word in _IGNORED_AT_255)


def may_be_ignored(name: str, value: int) -> bool:
    """True for a class whose name often marks what is not scored."""
    return squeezed(name) in _IGNORED_AT_255 and not is_ignored(name, value)


def the_ignored(source: str, names: Mapping[int, str]) -> int | None:
    """The mask value that is not scored, by its name.

    Raises:
        DataError: several are named so.
    """
    ignored = [value for value, name in names.items() if is_ignored(name, value)]
    if len(ignored) > 1:
        told = some(f"{value} ({names[value]})" for value in ignored)
        raise DataError(f"{source}: more than one class to ignore: {told}; keep one")
    return ignored[0] if ignored else None


def squeezed(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def looks_like_pascal(values: Sequence[int]) -> bool:
    """True when most of Pascal's classes occur, or too few of up to 20 to be numbers of one's own.

    Args:
        values: class numbers that occur, the ignored one aside.
    """
    top = max(values, default=0)
    return top <= 20 and (len(set(values) - {0}) > 10 or 1 < top >= 2 * len(values))


@dataclass(frozen=True)
class ClassTable:
    """A list of classes beside the data.

    Args:
        names: mask value -> name, in the file's order, without the ignored one.
        ignore: the value that is not scored; its name says so (`is_ignored`).
        colors: colour (0xrrggbb) -> mask value, the ignored one too; empty: the table has none.
    """

    source: str
    names: dict[int, str]
    ignore: int | None
    colors: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskRule:
    """How the masks are read; the fields are those of competition.yaml.

    Args:
        notes: what was understood, for the report.
        problems: what the rule leaves out, each with file and value: to be settled by hand.
        source: where task and classes come from.
    """

    task: str
    classes: tuple[str, ...]
    ignore_index: int | None = None
    mask_values: dict[int, int] | None = None
    mask_threshold: int | None = None
    mask_colors: dict[str, int] | None = None
    mask_color_distance: int = 0
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    source: str = "the mask values"

    @property
    def data(self) -> dict[str, Any]:
        """The keys of the data section, those that say something."""
        values = None if self.mask_values is None else dict(sorted(self.mask_values.items()))
        found = {
            "mask_values": values,
            "mask_threshold": self.mask_threshold,
            "mask_colors": self.mask_colors,
            "mask_color_distance": self.mask_color_distance or None,
        }
        return {key: value for key, value in found.items() if value is not None}

    @property
    def told(self) -> str:
        """The mapping in one line: value or colour -> class."""
        table: dict[Any, int] = dict(self.mask_colors or self.mask_values or {})
        if self.mask_threshold is not None:
            return f"masks are read so: {self.mask_threshold} and above -> {self.classes[0]}"
        if not table:
            table = {k: k for k in range(len(self.classes) + (self.task == "binary"))}
        if self.ignore_index is not None and not self.mask_colors:
            table[self.ignore_index] = self.ignore_index
        names = ("background", *self.classes) if self.task == "binary" else self.classes
        pairs = [
            f"{value} -> {'ignored' if self._ignores(value, label, len(names)) else names[label]}"
            for value, label in table.items()
        ]
        return f"masks are read so: {some(pairs, 8)}; anything else is an error"

    def _ignores(self, value: Any, label: int, n_names: int) -> bool:
        """A class may have the number that is the ignored mask value: `1 -> ignored, 2 -> class 1`."""
        return value == self.ignore_index or (label == self.ignore_index and label >= n_names)
