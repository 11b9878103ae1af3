"""`train_fold`: one fold of one model, read top to bottom.

The order of an epoch and what each sample looks like are functions of (seed, epoch, index); the global
random state is set from (seed, epoch) before each epoch. So nothing random has to be saved to resume.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from comp.config import data_root
from comp.data.augment import build_augment
from comp.data.cache import Recipe, open_cache
from comp.data.fold_table import HELD_OUT, FoldTable, read_folds
from comp.data.intake import Records, find_records
from comp.data.samples import (
    TrainLoader,
    TrainSamples,
    train_loader,
    train_recipe,
)
from comp.errors import FoldsError
from comp.models.build import n_parameters
from comp.models.compute import Compute
from comp.store import read_result
from comp.train.checkpoint import read_checkpoint, remove_checkpoints, write_checkpoint
from comp.train.epoch import run_epoch
from comp.train.job import Emit, FoldJob
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
        table.validation(HELD_OUT),
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


def stops_early(loop: Loop) -> bool:
    """True when the monitored value has not improved for `patience` validations."""
    early = loop.job.config.train.early_stop
    if early is None:
        return False
    best = loop.best_metric if early.monitor == "metric" else loop.best_loss
    validations = [row["epoch"] for row in loop.history if "val_loss" in row]
    return sum(epoch > best.epoch for epoch in validations) >= early.patience
