"""Optimizers by name, from torch and timm, with the learning rates of the encoder and its layers apart.

Weight decay spares biases, norms and what a timm model asks to spare; timm's own split is bypassed,
because it does nothing for groups that are given to it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import timm.optim
import torch
from timm.models import group_parameters
from torch import nn

from comp.config import Optim
from comp.errors import ConfigError
from comp.models.segmenter import Segmenter
from comp.registry import unknown

OURS = ("params", "lr", "weight_decay", "fused", "foreach")  # said elsewhere in the config


def plain_name(name: str) -> str:
    """Lower case without symbols: AdamW, adamw and Adam_W are one name."""
    return "".join(c for c in name.lower() if c.isalnum())


TORCH: dict[str, type[torch.optim.Optimizer]] = {
    plain_name(name): getattr(torch.optim, name)
    for name in (
        "ASGD",
        "Adadelta",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Rprop",
        "SGD",
    )
}


def known_optimizers() -> list[str]:
    """Every name that `optim.name` takes; torch's optimizer where both have one."""
    left_out = ("adahessian", "bnb", "fused")  # second derivatives; packages we do not have
    names = [
        n
        for n in map(str, timm.optim.list_optimizers())
        if n not in TORCH and not n.startswith(left_out)
    ]
    return sorted([cls.__name__ for cls in TORCH.values()] + names)


def build_optimizer(
    optim: Optim, segmenter: Segmenter, fused: bool = False
) -> torch.optim.Optimizer:
    """Make the optimizer; build it after the network is on its device.

    Groups are called `encoder`, `encoder_no_decay`, `decoder`, `decoder_no_decay`, the decoder's last;
    with `layer_decay` the encoder's are `encoder_0`, `encoder_0_no_decay`, ... from its first layer on.
    An encoder that is frozen for ever is in none, one frozen for n epochs is.

    Args:
        fused: use the fused step where this optimizer has one for this device.

    Raises:
        ConfigError: unknown name or argument, or a value that the optimizer refuses.
    """
    problems = check_optimizer(optim)
    if problems:
        raise ConfigError(problems)
    groups = parameter_groups(optim, segmenter)
    if not groups:
        raise ConfigError("model.freeze_encoder: nothing is left to train")
    make, arguments = _factory(optim.name)
    kwargs: dict[str, Any] = {**_values(optim), "lr": optim.lr}
    if "weight_decay" in arguments:
        kwargs["weight_decay"] = optim.weight_decay
    if fused and "fused" in arguments:
        try:
            return make(groups, **kwargs, fused=True)
        except RuntimeError:  # no fused step for this device or number type
            groups = parameter_groups(optim, segmenter)
    return make(groups, **kwargs)


def parameter_groups(optim: Optim, segmenter: Segmenter) -> list[dict[str, Any]]:
    """The parameters to train, by part, by layer of the encoder and by whether weights decay."""
    spared = _spared(segmenter)
    groups = []
    encoder = [] if segmenter.freeze_encoder is True else segmenter.encoder_parameters()
    rate = optim.encoder_lr or optim.lr
    parts = [("encoder", encoder, rate)]
    if optim.layer_decay is not None and encoder and segmenter.encoder is not None:
        layers = encoder_layers(segmenter.encoder)
        slower = [optim.layer_decay ** (len(layers) - 1 - n) for n in range(len(layers))]
        parts = [(f"encoder_{n}", layer, rate * slower[n]) for n, layer in enumerate(layers)]
    parts.append(("decoder", segmenter.decoder_parameters(), optim.lr))
    for part, parameters, lr in parts:
        split = (
            (part + "_no_decay", [p for p in parameters if id(p) in spared], 0.0),
            (part, [p for p in parameters if id(p) not in spared], optim.weight_decay),
        )
        for name, members, decay in split:
            if members:
                groups.append({"params": members, "lr": lr, "weight_decay": decay, "name": name})
    return groups


