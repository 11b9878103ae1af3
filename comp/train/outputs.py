"""What a trained fold leaves: weights, history, OOF and test probabilities, and last of all `result.json`."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from comp.data.cache.cache import Cache
from comp.data.cache.open import open_cache
from comp.data.sources.records import Records
from comp.files import commit, write_json
from comp.models.segmenter import Segmenter
from comp.predict import Place, predict_bands
from comp.predict.images import OnPresence
from comp.store import ProbsWriter, quantise, write_counts, write_csv, write_result
from comp.store.cv import finite
from comp.store.predicted import CONTENT
from comp.store.presence import PresenceWriter, presence_file
from comp.store.price import SECONDS
from comp.store.runs import RESULT
from comp.train import stopping
from comp.train.job import FoldJob
from comp.train.made import Made
from comp.train.memory import Say, with_room
from comp.train.validate import Eyes, count_band, scores_of


def write_outputs(
    job: FoldJob,
    eyes: Eyes,
    segmenter: Segmenter,
    weights: dict[str, dict[str, torch.Tensor]],
    epochs: dict[str, int],
    history: list[dict[str, Any]],
    val_indices: Sequence[int],
    heldout_indices: Sequence[int],
    records: Records,
    said: dict[str, Any],
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Write every file of the fold and return its result.

    Args:
        weights: best_metric, best_loss, last and the averaged kinds; an empty one falls back to last.
        heldout_indices: images of fold -2, scored once, here, with the chosen weights.
        epochs: the epoch each kind of weights is of, or the last of those it is the mean of.
        said: seconds_train, n_parameters; averaged: what `make_averaged` made; parts: of a batch.
        say: told what the log should say.
    """
    started = time.monotonic()
    folder, competition, predict = job.folder, job.competition, job.config.predict
    weights = {k: w or weights["last"] for k, w in weights.items()}
    names = write_weights(folder, weights)
    names += [write_history(folder, history)]
    if job.config.train.tensorboard:
        write_tensorboard(folder, history)
    segmenter.load_state_dict(weights[predict.weights])
    scores: dict[str, dict[str, float]] = {}
    price: dict[str, float] = {}
    for views in predict.tta:
        began = time.monotonic()
        look = partial(write_oof, job, segmenter=segmenter, views=views)
        (written, counts), eyes = with_room(eyes, partial(look, val_indices=val_indices), say)
        price[views] = round((time.monotonic() - began) / len(val_indices), 6)
        names += written
        scores[views] = scores_of(counts, competition)
    heldout: dict[str, dict[str, float]] = {}
    for views in predict.tta if heldout_indices else ():
        look = partial(write_oof, job, segmenter=segmenter, views=views, kind="heldout")
        (written, counts), eyes = with_room(eyes, partial(look, val_indices=heldout_indices), say)
        names += written
        heldout[views] = scores_of(counts, competition)
    if records.test:
        names += with_room(eyes, lambda e: write_test(job, e, segmenter, records), say)[0]
    averaged: dict[str, Made] = said.get("averaged", {})
    metric = competition.metric_name
    result = {
        "run": job.run,
        "fold": job.fold,
        "competition": competition.name,
        "task": competition.task,
        "classes": list(competition.classes),
        "metric": metric,
        "views": scores,
        "score": scores[predict.tta[0]][metric],
        "weights": predict.weights,
        "scores": validated(metric, history, epochs, averaged),
        "averaged": {kind: list(made.epochs) for kind, made in averaged.items()} or None,
        "out_of_memory": smaller_batch(job, said.get("parts", 1)),
        "best_epoch": epochs[predict.weights] or len(history),
        "epochs": len(history),
        "seconds": round(said["seconds_train"] + time.monotonic() - started, 1),
        "seconds_predict": round(time.monotonic() - started, 1),
        SECONDS: price,
        "n_parameters": said["n_parameters"],
        "n_images": len(val_indices),
        "heldout": heldout or None,
        "has_test": bool(records.test),
        "test_hash": job.test_hash,
        CONTENT: job.test_content,
        "compute": job.compute,
        "precision": job.compute["precision"],
        "config_hash": job.config_hash,
        "folds_hash": job.folds_hash,
    }
    return write_result(folder, result, names)


def write_score(
    job: FoldJob,
    epochs: dict[str, int],
    history: list[dict[str, Any]],
    averaged: dict[str, Made],
    said: dict[str, Any],
) -> dict[str, Any]:
    """Write what a trial's fold leaves, history and `result.json`: a score, and nothing to predict with.

    The score is of the weights that `predict.weights` names, as validated while training: without TTA.

    Args:
        epochs: see `write_outputs`.
        said: further values of the result.
    """
    metric, kind = job.competition.metric_name, job.config.predict.weights
    scores = validated(metric, history, epochs, averaged)
    if scores.get(kind) is None:  # nothing was averaged
        kind = "last"
    result = {
        "run": job.run,
        "fold": job.fold,
        "competition": job.competition.name,
        "metric": metric,
        "score": scores[kind],
        "weights": kind,
        "scores": scores,
        "best_epoch": epochs[kind] or len(history),
        "epochs": len(history),
        "test_hash": job.test_hash,
        CONTENT: job.test_content,
        "compute": job.compute,
        "config_hash": job.config_hash,
        "folds_hash": job.folds_hash,
        **said,
    }
    return write_result(job.folder, result, [write_history(job.folder, history)])


def validated(
    metric: str,
    history: list[dict[str, Any]],
    epochs: dict[str, int],
    averaged: dict[str, Made],
) -> dict[str, float | None]:
    """The metric of each kind of weights as validated while training; None where it was not."""
    by_epoch = {row["epoch"]: row for row in history}
    plain = {k: by_epoch.get(e, {}).get(f"val_{metric}") for k, e in epochs.items()}
    return plain | {kind: finite(made.score) for kind, made in averaged.items()}


