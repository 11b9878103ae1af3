"""Architectures by name, and the one way to build a network: from smp, our own, or the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from comp.config import Model
from comp.errors import ConfigError
from comp.models.encoder_unet import AtrousUnet, SkipUnet
from comp.models.encoders import check_encoder, pixel_stats, timm_name
from comp.models.extras import presence_head, stage_heads
from comp.models.plain_unet import PlainUnet
from comp.models.segmenter import Segmenter, n_parameters
from comp.models.weights import (
    check_weights,
    fetch_native,
    fill_timm,
    find_file,
    find_placed,
    is_file_name,
    load_encoder,
    no_network,
    read_state,
    timm_url,
    timm_weights,
)
from comp.registry import is_import_path, load_object, nearest, unknown

__all__ = ["ARCHITECTURES", "build_model", "check_architecture", "head_of", "n_parameters"]

Network = Callable[..., nn.Module]
# said by the competition or by `head`, or would change what the network returns
REFUSED = ("in_channels", "classes", "activation")
HEADS = {"binary": ("sigmoid", "softmax"), "multiclass": ("softmax",), "multilabel": ("sigmoid",)}


def head_of(model: Model, task: str) -> str:
    """The head of a model: as it says, else sigmoid for binary and multilabel, softmax for multiclass."""
    return model.head or HEADS[task][0]


def n_planes(task: str, head: str, n_classes: int) -> int:
    """K': how many logits a pixel has."""
    return 2 if task == "binary" and head == "softmax" else n_classes


def build_model(
    model: Model,
    *,
    task: str,
    n_classes: int,
    channels: int,
    load_weights: bool = True,
    root: Path | None = None,
) -> Segmenter:
    """Build a network as a model config's `model` section says.

    Args:
        n_classes: K; 1 for binary.
        channels: bands of an image.
        load_weights: False for a network whose trained weights come next: no pretrained file or
            network is touched.
        root: folder that a local weights file is relative to; default: the working directory.

    Raises:
        ConfigError: unknown names or arguments, parts that do not fit each other, weights not to be had.
    """
    problems = check_architecture(model, task, root if load_weights else None, weights=load_weights)
    if problems:
        raise ConfigError(problems)
    name, network = find_architecture(model.arch)
    head = head_of(model, task)
    net = _build_net(model, network, n_planes(task, head, n_classes), channels, load_weights, root)
    stats = pixel_stats(model.normalize, channels, model.encoder_name, model.encoder_weights)
    planes, side = n_planes(task, head, n_classes), MIN_CELLS.get(name, 1) * _stride(net)
    x = torch.zeros(1, channels, side, side)
    deep, aux = model.deep_supervision, model.aux_params
    return Segmenter(
        net,
        task=task,
        head=head,
        stride=_stride(net),
        min_size=MIN_CELLS.get(name, 1) * _stride(net),
        min_batch=min_batch(name),
        freeze_encoder=model.freeze_encoder,
        freeze_batchnorm=model.freeze_batchnorm,
        mean=stats[0] if stats else None,
        std=stats[1] if stats else None,
        keep_stats=model.normalize == "dataset",
        stage_heads=stage_heads(net, name, x, planes, deep) if deep is not None else None,
        presence_head=presence_head(net, name, x, n_classes, aux) if aux is not None else None,
    )


