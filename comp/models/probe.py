"""A short measurement that chooses precision and memory layout for one model on one device.

No single way wins everywhere: channels_last gains a fifth on a U-Net and loses a sixth on
DeepLabV3+ under bf16 on a CPU. What is measured is the real training step on random pixels; what the
config fixes is not tried. The choice is written to the run, which keeps it for all its folds.
"""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from comp.config import ModelConfig, resolved
from comp.errors import DataError
from comp.files import digest, read_json, write_json
from comp.models.build import build_model
from comp.models.compile_trial import (
    Compiled,
    choose_compiled,
    compiled_ways,
    tell_compiled,
    try_compiled,
    worth_trying,
)
from comp.models.compute import Compute, cpu_has_bf16, decide_compute
from comp.models.step import make_step, measuring, one_line, race

CLEAR = 0.97  # another way than the usual one is taken when its step takes less than this share


@dataclass(frozen=True)
class Timing:
    """One way of computing and the seconds of its fastest step; None: it failed, and how."""

    compute: Compute
    seconds: float | None
    error: str = ""


def candidates(config: ModelConfig, device_type: str) -> list[Compute]:
    """The ways that the config leaves open, the usual one first."""
    usual = decide_compute(config, device_type)
    precisions = [usual.precision]
    if config.train.precision == "auto" and device_type == "cpu" and cpu_has_bf16():
        precisions.append("fp32")
    layouts = (
        [usual.channels_last, not usual.channels_last]
        if config.train.channels_last == "auto"
        else [usual.channels_last]
    )
    return [
        replace(usual, precision=precision, channels_last=layout)
        for precision in precisions
        for layout in layouts
    ]