def smaller_batch(job: FoldJob, parts: int) -> dict[str, int] | None:
    """What result.json says of batches that were cut because memory ran out."""
    train = job.config.train
    if parts == 1:
        return None
    return {"batch_size": train.batch_size // parts, "accumulate": train.accumulate * parts}


def predict_test_again(
    job: FoldJob,
    eyes: Eyes,
    segmenter: Segmenter,
    records: Records,
    result: dict[str, Any],
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Predict the test images, which changed since, with the weights of a fold that is done.

    Until that is done the fold says that it has no test probabilities: a crash costs nothing but them.
    """
    from safetensors.torch import load

    kept = {name: f for name, f in result["files"].items() if not name.startswith("test.")}
    name = f"weights.{job.config.predict.weights}.safetensors"
    segmenter.load_state_dict(load((job.folder / name).read_bytes()))
    without = {"has_test": False, "test_hash": "", CONTENT: None, "files": kept}
    write_json(job.folder / RESULT, {**result, **without})
    names = list(kept)
    if records.test:
        names += with_room(eyes, lambda e: write_test(job, e, segmenter, records), say)[0]
    said = {key: value for key, value in result.items() if key != "files"}
    said |= {"has_test": bool(records.test), "test_hash": job.test_hash}
    said |= {CONTENT: job.test_content}
    return write_result(job.folder, said, names)


def write_weights(folder: Any, weights: dict[str, dict[str, torch.Tensor]]) -> list[str]:
    """Commit each kind of weights as safetensors."""
    from safetensors.torch import save

    names = []
    for kind, tensors in weights.items():
        name = f"weights.{kind}.safetensors"
        # Tied tensors may share memory, which safetensors refuses: each is saved as its own copy.
        commit(folder / name, save({k: v.clone().contiguous() for k, v in tensors.items()}))
        names.append(name)
    return names


def write_history(folder: Any, history: list[dict[str, Any]]) -> str:
    """Commit history.csv: one row an epoch; cells of epochs without validation are blank."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    write_csv(
        folder / "history.csv", columns, [[row.get(c, "") for c in columns] for row in history]
    )
    return "history.csv"


def write_tensorboard(folder: Any, history: list[dict[str, Any]]) -> None:
    """Write the history as TensorBoard event files beside it (not part of the result)."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # a second curve of another attempt
    with contextlib.closing(SummaryWriter(str(folder / "tensorboard"))) as writer:
        for row in history:
            for key, value in row.items():
                if key != "epoch":
                    writer.add_scalar(key.replace("_", "/", 1), value, row["epoch"])


def write_oof(
    job: FoldJob,
    eyes: Eyes,
    segmenter: Segmenter,
    views: str,
    val_indices: Sequence[int],
    kind: str = "oof",
) -> tuple[list[str], np.ndarray]:
    """Predict images the model did not see with one set of views; store probabilities and counts.

    Args:
        kind: oof, or heldout for the images of fold -2.

    Returns:
        the names written; counts (N, K, 4) in the order of `val_indices`.
    """
    ids = eyes.truth.ids
    counts = {i: np.zeros((job.competition.n_classes, 4), np.int64) for i in val_indices}
    predict = eyes.config.predict
    looks = job.config.train, predict, views, eyes.compute, eyes.device
    said, hear = listener(job)
    with ProbsWriter(job.folder / f"{kind}.{views}", predict.store) as writer:
        for band in predict_bands(segmenter, eyes.seen, val_indices, *looks, on_presence=hear):
            stopping.check()
            q = quantise(band.probs, predict.store)
            writer.append_rows(ids[band.index], band.row, q, band.size[0])
            counts[band.index] += count_band(band, eyes)
            said.see(band.index, band.probs)
        files = writer.commit()
    told = said.commit(
        presence_file(job.folder, kind, views),
        {i: ids[i] for i in val_indices},
        job.competition.classes,
    )
    files += [told] if told is not None else []
    stacked = np.stack([counts[i] for i in val_indices])
    table = job.folder / f"{kind}.{views}.counts.csv"
    write_counts(table, [ids[i] for i in val_indices], stacked, job.competition.classes)
    return [*(f.name for f in files), table.name], stacked


def write_test(job: FoldJob, eyes: Eyes, segmenter: Segmenter, records: Records) -> list[str]:
    """Predict the test images with every set of views."""
    config = eyes.config
    recipe = replace(eyes.seen.recipe, soft=False)
    cache: Cache = open_cache(job.workspace.cache, job.competition, records.test, recipe)
    names: list[str] = []
    for views in config.predict.tta:
        looks = config.train, config.predict, views, eyes.compute, eyes.device
        said, hear = listener(job)
        every = range(len(cache.ids))
        with ProbsWriter(job.folder / f"test.{views}", config.predict.store) as writer:
            for band in predict_bands(segmenter, cache, every, *looks, on_presence=hear):
                stopping.check()
                q = quantise(band.probs, config.predict.store)
                writer.append_rows(cache.ids[band.index], band.row, q, band.size[0])
                said.see(band.index, band.probs)
            names += [f.name for f in writer.commit()]
        path = presence_file(job.folder, "test", views)
        told = said.commit(path, dict(enumerate(cache.ids)), job.competition.classes)
        names += [told.name] if told is not None else []
    return names


def listener(job: FoldJob) -> tuple[PresenceWriter, OnPresence]:
    """What gathers the answers of an auxiliary classifier, and what `predict_bands` tells them to."""
    said = PresenceWriter(job.competition.n_classes)

    def hear(told: np.ndarray, places: list[Place]) -> None:
        for place, row in zip(places, told, strict=True):
            said.say(place.index, row)

    return said, hear
