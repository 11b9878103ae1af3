"""`train_fold`: one fold of one model, read top to bottom.

The order of an epoch and what each sample looks like are functions of (seed, epoch, index); the global
random state is set from (seed, epoch) before each epoch. So nothing random has to be saved to resume.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from comp.config import data_root
from comp.data.augment import build_augment
from comp.data.cache import Recipe, open_cache
from comp.data.fold_table import FoldTable, read_folds
from comp.data.intake import Records, find_records
from comp.data.samples import (
    TrainLoader,
    TrainSamples,
    derive,
    scale_image,
    train_loader,
    train_recipe,
)
from comp.errors import CompError, FoldsError, RunMismatchError, some
from comp.metrics.scores import find_metric
from comp.models.build import build_model, n_parameters
from comp.models.compute import Compute
from comp.models.losses import Target, WeightedLoss, build_loss, make_target
from comp.models.optim import build_optimizer
from comp.models.schedule import Schedule, build_schedule
from comp.models.segmenter import Segmenter
from comp.store import read_result
from comp.train.checkpoint import read_checkpoint, remove_checkpoints, write_checkpoint
from comp.train.job import Emit, FoldJob
from comp.train.outputs import predict_test_again, write_outputs
from comp.train.validate import Eyes, validate

CHECKPOINT_SECONDS = 60.0  # a killed job loses at most about this much work and one epoch


@dataclass
class Best:
    """The best epoch so far by one monitor, with a copy of its weights."""

    greater_is_better: bool
    value: float = math.nan
    epoch: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def offer(self, value: float, epoch: int, segmenter: Segmenter) -> bool:
        """Keep the weights if `value` is better; NaN never is."""
        if math.isnan(value):
            return False
        better = math.isnan(self.value) or (
            value > self.value if self.greater_is_better else value < self.value
        )
        if better:
            self.value, self.epoch, self.weights = value, epoch, copy_weights(segmenter)
        return better

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "epoch": self.epoch, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        self.value, self.epoch, self.weights = state["value"], state["epoch"], state["weights"]


def copy_weights(segmenter: Segmenter) -> dict[str, torch.Tensor]:
    """A detached copy of every parameter and buffer on the CPU."""
    return {
        k: v.detach().to("cpu", copy=True).contiguous() for k, v in segmenter.state_dict().items()
    }


@dataclass
class Loop:
    """Everything that changes while a fold is trained."""

    job: FoldJob
    segmenter: Segmenter
    loss: WeightedLoss
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    eyes: Eyes
    best_metric: Best
    best_loss: Best
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  # spent in earlier, interrupted attempts

    def state(self) -> dict[str, Any]:
        return {
            "config_hash": self.job.config_hash,
            "folds_hash": self.job.folds_hash,
            "model": self.segmenter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_metric": self.best_metric.state(),
            "best_loss": self.best_loss.state(),
            "history": self.history,
            "seconds": self.seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        for key in ("config_hash", "folds_hash"):
            if state[key] != getattr(self.job, key):
                raise RunMismatchError(
                    f"{self.job.label}: its checkpoint was made with another {key.removesuffix('_hash')} "
                    f"({state[key]}, now {getattr(self.job, key)}): use --name, or delete {self.job.folder}"
                )
        self.segmenter.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_metric.load(state["best_metric"])
        self.best_loss.load(state["best_loss"])
        self.history, self.seconds = state["history"], state["seconds"]


def train_fold(job: FoldJob, device: torch.device, emit: Emit) -> dict[str, Any]:
    """Train one fold, or finish what an earlier attempt began, and return its result.

    Args:
        emit: told what happens, as plain dicts with a `type`.

    Raises:
        CompError: data, folds or run do not fit; the loss is not finite.
    """
    done = read_result(job.folder)
    if done is not None and done["test_hash"] == job.test_hash:
        return done
    compute = Compute(**job.compute)
    if compute.threads:
        torch.set_num_threads(compute.threads)
    records, table = read_data(job)
    train_indices, val_indices = fold_indices(table, job.fold)
    cache_dir, competition, config = job.workspace.cache, job.competition, job.config
    recipe = train_recipe(config.train)
    truth = open_cache(cache_dir, competition, records.train, Recipe())
    seen = (
        truth if recipe == Recipe() else open_cache(cache_dir, competition, records.train, recipe)
    )
    eyes = Eyes(competition, config, seen, truth, compute, device)
    if done is not None:
        emit({"type": "predict"})
        return predict_test_again(job, eyes, make_network(job, eyes), records, done)

    augment = build_augment(config.augment, soft=recipe.soft)
    samples = TrainSamples(
        seen,
        train_indices,
        config.train,
        augment,
        config.train.seed,
        competition.task,
        competition.n_classes,
    )
    loader = train_loader(samples, config.train, device)
    loop = make_loop(job, eyes, len(loader))
    state = read_checkpoint(job.folder, lambda text: emit({"type": "note", "text": text}))
    if state is not None:
        loop.load(state)
        emit(
            {
                "type": "note",
                "text": f"resuming from epoch {len(loop.history)} of {config.train.epochs}",
            }
        )
    try:
        train_epochs(loop, loader, val_indices, emit)
    finally:
        loader.close()
    emit({"type": "predict"})
    result = write_outputs(
        job,
        eyes,
        loop.segmenter,
        {
            "best_metric": loop.best_metric.weights,
            "best_loss": loop.best_loss.weights,
            "last": copy_weights(loop.segmenter),
        },
        {
            "best_metric": loop.best_metric.epoch,
            "best_loss": loop.best_loss.epoch,
            "last": len(loop.history),
        },
        loop.history,
        val_indices,
        [i for i, fold in enumerate(table.fold) if fold == -2],
        records,
        {"seconds_train": loop.seconds, "n_parameters": n_parameters(loop.segmenter)},
    )
    remove_checkpoints(job.folder)
    return result


def train_epochs(loop: Loop, loader: TrainLoader, val_indices: list[int], emit: Emit) -> None:
    """Train from the epoch reached to the last one, or until it stops early; write checkpoints."""
    epochs = loop.job.config.train.epochs
    started = written = time.monotonic()
    before = loop.seconds
    for epoch in range(len(loop.history), epochs):
        if stops_early(loop):
            break
        row = run_epoch(loop, loader, epoch, val_indices)
        loop.history.append(row)
        loop.seconds = before + time.monotonic() - started
        emit({"type": "epoch", "epoch": epoch + 1, "epochs": epochs, **row})
        if time.monotonic() - written >= CHECKPOINT_SECONDS:
            write_checkpoint(loop.job.folder, loop.state(), epoch + 1)
            written = time.monotonic()


def read_data(job: FoldJob) -> tuple[Records, FoldTable]:
    """The records and the folds that the plan was made with."""
    records = find_records(job.competition, data_root(job.workspace, job.competition))
    table = read_folds(job.workspace, records)
    if table.hash != job.folds_hash:
        raise FoldsError(
            f"{job.workspace.folds_csv} changed while the job waited (hash {table.hash}, planned {job.folds_hash})"
        )
    return records, table


def fold_indices(table: FoldTable, fold: int) -> tuple[list[int], list[int]]:
    """Positions of the training and validation images of one fold; fold -2 is in neither."""
    train = [i for i, f in enumerate(table.fold) if f not in (fold, -2)]
    val = [i for i, f in enumerate(table.fold) if f == fold]
    return train, val


def make_network(job: FoldJob, eyes: Eyes) -> Segmenter:
    """The network as it is before training: pretrained, or random from (seed, fold)."""
    config, competition = job.config, job.competition
    torch.manual_seed(derive(config.train.seed, "init", job.fold))
    segmenter = build_model(
        config.model,
        task=competition.task,
        n_classes=competition.n_classes,
        channels=competition.data.channels,
        root=job.root,
    ).to(eyes.device)
    if eyes.compute.channels_last:
        segmenter = segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return segmenter


def make_loop(job: FoldJob, eyes: Eyes, batches: int) -> Loop:
    """Build the network and what trains it, seeded by (seed, fold)."""
    config, competition, compute = job.config, job.competition, eyes.compute
    segmenter = make_network(job, eyes)
    optimizer = build_optimizer(config.optim, segmenter, fused=compute.fused)
    steps = math.ceil(batches / config.train.accumulate)
    metric = find_metric(competition.metric_name)
    return Loop(
        job,
        segmenter,
        build_loss(config.loss, task=competition.task, head=segmenter.head),
        optimizer,
        build_schedule(
            config.schedule,
            optimizer,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            greater_is_better=metric.greater_is_better,
        ),
        torch.amp.GradScaler(compute.device_type, enabled=compute.precision == "fp16"),
        eyes,
        Best(metric.greater_is_better),
        Best(greater_is_better=False),
    )


def run_epoch(
    loop: Loop, loader: TrainLoader, epoch: int, val_indices: list[int]
) -> dict[str, Any]:
    """Train one epoch, validate when due, keep the best weights, and return the history row."""
    train = loop.job.config.train
    torch.manual_seed(derive(train.seed, "epoch", epoch))
    loop.segmenter.set_epoch(epoch)
    started = time.monotonic()
    lr = loop.optimizer.param_groups[-1]["lr"]
    row: dict[str, Any] = {"epoch": epoch + 1, "lr": lr, **train_epoch(loop, loader, epoch)}
    row["images_per_second"] = round(row.pop("samples") / (time.monotonic() - started), 2)
    if (epoch + 1) % train.validate_every == 0 or epoch + 1 == train.epochs:
        scores, terms, total = validate(loop.segmenter, val_indices, loop.eyes, loop.loss)
        row["val_loss"] = total
        row |= {f"val_{k}": v for k, v in terms.items()} | {
            f"val_{k}": v for k, v in scores.items()
        }
        score = scores[loop.eyes.competition.metric_name]
        loop.best_metric.offer(score, epoch + 1, loop.segmenter)
        loop.best_loss.offer(total, epoch + 1, loop.segmenter)
        loop.schedule.step_epoch(total, score)
    row["seconds"] = round(time.monotonic() - started, 3)
    return row


def train_epoch(loop: Loop, loader: TrainLoader, epoch: int) -> dict[str, Any]:
    """One pass over the training samples.

    Returns:
        train_loss and every train_<term> (means over samples), samples.
    """
    train, eyes = loop.job.config.train, loop.eyes
    sums: dict[str, torch.Tensor] = {}
    n_samples, n_batches = 0, len(loader)
    loop.segmenter.train()
    loop.optimizer.zero_grad(set_to_none=True)
    for step, batch in enumerate(loader.epoch(epoch)):
        target = batch_target(batch, eyes)
        images = scale_image(batch["image"].to(eyes.device, non_blocking=True))
        x = eyes.compute.to_layout(loop.segmenter.normalize(images))
        with eyes.compute.autocast():
            logits = loop.segmenter(x)
        total, terms = loop.loss(logits, target)
        n = len(images)
        for name, value in {"loss": total.detach(), **terms}.items():
            sums[name] = sums.get(name, torch.zeros((), device=eyes.device)) + value * n
        n_samples += n
        window = min(train.accumulate, n_batches - step // train.accumulate * train.accumulate)
        loop.scaler.scale(total / window).backward()
        if (step + 1) % train.accumulate == 0 or step + 1 == n_batches:
            update(loop)
        # On a GPU the check waits for the device, so it is made now and then and at the end.
        if eyes.device.type == "cpu" or step % 50 == 0 or step + 1 == n_batches:
            check_finite(sums["loss"], loop, epoch, step, batch["number"].tolist())
    return {f"train_{k}": float(v) / n_samples for k, v in sums.items()} | {"samples": n_samples}


def update(loop: Loop) -> None:
    """One optimizer step from the accumulated gradients."""
    clip = loop.job.config.train.clip_grad_norm
    if clip is not None:
        loop.scaler.unscale_(loop.optimizer)
        torch.nn.utils.clip_grad_norm_(loop.segmenter.parameters(), clip)
    loop.scaler.step(loop.optimizer)
    loop.scaler.update()
    loop.optimizer.zero_grad(set_to_none=True)
    loop.schedule.step_batch()


def batch_target(batch: dict[str, torch.Tensor], eyes: Eyes) -> Target:
    """The truth of a training batch on the device."""
    if "planes" in batch:
        planes = batch["planes"].to(eyes.device, non_blocking=True)
        return Target(planes, batch["valid"].to(eyes.device, non_blocking=True))
    labels = batch["labels"].to(eyes.device, non_blocking=True)
    return make_target(labels, eyes.competition.task, eyes.competition.n_classes)


def check_finite(
    total: torch.Tensor, loop: Loop, epoch: int, step: int, numbers: list[int]
) -> None:
    """Stop a job whose loss is no longer a number."""
    if not bool(torch.isfinite(total)):
        ids = ""
        if loop.eyes.device.type == "cpu":  # checked at every step: these images it was
            ids = f" (images {some([loop.eyes.seen.ids[n] for n in numbers])})"
        raise CompError(
            f"{loop.job.label}: the loss is {float(total)} by epoch {epoch + 1} step {step + 1}"
            f"{ids}: lower optim.lr, set train.clip_grad_norm, or use -o train.precision=fp32"
        )


def stops_early(loop: Loop) -> bool:
    """True when the monitored value has not improved for `patience` validations."""
    early = loop.job.config.train.early_stop
    if early is None:
        return False
    best = loop.best_metric if early.monitor == "metric" else loop.best_loss
    validations = [row["epoch"] for row in loop.history if "val_loss" in row]
    return sum(epoch > best.epoch for epoch in validations) >= early.patience
