"""What an epoch costs: the whole epoch of `comp` / pure compute, and a plain notebook loop / `comp`.

Three arms take turns, epoch by epoch, in one process on one thread, each with a model of its own:

    pure    forward, loss, backward and step on tensors that lie in memory; validation forward
    comp    `run_epoch` and a checkpoint: cached data, augmentation, steps, validation, metrics, history
    naive   float32, contiguous, every image and mask decoded from its file in every epoch, metrics

How much decoding costs the naive loop depends on the files, so there are three sets of the same number:

    masks    nuclei with one mask PNG an image (COMP_TEST_DATA), else the demo's tiles
    objects  nuclei as the competition shipped them: one mask PNG an object (COMP_TEST_DATA)
    photos   drawn JPEGs of 1600 x 1200 with a mask PNG each, the size of a camera's or a satellite's picture

Usage: OMP_NUM_THREADS=1 python benchmarks/epoch.py [--epochs 8] [--arch Unet] [--encoder resnet18] [--size 128]
       [--data masks|objects|photos]
"""

from __future__ import annotations

import argparse
import os
import statistics
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

from comp.config import Competition, ModelConfig, check
from comp.data.cache.cache import Recipe
from comp.data.cache.open import open_cache
from comp.data.samples.augment import build_augment
from comp.data.samples.loader import train_loader
from comp.data.samples.train import TrainSamples, scale_image, train_recipe
from comp.data.sources.records import find_records
from comp.demo.drawing import ensure_demo
from comp.models.build import build_model
from comp.models.compute import decide_compute
from comp.models.losses import build_loss, make_target
from comp.train.checkpoint import write_checkpoint
from comp.train.epoch import batch_target, run_epoch, update
from comp.train.job import FoldJob
from comp.train.state import make_loop
from comp.train.validate import Eyes

N_TRAIN, N_VAL = 64, 16
CPU = torch.device("cpu")


def make_competition(root: Path, kind: str) -> Competition:
    """The data of `kind`; photos are drawn below `root`."""
    given = os.environ.get("COMP_TEST_DATA")
    pairs = {"images": "images/{id}.png", "masks": "masks/{id}.png"}
    if kind == "photos":
        data = root / "photos"
        draw_photos(data)
        pairs["images"] = "images/{id}.jpg"
    elif given:
        data = Path(given) / "nuclei"
    elif kind == "objects":
        raise SystemExit("--data objects: set COMP_TEST_DATA to the folder that holds nuclei/")
    else:
        data = root / "demo"
        ensure_demo(data)
    values = {
        "name": "benchmark",
        "task": "binary",
        "classes": ["object"],
        "data": {"root": str(data.resolve()), "train": [pairs], "mask_values": {0: 0, 255: 1}},
    }
    return check(Competition, values, "benchmark")


