"""The run-length detective: which convention does a table follow? Told by masks, or by strings alone.

Every reading (start-length pairs, relative starts or COCO counts; column- or row-major; first pixel
1 or 0) is tried on every image, and images vote on each property by itself. What no vote settles is
`None`, with the number of images that spoke for each side: nothing is guessed in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from comp.masks.code_cells import MARKERS
from comp.masks.evidence import READINGS, Kind, Reading, Unit, gather_codes, settled
from comp.masks.evidence_strings import Votes, string_votes
from comp.masks.evidence_truth import truth_votes
from comp.masks.rle import Order

LONGEST_MARKER = 16  # characters of a cell that may stand for an empty mask

Property = Literal["kind", "order", "base"]
PROPERTIES: tuple[Property, ...] = ("kind", "order", "base")
TITLES = {"kind": "kind of numbers", "order": "order", "base": "first pixel"}
KIND_WORDS = {
    "absolute": "absolute starts",
    "relative": "starts relative to the run before",
    "counts": "COCO counts",
}


@dataclass(frozen=True)
class Convention:
    """What a table follows.

    Args:
        kind, order, base, empty: None where nothing settles it (empty: no empty mask was seen).
        reading: the best one; what is not settled has its commonest value.
        by: masks or strings: what spoke.
        votes: "kind", "order", "base", "empty" -> side -> images that speak for it.
        agree: reading -> images whose mask it draws exactly (by masks only).
        near: the same within a tenth of the mask's pixels.
        n_images: images that could speak: with codes, and by masks with a mask that is not empty.
        n_absent: images without a row; absent_is_empty: True when all of their masks are empty,
            None where masks do not tell.
        packed: "", or how COCO counts are packed: "coco" or "zlib and base64".
        notes: why something is open.
    """

    kind: Kind | None
    order: Order | None
    base: int | None
    empty: str | None
    reading: Reading
    by: str
    votes: Mapping[str, Votes]
    agree: Mapping[Reading, int]
    near: Mapping[Reading, int]
    n_images: int
    n_absent: int
    absent_is_empty: bool | None
    packed: str
    notes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """False when masks spoke and the best reading draws none of them, not even nearly."""
        return self.by == "strings" or self.near[self.reading] > 0

    @property
    def told(self) -> str:
        """The reading and how many images speak for it and against it, in one line."""
        if self.by == "masks":
            others = [
                f"{r.told}: {self.agree[r]}"
                for r in READINGS
                if r != self.reading and (r.kind == self.reading.kind or self.agree[r])
            ]
            n = self.agree[self.reading]
            head = f"{self.reading.told} agrees with the masks of {n} of {self.n_images} images"
            return f"{head} ({', '.join(others)})"
        return f"{self.reading.told}, by the codes of {self.n_images} images alone"

    @property
    def evidence(self) -> list[str]:
        """One phrase a property: what is settled, by how many images, and why something is open."""
        lines = [*map(self.say, PROPERTIES), *self.notes]
        if self.empty is not None:
            lines.insert(3, f"empty mask: {self.empty!r} ({self.votes['empty'][self.empty]} rows)")
        return lines

    def say(self, name: Property) -> str:
        """What is settled of one property, and how many images speak for each side."""
        value = {
            "kind": self.kind and KIND_WORDS[self.kind],
            "order": self.order and f"{self.order}-major",
            "base": None if self.base is None else str(self.base),
        }[name]
        sides = ", ".join(f"{side}: {n}" for side, n in self.votes[name].items())
        if name == "base" and self.kind == "counts":
            sides = "counts have no start"
        return f"{TITLES[name]}: {value or 'not decided'} ({sides or 'no image speaks'})"

    @property
    def open(self) -> list[Property]:
        """The properties that nothing settles."""
        return [name for name in PROPERTIES if getattr(self, name) is None]


def detect(units: Sequence[Unit]) -> Convention:
    """Find the convention of a table: by the masks where units have them, else by strings alone.

    Args:
        units: one an image (and class); images whose cells are all empty may be among them.
    """
    codes = gather_codes(units)
    notes: list[str] = []
    empty, empties = _empty_marker(units, notes)
    by_masks = any(unit.truth is not None for unit in units)
    agree: dict[Reading, int] = dict.fromkeys(READINGS, 0)
    near, n = dict(agree), len(np.unique(codes.image))
    if by_masks:
        told, agree, near, n = truth_votes(codes, units)
    else:
        told = string_votes(codes)
    if left := int((~codes.read).sum()):
        notes.append(f"{left} of {len(units)} masks were not looked at: the others say enough")
    if len(codes) == 0:
        notes.append("every code is empty: they fit every convention")
    kind, order, base = told.kind, told.order, told.base
    if by_masks and kind == "counts":
        base = 0
    reading = _best(kind, order, base, agree, near)
    absent = [unit for unit in units if not unit.cells]
    truths = [unit.truth for unit in absent if unit.truth is not None]
    return Convention(
        kind,
        order,
        base,
        empty,
        reading,
        "masks" if by_masks else "strings",
        {**told.votes, "empty": {**empties}},
        agree,
        near,
        n,
        len({unit.image_id for unit in absent}),
        not any(truth.any() for truth in truths) if truths else None,
        ("zlib and base64" if codes.zlib else "coco") if codes.packed.any() else "",
        (*notes, *told.notes),
    )


def _best(
    kind: Kind | None,
    order: Order | None,
    base: int | None,
    agree: Mapping[Reading, int],
    near: Mapping[Reading, int],
) -> Reading:
    """The reading that holds all that is settled and draws the most masks; the commonest of equals."""

    def rank(reading: Reading) -> tuple[int, int, int]:
        pairs = ((kind, reading.kind), (order, reading.order), (base, reading.base))
        kept = sum(wanted is None or wanted == got for wanted, got in pairs)
        return kept, agree[reading], near[reading]

    return max(READINGS, key=rank)


def _empty_marker(units: Sequence[Unit], notes: list[str]) -> tuple[str | None, Counter[str]]:
    """How the table spells an empty mask: by the rows of empty masks, else by cells that are no code."""
    votes: Counter[str] = Counter()
    by_masks = any(unit.truth is not None for unit in units)
    for unit in units:
        if len(unit.cells) != 1 or len(unit.cells[0]) > LONGEST_MARKER:
            continue
        cell = unit.cells[0] if unit.cells[0].strip() else ""
        if by_masks:
            said = unit.truth is not None and not unit.truth.any()
        else:
            said = cell.strip() in MARKERS or not any(c.isdigit() for c in cell)
        whole = str(unit.size[0] * unit.size[1]) if unit.size else ""
        votes[cell] += said and cell.strip() != whole  # as COCO counts: all background
    votes = +votes
    best = settled(votes)
    if best is None and votes:
        told = ", ".join(f"{marker!r}: {n}" for marker, n in votes.most_common(5))
        notes.append(f"empty marker: several are used ({told})")
    return best, votes


Sides = Literal["height_width", "width_height"]


@dataclass(frozen=True)
class SizeOrder:
    """How a table's two size columns stand to the images' sizes.

    Args:
        order: None where no image that is not square tells.
        votes: order -> images that speak for it.
        n_square: images that fit both ways; n_neither: that fit neither.
    """

    order: Sides | None
    votes: Mapping[Sides, int]
    n_square: int
    n_neither: int


def size_order(
    claimed: Mapping[str, tuple[int, int]], sizes: Mapping[str, tuple[int, int]]
) -> SizeOrder:
    """Compare the sizes that a table claims with those of the images.

    Args:
        claimed: image_id -> (what is called height, what is called width).
        sizes: image_id -> (height, width) of the file.
    """
    votes: Counter[Sides] = Counter()
    n_square = n_neither = 0
    for image_id, (a, b) in claimed.items():
        if image_id not in sizes:
            continue
        height, width = sizes[image_id]
        if (a, b) not in ((height, width), (width, height)):
            n_neither += 1
        elif height == width:
            n_square += 1
        else:
            votes["height_width" if (a, b) == (height, width) else "width_height"] += 1
    return SizeOrder(settled(votes), votes, n_square, n_neither)
