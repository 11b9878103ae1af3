"""The same network, files, augmentation and epochs in PyTorch Lightning with its defaults, and in `comp`.

The Lightning side is what its documentation shows: a Dataset that reads files, a DataLoader, a LightningModule,
`Trainer(max_epochs=N).fit()`, a checkpoint an epoch. Both are timed from files on disk to weights on disk (`comp`
with a cold cache), imports apart, in turns, seed by seed, in one process on one thread; both are scored on the
same held-out images. Goal: >= 1.5 times faster, scores equal within noise.

Lightning is not a dependency of `comp`: where it is not installed, it is put into a folder of this script's own.

Usage: OMP_NUM_THREADS=1 python benchmarks/peer.py [--epochs 12] [--seeds 3] [--data masks|objects|photos]
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from epoch import CPU, N_TRAIN, N_VAL, make_competition, make_config, split_objects

from comp.data.cache.cache import Recipe
from comp.data.cache.open import open_cache
from comp.data.samples.augment import build_augment
from comp.data.samples.loader import train_loader
from comp.data.samples.train import TrainSamples, train_recipe
from comp.data.sources.records import find_records
from comp.models.build import build_model
from comp.models.losses import build_loss, make_target
from comp.models.probe import candidates, choose, probe
from comp.train.checkpoint import write_checkpoint
from comp.train.epoch import run_epoch
from comp.train.job import FoldJob
from comp.train.state import make_loop
from comp.train.validate import Eyes

PACKAGES = ("pytorch-lightning", "lightning-utilities", "torchmetrics")


def find_lightning() -> Any:
    """The module pytorch_lightning, installed beside this script's caches where it is missing."""
    if importlib.util.find_spec("pytorch_lightning") is None:
        folder = Path(tempfile.gettempdir()) / "comp-benchmark-peer"
        if not (folder / "pytorch_lightning").is_dir():
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
            subprocess.run([*pip, str(folder), *PACKAGES], check=True)
        sys.path.append(str(folder))
    import pytorch_lightning

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    return pytorch_lightning


class Files(torch.utils.data.Dataset[Any]):
    """Images and masks decoded from their files every time, as in most notebooks."""

    def __init__(self, records: Any, masks: list[list[Path]], size: int, augment: Any) -> None:
        self.records, self.masks, self.size, self.augment = records, masks, size, augment

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        side = (self.size, self.size)
        image = cv2.cvtColor(cv2.imread(str(self.records[index].image)), cv2.COLOR_BGR2RGB)
        mask = np.zeros(image.shape[:2], np.uint8)
        for file in self.masks[index]:
            mask |= (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
        image = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, side, interpolation=cv2.INTER_NEAREST)
        if self.augment is not None:
            image, mask = self.augment(image, mask, int(torch.randint(2**31, ())))
        pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        return pixels, torch.from_numpy(np.ascontiguousarray(mask))


def make_module(lightning: Any, config: Any, steps: int) -> Any:
    """The LightningModule: the same network, loss, optimizer and schedule."""
    from comp.models.optim import build_optimizer
    from comp.models.schedule import build_schedule

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.segmenter = build_model(config.model, task="binary", n_classes=1, channels=3)
            self.loss = build_loss(config.loss, task="binary", head="sigmoid")

        def step(self, batch: Any, name: str) -> torch.Tensor:
            images, masks = batch
            logits = self.segmenter(self.segmenter.normalize(images))
            loss: torch.Tensor = self.loss(logits, make_target(masks, "binary", 1))[0]
            self.log(f"{name}_loss", loss, prog_bar=True)
            return loss

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return self.step(batch, "train")

        def validation_step(self, batch: Any, number: int) -> None:
            self.step(batch, "val")

        def configure_optimizers(self) -> Any:
            self.optimizer = build_optimizer(config.optim, self.segmenter, fused=False)
            self.schedule = build_schedule(
                config.schedule,
                self.optimizer,
                epochs=config.train.epochs,
                steps_per_epoch=steps,
                greater_is_better=True,
            )
            return self.optimizer

        def on_train_batch_end(self, *_: Any) -> None:
            self.schedule.step_batch()

    return Module()


