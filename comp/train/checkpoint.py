"""Resume checkpoints of one fold: tensors and plain values, never a word of pickle trusted.

What lies where, and what is done about a corrupt one, is `comp.store.generations`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from comp import __version__
from comp.errors import DataError
from comp.models.plain import NotPlainError, load_plain
from comp.store.generations import (
    Position,
    read_generation,
    remove_generations,
    write_generation,
)

__all__ = ["Position", "read_checkpoint", "remove_checkpoints", "write_checkpoint"]


def write_checkpoint(folder: Path, state: dict[str, Any], epoch: int, step: int = 0) -> None:
    """Commit `state` over the older generation.

    Args:
        epoch: epochs finished; step: batches done of the next one. Written beside the state, so that the
            newest is known without loading.
    """
    # Serialised to memory first: a full disk inside torch.save(path) is a RuntimeError without a name.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_generation(folder, buffer.getvalue(), Position(epoch, step), versions())


def read_checkpoint(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the newest whole state, or None when none was written.

    Args:
        say: told of every generation that is corrupt and passed over, and of other versions.

    Raises:
        DataError: there are only corrupt ones.
    """
    found = read_generation(folder, say)
    if found is None:
        return None
    data, at, wrote = found
    now = versions()
    if other := [f"{k} {v} (now {now.get(k)})" for k, v in wrote.items() if v != now.get(k)]:
        say(f"the checkpoint of {at} is by {', '.join(other)}: resumed, but not bit for bit")
    try:
        state: dict[str, Any] = load_plain(io.BytesIO(data))
    except NotPlainError as error:
        raise DataError(f"the checkpoint of {at} in {folder}: {error}; delete it") from error
    return state


def remove_checkpoints(folder: Path) -> None:
    """Remove both generations; called when `result.json` is committed."""
    remove_generations(folder)


def versions() -> dict[str, str]:
    """What the bits of a training depend on."""
    return {"comp": __version__, "torch": str(torch.__version__)}
