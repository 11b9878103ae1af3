"""Where jobs run: one slot a GPU, or one slot a CPU core with one torch thread."""

from __future__ import annotations

import os
from dataclasses import dataclass

from comp.errors import UsageError


@dataclass(frozen=True)
class Slot:
    """One place where one job runs at a time."""

    index: int
    device: str  # "cpu" or "cuda:<n>"


def cpu_count() -> int:
    """Cores this process may use (a container may allow fewer than the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_slots(device: str, n_gpus: int, n_cpus: int, n_slots: int | None = None) -> list[Slot]:
    """Return the slots of this machine.

    Args:
        device: auto, cpu, cuda, or GPU numbers such as ``0,1``.
        n_gpus, n_cpus: what the machine has.
        n_slots: at most so many; on GPUs slots beyond their number share them in turn.

    Raises:
        UsageError: a device that is not there, or no slot at all.
    """
    if n_slots is not None and n_slots < 1:
        raise UsageError(f"--slots {n_slots}: expected at least 1")
    if device == "auto":
        device = "cuda" if n_gpus else "cpu"
    if device == "cpu":
        return [Slot(i, "cpu") for i in range(n_slots or max(1, n_cpus))]
    if device == "cuda":
        gpus = list(range(n_gpus))
        if not gpus:
            raise UsageError("--device cuda: torch sees no GPU here; use --device cpu")
    else:
        parts = device.split(",")
        if not all(p.strip().isdigit() for p in parts):
            raise UsageError(
                f"--device {device!r}: expected auto, cpu, cuda or GPU numbers such as 0,1"
            )
        gpus = [int(p) for p in parts]
        absent = [g for g in gpus if g >= n_gpus]
        if absent:
            raise UsageError(f"--device {device}: no GPU {absent[0]}; torch sees {n_gpus}")
    return [Slot(i, f"cuda:{gpus[i % len(gpus)]}") for i in range(n_slots or len(gpus))]
