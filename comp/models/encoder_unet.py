"""Our U-Nets on an encoder of smp or timm: `SkipUnet` chooses its skips, `AtrousUnet` its branches.

Both have `encoder`, `decoder` and `head`, take any size that is a multiple of the encoder's stride,
and give logits of the input's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch.nn.functional as F
from torch import Tensor, nn

from comp.models.blocks import AtrousBlock, UpBlock, conv_block, initialize, initialize_head

Body = Callable[[int, int], nn.Module]  # (channels in, channels out) -> what a decoder block does


class EncoderUnet(nn.Module):
    """An encoder and a decoder that doubles the size once a block.

    Stage s of the encoder has 1/2**s of the input's size. Block n of the decoder ends at stage
    depth - 1 - n, where it joins that stage if it is among the skips. If the last block is not at full
    size, the logits are enlarged (bilinear).
    """

    def __init__(
        self,
        encoder_name: str,
        encoder_weights: Any,
        encoder_depth: int,
        encoder_kwargs: dict[str, Any],
        in_channels: int,
        classes: int,
        decoder_channels: Sequence[int],
        skips: Sequence[int],
        body: Body,
    ) -> None:
        super().__init__()
        if not 1 <= len(decoder_channels) <= encoder_depth:
            raise ValueError(
                f"decoder_channels: expected 1 to {encoder_depth} numbers (encoder_depth), got {len(decoder_channels)}"
            )
        possible = range(encoder_depth - len(decoder_channels), encoder_depth)
        wrong = [s for s in skips if s not in possible or s == 0]
        if wrong or len(set(skips)) != len(skips):
            allowed = [s for s in possible if s]
            raise ValueError(
                f"skips: expected different stages out of {allowed}, got {list(skips)}"
            )
        self.encoder = smp.encoders.get_encoder(
            encoder_name,
            in_channels=in_channels,
            depth=encoder_depth,
            weights=encoder_weights,
            **encoder_kwargs,
        )
        channels = list(self.encoder.out_channels)
        self.skips = frozenset(skips)
        self.decoder = nn.ModuleList()
        width = channels[-1]
        for n, outputs in enumerate(decoder_channels):
            stage = encoder_depth - 1 - n
            joined = channels[stage] if stage in self.skips else 0
            self.decoder.append(UpBlock(body(width + joined, outputs)))
            width = outputs
        self.head = nn.Conv2d(width, classes, 3, padding=1)
        initialize(self.decoder)
        initialize_head(self.head)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, classes, h, w)."""
        features = self.encoder(x)
        out = features[-1]
        for n, block in enumerate(self.decoder):
            stage = len(features) - 2 - n
            size = features[stage].shape[-2:]
            out = block(out, size, features[stage] if stage in self.skips else None)
        logits: Tensor = self.head(out)
        if logits.shape[-2:] != x.shape[-2:]:
            logits = F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return logits


class SkipUnet(EncoderUnet):
    """U-Net that joins only the encoder stages it is told to.

    smp's Unet always joins every stage, so a decoder with skips from two of them needs this. On
    densenet121, stages 5, 4 and 3 are what is often called conv5, conv4 and conv3, so the defaults are a
    bottom of conv5 with skips from conv4 and conv3.

    Args:
        decoder_channels: widths from the bottom up, one a doubling.
        skips: encoder stages to join; stage s has 1/2**s of the input's size.
        convs_per_block, norm, dropout: of the decoder's blocks.
        encoder_kwargs: further arguments of timm (`tu-`) encoders.
    """

    def __init__(
        self,
        encoder_name: str = "densenet121",
        encoder_weights: Any = None,
        encoder_depth: int = 5,
        in_channels: int = 3,
        classes: int = 1,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 32),
        skips: Sequence[int] = (4, 3),
        convs_per_block: int = 2,
        norm: str = "batch",
        dropout: float = 0.0,
        **encoder_kwargs: Any,
    ) -> None:
        def body(inputs: int, outputs: int) -> nn.Module:
            return conv_block(inputs, outputs, convs_per_block, norm, dropout)

        super().__init__(
            encoder_name,
            encoder_weights,
            encoder_depth,
            encoder_kwargs,
            in_channels,
            classes,
            decoder_channels,
            skips,
            body,
        )


class AtrousUnet(EncoderUnet):
    """U-Net whose decoder blocks look at several scales at once through dilated convolutions.

    Each block doubles the size, joins the encoder's stage and runs parallel branches of different rates
    whose outputs, an equal share of the block's channels each, are concatenated (then mixed by a 1x1
    where `fuse`). With four blocks on an encoder of five stages the last is at half size.

    Args:
        decoder_channels: widths of the concatenations from the bottom up, one a doubling.
        rates, kernels: dilation and kernel size of each branch.
        encoder_kwargs: further arguments of timm (`tu-`) encoders.
    """

    def __init__(
        self,
        encoder_name: str = "resnet50",
        encoder_weights: Any = None,
        encoder_depth: int = 5,
        in_channels: int = 3,
        classes: int = 1,
        decoder_channels: Sequence[int] = (1024, 512, 256, 64),
        rates: Sequence[int] = (1, 6, 12, 18),
        kernels: Sequence[int] = (1, 3, 3, 3),
        fuse: bool = True,
        norm: str = "batch",
        **encoder_kwargs: Any,
    ) -> None:
        if len(rates) != len(kernels) or not rates:
            raise ValueError(
                f"rates and kernels: expected one of each a branch, got {list(rates)} and {list(kernels)}"
            )
        if any(k % 2 == 0 for k in kernels):
            raise ValueError(f"kernels: expected odd sizes, got {list(kernels)}")
        if min(decoder_channels, default=0) < len(rates):
            raise ValueError(
                f"decoder_channels: expected at least {len(rates)} each, one a branch, got {list(decoder_channels)}"
            )

        def body(inputs: int, outputs: int) -> nn.Module:
            return AtrousBlock(inputs, outputs, tuple(rates), tuple(kernels), norm, fuse)

        stages = range(max(1, encoder_depth - len(decoder_channels)), encoder_depth)
        super().__init__(
            encoder_name,
            encoder_weights,
            encoder_depth,
            encoder_kwargs,
            in_channels,
            classes,
            decoder_channels,
            tuple(stages),
            body,
        )
