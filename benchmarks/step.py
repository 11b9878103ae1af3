"""One training step: what the probe chooses / plain float32, and / the best of all that it could choose.

All ways (precision x memory layout) and the plain one (float32, contiguous, the optimizer as torch
makes it) take turns in one process on one thread; the fastest step of each counts. Goals on a CPU
with native bf16: >= 2.0 at 128 px, >= 2.8 at 256 px (Unet, ResNet18 and 34), >= 1.9 for DeepLabV3+
ResNet50, and never below 0.97 of the best.

Usage: OMP_NUM_THREADS=1 python benchmarks/step.py [--rounds 5]
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
from comp.models.compute import Compute
from comp.models.probe import candidates, choose, make_step, probe

CPU = torch.device("cpu")
CASES = (
    ("Unet", "resnet18", 128, 8, 2.0),
    ("Unet", "resnet34", 128, 8, 2.0),
    ("Unet", "resnet18", 256, 8, 2.8),
    ("Unet", "resnet34", 256, 8, 2.8),
    ("DeepLabV3Plus", "resnet50", 128, 8, 1.9),
    ("Linknet", "resnet18", 128, 8, None),
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
    config: ModelConfig, ways: list[Compute], rounds: int
) -> tuple[dict[Compute, float], float]:
    """Seconds of the fastest step of each way, and of the plain one."""
    segmenter = build_model(config.model, task="binary", n_classes=1, channels=3)
    plain = Compute("cpu", "fp32", False, False, 1)
    steps: dict[Compute, Callable[[], None]] = {}
    for way in (*ways, plain):
        network = build_model(config.model, task="binary", n_classes=1, channels=3)
        network.load_state_dict(segmenter.state_dict())
        steps[way] = make_step(config, network, way, "binary", 1, 3, CPU)
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(rounds + 1):
        for way, step in steps.items():
            began = time.perf_counter()
            step()
            if turn:
                best[way] = min(best[way], time.perf_counter() - began)
    return {way: best[way] for way in ways}, best[plain]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(
        f"{'model':28}{'chosen':>22}{'plain s':>9}{'s':>8}{'plain / it':>12}{'goal':>6}{'best / it':>11}"
    )
    for arch, encoder, size, batch, goal in CASES:
        config = make_config(arch, encoder, size, batch)
        ways = candidates(config, "cpu")
        chosen = choose(probe(config, ways, task="binary", n_classes=1, channels=3, device=CPU))
        found, plain = time_all(config, ways, rounds)
        took, best = found[chosen], min(found.values())
        layout = "channels_last" if chosen.channels_last else "contiguous"
        print(
            f"{f'{arch}-{encoder} {size} b{batch}':28}{f'{chosen.precision} {layout}':>22}{plain:>9.3f}"
            f"{took:>8.3f}{plain / took:>12.2f}{goal or '':>6}{best / took:>11.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
