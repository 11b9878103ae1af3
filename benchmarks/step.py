"""One training step: what the probe chooses / plain float32, and / the best of all that it could choose.

All ways (precision x memory layout) and the plain one (float32, contiguous, the optimizer as torch
makes it) take turns in one process on one thread; the fastest step of each counts. Goals on a CPU
with native bf16: >= 2.0 at 128 px, >= 2.8 at 256 px (Unet, ResNet18 and 34), >= 1.9 for DeepLabV3+
ResNet50, and never below 0.97 of the best. With `--device cuda` also the chosen step / the compiled one,
by torch.compile and by CUDA graphs, the seconds of compiling and the steps from which it pays.

Usage: OMP_NUM_THREADS=1 python benchmarks/step.py [--rounds 5] [--device cuda] [--batch 32]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from comp.config import ModelConfig, check
from comp.models.build import build_model
from comp.models.compile_trial import MARGIN, compiled_ways, try_compiled
from comp.models.compute import Compute
from comp.models.probe import candidates, choose, probe
from comp.models.step import make_step, measuring, synchronize

CASES = (
    ("Unet", "resnet18", 128, 2.0),
    ("Unet", "resnet34", 128, 2.0),
    ("Unet", "resnet18", 256, 2.8),
    ("Unet", "resnet34", 256, 2.8),
    ("DeepLabV3Plus", "resnet50", 128, 1.9),
    ("Linknet", "resnet18", 128, None),
)


def make_config(arch: str, encoder: str, size: int, batch: int) -> ModelConfig:
    values = {
        "model": {"arch": arch, "encoder_name": encoder, "encoder_weights": None},
        "loss": {"bce": 0.5, "dice": 0.5},
        "optim": {"name": "AdamW", "lr": 1e-3},
        "train": {"batch_size": batch, "size": [size, size]},
    }
    return check(ModelConfig, values, "benchmark")


def time_all(
    config: ModelConfig, ways: list[Compute], rounds: int, device: torch.device
) -> tuple[dict[Compute, float], float]:
    """Seconds of the fastest step of each way, and of the plain one."""
    segmenter = build_model(config.model, task="binary", n_classes=1, channels=3)
    plain = Compute(device.type, "fp32", False, False, ways[0].threads)
    steps: dict[Compute, Callable[[], None]] = {}
    for way in (*ways, plain):
        network = build_model(config.model, task="binary", n_classes=1, channels=3)
        network.load_state_dict(segmenter.state_dict())
        steps[way] = make_step(config, network, way, "binary", 1, 3, device)
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(rounds + 1):
        for way, step in steps.items():
            synchronize(device)
            began = time.perf_counter()
            step()
            synchronize(device)
            if turn:
                best[way] = min(best[way], time.perf_counter() - began)
    return {way: best[way] for way in ways}, best[plain]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(1)
    print(
        f"{'model':28}{'chosen':>22}{'plain s':>9}{'s':>8}{'plain / it':>12}{'goal':>6}{'best / it':>11}"
    )
    for arch, encoder, size, goal in CASES:
        config = make_config(arch, encoder, size, given.batch)
        ways = candidates(config, device.type)
        chosen = choose(probe(config, ways, task="binary", n_classes=1, channels=3, device=device))
        with measuring(chosen):
            found, plain = time_all(config, ways, given.rounds, device)
        took, best = found[chosen], min(found.values())
        layout = "channels_last" if chosen.channels_last else "contiguous"
        print(
            f"{f'{arch}-{encoder} {size} b{given.batch}':28}{f'{chosen.precision} {layout}':>22}{plain:>9.3f}"
            f"{took:>8.3f}{plain / took:>12.2f}{goal or '':>6}{best / took:>11.3f}",
            flush=True,
        )
        if device.type == "cuda":
            print_compiled(config, chosen, device)


def print_compiled(config: ModelConfig, chosen: Compute, device: torch.device) -> None:
    """One line for each compiled way."""
    for way in compiled_ways(chosen, config.train.accumulate):
        one = try_compiled(config, chosen, way, "binary", 1, 3, device)
        if one.seconds is None:
            print(f"    {way.compile}: {one.error}", flush=True)
            continue
        gain = one.plain - one.seconds
        pays = (
            f"pays from {MARGIN * one.compile_seconds / gain:.0f} steps"
            if gain > 0
            else "never pays"
        )
        print(
            f"    {way.compile}: {one.seconds:.4f} s, chosen / it {one.plain / one.seconds:.2f}, "
            f"compiled in {one.compile_seconds:.0f} s, {pays}",
            flush=True,
        )


if __name__ == "__main__":
    main()