def _build_net(
    model: Model,
    network: Network,
    planes: int,
    channels: int,
    load_weights: bool,
    root: Path | None,
) -> nn.Module:
    kwargs: dict[str, Any] = {**model.kwargs, "in_channels": channels, "classes": planes}
    takes = inspect.signature(network).parameters
    if network is smp.DPT:
        kwargs.setdefault("dynamic_img_size", True)  # else its ViT takes only pictures of one size
    if "encoder_weights" in takes:
        kwargs["encoder_weights"] = None  # smp's default is to fetch
    name, weights = model.encoder_name, model.encoder_weights if load_weights else None
    if "encoder_name" in takes:
        kwargs["encoder_name"] = name
    if name is None or weights is None:
        return _call(model, network, kwargs)
    inner = timm_name(name)
    if is_file_name(weights):
        path: Path | None = find_file(weights, root)
    else:
        path = find_placed(name, weights, root)
    if path is None:
        if inner is not None:
            return _fetch_timm(model, network, kwargs, inner, root)
        path = fetch_native(name, weights, root)
    state = read_state(path)
    net = _call(model, network, kwargs)
    if inner is not None and not all(k.startswith("model.") for k in state):
        return fill_timm(network, kwargs, inner, state, str(path))
    encoder = getattr(net, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ConfigError(
            f"model.encoder_weights: {model.arch} has no part called `encoder` to load them into"
        )
    load_encoder(encoder, state, str(path))
    return net


def _fetch_timm(
    model: Model, network: Network, kwargs: dict[str, Any], inner: str, root: Path | None
) -> nn.Module:
    """Build with weights that timm fetches from the network or its cache."""
    full = timm_weights(inner, model.encoder_weights or "")
    assert full is not None
    _call(model, network, kwargs)  # first without: so what fails below is the weights
    try:
        return network(**{**kwargs, "encoder_name": f"tu-{full}", "encoder_weights": True})
    except Exception as error:  # noqa: BLE001 - the hub's, the HTTP library's and timm's errors
        name, tag = str(model.encoder_name), str(model.encoder_weights)
        raise ConfigError(no_network(name, tag, timm_url(full), root, error)) from error


def _call(model: Model, network: Network, kwargs: dict[str, Any]) -> nn.Module:
    """Build, saying in one line what a library thinks of the arguments."""
    try:
        return network(**kwargs)
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - smp and timm raise every kind for a misfit
        reason = " ".join(str(error).split()) or type(error).__name__
        encoder = f" with encoder {model.encoder_name}" if model.encoder_name else ""
        raise ConfigError(f"model: cannot build {model.arch}{encoder}: {reason}") from error


def _stride(net: nn.Module) -> int:
    """What h and w must be multiples of: the network's own word, else its encoder's, else 32."""
    if isinstance(net, smp.DPT):
        return 2 * int(net.encoder.output_stride)  # its decoder halves the ViT's grid once more
    found = getattr(net, "stride", None) or getattr(
        getattr(net, "encoder", None), "output_stride", None
    )
    return int(found) if isinstance(found, int) else 32


def min_batch(name: str) -> int:
    """The smallest batch that an architecture of the table can be trained on."""
    return 2 if name in POOLED else 1


def find_architecture(name: str) -> tuple[str, Network]:
    """The table's name and the class behind a name: case and symbols do not matter (unet++, DeepLabV3+).

    Raises:
        ConfigError: naming the nearest architecture.
    """
    if is_import_path(name):
        found = load_object(name)
        if not callable(found):
            raise ConfigError(f"model.arch: {name!r} is neither a class nor a function")
        return name, found
    by_plain = {_plain(known): known for known in ARCHITECTURES}
    if _plain(name) not in by_plain:
        raise ConfigError(f"model.arch: {unknown(name, ARCHITECTURES, 'architecture')}")
    known = by_plain[_plain(name)]
    return known, ARCHITECTURES[known]


def _plain(name: str) -> str:
    return "".join(c for c in name.lower().replace("+", "plus") if c.isalnum())


def check_architecture(
    model: Model, task: str, root: Path | None = None, weights: bool = True
) -> list[str]:
    """Every mistake of the `model` section that can be found without building, one line each.

    Args:
        weights: also look whether the local weights file is there.
    """
    problems = []
    if model.head is not None and model.head not in HEADS[task]:
        problems.append(
            f"model.head: task {task} has head {' or '.join(HEADS[task])}, got {model.head!r}"
        )
    try:
        _, network = find_architecture(model.arch)
    except ConfigError as error:
        return problems + list(error.problems)
    parameters = inspect.signature(network).parameters
    problems += _check_arguments(model, parameters)
    if "encoder_name" not in parameters:
        if model.encoder_name is not None and not is_import_path(model.arch):
            problems.append(
                f"model.encoder_name: {model.arch} has no encoder; say encoder_name: null, got {model.encoder_name!r}"
            )
        if not is_import_path(model.arch):
            problems += [
                f"model.{k}: {model.arch} has no encoder"
                for k in ("encoder_weights", "freeze_encoder")
                if getattr(model, k)
            ]
        return problems + _check_normalize(
            model, None if not is_import_path(model.arch) else model.encoder_name
        )
    if model.encoder_name is None:
        return [*problems, f"model.encoder_name: {model.arch} needs an encoder, such as resnet34"]
    wrong = check_encoder(model.encoder_name)
    problems += [f"model.encoder_name: {p}" for p in wrong]
    if network is smp.DPT and timm_name(model.encoder_name) is None:
        problems.append(
            f"model.encoder_name: DPT needs a timm ViT, such as tu-vit_tiny_patch16_224, got {model.encoder_name!r}"
        )
    if weights and not wrong:
        problems += [
            f"model.encoder_weights: {p}"
            for p in check_weights(model.encoder_name, model.encoder_weights, root)
        ]
    return problems if wrong else problems + _check_normalize(model, model.encoder_name)


def _check_normalize(model: Model, encoder_name: str | None) -> list[str]:
    try:
        pixel_stats(model.normalize, 3, encoder_name, model.encoder_weights)
    except ConfigError as error:
        return list(error.problems)
    return []


def _check_arguments(model: Model, parameters: Any) -> list[str]:
    """Unknown keys of the `model` section; smp would swallow them without a word."""
    own = [k for k, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
    open_ended = len(own) < len(parameters)
    # what is left over goes to timm (tu- encoders) or to the user's own class; smp's own encoders drop it
    passes_on = open_ended and (
        is_import_path(model.arch) or timm_name(model.encoder_name or "") is not None
    )
    allowed = [k for k in own if k not in REFUSED]
    names = sorted({*allowed, *type(model).model_fields})
    problems = []
    for key in model.kwargs:
        if key in REFUSED:
            problems.append(
                f"model.{key}: not for a config: the competition says channels and classes, logits leave the network"
            )
        elif key not in allowed and (not passes_on or nearest(key, names)):
            problems.append(f"model.{key}: {unknown(key, names, 'argument of ' + model.arch)}")
    return problems


ARCHITECTURES: dict[str, Network] = {
    "Unet": smp.Unet,
    "UnetPlusPlus": smp.UnetPlusPlus,
    "MAnet": smp.MAnet,
    "Linknet": smp.Linknet,
    "FPN": smp.FPN,
    "PSPNet": smp.PSPNet,
    "PAN": smp.PAN,
    "DeepLabV3": smp.DeepLabV3,
    "DeepLabV3Plus": smp.DeepLabV3Plus,
    "UPerNet": smp.UPerNet,
    "Segformer": smp.Segformer,
    "DPT": smp.DPT,
    "AtrousUnet": AtrousUnet,
    "SkipUnet": SkipUnet,
    "PlainUnet": PlainUnet,
}
POOLED = ("DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet")  # a BatchNorm behind a global pooling
MIN_CELLS = {"PAN": 8}  # it halves the encoder's last features three times more