def score(segmenter: Any, seen: Any, val: list[int]) -> float:
    """Mean IoU over the held-out images at the network's size, float32 for both sides."""
    values = []
    plain = segmenter.to(memory_format=torch.contiguous_format).eval()
    with torch.inference_mode():
        for i in val:
            x = torch.from_numpy(np.array(seen.image(i))).permute(2, 0, 1)[None].float() / 255
            found = (plain(plain.normalize(x))[0, 0] > 0).numpy()
            truth = seen.labels(i) == 1
            either = (found | truth).sum()
            values.append(1.0 if either == 0 else (found & truth).sum() / either)
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--data", choices=("masks", "objects", "photos"), default="masks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    lightning = find_lightning()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.chdir(root)  # Lightning writes its logs where it runs
        competition = make_competition(root, args.data)
        config = make_config("Unet", "resnet18", args.size, args.epochs)
        records = find_records(competition, Path(competition.data.root)).train[: N_TRAIN + N_VAL]
        n = len(records) - min(N_VAL, len(records) // 4)
        train, val = list(range(n)), list(range(n, len(records)))
        masks = (
            split_objects(records, root / "objects")
            if args.data == "objects"
            else [list(record.masks) for record in records]
        )
        augment = build_augment(config.augment)
        ways = candidates(config, "cpu")
        compute = choose(probe(config, ways, task="binary", n_classes=1, channels=3, device=CPU))
        judge = open_cache(root / "judge", competition, records, train_recipe(config.train))

        def ours(seed: int) -> Any:
            one = config.model_copy(
                update={"train": config.train.model_copy(update={"seed": seed})}
            )
            cache = root / f"cache{seed}"
            truth = open_cache(cache, competition, records, Recipe())
            seen = open_cache(cache, competition, records, train_recipe(one.train))
            job = FoldJob(root, competition, one, f"run{seed}", 0, compute.as_dict(), "", "", "")
            eyes = Eyes(competition, one, seen, truth, compute, CPU)
            samples = TrainSamples(seen, train, one.train, augment, 0, "binary", 1)
            loader = train_loader(samples, one.train, CPU)
            loop = make_loop(job, eyes, len(loader))
            for epoch in range(args.epochs):
                loop.history.append(run_epoch(loop, loader, epoch, val))
            write_checkpoint(root / f"fold{seed}", loop.state(), args.epochs)
            return loop.segmenter

        def theirs(seed: int) -> Any:
            lightning.seed_everything(seed, verbose=False)
            picked = [[records[i] for i in part] for part in (train, val)]
            files = [[masks[i] for i in part] for part in (train, val)]
            loaders = [
                torch.utils.data.DataLoader(
                    Files(a, b, args.size, augment if first else None),
                    batch_size=config.train.batch_size,
                    shuffle=first,
                    drop_last=first,
                )
                for a, b, first in zip(picked, files, (True, False), strict=True)
            ]
            module = make_module(lightning, config, len(loaders[0]))
            trainer = lightning.Trainer(
                max_epochs=args.epochs, accelerator="cpu", enable_model_summary=False
            )
            trainer.fit(module, *loaders)
            return module.segmenter

        seconds: dict[str, list[float]] = {"Lightning": [], "comp": []}
        scores: dict[str, list[float]] = {"Lightning": [], "comp": []}
        for seed in range(args.seeds):
            for name, arm in (("comp", ours), ("Lightning", theirs)):
                began = time.perf_counter()
                segmenter = arm(seed)
                seconds[name].append(time.perf_counter() - began)
                scores[name].append(score(segmenter, judge, val))
        print(
            f"\nUnet-resnet18 {args.size}x{args.size}, {args.data}, {n} images, {args.epochs} epochs, "
            f"{args.seeds} seeds, 1 thread; comp: {compute.precision}"
            f"{', channels_last' if compute.channels_last else ''}; Lightning {lightning.__version__}"
        )
        print(f"{'':12}{'s (median)':>12}{'IoU mean':>10}{'std':>8}")
        for name in seconds:
            spread = statistics.stdev(scores[name]) if args.seeds > 1 else float("nan")
            print(
                f"{name:12}{statistics.median(seconds[name]):>12.1f}"
                f"{statistics.mean(scores[name]):>10.4f}{spread:>8.4f}"
            )
        ratios = [b / a for a, b in zip(seconds["comp"], seconds["Lightning"], strict=True)]
        print(f"Lightning / comp, median of seeds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
