"""`train_fold`: one fold of one model, read top to bottom.

The order of an epoch and what each sample looks like are functions of (seed, epoch, index); the global
random state is set from (seed, epoch) before each epoch. So nothing random has to be saved to resume.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from comp.config import data_root
from comp.data.cache.cache import Recipe
from comp.data.cache.channel_stats import channel_stats
from comp.data.cache.open import open_cache
from comp.data.folds.table import HELD_OUT, FoldTable, read_folds
from comp.data.samples.augment import build_augment
from comp.data.samples.pseudo_samples import pseudo_loader
from comp.data.samples.train import TrainLoader, TrainSamples, train_loader, train_recipe
from comp.data.sources.records import Records, find_records
from comp.errors import FoldsError
from comp.models.build import n_parameters
from comp.models.compute import Compute
from comp.store import read_result
from comp.train.checkpoint import read_checkpoint, remove_checkpoints, write_checkpoint
from comp.train.epoch import run_epoch
from comp.train.job import Emit, FoldJob
from comp.train.made import make_averaged
from comp.train.outputs import predict_test_again, write_outputs
from comp.train.state import Loop, copy_weights, make_loop, make_network
from comp.train.validate import Eyes

CHECKPOINT_SECONDS = 60.0  # a killed job loses at most about this much work and one epoch


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
    train_indices, val_indices = table.training(job.fold), table.validation(job.fold)
    cache_dir, competition, config = job.workspace.cache, job.competition, job.config
    recipe = train_recipe(config.train)
    truth = open_cache(cache_dir, competition, records.train, Recipe())
    seen = (
        truth if recipe == Recipe() else open_cache(cache_dir, competition, records.train, recipe)
    )
    eyes = Eyes(competition, config, seen, truth, compute, device)
    if done is not None:
        emit({"type": "predict"})
        return predict_test_again(
            job,
            eyes,
            make_network(job, eyes, pretrained=False),
            records,
            done,
            lambda text: emit({"type": "note", "text": text}),
        )

    augment = build_augment(config.augment, soft=recipe.soft)
    samples = TrainSamples(
        seen,
        train_indices,
        config.train,
        augment,
        config.train.seed,
        competition.task,
        competition.n_classes,
        competition.background,
    )
    loader = make_loader(job, samples, records, device, emit)
    if samples.drawing is not None:
        emit({"type": "note", "text": samples.drawing.describe()})
    state = read_checkpoint(job.folder, lambda text: emit({"type": "note", "text": text}))
    loop = make_loop(job, eyes, len(loader), pretrained=state is None)
    loop.say = lambda text: emit({"type": "note", "text": text})
    if config.model.normalize == "dataset":
        stats = channel_stats(seen, train_indices)
        loop.segmenter.set_pixel_stats(stats.mean, stats.std)
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
        began = time.monotonic()
        averaged = make_averaged(loop, loader, val_indices)
        loop.seconds += time.monotonic() - began
    finally:
        loader.close()
    emit({"type": "predict"})
    result = write_outputs(
        job,
        loop.eyes,
        loop.segmenter,
        {
            "best_metric": loop.best_metric.weights,
            "best_loss": loop.best_loss.weights,
            "last": copy_weights(loop.segmenter),
        }
        | {kind: made.weights for kind, made in averaged.items()},
        {
            "best_metric": loop.best_metric.epoch,
            "best_loss": loop.best_loss.epoch,
            "last": len(loop.history),
        }
        | {kind: max(made.epochs, default=0) for kind, made in averaged.items()},
        loop.history,
        val_indices,
        table.validation(HELD_OUT),
        records,
        {
            "seconds_train": loop.seconds,
            "n_parameters": n_parameters(loop.segmenter),
            "averaged": averaged,
            "parts": loop.parts,
        },
        loop.say,
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


def make_loader(
    job: FoldJob, samples: TrainSamples, records: Records, device: torch.device, emit: Emit
) -> TrainLoader:
    """The loader of the fold's training images, with pseudo-labelled test images where the job says so."""
    if job.pseudo is None:
        return train_loader(samples, job.config.train, device)
    loader = pseudo_loader(
        job.pseudo,
        job.fold,
        samples,
        job.config.augment,
        job.workspace,
        job.competition,
        records.test,
        job.folder,
        device,
    )
    emit({"type": "note", "text": loader.text})
    return loader


def read_data(job: FoldJob) -> tuple[Records, FoldTable]:
    """The records and the folds that the plan was made with."""
    records = find_records(job.competition, data_root(job.workspace, job.competition))
    table = read_folds(job.workspace, records)
    if table.hash != job.folds_hash:
        raise FoldsError(
            f"{job.workspace.folds_csv} changed while the job waited (hash {table.hash}, planned {job.folds_hash})"
        )
    return records, table


def stops_early(loop: Loop) -> bool:
    """True when the monitored value has not improved for `patience` validations.

    With an EMA neither its nor the raw weights' has; with snapshots only where a cycle has just ended.
    """
    early = loop.job.config.train.early_stop
    if early is None:
        return False
    metric = early.monitor == "metric"
    best = (loop.best_metric if metric else loop.best_loss).epoch
    if loop.averages.ema is not None:  # it may still improve when the raw weights do not
        name = loop.eyes.competition.metric_name if metric else "loss"
        sign = 1.0 if metric and loop.best_metric.greater_is_better else -1.0
        seen = [r for r in loop.history if not math.isnan(r.get(f"ema_{name}", math.nan))]
        if seen:
            best = max(best, max(seen, key=lambda r: sign * r[f"ema_{name}"])["epoch"])
    snapshots = loop.averages.snapshots
    if snapshots is not None and [p.epoch for p in snapshots.picked][-1:] != [len(loop.history)]:
        return False  # no cycle ended in this epoch
    validations = [row["epoch"] for row in loop.history if "val_loss" in row]
    return sum(epoch > best for epoch in validations) >= early.patience
