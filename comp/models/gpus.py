"""What the GPUs of this machine are, whether they compute at all, and how much memory a step needs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

from comp.models.probe import one_line


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Args:
        free, total: bytes of its memory.
        bf16: it multiplies bfloat16 natively.
        error: what it said to a first small sum; "" when it computes.
    """

    index: int
    name: str
    free: int
    total: int
    bf16: bool
    error: str = ""


def gpu_names() -> list[str]:
    """What the GPUs that torch sees call themselves, each kind once."""
    count = torch.cuda.device_count()
    return sorted({torch.cuda.get_device_name(index) for index in range(count)})


def list_gpus() -> list[Gpu]:
    """Every GPU that torch sees, each asked for one small sum."""
    return [_look_at(index) for index in range(torch.cuda.device_count())]


def _look_at(index: int) -> Gpu:
    try:
        name = torch.cuda.get_device_name(index)
        bf16 = torch.cuda.get_device_capability(index)[0] >= 8
        free, total = torch.cuda.mem_get_info(index)
        found = float(torch.ones(8, device=f"cuda:{index}").sum())
    except (RuntimeError, AssertionError) as error:
        return Gpu(index, "unknown", 0, 0, False, one_line(error))
    return Gpu(index, name, free, total, bf16, "" if found == 8 else f"1 + ... + 1 gave {found}")


def reset_peak(device: torch.device | str) -> None:
    """Forget what memory was needed so far (on Linux; elsewhere the peak is of the whole process)."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device | str) -> int | None:
    """Most bytes since `reset_peak`: of the GPU, or of this process; None where nobody tells."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None
