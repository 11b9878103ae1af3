"""The input side: the first pass over files, every later pass, how often files are decoded, its share of a step.

    first pass   building the cache with one thread (read, decode, convert, check, hash, write with fsync) over a
                 bare cv2.imread of the same images and masks; files in the page cache for both; by the clock,
                 and by CPU time of all threads (writing goes on beside the one that decodes)
    later pass   a bare cv2.imread of the images over reading them from the cache (a copy of every pixel)
    decodes      counted by the cache over K folds x M models x E epochs of `comp cv`, over the number of files
    data side    CPU time of cache read + augment + collate over CPU time of the step it feeds (128 px, Unet-resnet18)

Three kinds of drawn files of 512 x 512: PNG, JPEG of quality 92 and LZW tif, each with a PNG mask. Both sides
take turns. Goals: first pass <= 1.15; later pass >= 40 (JPEG) and >= 100 (PNG); decodes exactly 1 a file;
data side <= 0.05.

Usage: OMP_NUM_THREADS=1 python benchmarks/input.py [--files 60] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from epoch import make_config

from comp.commands import cv
from comp.config import Competition, check, load_competition
from comp.data.cache.cache import Recipe
from comp.data.cache.open import count_decodes, open_cache
from comp.data.samples.augment import build_augment
from comp.data.samples.loader import train_loader
from comp.data.samples.train import TrainSamples, train_recipe
from comp.data.sources.records import find_records
from comp.files import Workspace, commit
from comp.models.build import build_model
from comp.models.compute import decide_compute
from comp.models.step import make_step

KINDS = {
    "png": [],
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 92],
    "tif": [cv2.IMWRITE_TIFF_COMPRESSION, 5],
}
CPU = torch.device("cpu")


def draw(folder: Path, kind: str, n: int, side: int = 512) -> Competition:
    """`n` rough pictures with ellipses and their masks."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(n):
        rng = np.random.default_rng(i)
        rough = cv2.resize(
            rng.normal(0, 30, (side // 8, side // 8, 3)).astype(np.float32), (side, side)
        )
        mask = np.zeros((side, side), np.uint8)
        for _ in range(12):
            centre = tuple(int(v) for v in rng.integers(side, size=2))
            axes = tuple(int(v) for v in rng.integers(8, 50, size=2))
            cv2.ellipse(mask, centre, axes, float(rng.integers(180)), 0, 360, 255, -1)
        image = 90 + rough + rng.normal(0, 4, (side, side, 3)) + 60 * (mask > 0)[..., None]
        pixels = image.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{i:04d}.{kind}"), pixels, KINDS[kind])
        cv2.imwrite(str(folder / "masks" / f"{i:04d}.png"), mask)
    values = {
        "name": "benchmark",
        "task": "binary",
        "classes": ["thing"],
        "data": {
            "root": str(folder),
            "train": [{"images": f"images/{{id}}.{kind}", "masks": "masks/{id}.png"}],
            "mask_values": {0: 0, 255: 1},
        },
    }
    return check(Competition, values, "benchmark")


def pass_table(root: Path, n: int, rounds: int) -> None:
    """Print first and later passes of each kind of file."""
    print(f"{n} images of 512 x 512 with PNG masks, 1 thread, the fastest of {rounds} turns")
    print(f"{'':6}{'cv2 s':>9}{'first s':>9}{'first / cv2':>13}{'by CPU':>9}{'cv2 / later':>13}")
    for kind in KINDS:
        competition = draw(root / kind, kind, n)
        records = find_records(competition, root / kind).train
        best = np.full((4, 2), np.inf)  # bare, first, images only, later: seconds, CPU seconds
        for turn in range(rounds + 1):
            marks = [now()]
            for record in records:
                cv2.imread(str(record.image))
                cv2.imread(str(record.masks[0]), cv2.IMREAD_UNCHANGED)
            marks.append(now())
            shutil.rmtree(root / "cache", ignore_errors=True)
            marks.append(now())
            cache = open_cache(root / "cache", competition, records, Recipe(), n_threads=1)
            marks.append(now())
            for record in records:
                cv2.imread(str(record.image))
            marks.append(now())
            for i in range(len(cache)):
                np.array(cache.image(i))
            marks.append(now())
            if turn:
                best = np.minimum(best, np.diff(marks, axis=0)[[0, 2, 3, 4]])
        bare, first, images_only, later = best
        print(f"{kind:6}{bare[0]:>9.3f}{first[0]:>9.3f}{first[0] / bare[0]:>13.2f}{first[1] / bare[1]:>9.2f}"
              f"{images_only[0] / later[0]:>13.0f}")  # fmt: skip


def now() -> tuple[float, float]:
    """Seconds of the clock, and of CPU time."""
    return time.perf_counter(), time.process_time()


def count_table(root: Path) -> None:
    """Run a small `comp cv` and print how often each file was decoded."""
    folder = root / "toy"
    draw(folder / "data", "png", 12, side=96)
    commit(
        folder / "configs" / "competition.yaml",
        "name: toy\ntask: binary\nclasses: [thing]\ndata: {root: data, mask_values: {0: 0, 255: 1},"
        ' train: [{images: "images/{id}.png", masks: "masks/{id}.png"}]}\nfolds: {n_splits: 3}\n',
    )
    model = (
        "model: {arch: PlainUnet, encoder_name: null, filters: 4, depth: 2}\n"
        "train: {epochs: 4, batch_size: 4, size: [32, 32], mode: MODE}\npredict: {tta: [none]}\n"
    )
    commit(folder / "configs" / "crops.yaml", model.replace("MODE", "crop"))
    commit(folder / "configs" / "whole.yaml", model.replace("MODE", "resize"))
    competition = load_competition(folder)
    workspace = Workspace(folder, competition.name)
    cv.run(workspace, competition, ["crops.yaml", "whole.yaml"], executor="serial", device="cpu")
    print(
        f"\ndecodes of 12 images over 3 folds x 2 models x 4 epochs: {count_decodes(workspace.cache)}"
    )


def side_table(root: Path, rounds: int) -> None:
    """Print the CPU time of making a batch over that of the step that it feeds."""
    config = make_config("Unet", "resnet18", 128, 4)
    competition = draw(root / "side", "png", 48, side=256)
    records = find_records(competition, root / "side").train
    recipe = train_recipe(config.train)
    seen = open_cache(root / "cache", competition, records, recipe)
    indices = list(range(len(records)))
    samples = TrainSamples(
        seen, indices, config.train, build_augment(config.augment), 0, "binary", 1
    )
    loader = train_loader(samples, config.train, CPU)
    network = build_model(config.model, task="binary", n_classes=1, channels=3)
    step = make_step(config, network, decide_compute(config, "cpu"), "binary", 1, 3, CPU)
    data = compute = float("inf")
    for epoch in range(rounds + 1):
        began = time.process_time()
        batches = sum(1 for _ in loader.epoch(epoch))
        made = time.process_time()
        for _ in range(batches):
            step()
        stepped = time.process_time()
        if epoch:
            data = min(data, (made - began) / batches)
            compute = min(compute, (stepped - made) / batches)
    print(f"\ndata side: {data * 1e3:.1f} ms CPU a batch of {config.train.batch_size}, "
          f"step {compute * 1e3:.0f} ms: {data / compute:.3f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root: Any = Path(folder)
        pass_table(root, args.files, args.rounds)
        side_table(root, args.rounds)
        count_table(root)


if __name__ == "__main__":
    main()
