"""One file a band: several files that are read as one image, stacked in a stated order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # Path itself cannot be a parent before Python 3.12


class BandPath(_Path):
    """The path of an image's first band, which knows the files of the others.

    It is a Path so that nothing on the road from `Record.image` to `read_image` can lose the other
    bands by handing on only one file.
    """

    others: tuple[Path, ...] = ()

    @classmethod
    def of(cls, bands: Sequence[Path]) -> Path:
        """One path for these files, first band first; a single file stays as it is."""
        if len(bands) == 1:
            return bands[0]
        made = cls(bands[0])
        made.others = tuple(bands[1:])
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return BandPath.of, ([Path(self), *self.others],)


def files_of(image: Path) -> tuple[Path, ...]:
    """Every file of an image: one, or one a band."""
    return (Path(image), *image.others) if isinstance(image, BandPath) else (image,)
