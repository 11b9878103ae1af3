"""What is decided of masks: the rule that reads them, and the list of classes that stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from comp.config import BACKGROUND_NAMES as BACKGROUND_NAMES
from comp.errors import some

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
IGNORE_NAMES = ("ignore", "ignored", "void")


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
        ignore: the value named ignore or void, or 255.
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
            f"{value} -> {'ignored' if label == self.ignore_index else names[label]}"
            for value, label in table.items()
        ]
        return f"masks are read so: {some(pairs, 8)}; anything else is an error"
