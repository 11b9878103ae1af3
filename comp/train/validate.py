"""Scores of one model on the images of one fold: counts first, losses apart, both a mean over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from comp.config import Competition, ModelConfig
from comp.data.cache.cache import Cache
from comp.data.images.resize import soft_target
from comp.errors import DataError
from comp.masks.decide import decide
from comp.metrics.counts import count_image
from comp.metrics.reported import reported_metrics
from comp.metrics.scores import score_counts
from comp.models.compute import Compute
from comp.models.losses import Target, WeightedLoss, make_target
from comp.models.segmenter import Segmenter
from comp.predict import Band, Place, predict_bands
from comp.store import quantise
from comp.train import stopping


def scores_of(counts: np.ndarray, competition: Competition) -> dict[str, float]:
    """Every reported metric of counts (N, K, 4)."""
    return {name: score_counts(name, counts) for name in reported_metrics(competition)}


@dataclass(frozen=True)
class Eyes:
    """What a model is looked at with: the images as it sees them, the truth as it is scored."""

    competition: Competition
    config: ModelConfig
    seen: Cache  # the model's reading recipe
    truth: Cache  # native recipe
    compute: Compute
    device: torch.device


def target_of(
    seen: Cache, places: Sequence[Place], competition: Competition, device: torch.device
) -> Target:
    """The truth of a batch on the network's grid and on the device, soft where the recipe is soft."""
    task, n_classes = competition.task, competition.n_classes
    stored = [labels_of(seen, p.index)[..., p.rows, p.columns] for p in places]
    if seen.recipe.soft:
        soft = [soft_target(labels, task, n_classes) for labels in stored]
        planes, valid = (torch.from_numpy(np.stack(part)) for part in zip(*soft, strict=True))
        return Target(planes.to(device), valid.to(device))
    labels = torch.from_numpy(np.stack(stored)).to(device)  # a byte a pixel, not a float a class
    return make_target(labels, task, n_classes)


def labels_of(cache: Cache, index: int) -> np.ndarray:
    """The labels of one image that must have them."""
    labels = cache.labels(index)
    if labels is None:
        raise DataError(f"image {cache.ids[index]!r} has no mask to score against")
    return labels


def validate(
    segmenter: Segmenter, indices: Sequence[int], eyes: Eyes, loss: WeightedLoss
) -> tuple[dict[str, float], dict[str, float], float]:
    """Predict `indices` without TTA and score them.

    Returns:
        scores: every reported metric; terms: every loss term, unweighted; total: the weighted loss.
        Losses are means over images of the loss of the batch each image was in; an image seen by
        windows has the mean over its windows.
    """
    sums: dict[str, float] = {}
    total = 0.0

    def on_logits(logits: torch.Tensor, places: list[Place]) -> None:
        nonlocal total
        stopping.check()
        target = target_of(eyes.seen, places, eyes.competition, eyes.device)
        value, terms = loss(logits, target)
        share = sum(place.share for place in places)
        total += float(value) * share
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term) * share

    counts = np.zeros((len(indices), eyes.competition.n_classes, 4), dtype=np.int64)
    place = {index: n for n, index in enumerate(indices)}
    train, predict = eyes.config.train, eyes.config.predict
    for band in predict_bands(
        segmenter, eyes.seen, indices, train, predict, "none", eyes.compute, eyes.device, on_logits
    ):
        stopping.check()
        counts[place[band.index]] += count_band(band, eyes)
    n = len(indices)
    return scores_of(counts, eyes.competition), {k: v / n for k, v in sums.items()}, total / n


def count_band(band: Band, eyes: Eyes) -> np.ndarray:
    """Counts (K, 4) of rows of one image, through the same rounding and threshold as the stored OOF."""
    task, n_classes = eyes.competition.task, eyes.competition.n_classes
    mask = decide(quantise(band.probs, eyes.config.predict.store), task)
    labels = labels_of(eyes.truth, band.index)[..., band.rows, :]
    return np.asarray(count_image(mask, labels, task, n_classes), dtype=np.int64)
