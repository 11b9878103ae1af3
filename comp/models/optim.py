"""Optimizers by name, from torch and timm, with the encoder's learning rate apart.

Weight decay spares biases, norms and what a timm model asks to spare; timm's own split is bypassed,
because it does nothing for groups that are given to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import timm.optim
import torch
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
    an encoder that is frozen for ever is in none, one frozen for n epochs is.

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
    """The parameters to train, by part and by whether weights decay."""
    spared = _spared(segmenter)
    groups = []
    encoder = [] if segmenter.freeze_encoder is True else segmenter.encoder_parameters()
    parts = (
        ("encoder", encoder, optim.encoder_lr or optim.lr),
        ("decoder", segmenter.decoder_parameters(), optim.lr),
    )
    for part, parameters, lr in parts:
        split = (
            (part + "_no_decay", [p for p in parameters if id(p) in spared], 0.0),
            (part, [p for p in parameters if id(p) not in spared], optim.weight_decay),
        )
        for name, members, decay in split:
            if members:
                groups.append({"params": members, "lr": lr, "weight_decay": decay, "name": name})
    return groups


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
