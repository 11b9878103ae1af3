"""One image with the files of its truth, and all of them: what `records` finds and all others take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comp.data.images.bands import files_of
from comp.data.sources.truth import Truth

NO_OBJECTS = Truth("empty", None)  # of an image without a mask, where `absent: empty` says so


@dataclass(frozen=True)
class Record:
    """One image.

    Args:
        image_id: the key of the sample everywhere, spelled as in the file name; ``dir/name`` where
            names repeat in every folder.
        image: its file; one file a band: the first one's `BandPath`, which `read_image` stacks.
        masks: the files of its truth: one; multilabel with ``{class}``: one a class, in class order;
            binary: several are one an object, and their union is the mask; a table or JSON where
            `truth` says so; none: test, or nothing to be seen on it (`truth` is `NO_OBJECTS`).
        split: "train", "val" (the predefined validation part) or "test".
        truth: what to look up in `masks[0]` when that is a table of codes or COCO JSON.
    """

    image_id: str
    image: Path
    masks: tuple[Path, ...] = ()
    split: str = "train"
    truth: Truth | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the record is read from."""
        return (*files_of(self.image), *self.masks)

    @property
    def labelled(self) -> bool:
        """Whether its labels are known: from masks, a table, or because nothing is to be seen on it."""
        return bool(self.masks) or self.truth is not None


@dataclass(frozen=True)
class Records:
    """All images of a competition, each tuple sorted by image_id.

    Args:
        left_out: image files that stand beside those taken but match no pattern.
        alone: images without a mask and masks without an image, which no record names.
    """

    train: tuple[Record, ...]
    test: tuple[Record, ...] = ()
    left_out: tuple[Path, ...] = ()
    alone: tuple[Path, ...] = ()


def say_left_out(n: int, patterns: bool, manifest: bool, unmasked: bool) -> str:
    """Why image files beside those taken are not used, in a few words.

    Args:
        n: how many.
        patterns, manifest: what names the files that are taken.
        unmasked: images without a mask are left out too.
    """
    one = n == 1
    why = [f"fit{'s' * one} no pattern"] if patterns else []
    why += [f"stand{'s' * one} in no row of the manifest"] if manifest else []
    text = " and ".join(why) + f" or {'has' if one else 'have'} no mask" * unmasked
    return f"{n} image file{'s' * (not one)} {text}"
