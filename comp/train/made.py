"""From what a training remembered to averaged weights: BatchNorm's statistics taken anew, then validated."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from comp.data.samples.loader import TrainLoader
from comp.data.samples.train import scale_image
from comp.train import stopping
from comp.train.averaging import (
    Weights,
    greedy_soup,
    mean_weights,
    reestimate,
    wearing,
)
from comp.train.memory import cut, with_room
from comp.train.state import Loop, copy_weights
from comp.train.validate import validate


@dataclass(frozen=True)
class Made:
    """Averaged weights of one kind.

    Args:
        weights: on the CPU; empty where there was nothing to average.
        score: the competition's metric on the validation images.
        epochs: those that it is the mean of; the last one alone for ema.
    """

    weights: Weights
    score: float | None
    epochs: tuple[int, ...]


def judge(
    loop: Loop, loader: TrainLoader, epoch: int, val_indices: list[int], weights: Weights
) -> tuple[Weights, dict[str, float], float]:
    """Validate other weights, BatchNorm's statistics first taken anew from training batches of `epoch`.

    Returns:
        the weights with these statistics, on the CPU; every reported metric; the loss.
    """
    n_batches = loop.job.config.train.ema_batches

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        drawn: Any = loader.epoch(epoch)
        with closing(drawn):
            yield from itertools.islice(drawn, n_batches)

    def forward(batch: dict[str, torch.Tensor]) -> None:
        stopping.check()
        for part in cut(batch, loop.parts):
            images = scale_image(part["image"].to(loop.eyes.device, non_blocking=True))
            x = loop.eyes.compute.to_layout(loop.segmenter.normalize(images))
            with loop.eyes.compute.autocast():
                loop.segmenter(x)

    with wearing(loop.segmenter, weights):
        if n_batches:
            reestimate(loop.segmenter, batches, forward)
        (scores, _, total), loop.eyes = with_room(
            loop.eyes,
            lambda eyes: validate(loop.segmenter, val_indices, eyes, loop.loss),
            loop.say,
        )
        return copy_weights(loop.segmenter), scores, total


def judge_ema(
    loop: Loop, loader: TrainLoader, epoch: int, val_indices: list[int]
) -> dict[str, float]:
    """The cells of the history that say how good the moving average is: ema_loss, ema_<metric>."""
    ema = loop.averages.ema
    assert ema is not None
    _, scores, total = judge(loop, loader, epoch, val_indices, ema.whole(loop.segmenter))
    return {"ema_loss": total} | {f"ema_{name}": value for name, value in scores.items()}


def make_averaged(loop: Loop, loader: TrainLoader, val_indices: list[int]) -> dict[str, Made]:
    """Every kind of averaged weights that the config asks for, at the end of a training."""
    train, averages, found = loop.job.config.train, loop.averages, {}
    metric, last = loop.eyes.competition.metric_name, len(loop.history)
    loop.segmenter.set_epoch(last - 1)  # what is frozen, even when no epoch was left to resume

    def look(weights: Weights) -> tuple[Weights, float]:
        kept, scores, _ = judge(loop, loader, last - 1, val_indices, weights)
        return kept, scores[metric]

    if averages.ema is not None:
        found["ema"] = Made(*look(averages.ema.whole(loop.segmenter)), (last,))
    best = averages.top.picked if averages.top is not None else []
    if train.average_top is not None:
        found["top"] = Made({}, None, ())
        if chosen := best[: train.average_top]:
            epochs = tuple(p.epoch for p in chosen)
            found["top"] = Made(*look(mean_weights([p.weights for p in chosen])), epochs)
    if train.soup is not None:
        found["soup"] = Made({}, None, ())
        if best:
            better = loop.best_metric.greater_is_better
            chosen, weights, score = greedy_soup(best[: train.soup], look, better)
            found["soup"] = Made(weights, score, tuple(p.epoch for p in chosen))
    if averages.snapshots is not None:
        found["snapshots"] = Made({}, None, ())
        if chosen := averages.snapshots.picked:
            epochs = tuple(p.epoch for p in chosen)
            found["snapshots"] = Made(*look(mean_weights([p.weights for p in chosen])), epochs)
    for kind, made in found.items():
        loop.say(describe(kind, made, metric))
    return found


def describe(kind: str, made: Made, metric: str) -> str:
    """One line for the log."""
    if not made.weights:
        return f"weights {kind}: nothing to average, the last epoch's stand in"
    flatters = ", chosen on the images it is scored on, which flatters"
    said = f"weights {kind}: {metric} {made.score:.4f}"
    if kind == "ema":
        return f"{said}, moving average at epoch {made.epochs[0]}"
    some = ", ".join(map(str, made.epochs))
    said += f", mean of {len(made.epochs)} ({'cycles ending in ' if kind == 'snapshots' else ''}epochs {some})"
    return said + (flatters if kind in ("top", "soup") else "")
