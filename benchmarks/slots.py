"""Why CPU folds train one a core with one thread each: images a second of both ways, quiet and beside other load.

Every arm trains the same network in processes of its own for some seconds, the arms take turns, and the best
round of each counts when quiet, the median beside load (one process that multiplies matrices for ever):

    1 x 1      one process, one thread: what a slot is
    C x 1      one process a core, one thread each: what `comp cv` does
    1 x C      one process with a thread a core

Goals: C x 1 >= 1.6 of 1 x 1 on two cores; beside load C x 1 >= 3 of 1 x C.

Usage: python benchmarks/slots.py [--seconds 6] [--rounds 3]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from typing import Any


def train(n_threads: int, seconds: float, ready: Any, said: Any) -> None:
    """Steps of Unet-resnet18 at 128 px, batch 8, in the way the machine is best at; says how many a second."""
    os.environ["OMP_NUM_THREADS"] = str(n_threads)
    import torch
    from step import make_config

    from comp.models.build import build_model
    from comp.models.compute import decide_compute
    from comp.models.step import make_step

    torch.set_num_threads(n_threads)
    config = make_config("Unet", "resnet18", 128, 8)
    network = build_model(config.model, task="binary", n_classes=1, channels=3)
    way = decide_compute(config, "cpu")
    step = make_step(config, network, way, "binary", 1, 3, torch.device("cpu"))
    for _ in range(3):
        step()
    ready.wait()
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        n += 1
    said.put(8 * n / (time.perf_counter() - began))


def load(stop: Any) -> None:
    """Another program on the machine."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import numpy as np

    a = np.ones((512, 512), np.float32)
    while not stop.is_set():
        a = a @ a * 0


def images_a_second(n_processes: int, n_threads: int, seconds: float) -> float:
    """Of all processes together."""
    context = multiprocessing.get_context("spawn")
    ready, said = context.Barrier(n_processes), context.Queue()
    workers = [
        context.Process(target=train, args=(n_threads, seconds, ready, said))
        for _ in range(n_processes)
    ]
    for worker in workers:
        worker.start()
    total = sum(said.get(timeout=120 + seconds) for _ in workers)
    for worker in workers:
        worker.join()
    return float(total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    arms = {"1 x 1": (1, 1), f"{cores} x 1": (cores, 1), f"1 x {cores}": (1, cores)}
    context = multiprocessing.get_context("spawn")
    print(f"{cores} cores, Unet-resnet18 128 px, batch 8; images a second (ratio to 1 x 1)")
    for title, busy in (("quiet, best round", False), ("beside load, median", True)):
        stop = context.Event()
        other = context.Process(target=load, args=(stop,), daemon=True)
        if busy:
            other.start()
        rates: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(args.rounds):
            for name, (processes, threads) in arms.items():
                rates[name].append(images_a_second(processes, threads, args.seconds))
        if busy:
            stop.set()
            other.join(10)
        pick = statistics.median if busy else max
        found = {name: pick(values) for name, values in rates.items()}
        print(
            f"{title:22}"
            + "   ".join(f"{n}: {v:.1f} ({v / found['1 x 1']:.2f})" for n, v in found.items())
            + f"   {cores} x 1 / 1 x {cores}: {found[f'{cores} x 1'] / found[f'1 x {cores}']:.2f}"
        )


if __name__ == "__main__":
    main()
