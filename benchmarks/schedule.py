"""Makespan of models x folds on simulated devices, over its lower bound max(sum / devices, longest job).

The jobs go through the scheduling code that `comp cv` runs (`comp.jobs.schedule.Queue`); only the
devices and the seconds are made up: a model's cost is lognormal, its folds differ a little, and the
estimate of a model is wrong by up to +-30 %. `told`: jobs tell each epoch, as they do; `silent`: only
their ends are known; `FIFO`: the order of the list, all models of a fold first (the goal's), and all
folds of a model first (the order of `comp cv`'s list).

Usage: python benchmarks/schedule.py [--draws 300] [--models 6] [--folds 5] [--devices 2,4,8]
"""

from __future__ import annotations

import argparse
import heapq

import numpy as np

from comp.jobs.schedule import Queue, fill_in

COST_SIGMA, FOLD_NOISE, WRONG = 0.8, 0.1, 0.3
EPOCHS = 20
GOALS = (1.05, 1.12)  # median and p95 of `told`
FIFO_GOAL = {(5, 6, 8): 1.2}  # FIFO, models of a fold first, over `told`: median


def draw(rng: np.random.Generator, models: int, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each job, models first, and their estimates: (models * folds,) float64."""
    cost = rng.lognormal(0.0, COST_SIGMA, models)
    true = cost[:, None] * np.exp(FOLD_NOISE * rng.standard_normal((models, folds)))
    guess = cost * (1 + rng.uniform(-WRONG, WRONG, models))
    return true.ravel() * 1000, np.repeat(guess, folds) * 1000


def simulate(
    seconds: np.ndarray,
    estimates: np.ndarray | None,
    groups: list[str],
    devices: int,
    epochs: int,
    overhead: float = 0.0,
) -> float:
    """Makespan of the jobs on so many devices.

    Args:
        estimates: None: the order of the list.
        epochs: that each job tells of; 0: only its end is known.
        overhead: seconds that each job costs its slot beyond its own.
    """
    names = [f"cuda:{n}" for n in range(devices)]
    queue = Queue(groups, None if estimates is None else list(estimates), names)
    events: list[tuple[float, int, int, int, float]] = []  # when, device, job, epoch, since

    def begin(device: int, now: float) -> None:
        job = queue.take(names[device])
        if job is not None:
            heapq.heappush(events, (now + step(job), device, job, 1, now))

    def step(job: int) -> float:
        return (seconds[job] + overhead) / max(1, epochs)

    for device in range(devices):
        begin(device, 0.0)
    now = 0.0
    while events:
        now, device, job, epoch, since = heapq.heappop(events)
        if epoch < epochs:
            if estimates is not None:
                queue.tell(job, {"type": "epoch", "epoch": epoch, "epochs": epochs}, now - since)
            heapq.heappush(events, (now + step(job), device, job, epoch + 1, since))
        else:
            if estimates is None:  # nothing is learned, the order stays that of the list
                queue.prior = fill_in([None] * len(seconds))
                queue.seen.clear()
            else:
                queue.end(job, names[device], {"type": "done"}, now - since)
            begin(device, now)
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--devices", default="2,4,8")
    args = parser.parse_args()
    groups = [f"m{n // args.folds}" for n in range(args.models * args.folds)]
    print(f"{args.draws} draws, makespan / lower bound: median (p95)")
    print(
        "| folds x models on devices | told | silent | FIFO by fold | FIFO by model | FIFO by fold / told | goals |"
    )
    print("|---|---|---|---|---|---|---|")
    failed = False
    for devices in map(int, args.devices.split(",")):
        rng = np.random.default_rng(0)
        ratios = []
        for _ in range(args.draws):
            seconds, guess = draw(rng, args.models, args.folds)
            bound = max(seconds.sum() / devices, seconds.max())
            told = simulate(seconds, guess, groups, devices, EPOCHS)
            silent = simulate(seconds, guess, groups, devices, 0)
            by_fold = seconds.reshape(args.models, args.folds).T.ravel()
            fifo = [simulate(s, None, groups, devices, 0) / bound for s in (by_fold, seconds)]
            ratios.append((told / bound, silent / bound, *fifo))
        found = np.array(ratios)
        middle, high = np.median(found, axis=0), np.percentile(found, 95, axis=0)
        gain = float(np.median(found[:, 2] / found[:, 0]))
        ok = middle[0] <= GOALS[0] and high[0] <= GOALS[1]
        ok = ok and gain >= FIFO_GOAL.get((args.folds, args.models, devices), 0)
        failed |= not ok
        cells = " | ".join(f"{m:.3f} ({h:.3f})" for m, h in zip(middle, high, strict=True))
        name = f"{args.folds}x{args.models} on {devices}"
        print(f"| {name} | {cells} | {gain:.2f} | {'met' if ok else 'MISSED'} |")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
