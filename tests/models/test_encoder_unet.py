"""The wiring of our U-Nets on an encoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from comp.models.encoder_unet import AtrousUnet, SkipUnet


def widths(net: nn.Module) -> list[int]:
    """Input channels of each decoder block's first convolution."""
    return [
        next(m for m in block.modules() if isinstance(m, nn.Conv2d)).in_channels
        for block in net.decoder
    ]  # type: ignore


def test_densenet_joins_conv4_and_conv3_only() -> None:
    net = SkipUnet("densenet121").eval()
    # conv5 (1024) meets conv4 (1024), then 256 meets conv3 (512); the rest has no skip
    assert widths(net) == [1024 + 1024, 256 + 512, 128, 64, 32]
    with torch.no_grad():
        assert net(torch.randn(1, 3, 32, 64)).shape == (1, 1, 32, 64)


def test_no_skips_and_all_skips() -> None:
    assert widths(SkipUnet("resnet18", decoder_channels=[8] * 5, skips=[])) == [512, 8, 8, 8, 8]
    every = SkipUnet("resnet18", decoder_channels=[8] * 5, skips=[4, 3, 2, 1])
    assert widths(every) == [512 + 256, 8 + 128, 8 + 64, 8 + 64, 8]


def test_the_atrous_decoder_of_a_resnet50() -> None:
    net = AtrousUnet("resnet50")
    assert widths(net) == [2048 + 1024, 1024 + 512, 512 + 256, 256 + 64]
    for block, width in zip(net.decoder, (1024, 512, 256, 64), strict=True):
        branches = [branch[0] for branch in block.body.branches]  # type: ignore
        assert [b.dilation[0] for b in branches] == [1, 6, 12, 18]
        assert [b.kernel_size[0] for b in branches] == [1, 3, 3, 3]
        assert [b.out_channels for b in branches] == [width // 4] * 4
    assert net.head.in_channels == 64


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("encoder", ["resnet18", "tu-convnext_atto", "mit_b0"])
def test_other_encoders_and_odd_widths(encoder: str, fuse: bool) -> None:
    net = AtrousUnet(
        encoder,
        decoder_channels=(30, 20, 10),
        rates=(1, 2, 3),
        kernels=(1, 3, 5),
        fuse=fuse,
        classes=2,
    ).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, 64, 32)).shape == (1, 2, 64, 32)


def test_shallower_encoders() -> None:
    net = SkipUnet("resnet18", encoder_depth=3, decoder_channels=[16, 8, 8], skips=[2]).eval()
    assert widths(net) == [128 + 64, 16, 8]
    with torch.no_grad():
        assert net(torch.randn(1, 3, 24, 24)).shape == (1, 1, 24, 24)