def encoder_layers(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """The encoder's parameters by layer, the first layer first.

    Layers are the groups that a timm model tells (`group_matcher`); where none does, the stages as the
    names of parameters tell them (layer1, stages_0, blocks.3), in the order in which they were made.
    A part that is only a norm belongs to the layer before it.
    """
    names = [name for name, _ in encoder.named_parameters()]
    keys: dict[str, Any] = dict(_told_layers(encoder)) or {name: stage_of(name) for name in names}
    last = max((key for key in keys.values() if isinstance(key, int)), default=0)
    layers: dict[Any, list[nn.Parameter]] = {}
    for name, parameter in encoder.named_parameters():
        layers.setdefault(keys.get(name, last), []).append(parameter)
    found: list[list[nn.Parameter]] = []
    for key in sorted(layers) if all(isinstance(k, int) for k in layers) else layers:
        if found and all(p.ndim <= 1 for p in layers[key]):
            found[-1] += layers[key]
        else:
            found.append(layers[key])
    return found


def _told_layers(encoder: nn.Module) -> dict[str, int]:
    """Parameter name -> number of its layer, from the first timm model within; empty where there is none."""
    for prefix, module in encoder.named_modules():
        if callable(getattr(module, "group_matcher", None)):
            told = group_parameters(module, module.group_matcher(coarse=False), reverse=True)
            if len(set(told.values())) > 1:
                return {f"{prefix}.{k}" if prefix else k: int(v) for k, v in told.items()}
    return {}


def stage_of(name: str) -> str:
    """A parameter's stage: its name up to the first part with a number in it."""
    found = re.match(r"(?:[^.\d]+\.)*[^.]*\d[^.]*(?=\.)", name)
    return found.group() if found else name.rpartition(".")[0]


def _spared(segmenter: nn.Module) -> set[int]:
    """Ids of parameters that do not decay: biases, norms (all of one dimension), timm's exceptions."""
    spared = {
        id(p) for name, p in segmenter.named_parameters() if p.ndim <= 1 or name.endswith(".bias")
    }
    for module in segmenter.modules():
        names = getattr(module, "no_weight_decay", None)
        if callable(names):
            own = dict(module.named_parameters())
            spared |= {id(own[name]) for name in names() if name in own}
    return spared


def check_optimizer(optim: Optim) -> list[str]:
    """Every mistake of the `optim` section, one line each."""
    known = known_optimizers()
    if plain_name(optim.name) not in {plain_name(n) for n in known}:
        return [f"optim.name: {unknown(optim.name, known, 'optimizer')}"]
    _, arguments = _factory(optim.name)
    problems = []
    allowed = [a for a in arguments if a not in OURS]
    for key in optim.kwargs:
        if key in ("fused", "foreach"):
            problems.append(f"optim.{key}: say it as train.fused")
        elif key not in allowed:
            problems.append(
                f"optim.{key}: {unknown(key, [*allowed, *type(optim).model_fields], 'argument of ' + optim.name)}"
            )
    if optim.weight_decay and "weight_decay" not in arguments:
        problems.append(f"optim.weight_decay: {optim.name} has none; leave it 0")
    if not problems:
        try:
            make, _ = _factory(optim.name)
            make([nn.Parameter(torch.zeros(1, 1))], lr=optim.lr, **_values(optim))
        except Exception as error:  # noqa: BLE001 - whatever a library raises about the user's values
            problems.append(f"optim: {optim.name} refuses its arguments: {error}")
    return problems


def _values(optim: Optim) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in optim.kwargs.items()}


def _factory(name: str) -> tuple[Callable[..., torch.optim.Optimizer], list[str]]:
    """How to make the optimizer of a known name, and the arguments it takes."""
    plain = plain_name(name)
    if plain in TORCH:
        return TORCH[plain], list(inspect.signature(TORCH[plain]).parameters)

    def make(params: Any, **kwargs: Any) -> torch.optim.Optimizer:
        return timm.optim.create_optimizer_v2(params, opt=plain, **kwargs)

    cls = timm.optim.get_optimizer_class(plain, bind_defaults=False)
    return make, list(inspect.signature(cls).parameters)
