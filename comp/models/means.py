"""Means over what counts, per-class weights and range checks: what the loss functions share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TINY = 1e-6


def mean_groups(
    loss: Tensor,
    counts: Tensor,
    has_truth: Tensor,
    empty: str,
    class_weights: Sequence[float] | None,
    logits: Tensor,
) -> Tensor:
    """Mean of a (..., K) loss over the groups with a valid pixel (and with truth, where `empty` is skip)."""
    if empty not in ("penalize", "skip"):
        raise ValueError(f"empty: expected 'penalize' or 'skip', got {empty!r}")
    weight = (counts & has_truth if empty == "skip" else counts).float()
    if class_weights is not None:
        weight = weight * per_class("class_weights", class_weights, logits).flatten()
    return (loss * weight).sum() / weight.sum().clamp_min(TINY)


def mean(loss: Tensor, valid: Tensor) -> Tensor:
    return (loss * valid).sum() / valid.sum().clamp_min(TINY)


def per_class(name: str, value: float | Sequence[float] | Tensor, logits: Tensor) -> Tensor:
    """`value` as (1, K, 1, 1), or (1, 1, 1, 1) for one number; tensors have been checked before."""
    if isinstance(value, Tensor):
        return value.view(1, -1, 1, 1)
    tensor = torch.as_tensor(value, dtype=torch.float32, device=logits.device).reshape(-1)
    if tensor.numel() not in (1, logits.shape[1]):
        raise ValueError(
            f"{name}: expected {logits.shape[1]} numbers, one a plane, got {tensor.numel()}"
        )
    if bool((tensor < 0).any()):
        raise ValueError(f"{name}: expected numbers >= 0, got {value!r}")
    return tensor.view(1, -1, 1, 1)


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number in [0, 1], got {value!r}")


def check_at_least(name: str, value: float, low: float) -> None:
    if not value >= low:
        raise ValueError(f"{name}: expected >= {low}, got {value!r}")
