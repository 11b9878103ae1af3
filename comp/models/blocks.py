"""Convolution blocks that our own networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(_n_groups(channels), channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "none": lambda channels: nn.Identity(),
}


def _n_groups(channels: int) -> int:
    """The largest number of groups up to 8 that divides `channels`."""
    return max(g for g in range(1, 9) if channels % g == 0)


def norm_layer(name: str, channels: int) -> nn.Module:
    """A norm of the table `NORMS`; instance and group norms do not depend on the batch."""
    if name not in NORMS:
        raise ValueError(f"norm: expected one of {', '.join(NORMS)}, got {name!r}")
    return NORMS[name](channels)


def conv_norm_relu(
    inputs: int, outputs: int, kernel: int = 3, rate: int = 1, norm: str = "batch"
) -> nn.Sequential:
    """Convolution of dilation `rate` that keeps the size, norm, ReLU."""
    conv = nn.Conv2d(
        inputs, outputs, kernel, padding=rate * (kernel // 2), dilation=rate, bias=norm == "none"
    )
    return nn.Sequential(conv, norm_layer(norm, outputs), nn.ReLU(inplace=True))


def conv_block(
    inputs: int, outputs: int, convs: int = 2, norm: str = "batch", dropout: float = 0.0
) -> nn.Sequential:
    """`convs` 3x3 convolutions, each with norm and ReLU; dropout of whole channels at the end."""
    layers = [
        conv_norm_relu(inputs if n == 0 else outputs, outputs, norm=norm) for n in range(convs)
    ]
    return nn.Sequential(*layers, *([nn.Dropout2d(dropout)] if dropout else []))


class AtrousBlock(nn.Module):
    """Parallel branches of several rates, concatenated to `outputs` channels, then mixed by a 1x1.

    Every branch gives an equal part of `outputs`; the first ones take what does not divide.

    Args:
        rates, kernels: dilation and kernel size of each branch.
        fuse: follow the concatenation with a 1x1 convolution, norm and ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rates: tuple[int, ...],
        kernels: tuple[int, ...],
        norm: str,
        fuse: bool,
    ) -> None:
        super().__init__()
        n = len(rates)
        widths = [outputs // n + (i < outputs % n) for i in range(n)]
        self.branches = nn.ModuleList(
            conv_norm_relu(inputs, width, kernel, rate, norm)
            for width, kernel, rate in zip(widths, kernels, rates, strict=True)
        )
        self.fuse = conv_norm_relu(outputs, outputs, 1, norm=norm) if fuse else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        fused: Tensor = self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))
        return fused


class UpBlock(nn.Module):
    """Doubles the size (bilinear), joins the skip if there is one, then applies `body`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor, size: tuple[int, int], skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        joined: Tensor = self.body(x if skip is None else torch.cat([x, skip], dim=1))
        return joined


def initialize(module: nn.Module) -> None:
    """He initialisation of every convolution, zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def initialize_head(head: nn.Conv2d) -> None:
    """Xavier initialisation and zero biases: probabilities start near 1/2, or 1/K."""
    nn.init.xavier_uniform_(head.weight)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
