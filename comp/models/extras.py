"""What a network may learn beside its logits: coarser decoder stages, and whether a class is there at all.

Deep supervision gives decoder stages below full size logits of their own (Lee et al. 2015, "Deeply-
Supervised Nets"; weights halved a stage as in nnU-Net, Isensee et al. 2021). The auxiliary classifier is
smp's classification head on the encoder's last features. Both only help training; stages are not predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comp.config.network import AuxHead
from comp.errors import ConfigError
from comp.models.blocks import initialize_head
from comp.models.encoder_unet import EncoderUnet
from comp.models.losses import WeightedLoss
from comp.models.plain_unet import PlainUnet
from comp.models.target import Target

MOST_STAGES = 3  # below the finest; nnU-Net leaves the two coarsest out for the same reason
STAGED = "Unet, UnetPlusPlus, MAnet, Linknet, FPN, AtrousUnet, SkipUnet, PlainUnet"


class Outputs(NamedTuple):
    """Everything a network says of one batch.

    Args:
        logits: (B, K', h, w).
        stages: (B, K', h', w') of coarser decoder stages, finest first; h', w' divide the padded size.
        presence: (B, K) logits of "some pixel of this class", None without an auxiliary classifier.
        padded: (h, w) of what the network saw.
    """

    logits: Tensor
    stages: tuple[Tensor, ...] = ()
    presence: Tensor | None = None
    padded: tuple[int, int] = (0, 0)


def decoder_blocks(net: nn.Module) -> dict[str, nn.Module]:
    """Modules of a decoder that each give one feature map, by their name in `net`; empty: not known."""
    if isinstance(net, (smp.Unet, smp.UnetPlusPlus, smp.MAnet, smp.Linknet)):
        prefix, parts = "decoder.blocks", net.decoder.blocks
    elif isinstance(net, smp.FPN):
        prefix, parts = "decoder", nn.ModuleDict({k: getattr(net.decoder, k) for k in FPN_LEVELS})
    elif isinstance(net, EncoderUnet):
        prefix, parts = "decoder", net.decoder
    elif isinstance(net, PlainUnet):
        prefix, parts = "up", net.up
    else:
        return {}
    return {f"{prefix}.{name}": module for name, module in parts.named_children()}


FPN_LEVELS = ("p5", "p4", "p3", "p2")


class StageHeads(nn.Module):
    """Logits of decoder stages coarser than the finest.

    Args:
        names: of the stages' modules in the network, finest first.
        channels: of each.
        planes: K'.
        weight: of the finest of them in the loss, halved a stage.
    """

    def __init__(self, names: list[str], channels: list[int], planes: int, weight: float) -> None:
        super().__init__()
        self.names, self.weight = tuple(names), weight
        made = [nn.Conv2d(width, planes, 1) for width in channels]
        for head in made:
            initialize_head(head)
        self.heads = nn.ModuleList(made)

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Logits of each stage of `features`, name -> (B, C, h', w')."""
        return tuple(
            head(features[name]) for name, head in zip(self.names, self.heads, strict=True)
        )


class PresenceHead(nn.Module):
    """smp's classification head on the encoder's last features: is there any pixel of a class?

    Args:
        channels: of those features.
        n_classes: K.
        aux: pooling, dropout and the weight in the loss.
    """

    def __init__(self, channels: int, n_classes: int, aux: AuxHead) -> None:
        super().__init__()
        self.weight = aux.weight
        self.head = smp.base.ClassificationHead(
            channels, n_classes, pooling=aux.pooling, dropout=aux.dropout
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, K) logits of features (B, C, h', w')."""
        logits: Tensor = self.head(features)
        return logits


@contextmanager
def watched(net: nn.Module, names: list[str] | tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """What the named modules of a network give while it runs: name -> their last output."""
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            seen[name] = output

        return hook

    handles = [net.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def last_features(output: Any) -> Tensor:
    """The last feature map of what an encoder gave: a map, or a list of them from the finest down."""
    found: Tensor = output[-1] if isinstance(output, (list, tuple)) else output
    return found


def stage_heads(net: nn.Module, arch: str, x: Tensor, planes: int, weight: float) -> StageHeads:
    """Heads for the stages of a network, found by sending `x` through it.

    Args:
        x: (1, C, h, w) that the network takes.

    Raises:
        ConfigError: the architecture has no stages that are known.
    """
    blocks = decoder_blocks(net)
    if not blocks:
        raise ConfigError(
            f"model.deep_supervision: {arch} has no decoder stages that could be supervised; those with: {STAGED}"
        )
    with torch.no_grad(), watched(net, list(blocks)) as seen:
        net.eval()(x)
        net.train()
    by_height: dict[int, str] = {}
    for name in blocks:  # where several have one size (UnetPlusPlus), the last made knows most
        if name in seen:
            by_height[seen[name].shape[-2]] = name
    coarser = [by_height[height] for height in sorted(by_height, reverse=True)][1 : MOST_STAGES + 1]
    if not coarser:
        raise ConfigError(
            f"model.deep_supervision: this {arch} has one decoder stage only, none is coarser"
        )
    return StageHeads(coarser, [seen[name].shape[1] for name in coarser], planes, weight)


def presence_head(
    net: nn.Module, arch: str, x: Tensor, n_classes: int, aux: AuxHead
) -> PresenceHead:
    """The auxiliary classifier of a network, its width found by sending `x` through the encoder.

    Raises:
        ConfigError: the network has no part called `encoder`.
    """
    encoder = getattr(net, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ConfigError(f"model.aux_params: {arch} has no encoder for a classifier to stand on")
    with torch.no_grad(), watched(net, ["encoder"]) as seen:
        net.eval()(x)
        net.train()
    return PresenceHead(last_features(seen["encoder"]).shape[1], n_classes, aux)


def add_extras(
    total: Tensor,
    terms: dict[str, Tensor],
    outputs: Outputs,
    target: Target,
    loss: WeightedLoss,
    weights: tuple[float, float],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Add the losses of stages and classifier to those of the logits.

    Args:
        total, terms: what `loss` says of the logits.
        target: planes (B, K, h, w), valid (B, 1 or K, h, w).
        weights: of the finest stage, halved a stage; of the classifier.

    Returns:
        the new total; terms with `deep_supervision` (the stages' loss by those weights, which sum to 1
        there) and `presence` (binary cross-entropy), unweighted and detached.
    """
    deep, aux = weights
    terms = dict(terms)
    if outputs.stages:
        shares = [0.5**n for n in range(len(outputs.stages))]
        summed = torch.zeros_like(total)
        for share, logits in zip(shares, outputs.stages, strict=True):
            height, width = logits.shape[-2:]
            coarse = pooled_target(target, outputs.padded, (height, width))
            summed = summed + share * loss(logits, coarse)[0]
        total = total + deep * summed
        terms["deep_supervision"] = (summed / sum(shares)).detach()
    if outputs.presence is not None:
        value = presence_loss(outputs.presence, target)
        total = total + aux * value
        terms["presence"] = value.detach()
    return total, terms


def pooled_target(target: Target, padded: tuple[int, int], size: tuple[int, int]) -> Target:
    """The truth on a coarser grid: each cell the mean of its valid pixels, valid where half of them are.

    Args:
        target: planes (B, K, h, w), valid (B, 1 or K, h, w).
        padded: (H, W) that the network saw, at least (h, w): what was padded is ignored.
        size: (h', w') of the grid, which divides `padded`.

    Raises:
        ConfigError: it does not.
    """
    if padded[0] % size[0] or padded[1] % size[1]:
        raise ConfigError(
            f"model.deep_supervision: a stage of {size[0]} x {size[1]} does not divide the "
            f"network's {padded[0]} x {padded[1]}"
        )
    cell = (padded[0] // size[0], padded[1] // size[1])
    height, width = target.planes.shape[-2:]
    beyond = (0, padded[1] - width, 0, padded[0] - height)
    valid = F.pad(target.valid.float(), beyond)
    planes = F.pad(target.planes.float(), beyond)
    share = F.avg_pool2d(valid, cell)
    mean = F.avg_pool2d(planes * valid, cell) / share.clamp(min=1e-6)
    return Target(mean.clamp(0, 1), (share >= 0.5).float())


def presence_loss(logits: Tensor, target: Target) -> Tensor:
    """Binary cross-entropy of (B, K) logits with what is there, in float32; 0 where nothing is known."""
    with torch.autocast(logits.device.type, enabled=False):
        present, known = presence_of(target)
        each = F.binary_cross_entropy_with_logits(logits.float(), present, reduction="none")
        return (each * known).sum() / known.sum().clamp(min=1.0)


def presence_of(target: Target) -> tuple[Tensor, Tensor]:
    """Which classes a picture has, (B, K) float32 of 0 and 1, and where that is known.

    A class is there where a valid pixel is more of it than not. Where there is none, but some pixels are
    ignored, it may hide under them: not known.
    """
    valid = target.valid > 0
    present = ((target.planes >= 0.5) & valid).flatten(2).any(2)
    complete = valid.flatten(2).all(2)
    return present.float(), (present | complete).float()