def probe(
    config: ModelConfig,
    ways: Sequence[Compute],
    *,
    task: str,
    n_classes: int,
    channels: int,
    device: torch.device,
    root: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time one training step (forward, loss, backward, update) of each way, in turns.

    The network has random weights and sees random pixels of the config's batch and size. Ways that
    have lost after a round are dropped; no round begins after `LIMIT_SECONDS`.

    Args:
        ways: from `candidates`.
        clock: for tests.

    Returns:
        one Timing a way, in the same order; a way that raised (not enough memory, an operation that
        the precision lacks) has no seconds.
    """
    with measuring(ways[0]):
        segmenter = build_model(
            config.model,
            task=task,
            n_classes=n_classes,
            channels=channels,
            load_weights=False,
            root=root,
        )
        steps: dict[int, Callable[[], None]] = {}
        errors: dict[int, str] = {}
        for n, way in enumerate(ways):
            try:
                steps[n] = make_step(
                    config, copy.deepcopy(segmenter), way, task, n_classes, channels, device
                )
            except (RuntimeError, NotImplementedError) as error:
                errors[n] = one_line(error)
        seconds = race(steps, errors, device, clock)
    return [Timing(way, seconds.get(n), errors.get(n, "")) for n, way in enumerate(ways)]


def choose(timings: Sequence[Timing]) -> Compute:
    """The fastest way; the first (usual) one unless another is clearly faster."""
    usual = timings[0]
    done = [t for t in timings if t.seconds is not None]
    if not done:
        return usual.compute
    best = min(done, key=lambda t: t.seconds or 0.0)
    if usual.seconds is not None and (best.seconds or 0.0) > CLEAR * usual.seconds:
        return usual.compute
    return best.compute


def decide(
    config: ModelConfig,
    device_type: str,
    memory: Path,
    *,
    task: str,
    n_classes: int,
    channels: int,
    root: Path | None = None,
    steps: int | None = None,
) -> tuple[Compute, str]:
    """Choose how a model is computed: by measuring where the config leaves it open, once a model and machine.

    Args:
        memory: a JSON file that keeps what was measured, by model, batch, size, device and torch version.
        steps: of the training of one fold, which compiling must pay in; None: compiling is not tried.

    Returns:
        the choice; what was measured, in words, or "" where nothing was left open.
    """
    data: dict[str, Any] = {"task": task, "n_classes": n_classes, "channels": channels}
    plain, told = decide_plain(config, device_type, memory, **data, root=root)
    if device_type != "cuda" or not config.train.compile or steps is None:
        return plain, told
    seconds = step_seconds(config, plain, memory, **data, root=root)
    if not worth_trying(steps, seconds):
        return plain, told
    found = measure_compiled(config, plain, memory, **data, root=root)
    chosen = choose_compiled(plain, found, steps)
    return chosen, "; ".join(text for text in (told, tell_compiled(found, chosen, steps)) if text)


def decide_plain(
    config: ModelConfig,
    device_type: str,
    memory: Path,
    *,
    task: str,
    n_classes: int,
    channels: int,
    root: Path | None = None,
) -> tuple[Compute, str]:
    """As `decide`, of the ways that compile nothing."""
    ways = candidates(config, device_type)
    if len(ways) == 1:
        return ways[0], ""
    device = torch.device(device_type)
    key = memory_key(config, ways, device, task, n_classes, channels)
    known = recall(memory)
    if key in known:
        return Compute(**known[key]["compute"]), known[key]["told"] + " (measured before)"
    timings = probe(
        config, ways, task=task, n_classes=n_classes, channels=channels, device=device, root=root
    )
    chosen, told = choose(timings), tell(timings)
    if all(t.seconds is not None for t in timings):  # what failed today may have lacked memory only
        kept: dict[str, Any] = {"compute": chosen.as_dict(), "told": told}
        kept["seconds"] = next(t.seconds for t in timings if t.compute == chosen)
        write_json(memory, known | {key: kept})
    return chosen, told


def step_seconds(
    config: ModelConfig,
    compute: Compute,
    memory: Path,
    *,
    task: str,
    n_classes: int,
    channels: int,
    root: Path | None = None,
) -> float | None:
    """Seconds of one training step computed in this way: as measured before, or measured now and kept.

    Args:
        memory: the file that `decide` keeps.

    Returns:
        None: the step failed.
    """
    device = torch.device(compute.device_type)
    known = recall(memory)
    key = ""
    for ways in (candidates(config, compute.device_type), [compute]):
        key = memory_key(config, ways, device, task, n_classes, channels)
        kept = known.get(key, {})
        if kept.get("compute") == compute.as_dict() and kept.get("seconds"):
            return float(kept["seconds"])
    (timing,) = probe(
        config,
        [compute],
        task=task,
        n_classes=n_classes,
        channels=channels,
        device=device,
        root=root,
    )
    if timing.seconds is not None:
        kept = {"compute": compute.as_dict(), "seconds": timing.seconds}
        write_json(memory, recall(memory) | {key: kept})
    return timing.seconds


def measure_compiled(
    config: ModelConfig,
    plain: Compute,
    memory: Path,
    *,
    task: str,
    n_classes: int,
    channels: int,
    root: Path | None = None,
) -> list[Compiled]:
    """What compiling gives each way beside the plain one: as measured before, or measured now and kept.

    What failed is kept too, it took minutes to know; not where memory was what it lacked.
    """
    device = torch.device(plain.device_type)
    found: list[Compiled] = []
    for way in compiled_ways(plain, config.train.accumulate):
        key = memory_key(config, [plain, way], device, task, n_classes, channels)
        kept = recall(memory).get(key)
        if kept is not None:
            found.append(Compiled(**{**kept, "compute": way}))
            continue
        one = try_compiled(config, plain, way, task, n_classes, channels, device, root)
        found.append(one)
        if "out of memory" not in one.error.lower():
            entries = {key: {**vars(one), "compute": way.as_dict()}}
            if one.seconds is not None:  # for `step_seconds`
                alone = memory_key(config, [way], device, task, n_classes, channels)
                entries[alone] = {"compute": way.as_dict(), "seconds": one.seconds}
            write_json(memory, recall(memory) | entries)
    return found


def memory_key(
    config: ModelConfig,
    ways: Sequence[Compute],
    device: torch.device,
    task: str,
    n_classes: int,
    channels: int,
) -> str:
    """What a measurement is kept under: all that the seconds of a step depend on."""
    return digest(
        {
            "model": resolved(config.model),
            "optim": resolved(config.optim),
            "loss": sorted(config.loss),
            "batch": [config.train.batch_size, *config.train.size],
            "data": [task, n_classes, channels],
            "ways": [way.as_dict() for way in ways],
            "where": [device_name(device), torch.__version__],
        }
    )


def recall(memory: Path) -> dict[str, Any]:
    """What was measured before; nothing where the file is damaged: it is made again."""
    try:
        known = read_json(memory) if memory.is_file() else {}
    except DataError:
        return {}
    return known if isinstance(known, dict) else {}


def tell(timings: Sequence[Timing]) -> str:
    """The timings in words, the choice first: `bf16 channels_last 0.21 s a step (fp32 0.43, ...)`."""
    chosen = choose(timings)
    said = {
        t.compute: f"{t.seconds:.3g} s" if t.seconds is not None else f"failed: {t.error}"
        for t in timings
    }
    others = ", ".join(f"{_named(way)} {text}" for way, text in said.items() if way != chosen)
    return f"{_named(chosen)} {said[chosen]} a step ({others})"


def _named(way: Compute) -> str:
    return f"{way.precision} {'channels_last' if way.channels_last else 'contiguous'}"


def device_name(device: torch.device) -> str:
    """What the device calls itself; threads do not enter: a slot has its own number of them."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {platform.processor()} {torch.backends.cpu.get_cpu_capability()}"
