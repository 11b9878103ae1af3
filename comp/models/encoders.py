"""Encoder names of smp and timm, and the pixel mean and std that each was trained with, all offline."""

from __future__ import annotations

import functools

import segmentation_models_pytorch as smp
import timm
from segmentation_models_pytorch.encoders import is_equivalent_to_timm_universal

from comp.errors import ConfigError
from comp.registry import unknown

Stats = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INCEPTION: Stats = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# smp publishes these only in the model hub's config.json, which needs a network; every family that is
# not named here was trained with ImageNet's.
NATIVE_STATS: dict[str, Stats] = {
    "inceptionresnetv2": INCEPTION,
    "inceptionv4": INCEPTION,
    "xception": INCEPTION,
    "timm-tf_efficientnet_lite": INCEPTION,
    "dpn": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
}
TAG_STATS: dict[str, Stats] = {
    "advprop": INCEPTION
}  # efficientnet trained with adversarial examples


@functools.cache
def known_encoders() -> tuple[str, ...]:
    """Every encoder name: smp's own, and timm's with `tu-` before them."""
    return (*smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models()))


def timm_name(name: str) -> str | None:
    """The timm model (with its tag, if one is given) behind an encoder name, or None for smp's own."""
    if is_equivalent_to_timm_universal(name):  # smp's deprecated spelling of some timm models
        name = name.replace("timm-mobilenetv3", "timm-tf_mobilenetv3").replace("timm-", "tu-")
    return name.removeprefix("tu-") if name.startswith("tu-") else None


def check_encoder(name: str) -> list[str]:
    """What is wrong with an encoder's name; empty when nothing is."""
    inner = timm_name(name)
    if inner is None:
        found = name in smp.encoders.encoders
        return [] if found else [_unknown(name)]
    model, _, tag = inner.partition(".")
    if not timm.is_model(model):
        return [_unknown(name)]
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        return [f"{unknown(tag, tags, 'pretrained tag')} (of encoder tu-{model})"]
    return []


def timm_weights(inner: str, weights: str) -> str | None:
    """The full timm name whose weights are meant, or None: `imagenet` is the default of the name as given."""
    model, _, tag = inner.partition(".")
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{model}.*")]
    if weights in tags and tag in ("", weights):
        return f"{model}.{weights}"
    return inner if weights in ("imagenet", "pretrained") and tags else None


def _unknown(name: str) -> str:
    text = unknown(name, known_encoders(), "encoder")
    if "did you mean" in text:
        return text
    examples = "one of smp's (resnet34, ...) or any timm model as tu-NAME (tu-convnext_tiny, ...)"
    return f"unknown encoder {name!r}; expected {examples}"


def pixel_stats(
    normalize: str, channels: int, encoder_name: str | None, weights: str | None
) -> Stats | None:
    """Mean and std, one number a channel, of pixels in [0, 1].

    RGB numbers are reused in turn for more than three channels, as pretrained first convolutions are;
    one channel gets the mean of the three.

    Returns:
        None for `image`: each image has its own.

    Raises:
        ConfigError: `encoder` without an encoder, or one that publishes no numbers.
    """
    if normalize == "image":
        return None
    if normalize in ("unit", "dataset"):  # dataset: set when the training images are known
        return (0.0,) * channels, (1.0,) * channels
    mean, std = IMAGENET if normalize == "imagenet" else encoder_stats(encoder_name, weights)
    if channels == 1:
        return (sum(mean) / len(mean),), (sum(std) / len(std),)
    return tuple(mean[c % len(mean)] for c in range(channels)), tuple(
        std[c % len(std)] for c in range(channels)
    )


def encoder_stats(name: str | None, weights: str | None = None) -> Stats:
    """The RGB mean and std that an encoder's weights were trained with.

    Args:
        weights: the pretrained tag; None or a file: the encoder's usual ones.
    """
    if name is None:
        raise ConfigError(
            "model.normalize: 'encoder' needs an encoder; use unit, imagenet, dataset or image"
        )
    inner = timm_name(name)
    if inner is not None:
        full = timm_weights(inner, weights) if weights else None  # None: a file
        config = timm.get_pretrained_cfg(full or inner)
        if config is None or not config.mean or not config.std:
            raise ConfigError(
                f"model.normalize: timm publishes no mean and std of {name!r}; use unit, imagenet, dataset or image"
            )
        return tuple(config.mean), tuple(config.std)
    if weights in TAG_STATS:
        return TAG_STATS[weights]
    return next(
        (stats for family, stats in NATIVE_STATS.items() if name.startswith(family)), IMAGENET
    )
