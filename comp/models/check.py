"""All mistakes of a model config at once: names, arguments and combinations; and one batch through the network."""

from __future__ import annotations

from pathlib import Path

import torch

from comp.config import Model, ModelConfig
from comp.models.build import (
    build_model,
    check_architecture,
    find_architecture,
    head_of,
    min_batch,
)
from comp.models.encoders import IMAGENET, encoder_stats
from comp.models.losses import check_loss
from comp.models.optim import check_optimizer
from comp.models.schedule import check_schedule
from comp.models.segmenter import n_parameters
from comp.models.tta import TTA
from comp.models.weights import is_file_name, local_file
from comp.registry import unknown


def check_model(
    config: ModelConfig,
    task: str,
    n_classes: int,
    channels: int,
    root: Path | None = None,
    weights: bool = True,
) -> list[str]:
    """Every mistake in `model`, `loss`, `optim`, `schedule` and `predict`, each with its key and the nearest name.

    Args:
        n_classes: K; 1 for binary.
        channels: bands of an image.
        root: folder that a local weights file is relative to; default: the working directory.
        weights: also look whether the local weights file is there.
    """
    problems = check_architecture(config.model, task, root, weights)
    if not any(p.startswith("model.arch") for p in problems):
        name, _ = find_architecture(config.model.arch)
        if config.train.batch_size < min_batch(name):
            problems.append(
                f"train.batch_size: {name} needs at least {min_batch(name)} (a BatchNorm behind a global "
                f"pooling), got {config.train.batch_size}"
            )
    if not any(p.startswith("model.head") for p in problems):
        problems += check_loss(
            config.loss, task=task, head=head_of(config.model, task), n_classes=n_classes
        )
    problems += check_optimizer(config.optim)
    if config.optim.encoder_lr is not None and config.model.encoder_name is None:
        problems.append("optim.encoder_lr: the model has no encoder")
    problems += check_schedule(config.schedule, epochs=config.train.epochs, lr=config.optim.lr)
    problems += [
        f"predict.tta: {unknown(name, TTA, 'views')}"
        for name in config.predict.tta
        if name not in TTA
    ]
    return problems


def weights_notes(model: Model, root: Path | None = None) -> list[str]:
    """What to know of pretrained weights before they are used, one line each."""
    name, weights = model.encoder_name, model.encoder_weights
    if name is None or weights is None:
        return []
    notes = []
    placed = None if is_file_name(weights) else local_file(model, root)
    if placed is not None:
        notes.append(f"encoder weights {weights!r} are read from {placed}")
    if model.normalize == "imagenet":
        mean, std = encoder_stats(name, weights)
        if (mean, std) != IMAGENET:
            said = ", ".join(f"{v:.3g}" for v in mean), ", ".join(f"{v:.3g}" for v in std)
            notes.append(
                f"encoder {name} was trained with mean ({said[0]}) and std ({said[1]}), not with "
                "ImageNet's: -o model.normalize=encoder takes its own"
            )
    return notes


def try_model(
    model: Model,
    task: str,
    n_classes: int,
    channels: int,
    size: tuple[int, int],
    root: Path | None = None,
    load_weights: bool = True,
) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Build the network and send one black picture of `size` through it.

    Pretrained weights are loaded too, so that what is absent is said once, before any fold begins,
    and what is fetched is fetched once.

    Args:
        load_weights: False where every fold has trained weights to go on from.

    Returns:
        number of parameters, shape of the input (1, C, h, w), shape of the logits (1, K', h, w).
    """
    segmenter = build_model(
        model,
        task=task,
        n_classes=n_classes,
        channels=channels,
        load_weights=load_weights,
        root=root,
    ).eval()
    images = torch.zeros(1, channels, *size)
    with torch.inference_mode():
        logits = segmenter(segmenter.normalize(images))
    return n_parameters(segmenter), tuple(images.shape), tuple(logits.shape)
