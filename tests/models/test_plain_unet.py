"""Every size of the plain U-Net is adjustable."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from comp.models.blocks import NORMS
from comp.models.plain_unet import PlainUnet


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"filters": 4, "depth": 2},
        {"filters": [4, 6, 9], "depth": 2, "convs_per_block": 1},
        {"filters": 4, "convs_per_block": 3, "upsample": "bilinear", "dropout": 0.2},
        *({"filters": 6, "depth": 1, "norm": norm} for norm in NORMS),
    ],
)
def test_shapes_and_gradients(kwargs: dict[str, Any]) -> None:
    net = PlainUnet(in_channels=2, classes=3, **kwargs)
    size = 2 * net.stride
    logits = net(torch.randn(2, 2, size, 2 * size))
    assert logits.shape == (2, 3, size, 2 * size)
    logits.square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_sizes_are_what_was_asked_for() -> None:
    net = PlainUnet(filters=5, depth=3, convs_per_block=3)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [c.out_channels for c in convs] == [5] * 3 + [10] * 3 + [20] * 3 + [40] * 3 + [
        20
    ] * 3 + [10] * 3 + [5] * 3
    assert net.stride == 8


def test_convolutions_before_a_norm_have_no_bias() -> None:
    for norm in NORMS:
        first = next(
            m for m in PlainUnet(filters=4, norm=norm).modules() if isinstance(m, nn.Conv2d)
        )
        assert (first.bias is not None) == (norm == "none")