def draw_photos(folder: Path, height: int = 1200, width: int = 1600) -> None:
    """N_TRAIN + N_VAL pictures of bright ellipses on a rough ground, as JPEG of quality 92."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(N_TRAIN + N_VAL):
        rng = np.random.default_rng(i)
        rough = cv2.resize(
            rng.normal(0, 30, (height // 4, width // 4, 3)).astype(np.float32), (width, height)
        )
        image = 90 + rough + rng.normal(0, 6, (height, width, 3))
        mask = np.zeros((height, width), np.uint8)
        for _ in range(20):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            axes = (int(rng.integers(20, 120)), int(rng.integers(20, 120)))
            cv2.ellipse(mask, centre, axes, float(rng.integers(180)), 0, 360, 255, -1)
        image += 70 * (mask > 0)[..., None]
        cv2.imwrite(
            str(folder / "images" / f"{i:03d}.jpg"),
            image.clip(0, 255).astype(np.uint8),
            [cv2.IMWRITE_JPEG_QUALITY, 92],
        )
        cv2.imwrite(str(folder / "masks" / f"{i:03d}.png"), mask)


def split_objects(records: Any, folder: Path) -> list[list[Path]]:
    """One PNG for each object of each mask, as the 2018 Data Science Bowl shipped them."""
    every = []
    for record in records:
        mask = cv2.imread(str(record.masks[0]), cv2.IMREAD_GRAYSCALE)
        n, numbers = cv2.connectedComponents((mask > 127).astype(np.uint8))
        (folder / record.image_id).mkdir(parents=True)
        files = [folder / record.image_id / f"{k}.png" for k in range(1, n)]
        for k, file in enumerate(files, 1):
            cv2.imwrite(str(file), (numbers == k).astype(np.uint8) * 255)
        every.append(files)
    return every


def make_config(arch: str, encoder: str, size: int, epochs: int) -> ModelConfig:
    """One model, resized to `size`, with light augmentation."""
    values = {
        "model": {"arch": arch, "encoder_name": encoder, "normalize": "unit"},
        "loss": {"bce": 0.5, "dice": 0.5},
        "train": {
            "epochs": epochs,
            "batch_size": 8,
            "mode": "resize",
            "size": [size, size],
            "soft_masks": False,
        },
        "augment": [
            {"HorizontalFlip": {"p": 0.5}},
            {"VerticalFlip": {"p": 0.5}},
            {"RandomBrightnessContrast": {"p": 0.5}},
        ],
    }
    return check(ModelConfig, values, "benchmark")


def make_arms(
    root: Path, arch: str, encoder: str, size: int, epochs: int, kind: str
) -> dict[str, Callable[[int], Any]]:
    """The three arms, each a function of the epoch."""
    competition, config = make_competition(root, kind), make_config(arch, encoder, size, epochs)
    found = find_records(competition, Path(competition.data.root)).train
    records = found[: N_TRAIN + N_VAL]
    n_val = min(N_VAL, len(records) // 4)
    train, val = list(range(len(records) - n_val)), list(range(len(records) - n_val, len(records)))
    truth = open_cache(root / "cache", competition, records, Recipe())
    seen = open_cache(root / "cache", competition, records, train_recipe(config.train))
    compute = decide_compute(config, "cpu")
    job = FoldJob(root, competition, config, "benchmark", 0, compute.as_dict(), "", "", "")
    eyes = Eyes(competition, config, seen, truth, compute, CPU)
    augment = build_augment(config.augment)
    samples = TrainSamples(
        seen, train, config.train, augment, 0, competition.task, competition.n_classes
    )
    loader = train_loader(samples, config.train, CPU)

    pure_loop = make_loop(job, eyes, len(loader))
    batches = list(loader.epoch(0))
    val_images = torch.from_numpy(np.stack([seen.image(i) for i in val])).permute(0, 3, 1, 2)
    val_labels = torch.from_numpy(np.stack([seen.labels(i) for i in val]))

    def pure(epoch: int) -> None:
        pure_loop.segmenter.train()
        for batch in batches:
            x = compute.to_layout(pure_loop.segmenter.normalize(scale_image(batch["image"])))
            with compute.autocast():
                logits = pure_loop.segmenter(x)
            pure_loop.loss(logits, batch_target(batch, eyes))[0].backward()
            update(pure_loop)
        pure_loop.segmenter.eval()
        with torch.inference_mode():
            x = compute.to_layout(pure_loop.segmenter.normalize(scale_image(val_images)))
            with compute.autocast():
                logits = pure_loop.segmenter(x).float()
            pure_loop.loss(logits, make_target(val_labels, competition.task, 1))

    comp_loop = make_loop(job, eyes, len(loader))

    def comp(epoch: int) -> None:
        comp_loop.history.append(run_epoch(comp_loop, loader, epoch, val))

    def checkpoint(epoch: int) -> None:
        write_checkpoint(root / "fold0", comp_loop.state(), epoch)

    masks = (
        split_objects(records, root / "objects")
        if kind == "objects"
        else [list(record.masks) for record in records]
    )
    naive = make_naive(records, masks, train, val, config, size)
    return {"pure": pure, "comp": comp, "checkpoint": checkpoint, "naive": naive}


def make_naive(
    records: Any,
    masks: list[list[Path]],
    train: list[int],
    val: list[int],
    config: ModelConfig,
    size: int,
) -> Callable[[int], None]:
    """The loop of many a notebook: decode, resize, augment, float32, step; then validate."""
    segmenter = build_model(config.model, task="binary", n_classes=1, channels=3)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=1e-3)
    loss = build_loss(config.loss, task="binary", head="sigmoid")
    augment = build_augment(config.augment)

    def read(index: int, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
        image = cv2.cvtColor(cv2.imread(str(records[index].image)), cv2.COLOR_BGR2RGB)
        mask = np.zeros(image.shape[:2], np.uint8)
        for file in masks[index]:
            mask |= (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
        return (image, mask) if seed is None else augment(image, mask, seed)

    def batches(indices: list[int], epoch: int | None) -> Any:
        for start in range(0, len(indices), 8):
            chosen = indices[start : start + 8]
            read_all = [read(i, None if epoch is None else epoch * 1000 + i) for i in chosen]
            images = (
                np.stack([image for image, _ in read_all]).transpose(0, 3, 1, 2).astype(np.float32)
                / 255
            )
            yield (
                torch.from_numpy(images),
                torch.from_numpy(np.stack([mask for _, mask in read_all])),
            )

    def naive(epoch: int) -> None:
        segmenter.train()
        order = np.random.default_rng(epoch).permutation(train).tolist()
        for images, masks in batches(order, epoch):
            optimizer.zero_grad()
            loss(segmenter(images), make_target(masks, "binary", 1))[0].backward()
            optimizer.step()
        segmenter.eval()
        scores = []
        with torch.no_grad():
            for images, masks in batches(val, None):
                found = segmenter(images)[:, 0].sigmoid() > 0.5
                both = (found & (masks > 0)).sum((1, 2)).float()
                either = (found | (masks > 0)).sum((1, 2)).float()
                scores.append(((both + 1e-7) / (either + 1e-7)).mean().item())

    return naive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--arch", default="Unet")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--data", choices=("masks", "objects", "photos"), default="masks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        arms = make_arms(Path(folder), args.arch, args.encoder, args.size, args.epochs, args.data)
        walls: dict[str, list[float]] = {name: [] for name in arms}
        cpus: dict[str, list[float]] = {name: [] for name in arms}
        for epoch in range(args.epochs):
            for name, arm in arms.items():
                began, spent = time.perf_counter(), time.process_time()
                arm(epoch)
                walls[name].append(time.perf_counter() - began)
                cpus[name].append(time.process_time() - spent)
            print(
                f"epoch {epoch}: " + ", ".join(f"{n} {walls[n][-1]:.2f} s" for n in arms),
                file=sys.stderr,
            )
    wall = {name: min(values[1:]) for name, values in walls.items()}
    cpu = {name: statistics.median(values[1:]) for name, values in cpus.items()}
    epochs_a_minute = 60 / wall["comp"]
    print(
        f"{args.arch}-{args.encoder} {args.size}x{args.size}, {args.data}, batch 8,"
        f" {args.epochs - 1} epochs counted, 1 thread"
    )
    print(f"{'':34}{'wall (min)':>12}{'cpu (median)':>14}")
    for name in arms:
        print(f"{name + ' s':34}{wall[name]:>12.3f}{cpu[name]:>14.3f}")
    every = {
        n: (d["comp"] + d["checkpoint"]) / d["pure"] for n, d in (("wall", wall), ("cpu", cpu))
    }
    due = {
        n: (d["comp"] + d["checkpoint"] / max(1.0, epochs_a_minute)) / d["pure"]
        for n, d in (("wall", wall), ("cpu", cpu))
    }
    plain = {
        n: d["naive"] / (d["comp"] + d["checkpoint"] / max(1.0, epochs_a_minute))
        for n, d in (("wall", wall), ("cpu", cpu))
    }
    for name, ratio in (
        ("comp / pure, checkpoint as it is due", due),
        ("comp / pure, checkpoint every epoch", every),
        ("naive / comp", plain),
    ):
        print(f"{name:38}{ratio['wall']:>8.3f}{ratio['cpu']:>14.3f}")


if __name__ == "__main__":
    main()
