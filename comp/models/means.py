"""Means over what counts, per-class weights and range checks: what the loss functions share."""

from __future__ import annotations

import math
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


def mean_hardest(loss: Tensor, valid: Tensor, share: float, weight: Tensor | None = None) -> Tensor:
    """Mean over this share of the batch's valid pixels, those of the highest loss; of 1: over all.

    Online bootstrapping (Wu et al. 2016), hard-example mining of pixels.

    Args:
        loss: (B, P, h, w) >= 0; valid: of its shape.
        weight: of its shape; the mean is then the sum over that of the weights.
    """
    if not 0 < share <= 1:
        raise ValueError(f"top_share: expected a number above 0, at most 1, got {share!r}")
    weight = valid if weight is None else weight * valid
    if share == 1:
        return (loss * valid).sum() / weight.sum().clamp_min(TINY)
    k = math.ceil(share * loss.numel() - 1e-6)
    hardest, at = torch.where(valid > 0, loss, -1.0).flatten().topk(k)
    wanted = torch.ceil(share * valid.sum(dtype=torch.float64) - 1e-6)  # without waiting for a GPU
    kept = (torch.arange(k, device=loss.device) < wanted).float()
    return (hardest * kept).sum() / (weight.flatten()[at] * kept).sum().clamp_min(TINY)


def smoothed(planes: Tensor, share: float, head: str) -> Tensor:
    """Truth moved this share of the way to 1/2 (sigmoid) or evenly over all planes (softmax)."""
    check_share("label_smoothing", share)
    return planes * (1 - share) + share / (2 if head == "sigmoid" else planes.shape[1])


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
