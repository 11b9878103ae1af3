"""Prediction with views, and the storing of what was predicted, each beside what people use.

Two tables, of one Unet-resnet18 that is trained for a few epochs first (nuclei below COMP_TEST_DATA, else
the demo's tiles, 128 px), so that probabilities are those of a trained model:

    views    d4 (eight views) of a batch of 4: ttach's wrapper in float32 / `predict_views` in the way that the
             probe chose; and how far their masks differ (IoU at 0.5 against the truth)
    storage  N maps of 256 x 256: np.savez_compressed float32 / `ProbsWriter` and `Probs`; bytes; IoU

Both sides take turns on one thread; the fastest turn of each counts. Goals: views >= 2.2 with IoU within
1e-3, storage >= 40 in writing and in reading, at most 0.45 of the bytes, IoU within 1e-4.

Usage: OMP_NUM_THREADS=1 python benchmarks/predict.py [--rounds 7] [--epochs 6]
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
import ttach
from epoch import CPU, N_TRAIN, N_VAL, make_competition, make_config

from comp.data.cache.cache import Recipe
from comp.data.cache.open import open_cache
from comp.data.samples.augment import build_augment
from comp.data.samples.loader import train_loader
from comp.data.samples.train import TrainSamples, scale_image, train_recipe
from comp.data.sources.records import find_records
from comp.models.compute import decide_compute
from comp.models.probe import candidates, choose, probe
from comp.models.tta import predict_views
from comp.store import Probs, ProbsWriter, quantise
from comp.train.epoch import run_epoch
from comp.train.job import FoldJob
from comp.train.state import make_loop
from comp.train.validate import Eyes

SIDE = 256  # of the maps that are stored


def trained(root: Path, epochs: int) -> tuple[Any, Any, list[int]]:
    """A loop whose network has learnt, its eyes, and the images that it did not see."""
    competition, config = (
        make_competition(root, "masks"),
        make_config("Unet", "resnet18", 128, epochs),
    )
    records = find_records(competition, Path(competition.data.root)).train[: N_TRAIN + N_VAL]
    n_val = min(N_VAL, len(records) // 4)
    train, val = list(range(len(records) - n_val)), list(range(len(records) - n_val, len(records)))
    truth = open_cache(root / "cache", competition, records, Recipe())
    seen = open_cache(root / "cache", competition, records, train_recipe(config.train))
    ways = candidates(config, "cpu")
    compute = choose(probe(config, ways, task="binary", n_classes=1, channels=3, device=CPU))
    plain = decide_compute(config, "cpu")
    job = FoldJob(root, competition, config, "benchmark", 0, plain.as_dict(), "", "", "")
    eyes = Eyes(competition, config, seen, truth, compute, CPU)
    samples = TrainSamples(
        seen, train, config.train, build_augment(config.augment), 0, competition.task, 1
    )
    loader = train_loader(samples, config.train, CPU)
    loop = make_loop(job, eyes, len(loader))
    for epoch in range(epochs):
        row = run_epoch(loop, loader, epoch, val)
        print(f"epoch {epoch + 1}: loss {row['train_loss']:.3f}", file=sys.stderr)
    loop.segmenter.eval()
    return loop, eyes, val


def fastest(arms: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest turn of each arm; the first turn warms up."""
    best = dict.fromkeys(arms, float("inf"))
    for turn in range(rounds + 1):
        for name, arm in arms.items():
            began = time.perf_counter()
            arm()
            if turn:
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Mean over images of the IoU of (N, h, w) bool arrays; empty against empty is 1."""
    both = (mask & truth).sum((1, 2))
    either = (mask | truth).sum((1, 2))
    return float(np.where(either == 0, 1.0, both / np.maximum(either, 1)).mean())


def views_table(
    loop: Any, eyes: Eyes, val: list[int], rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Print the first table; return our probabilities (N, h, w) float32, and the truth, of images not seen."""
    pictures = torch.from_numpy(np.stack([eyes.seen.image(i) for i in val])).permute(0, 3, 1, 2)
    truth = np.stack([eyes.seen.labels(i) for i in val]) == 1
    # the plain side: the same weights, float32, contiguous, as ttach's README has it
    plain_net = loop.segmenter.to(memory_format=torch.contiguous_format)
    wrapper = ttach.SegmentationTTAWrapper(
        torch.nn.Sequential(plain_net, torch.nn.Sigmoid()), ttach.aliases.d4_transform()
    )
    ours_net = copy.deepcopy(loop.segmenter)
    if eyes.compute.channels_last:
        ours_net = ours_net.to(memory_format=torch.channels_last)
    x = plain_net.normalize(scale_image(pictures))

    def plain(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return wrapper(batch)

    def ours(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), eyes.compute.autocast():
            return predict_views(ours_net, eyes.compute.to_layout(batch), "d4").float()

    best = fastest(
        {"ttach float32": lambda: plain(x[:4]), "predict_views": lambda: ours(x[:4])}, rounds
    )
    found = {
        name: np.concatenate([run(x[n : n + 4])[:, 0].numpy() for n in range(0, len(x), 4)])
        for name, run in (("ttach float32", plain), ("predict_views", ours))
    }
    print(f"views: d4 of 4 images of 128 x 128, Unet-resnet18, {eyes.compute.precision}"
          f"{', channels_last' if eyes.compute.channels_last else ''}, 1 thread")  # fmt: skip
    print(f"{'':18}{'ms':>9}{'ratio':>8}{'IoU':>9}")
    for name, seconds in best.items():
        score = iou(found[name] > 0.5, truth)
        print(f"{name:18}{seconds * 1e3:>9.1f}{best['ttach float32'] / seconds:>8.2f}{score:>9.5f}")
    gap = iou(found["predict_views"] > 0.5, truth) - iou(found["ttach float32"] > 0.5, truth)
    most = float(np.abs(found["predict_views"] - found["ttach float32"]).max())
    print(f"IoU difference {gap:+.5f}, largest difference of a probability {most:.4f}\n")
    return found["predict_views"], truth


def storage_table(probs: np.ndarray, truth: np.ndarray, n: int, rounds: int, root: Path) -> None:
    """Print the second table, of `n` maps made of the model's, brought to SIDE px."""
    small = np.stack([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for p in probs])
    maps = small[np.arange(n) % len(small)][:, None]
    ids = [f"image_{k:04d}" for k in range(n)]
    usual, stem = root / "usual.npz", root / "ours"

    def write_usual() -> None:
        np.savez_compressed(usual, **dict(zip(ids, maps, strict=True)))

    def write_ours() -> None:
        with ProbsWriter(stem) as writer:
            for image_id, one in zip(ids, maps, strict=True):
                writer.append(image_id, quantise(one))
            writer.commit()

    def read_usual() -> float:
        with np.load(usual) as stored:
            return sum(float(stored[image_id][0, 0, 0]) for image_id in ids)

    def read_ours() -> float:
        stored = Probs(stem.with_suffix(".npy"))
        return sum(float(np.array(stored.read(image_id))[0, 0, 0]) for image_id in ids)

    wrote = fastest({"npz": write_usual, "comp": write_ours}, max(2, rounds // 2))
    read = fastest({"npz": read_usual, "comp": read_ours}, rounds)
    sizes = {
        "npz": usual.stat().st_size,
        "comp": sum(p.stat().st_size for p in root.glob("ours.*")),
    }
    pixels = maps.size / 1e6
    print(f"storage: {n} maps of {SIDE} x {SIDE}, write with fsync, 1 thread")
    print(f"{'':10}{'write Mpx/s':>14}{'read Mpx/s':>14}{'bytes / px':>12}")
    for name in ("npz", "comp"):
        print(
            f"{name:10}{pixels / wrote[name]:>14.0f}{pixels / read[name]:>14.0f}"
            f"{sizes[name] / maps.size:>12.2f}"
        )
    print(
        f"{'ratio':10}{wrote['npz'] / wrote['comp']:>14.1f}{read['npz'] / read['comp']:>14.1f}"
        f"{sizes['comp'] / sizes['npz']:>12.2f}"
    )
    change = max(
        abs(iou(quantise(probs) > 255 * t, truth) - iou(probs > t, truth)) for t in (0.3, 0.5, 0.7)
    )
    print(f"IoU change by rounding, at most, at thresholds 0.3, 0.5 and 0.7: {change:.6f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--maps", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        loop, eyes, val = trained(Path(folder), args.epochs)
        probs, truth = views_table(loop, eyes, val, args.rounds)
        storage_table(probs, truth, args.maps, args.rounds, Path(folder))


if __name__ == "__main__":
    main()
