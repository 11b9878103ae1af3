"""One batch of the real data through a config, as training would do it, and what it costs.

Loss, gradients, an update and a validation; distinct views; image and mask together. A job like any
other, so that what kills it kills a worker only. What goes wrong is listed, and the rest goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from comp.config import Competition, ModelConfig
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.channel_stats import channel_stats
from comp.data.cache.open import open_cache
from comp.data.samples.alignment import check_alignment
from comp.data.samples.augment import Augment, build_augment
from comp.data.samples.loader import train_loader
from comp.data.samples.train import TrainSamples, crops_of, train_recipe
from comp.data.samples.views import Views, check_views
from comp.data.sources.records import Record
from comp.errors import CompError, ConfigError
from comp.models.build import build_model, n_parameters
from comp.models.compute import Compute, decide_compute
from comp.models.gpus import peak, reset_peak
from comp.models.step import make_step, one_line, synchronize
from comp.registry import use_code_of
from comp.train.epoch import train_epoch
from comp.train.job import Emit, FoldJob
from comp.train.one_batch import OneBatch, look_at_update, not_finite, timed
from comp.train.state import Loop, make_loop
from comp.train.validate import Eyes, validate

PICTURE = 256  # largest side of the picture that shows whether masks follow


@dataclass(frozen=True)
class Trial:
    """Try one config.

    Args:
        records: a few training images, the last `n_val` of them are validated on; none: there are no data,
            and the batch is of random pixels.
        n_train, n_val_all: images that a fold trains on and is validated on.
        cache: folder for the caches of the few; removed by the caller.
        folder: for the log.
        views: also count distinct views (two more processes).
        limit_seconds: no step is begun later than this, and no views are counted.
    """

    root: Path
    competition: Competition
    config: ModelConfig
    label: str
    folder: Path
    cache: Path
    records: tuple[Record, ...]
    n_val: int
    n_train: int
    n_val_all: int
    views: bool
    limit_seconds: float

    def work(self, device: str, emit: Emit) -> dict[str, Any]:
        """Try it on `device`, and return the findings as plain values."""
        use_code_of(self.root)
        began = time.monotonic()
        found = Findings()
        if device != "cpu":
            torch.cuda.set_device(device)
        soft = train_recipe(self.config.train).soft
        found.ask("mask alignment", lambda: self._align(soft, found))
        if not self.records:
            found.ask("batch", lambda: self._noise(torch.device(device), found, began))
            return found.as_dict()
        caches = found.ask("data", self._open)
        if caches is not None:
            seen, truth = caches
            augment = build_augment(self.config.augment, soft=soft)
            found.ask("batch", lambda: self._batch(seen, truth, augment, device, found, began))
            if self.views and time.monotonic() - began > self.limit_seconds:
                found.notes.append("distinct views were not counted: the time was up (--limit)")
            elif self.views:
                found.ask("views", lambda: self._views(seen, augment, found))
        return found.as_dict()

    def _align(self, soft: bool, found: Findings) -> None:
        height, width = (min(s, PICTURE) for s in self.config.train.size)
        planes = self.competition.task == "multilabel"
        channels = self.competition.data.channels
        found.problems += check_alignment(
            self.config.augment, (height, width), channels, planes, soft
        )
        found.values["transforms"] = len(self.config.augment)

    def _open(self) -> tuple[Cache, Cache]:
        """The caches of the few images: as the model sees them, and native."""
        recipe = train_recipe(self.config.train)
        truth = open_cache(self.cache, self.competition, self.records, Recipe())
        if recipe == Recipe():
            return truth, truth
        return open_cache(self.cache, self.competition, self.records, recipe), truth

    def _views(self, seen: Cache, augment: Augment, found: Findings) -> None:
        views: Views = check_views(
            seen,
            self._train_indices(),
            self.config.train,
            augment,
            self.competition.task,
            self.competition.n_classes,
        )
        found.problems += [f"views of {views.image_id}: {problem}" for problem in views.problems]
        found.values["views"] = [views.distinct, views.drawn, views.possible]
        if views.possible == 1:
            found.notes.append("every view of a picture is the same: nothing is augmented")

    def _train_indices(self) -> list[int]:
        few = range(len(self.records) - self.n_val) or range(len(self.records))
        return list(few)

    def _batch(
        self,
        seen: Cache,
        truth: Cache,
        augment: Augment,
        device: str,
        found: Findings,
        began: float,
    ) -> None:
        config, competition = self.config, self.competition
        train, kind = config.train, torch.device(device)
        compute = self._computed(kind, found)
        few = self._train_indices()
        size = train.batch_size
        repeated = [few[i % len(few)] for i in range(max(size, len(few)))]
        plain = train.model_copy(update={"sampler": None, "workers": 0})
        samples = TrainSamples(
            seen,
            repeated,
            plain,
            augment,
            train.seed,
            competition.task,
            competition.n_classes,
            competition.background,
        )
        steps = self._steps(seen, few)
        eyes = Eyes(competition, config, seen, truth, compute, kind)
        loop = self._loop(eyes, steps, found)
        if config.model.normalize == "dataset":
            stats = channel_stats(seen, few)
            loop.segmenter.set_pixel_stats(stats.mean, stats.std)
        found.values |= {
            "parameters": n_parameters(loop.segmenter),
            "steps": steps,
            "epochs": train.epochs,
        }
        reset_peak(kind)
        loader = train_loader(samples, plain, kind)
        try:
            self._train(loop, OneBatch(loader), kind, found, began)
        finally:
            loader.close()
        found.values["peak_bytes"] = peak(kind)
        if self.n_val:
            self._validate(loop, eyes, kind, found)

    def _noise(self, device: torch.device, found: Findings, began: float) -> None:
        """The batch without data: random pixels and labels."""
        config, task = self.config, self.competition.task
        n_classes, channels = self.competition.n_classes, self.competition.data.channels
        compute = self._computed(device, found)
        segmenter = build_model(
            config.model, task=task, n_classes=n_classes, channels=channels, load_weights=False
        )
        found.values["parameters"] = n_parameters(segmenter)
        step = make_step(config, segmenter, compute, task, n_classes, channels, device)
        reset_peak(device)
        found.values["seconds_step"] = min(timed(step, device, self.limit_seconds, began))
        found.values["peak_bytes"] = peak(device)
        wrong = not_finite(segmenter)
        found.problems += [f"{wrong} after the update"] if wrong else []
        found.notes.append("no data: the batch was of random pixels and labels")

    def _computed(self, device: torch.device, found: Findings) -> Compute:
        """How it is computed where nothing is measured, said in the findings."""
        train, compute = self.config.train, decide_compute(self.config, device.type)
        compute.settle()
        layout = " channels_last" if compute.channels_last else ""
        found.values |= {
            "batch": [train.batch_size, self.competition.data.channels, *train.size],
            "compute": f"{compute.device_type} {compute.precision}{layout}",
        }
        return compute

    def _loop(self, eyes: Eyes, steps: int, found: Findings) -> Loop:
        """Network, optimizer and schedule; without pretrained weights where these cannot be had."""
        job = FoldJob(
            self.root,
            self.competition,
            self.config,
            self.label,
            0,
            eyes.compute.as_dict(),
            config_hash="",
            folds_hash="",
            test_hash="",
        )
        try:
            return make_loop(job, eyes, steps)
        except ConfigError as error:
            if self.config.model.encoder_weights is None:
                raise
            found.problems += error.problems
        model = self.config.model.model_copy(update={"encoder_weights": None})
        config = self.config.model_copy(update={"model": model})
        return make_loop(FoldJob(**{**vars(job), "config": config}), eyes, steps)

    def _steps(self, seen: Cache, few: Sequence[int]) -> int:
        """Batches of an epoch of a fold, from what the few images give."""
        train = self.config.train
        each = sum(crops_of(train, seen.image(i).shape[:2]) for i in few) / len(few)
        samples = round(self.n_train * each)
        if train.sampler is not None and train.sampler.samples is not None:
            samples = train.sampler.samples
        return max(1, samples // train.batch_size)

    def _train(
        self, loop: Loop, loader: OneBatch, device: torch.device, found: Findings, began: float
    ) -> None:
        before = {k: p.detach().clone() for k, p in loop.segmenter.named_parameters()}
        rows: list[dict[str, Any]] = []
        loop.segmenter.set_epoch(0)

        def step() -> None:
            rows.append(train_epoch(loop, loader, len(rows)))  # type: ignore[arg-type]

        found.values["seconds_step"] = min(timed(step, device, self.limit_seconds, began))
        row = rows[-1]
        found.values["loss"] = row["train_loss"]
        if loop.parts > 1:
            found.notes.append(
                f"out of memory: each batch was learned in {loop.parts} parts; "
                "train.batch_size and train.accumulate can say so"
            )
        found.problems += look_at_update(loop, before, row, found.notes)

    def _validate(self, loop: Loop, eyes: Eyes, device: torch.device, found: Findings) -> None:
        few = range(len(self.records) - self.n_val, len(self.records))
        synchronize(device)
        started = time.perf_counter()
        _, _, total = validate(loop.segmenter, few, eyes, loop.loss)
        synchronize(device)
        each = (time.perf_counter() - started) / len(few)
        train = self.config.train
        found.values["seconds_val"] = (
            each * self.n_val_all * math.ceil(train.epochs / train.validate_every)
        )
        if not math.isfinite(total):
            found.problems.append(f"the loss of the validation images is {total}")


class Findings:
    """What a trial has found so far."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.values: dict[str, Any] = {}

    def as_dict(self) -> dict[str, Any]:
        return {"problems": self.problems, "notes": self.notes, **self.values}

    def ask(self, what: str, check: Any) -> Any:
        """Run one check; what it raises is a problem, and the next check goes on."""
        try:
            return check()
        except ConfigError as error:
            self.problems += error.problems
        except CompError as error:
            self.problems.append(f"{what}: {error}")
        except torch.OutOfMemoryError as error:
            text = one_line(error)
            self.problems.append(f"{what}: out of memory ({text}): a smaller train.batch_size")
        except Exception as error:  # noqa: BLE001 - a doctor must not stop at the first
            self.problems.append(f"{what}: {type(error).__name__}: {one_line(error)}")
        return None
