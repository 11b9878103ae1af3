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
from comp.models.compute import Compute, cpu_has_bf16, decide_compute
from comp.models.losses import build_loss, make_target
from comp.models.optim import build_optimizer
from comp.models.segmenter import Segmenter

ROUNDS = 5
LOST = 1.5  # a way this much slower than the best after one round is not tried again
CLEAR = 0.97  # another way than the usual one is taken when its step takes less than this share
LIMIT_SECONDS = 30.0


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
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    try:
        if ways[0].threads:
            torch.set_num_threads(ways[0].threads)
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
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
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
) -> tuple[Compute, str]:
    """Choose how a model is computed: by measuring where the config leaves it open, once a model and machine.

    Args:
        memory: a JSON file that keeps what was measured, by model, batch, size, device and torch version.

    Returns:
        the choice; what was measured, in words, or "" where nothing was left open.
    """
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


def make_step(
    config: ModelConfig,
    segmenter: Segmenter,
    way: Compute,
    task: str,
    n_classes: int,
    channels: int,
    device: torch.device,
) -> Callable[[], None]:
    """One training step of `segmenter` computed in this way, as a function."""
    height, width = config.train.size
    batch = config.train.batch_size
    segmenter = segmenter.to(device)
    segmenter.set_epoch(0)
    segmenter.train()
    if way.channels_last:
        segmenter = segmenter.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(config.optim, segmenter, fused=way.fused)
    loss = build_loss(config.loss, task=task, head=segmenter.head)
    scaler = torch.amp.GradScaler(way.device_type, enabled=way.precision == "fp16")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, channels, height, width, generator=generator).to(device)
    shape = (batch, n_classes, height, width) if task == "multilabel" else (batch, height, width)
    top = n_classes if task == "multiclass" else 2
    labels = torch.randint(0, top, shape, generator=generator, dtype=torch.uint8).to(device)
    target = make_target(labels, task, n_classes)

    def step() -> None:
        x = way.to_layout(segmenter.normalize(images))
        with way.autocast():
            logits = segmenter(x)
        total, _ = loss(logits, target)
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    return step


def race(
    steps: dict[int, Callable[[], Any]],
    errors: dict[int, str],
    device: torch.device,
    clock: Callable[[], float],
) -> dict[int, float]:
    """Fastest step of each; a warm-up round is not counted. Those that raise go to `errors`."""
    began = clock()
    best: dict[int, float] = {}
    running = dict(steps)
    for turn in range(ROUNDS + 1):
        for n, step in list(running.items()):
            try:
                synchronize(device)
                started = clock()
                step()
                synchronize(device)
                took = clock() - started
            except (RuntimeError, NotImplementedError) as error:
                errors[n] = one_line(error)
                best.pop(n, None)
                del running[n]
                continue
            if turn:
                best[n] = min(best.get(n, took), took)
        if best:
            fastest = min(best.values())
            running = {n: s for n, s in running.items() if best.get(n, fastest) <= LOST * fastest}
        if turn and (len(running) < 2 or clock() - began > LIMIT_SECONDS):
            break
    return best


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
