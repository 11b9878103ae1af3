"""Resume checkpoints of one fold: two generations, sha256 checked, never a word of pickle trusted.

The older generation is replaced only after the newer one is whole, so there is always one to go on from.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from comp.errors import DataError
from comp.files import commit, read_json, write_json

GENERATIONS = (0, 1)


def _paths(folder: Path, generation: int) -> tuple[Path, Path]:
    return folder / f"checkpoint.{generation}.pt", folder / f"checkpoint.{generation}.json"


def write_checkpoint(folder: Path, state: dict[str, Any], epoch: int) -> None:
    """Commit `state` over the older generation.

    Args:
        epoch: epochs finished; written beside the state so that the newest is known without loading.
    """
    epochs = {g: said["epoch"] if (said := _read_note(folder, g)) else -1 for g in GENERATIONS}
    generation = min(GENERATIONS, key=lambda g: epochs[g])
    # Serialised to memory first: a full disk inside torch.save(path) is a RuntimeError without a name.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    pt, note = _paths(folder, generation)
    note.unlink(missing_ok=True)
    commit(pt, data)
    write_json(note, {"epoch": epoch, "sha256": hashlib.sha256(data).hexdigest()})


def read_checkpoint(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the newest whole state, or None when there is none.

    Args:
        say: told of every generation that is corrupt and passed over.
    """
    notes = [(note["epoch"], g, note) for g in GENERATIONS if (note := _read_note(folder, g))]
    for epoch, generation, note in sorted(notes, key=lambda n: n[0], reverse=True):
        pt, _ = _paths(folder, generation)
        data = pt.read_bytes() if pt.is_file() else b""
        if hashlib.sha256(data).hexdigest() != note["sha256"]:
            # Without its note it is the older one, so that the next write goes over it.
            _paths(folder, generation)[1].unlink(missing_ok=True)
            say(f"checkpoint of epoch {epoch} ({pt.name}) is corrupt (sha256), passed over")
            continue
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return state
    return None


def remove_checkpoints(folder: Path) -> None:
    """Remove both generations; called when `result.json` is committed."""
    for generation in GENERATIONS:
        for path in _paths(folder, generation):
            path.unlink(missing_ok=True)


def _read_note(folder: Path, generation: int) -> dict[str, Any] | None:
    _, note = _paths(folder, generation)
    if not note.is_file():
        return None
    try:
        said = read_json(note)
        return {"epoch": int(said["epoch"]), "sha256": str(said["sha256"])}
    except (DataError, KeyError, TypeError, ValueError):
        return None
