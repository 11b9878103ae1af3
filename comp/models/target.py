"""What a loss is given: truth as float planes, and which pixels count.

Labels become planes here and nowhere else; 255 (IGNORE) never reaches a loss as a class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from comp.config import IGNORE


@dataclass(frozen=True)
class Target:
    """Truth of one batch.

    Args:
        planes: (B, K, h, w) float32 in [0, 1]; K = 1 for binary, else one plane a class. May be soft.
        valid: (B, 1 or K, h, w) float32, 1 where the pixel counts and 0 where it is ignored.
    """

    planes: Tensor
    valid: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Target:
        """The same target on another device."""
        return Target(
            self.planes.to(device, non_blocking=non_blocking),
            self.valid.to(device, non_blocking=non_blocking),
        )


def make_target(labels: Tensor, task: str, n_classes: int) -> Target:
    """Turn labels into planes.

    Args:
        labels: uint8; (B, h, w) of {0, 1, 255} for binary, (B, h, w) of class indices or 255 for
            multiclass, (B, K, h, w) of {0, 1, 255} for multilabel.
        n_classes: K of the planes; 1 for binary.
    """
    if task == "multilabel":
        return Target((labels == 1).float(), (labels != IGNORE).float())
    valid = (labels != IGNORE).unsqueeze(1).float()
    if task == "binary":
        return Target((labels == 1).unsqueeze(1).float(), valid)
    classes = torch.arange(n_classes, device=labels.device, dtype=labels.dtype)
    return Target((labels.unsqueeze(1) == classes.view(1, -1, 1, 1)).float(), valid)
