"""`PlainUnet`: the U-Net of Ronneberger et al. (2015) from scratch, every size adjustable, no encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comp.models.blocks import conv_block, initialize, initialize_head


class PlainUnet(nn.Module):
    """U-Net without a pretrained encoder; convolutions keep the size, unlike the paper's.

    Args:
        filters: width of the first level, doubled at each next; or depth + 1 widths from the top down.
        depth: how often the size is halved; h and w must be multiples of 2**depth.
        convs_per_block: 3x3 convolutions a level.
        norm: batch, group, instance or none.
        dropout: of whole channels, at the end of each block.
        upsample: transpose (learnt 2x2) or bilinear.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1,
        filters: int | Sequence[int] = 32,
        depth: int = 4,
        convs_per_block: int = 2,
        norm: str = "batch",
        dropout: float = 0.0,
        upsample: str = "transpose",
    ) -> None:
        super().__init__()
        if depth < 1 or convs_per_block < 1:
            raise ValueError(
                f"depth and convs_per_block: expected at least 1, got {depth} and {convs_per_block}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a share in [0, 1), got {dropout!r}")
        if upsample not in ("transpose", "bilinear"):
            raise ValueError(f"upsample: expected 'transpose' or 'bilinear', got {upsample!r}")
        widths = (
            [filters * 2**level for level in range(depth + 1)]
            if isinstance(filters, int)
            else list(filters)
        )
        if len(widths) != depth + 1 or min(widths) < 1:
            raise ValueError(
                f"filters: expected one number, or depth + 1 = {depth + 1} of them, all above 0, got {filters!r}"
            )
        self.stride = 2**depth

        def block(inputs: int, outputs: int) -> nn.Module:
            return conv_block(inputs, outputs, convs_per_block, norm, dropout)

        self.down = nn.ModuleList(
            block(i, o) for i, o in zip([in_channels, *widths], widths, strict=False)
        )
        rising = list(
            zip(widths[::-1], widths[-2::-1], strict=False)
        )  # (deeper, shallower), from the bottom up
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(deep, flat, 2, stride=2)
            if upsample == "transpose"
            else _Bilinear(deep, flat)
            for deep, flat in rising
        )
        self.up = nn.ModuleList(block(2 * flat, flat) for _, flat in rising)
        self.head = nn.Conv2d(widths[0], classes, 1)
        initialize(self)
        initialize_head(self.head)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, classes, h, w)."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            x = block(torch.cat([enlarge(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


class _Bilinear(nn.Sequential):
    """Twice the size, then a 1x1 to the shallower level's width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(inputs, outputs, 1)
        )
