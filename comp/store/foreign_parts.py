"""Somebody else's predictions over all folds: opened, judged value by value, and named by what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comp.errors import DataError, UsageError
from comp.files import digest
from comp.store.foreign import Foreign, gather, open_foreign
from comp.store.foreign_table import Reading, Size
from comp.store.foreign_values import Problems, Seen, to_stored

FOLD = "{fold}"
FINEST = "uint16"  # holds what uint8 holds, exactly


@dataclass
class Part:
    """Predictions of one kind, of one fold or of all.

    Args:
        where: begins what is said of it.
        folds: that it is for.
        ids: of the images that it must hold.
        marks: image_id -> a hash of its planes, when they were looked at.
    """

    source: Foreign
    where: str
    folds: tuple[int, ...]
    ids: Sequence[str]
    size_of: Callable[[str], Size]
    n_planes: int
    seen: Seen = field(default_factory=Seen)
    marks: dict[str, str] = field(default_factory=dict)

    def visit(self, problems: Problems, action: Callable[[str, np.ndarray], None]) -> None:
        """Do something with the planes of every image, as `gather`."""
        gather(self.source, self.ids, self.size_of, self.n_planes, problems, self.where, action)

    def look(self, problems: Problems) -> None:
        """Judge every value; nothing is kept of an image but its mark."""

        def judge(image_id: str, planes: np.ndarray) -> None:
            stored = to_stored(planes, FINEST)
            self.seen.look(planes)
            self.marks[image_id] = hashlib.sha256(stored.tobytes()).hexdigest()[:32]

        self.visit(problems, judge)
        self.seen.check(problems, self.where)


def open_parts(
    path: str,
    ids_file: str | None,
    what: str,
    ids: Sequence[Sequence[str]],
    size_of: Callable[[str], Size],
    how: Reading,
    problems: Problems,
) -> list[Part]:
    """Open one source for all folds or, where the path holds ``{fold}``, one a fold.

    Args:
        what: OOF or test, for messages.
        ids: of each fold the images that are predicted.
        problems: told what cannot be opened.

    Raises:
        UsageError: one source for repeated folds, in which an image has several predictions.
    """
    groups: list[tuple[tuple[int, ...], list[str]]]
    if FOLD in path:
        groups = [((k,), list(each)) for k, each in enumerate(ids)]
    else:
        once = list(dict.fromkeys(image_id for each in ids for image_id in each))
        if what == "OOF" and len(once) < sum(map(len, ids)):
            raise UsageError(
                f"--oof {path}: folds are repeated, so an image has a prediction of each repeat: name one source "
                f"a fold, with {FOLD} in the place of its number"
            )
        groups = [(tuple(range(len(ids))), once)]
    parts = []
    for folds, wanted in groups:
        one = Path(path.replace(FOLD, str(folds[0])))
        ids_of = None if ids_file is None else Path(ids_file.replace(FOLD, str(folds[0])))
        try:
            source = open_foreign(one, ids_of, wanted, how, problems)
        except DataError as error:
            problems.add(f"{what} {error}")
            continue
        where = f"{what} {one.name}"
        parts.append(Part(source, where, folds, wanted, size_of, how.n_classes))
    return parts


def fingerprint(parts: Sequence[Part], ids: Sequence[Sequence[str]]) -> str:
    """A hash of the values of every fold and image, whatever kind of file they came in."""
    by_fold = {fold: part.marks for part in parts for fold in part.folds}
    return digest([[[i, by_fold[fold][i]] for i in each] for fold, each in enumerate(ids)])
