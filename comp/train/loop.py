"""`train_fold`: one fold of one model, read top to bottom.

The order of an epoch and what each sample looks like are functions of (seed, epoch, index). The global
random state, which dropout draws from, is set from (seed, epoch) before each epoch, and is saved within one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from comp.config import data_root
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.channel_stats import channel_stats
from comp.data.cache.open import open_cache
from comp.data.folds.table import HELD_OUT, FoldTable, read_folds
from comp.data.samples.augment import build_augment
from comp.data.samples.loader import TrainLoader, train_loader
from comp.data.samples.pseudo_samples import pseudo_loader
from comp.data.samples.train import TrainSamples, train_recipe
from comp.data.sources.records import Records, find_records
from comp.errors import DataError, FoldsError, StoppedError
from comp.files import read_json, remove_temporaries
from comp.models.build import n_parameters
from comp.models.compute import Compute
from comp.store import read_result
from comp.train.averaging import Weights
from comp.train.checkpoint import read_checkpoint, remove_checkpoints
from comp.train.epoch import run_epoch
from comp.train.job import Emit, FoldJob
from comp.train.made import Made, make_averaged
from comp.train.outputs import predict_test_again, smaller_batch, write_outputs, write_score
from comp.train.saving import Saver
from comp.train.state import Loop, copy_weights, make_loop, make_network
from comp.train.validate import Eyes

Note = Callable[[str], None]
CHECKPOINT_SECONDS = 60.0  # of work that a kill costs at most, more where saving is slow


def train_fold(job: FoldJob, device: torch.device, emit: Emit) -> dict[str, Any]:
    """Train one fold, or finish what an earlier attempt began, and return its result.

    Args:
        emit: told what happens, as plain dicts with a `type`.

    Raises:
        CompError: data, folds or run do not fit; the loss is not finite.
    """
    remove_temporaries(job.folder)
    done = read_result(job.folder)
    left = job.left_to_do(done)
    if done is not None and left is None:
        return done

    def note(text: str) -> None:
        emit({"type": "note", "text": text})

    records, table = read_data(job)
    train_indices, val_indices = table.training(job.fold), table.validation(job.fold)
    eyes = open_eyes(job, records, device)
    if done is not None:
        note(f"{left}: predicted with the weights that are there")
        emit({"type": "predict"})
        network = make_network(job, eyes, pretrained=False)
        again = predict_test_again(job, eyes, network, records, done, note)
        remove_checkpoints(job.folder)  # of a job killed between its result and here
        return again

    samples = make_samples(job, eyes, train_indices, note)
    loader = make_loader(job, samples, records, device, note)
    loop = begin(job, eyes, samples, loader, note)
    for row in loop.history if job.study is not None else ():  # of an earlier attempt
        emit({"type": "past", **row})
    saver = Saver(loop, CHECKPOINT_SECONDS)
    try:
        train_epochs(loop, loader, val_indices, emit, saver)
        averaged = make_averaged(loop, loader, val_indices)
    except StoppedError as error:
        raise saver.stop(error) from None
    except RuntimeError as error:
        raise loader.explain(error) from None
    finally:
        loader.close()
    weights, epochs = kinds_of_weights(loop, averaged)
    if job.study is not None:
        said = {
            "seconds": saver.seconds(),
            "n_parameters": n_parameters(loop.segmenter),
            "out_of_memory": smaller_batch(job, loop.parts),
        }
        result = write_score(job, epochs, loop.history, averaged, said)
        remove_checkpoints(job.folder)
        return result
    emit({"type": "predict"})
    try:
        result = write_outputs(
            job,
            loop.eyes,
            loop.segmenter,
            weights,
            epochs,
            loop.history,
            val_indices,
            table.validation(HELD_OUT),
            records,
            {
                "seconds_train": saver.seconds(),
                "n_parameters": n_parameters(loop.segmenter),
                "averaged": averaged,
                "parts": loop.parts,
            },
            note,
        )
    except StoppedError as error:
        loop.segmenter.load_state_dict(weights["last"])  # others may be in it
        raise saver.stop(error) from None
    remove_checkpoints(job.folder)
    return result


def open_eyes(job: FoldJob, records: Records, device: torch.device) -> Eyes:
    """The training images as the model sees them and as they are scored; sets the number of threads too."""
    compute = Compute(**job.compute)
    compute.settle()
    cache_dir, competition, config = job.workspace.cache, job.competition, job.config
    recipe = train_recipe(config.train)
    truth = open_cache(cache_dir, competition, records.train, Recipe())
    check_content(job, truth)
    seen = (
        truth if recipe == Recipe() else open_cache(cache_dir, competition, records.train, recipe)
    )
    return Eyes(competition, config, seen, truth, compute, device)


def check_content(job: FoldJob, truth: Cache) -> None:
    """Refuse images that are not those that the run was planned with: its folds would be of two data sets."""
    plan = job.folder.parent / "config.json"
    planned = read_json(plan).get("data", {}).get("content") if plan.is_file() else None
    if planned is not None and planned != truth.content_hash:
        raise DataError(
            f"training images changed since the run was planned (content {planned}, now "
            f"{truth.content_hash}): put them back and run again, or use --name for a new run"
        )


def make_samples(job: FoldJob, eyes: Eyes, train_indices: list[int], note: Note) -> TrainSamples:
    """What the fold is trained on, as its sampler draws it and its augmentation changes it."""
    config, competition = job.config, job.competition
    samples = TrainSamples(
        eyes.seen,
        train_indices,
        config.train,
        build_augment(config.augment, soft=eyes.seen.recipe.soft),
        config.train.seed,
        competition.task,
        competition.n_classes,
        competition.background,
    )
    for said in (samples.drawing, samples.mixer):
        if said is not None:
            note(said.describe())
    return samples


def begin(job: FoldJob, eyes: Eyes, samples: TrainSamples, loader: TrainLoader, note: Note) -> Loop:
    """What changes while the fold is trained: as it is before the first epoch, or at the last checkpoint."""
    state = read_checkpoint(job.folder, note)
    loop = make_loop(job, eyes, len(loader), pretrained=state is None)
    loop.say = note
    if job.config.model.normalize == "dataset":
        stats = channel_stats(eyes.seen, samples.indices)
        loop.segmenter.set_pixel_stats(stats.mean, stats.std)
    if state is not None:
        loop.load(state)
        loop.tell(loader)
        at, epochs = loop.position, job.config.train.epochs
        step = f" of {epochs}, step {at.step} of {len(loader)}" if at.step else f" of {epochs}"
        note(f"resuming from epoch {at.epochs + (at.step > 0)}{step}")
    return loop


def kinds_of_weights(
    loop: Loop, averaged: dict[str, Made]
) -> tuple[dict[str, Weights], dict[str, int]]:
    """Every kind of weights that the fold leaves, and the epoch each is of, or the last that it is the mean of."""
    weights = {
        "best_metric": loop.best_metric.weights,
        "best_loss": loop.best_loss.weights,
        "last": copy_weights(loop.segmenter),
    }
    epochs = {
        "best_metric": loop.best_metric.epoch,
        "best_loss": loop.best_loss.epoch,
        "last": len(loop.history),
    }
    weights |= {kind: made.weights for kind, made in averaged.items()}
    epochs |= {kind: max(made.epochs, default=0) for kind, made in averaged.items()}
    return weights, epochs


def train_epochs(
    loop: Loop, loader: TrainLoader, val_indices: list[int], emit: Emit, saver: Saver
) -> None:
    """Train from the step reached to the last one, or until it stops early; write checkpoints."""
    epochs = loop.job.config.train.epochs
    for epoch in range(len(loop.history), epochs):
        if stops_early(loop):
            break
        row = run_epoch(loop, loader, epoch, val_indices)
        loop.history.append(row)
        emit({"type": "epoch", "epoch": epoch + 1, "epochs": epochs, **row})
        saver.now_and_then()


def make_loader(
    job: FoldJob, samples: TrainSamples, records: Records, device: torch.device, note: Note
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
    note(loader.text)
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
