"""Two generations of a checkpoint's bytes in a folder, each with a manifest that tells its sha256; no torch.

The older generation is replaced only after the newer one is whole, so there is always one to go on from.
A corrupt one is named and passed over; where only corrupt ones are left, nothing is begun again in silence.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comp.errors import DataError, DiskError
from comp.files import commit, read_json, remove, write_json

GENERATIONS = (0, 1)


@dataclass(frozen=True, order=True)
class Position:
    """How far a training is.

    Args:
        epochs: finished.
        step: batches done of the next one.
    """

    epochs: int
    step: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epochs + 1} step {self.step}" if self.step else f"epoch {self.epochs}"


def write_generation(
    folder: Path, data: bytes, at: Position, versions: dict[str, str] | None = None
) -> None:
    """Commit `data` over the older generation; when this returns, it is on the disk.

    Args:
        versions: of what wrote it, told by `read_generation`.

    Raises:
        DiskError: the disk refuses, or the folder is gone; it is not made again.
    """
    if not folder.is_dir():
        raise DiskError(
            f"{folder} is gone: it was moved or deleted while it ran; put it back and run again, or "
            "run again to begin anew"
        )
    found = {g: _read_note(folder, g) for g in GENERATIONS}
    order = {g: Position(-1) if note is None else note.at for g, note in found.items()}
    generation = min(GENERATIONS, key=lambda g: order[g])
    file, note = _paths(folder, generation)
    remove(note)  # else a crash in between would leave one that does not fit
    commit(file, data)
    said = {"epoch": at.epochs, "step": at.step, "bytes": len(data)}
    write_json(
        note, said | {"sha256": hashlib.sha256(data).hexdigest(), "versions": versions or {}}
    )


def read_generation(
    folder: Path, say: Callable[[str], None]
) -> tuple[bytes, Position, dict[str, str]] | None:
    """The newest whole generation: its bytes, how far it is, what wrote it; None where none was written.

    Args:
        say: told of every generation that is corrupt and passed over.

    Raises:
        DataError: there are corrupt ones and no whole one.
    """
    corrupt: list[str] = []
    whole: tuple[bytes, Note] | None = None
    for note in _newest_first(folder):
        file, _ = _paths(folder, note.generation)
        data = b""
        with contextlib.suppress(OSError):  # unreadable is as good as corrupt
            data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() == note.sha256:
            whole = data, note
            break
        corrupt.append(f"checkpoint {file.name} of {note.at} is corrupt (sha256)")
    for generation in _unreadable(folder):
        corrupt.append(f"checkpoint {_paths(folder, generation)[1].name} is corrupt")
    if whole is None:
        if corrupt:
            raise DataError(
                f"{'; '.join(corrupt)}; no whole one is left in {folder}: `comp cv --restart` begins this "
                "fold anew"
            )
        return None
    for text in corrupt:
        say(f"{text}, using the one before: {whole[1].at}")
    for generation in (
        GENERATIONS if corrupt else ()
    ):  # so that the next write goes over a corrupt one
        if generation != whole[1].generation:
            remove(_paths(folder, generation)[1])
    return whole[0], whole[1].at, whole[1].versions


def restart_corrupt(folder: Path) -> str | None:
    """Remove the generations where none of them is whole; says so, or None where there was no need."""
    try:
        read_generation(folder, lambda text: None)
    except DataError as error:
        remove_generations(folder)
        return f"{str(error).partition('; no whole one')[0]}: it begins anew"
    return None


def remove_generations(folder: Path) -> None:
    """Remove both generations; called when `result.json` is committed."""
    for generation in GENERATIONS:
        for path in reversed(
            _paths(folder, generation)
        ):  # the note first: without it a file is nothing
            remove(path)


@dataclass(frozen=True)
class Note:
    """What the manifest of a generation says."""

    generation: int
    at: Position
    sha256: str
    versions: dict[str, str]


def _paths(folder: Path, generation: int) -> tuple[Path, Path]:
    return folder / f"checkpoint.{generation}.pt", folder / f"checkpoint.{generation}.json"


def _newest_first(folder: Path) -> list[Note]:
    found = [note for g in GENERATIONS if (note := _read_note(folder, g)) is not None]
    return sorted(found, key=lambda note: note.at, reverse=True)


def _unreadable(folder: Path) -> list[int]:
    """Generations whose manifest is there and says nothing."""
    return [
        g for g in GENERATIONS if _paths(folder, g)[1].exists() and _read_note(folder, g) is None
    ]


def _read_note(folder: Path, generation: int) -> Note | None:
    _, path = _paths(folder, generation)
    if not path.is_file():
        return None
    with contextlib.suppress(DataError, KeyError, TypeError, ValueError, AttributeError):
        said: dict[str, Any] = read_json(path)
        versions = {str(k): str(v) for k, v in said.get("versions", {}).items()}
        at = Position(int(said["epoch"]), int(said.get("step", 0)))
        return Note(generation, at, str(said["sha256"]), versions)
    return None
