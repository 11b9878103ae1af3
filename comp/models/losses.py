"""The weighted sum of loss terms, in float32 whatever the network computed in.

Names, arguments and heads are checked before any work starts; the terms themselves are in `terms`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from comp.config import LossTerm
from comp.errors import ConfigError
from comp.models.target import Target, make_target
from comp.models.terms import LOSSES
from comp.registry import is_import_path, load_object, unknown

__all__ = ["LOSSES", "Target", "WeightedLoss", "build_loss", "check_loss", "make_target"]

LISTS = ("class_weights", "pos_weight")  # arguments that become tensors on the logits' device


@dataclass
class Term:
    """One loss with its weight and its arguments."""

    weight: float
    function: Callable[..., Tensor]
    kwargs: dict[str, Any]
    on_device: dict[torch.device, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, logits: Tensor, planes: Tensor, valid: Tensor) -> Tensor:
        if logits.device not in self.on_device:
            self.on_device[logits.device] = {
                k: torch.as_tensor(v, dtype=torch.float32, device=logits.device)
                if k in LISTS and v is not None
                else v
                for k, v in self.kwargs.items()
            }
        return self.function(logits, planes, valid, **self.on_device[logits.device])


class WeightedLoss:
    """Calling it with logits and a target gives the total and each term.

    Args:
        task: binary, multiclass or multilabel.
        head: sigmoid or softmax; a binary softmax has the planes background, foreground.
        terms: by name, in the config's order.
    """

    def __init__(self, task: str, head: str, terms: Mapping[str, Term]) -> None:
        self.task, self.head, self.terms = task, head, dict(terms)

    def __call__(self, logits: Tensor, target: Target) -> tuple[Tensor, dict[str, Tensor]]:
        """Score one batch.

        Args:
            logits: (B, K', h, w), any float type; K' = 2 for a binary softmax, else K.
            target: planes (B, K, h, w), valid (B, 1 or K, h, w).

        Returns:
            The weighted sum, a scalar with a gradient; each term unweighted, a detached float32 scalar.
        """
        with torch.autocast(logits.device.type, enabled=False):
            valid = target.valid.float()
            if self.head == "softmax" and valid.shape[1] > 1:
                valid = valid.amin(1, keepdim=True)  # softmax planes stand or fall together
            seen = valid > 0
            # where(), not a product: an infinite logit under an ignored pixel must not become NaN
            logits = torch.where(seen, logits.float(), 0.0)
            planes = torch.where(seen, target.planes.float(), 0.0)
            if self.task == "binary" and self.head == "softmax":
                planes = torch.cat([1 - planes, planes], dim=1) * seen
            total = logits.new_zeros(())
            each: dict[str, Tensor] = {}
            for name, term in self.terms.items():
                value = term(logits, planes, valid)
                total = total + term.weight * value
                each[name] = value.detach()
        return total, each


def build_loss(
    terms: Mapping[str, LossTerm], *, task: str, head: str, n_classes: int | None = None
) -> WeightedLoss:
    """Make the weighted sum of the config's `loss` section.

    Args:
        n_classes: where given, the lengths of per-class arguments are checked now.

    Raises:
        ConfigError: every unknown name, unknown or impossible argument, and unfit head.
    """
    problems = check_loss(terms, task=task, head=head, n_classes=n_classes)
    if problems:
        raise ConfigError(problems)
    return WeightedLoss(task, head, {name: _term(name, term, head) for name, term in terms.items()})


def check_loss(
    terms: Mapping[str, LossTerm], *, task: str, head: str, n_classes: int | None = None
) -> list[str]:
    """Every mistake of the `loss` section, one line each."""
    problems = []
    for name, term in terms.items():
        try:
            found = _check_term(name, term, task, head, n_classes)
        except ConfigError as error:
            found = list(error.problems)
        problems += [f"loss.{name}: {problem}" for problem in found]
    if not problems and all(term.weight == 0 for term in terms.values()):
        problems.append(
            "loss: every weight is 0, so nothing would be learnt: give one term a weight above 0"
        )
    return problems


def _check_term(
    name: str, term: LossTerm, task: str, head: str, n_classes: int | None
) -> list[str]:
    if not is_import_path(name):
        if name not in LOSSES:
            return [unknown(name, LOSSES, "loss")]
        loss = LOSSES[name]
        if head not in loss.heads:
            return [
                f"needs head: {loss.heads[0]}, but task {task} here has head: {head}; use {loss.instead}"
            ]
    known = _arguments(_function(name))
    if known is not None:
        wrong = [
            unknown(key, [*known, "weight"], "argument") for key in term.kwargs if key not in known
        ]
        if wrong:
            return wrong
    if is_import_path(name):
        return []
    planes = 2 if task == "binary" and head == "softmax" else 1 if task == "binary" else n_classes
    kwargs = dict(term.kwargs)
    if planes is None:  # the number of classes is not known here: leave lengths unchecked
        kwargs, planes = {k: v for k, v in kwargs.items() if k not in LISTS}, 2
    try:  # values are checked where they are used: on one pixel
        one = torch.zeros(1, planes, 1, 1)
        _term(name, term, head).function(one, one, one[:, :1] + 1, **_with_head(name, kwargs, head))
    except (ValueError, TypeError, RuntimeError) as error:
        return [str(error).splitlines()[0]]
    return []


def _function(name: str) -> Callable[..., Tensor]:
    """The loss function of a name; the user's own is `package.module:name`."""
    if not is_import_path(name):
        return LOSSES[name].function
    found = load_object(name)
    if not callable(found):
        raise ConfigError(f"{name!r} is not a function")
    return found


def _arguments(function: Callable[..., Tensor]) -> list[str] | None:
    """The keyword arguments a config may give, or None when the function takes any."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    said = getattr(function, "keywords", {})  # by the loss's own name: dice_image
    return [name for name in list(parameters)[3:] if name != "head" and name not in said]


def _with_head(name: str, kwargs: dict[str, Any], head: str) -> dict[str, Any]:
    return (
        {**kwargs, "head": head}
        if "head" in inspect.signature(_function(name)).parameters
        else kwargs
    )


def _term(name: str, term: LossTerm, head: str) -> Term:
    return Term(term.weight, _function(name), _with_head(name, term.kwargs, head))
