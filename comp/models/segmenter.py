"""A network with what the rest must know of it: head, stride, normalisation, what is frozen when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from comp.errors import ConfigError
from comp.models.extras import Outputs, PresenceHead, StageHeads, last_features, watched

EPS = 1e-6


class Segmenter(nn.Module):
    """Wraps a network that maps (B, C, h, w) to logits (B, K', h, w).

    Args:
        net: the network; a part called `encoder` can be frozen and has its own learning rate.
        task: binary, multiclass or multilabel.
        head: sigmoid or softmax; K' is 2 for a binary softmax, else K.
        stride: the network needs h and w to be multiples of it; pictures are padded to that and
            their logits cut back.
        min_size: and at least this large (networks that pool several times).
        min_batch: smallest batch that can be trained on: 2 where a BatchNorm follows a global pooling
            (DeepLabV3, DeepLabV3Plus, PAN, UPerNet), which in a batch of 1 has one value a channel to norm.
        freeze_encoder: True, or the number of first epochs.
        mean, std: one number a channel; None: each image's own (normalize: image).
        keep_stats: mean and std come from the training images and travel with the weights.
        stage_heads, presence_head: what is learnt beside the logits (see `extras`).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        task: str,
        head: str,
        stride: int = 32,
        min_size: int = 1,
        min_batch: int = 1,
        freeze_encoder: bool | int = False,
        freeze_batchnorm: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        keep_stats: bool = False,
        stage_heads: StageHeads | None = None,
        presence_head: PresenceHead | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.stage_heads, self.presence_head = stage_heads, presence_head
        self._presences: list[Tensor] | None = None
        self.task, self.head = task, head
        self.stride, self.min_size, self.min_batch = stride, min_size, min_batch
        self.freeze_encoder = freeze_encoder
        self.freeze_batchnorm = freeze_batchnorm
        self.per_image = mean is None
        # In the state dict only where the config alone does not say them.
        for name, values in (("mean", mean or (0.0,)), ("std", std or (1.0,))):
            self.register_buffer(
                name, torch.tensor(values).view(1, -1, 1, 1), persistent=keep_stats
            )
        self.set_epoch(0)

    def set_pixel_stats(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take the mean and std of the training images (normalize: dataset), one number a channel."""
        for buffer, values in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1))

    def normalize(self, x: Tensor) -> Tensor:
        """Bring pixels to what the network wants; before any padding, which `image` would count in.

        Args:
            x: (B, C, h, w) float32 in [0, 1].
        """
        if not self.per_image:
            return (x - self.mean) / self.std
        mean = x.mean(dim=(2, 3), keepdim=True)
        std = x.std(dim=(2, 3), keepdim=True, correction=0)
        return (x - mean) / (std + EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K', h, w) of a normalised batch (B, C, h, w) of any size.

        Raises:
            ConfigError: in training, when the batch is smaller than `min_batch`.
        """
        if self.training and len(x) < self.min_batch:
            raise ConfigError(
                f"train.batch_size: {type(self.net).__name__} cannot train on a batch of {len(x)}: its BatchNorm after "
                f"a global pooling needs {self.min_batch} pictures; raise train.batch_size, or leave the last batch out"
            )
        height, width = x.shape[-2:]
        padded = pad_to(x, self.stride, self.min_size)
        if self.presence_head is not None and self._presences is not None:
            with watched(self.net, ["encoder"]) as seen:
                logits: Tensor = self.net(padded)
            said = self.presence_head(last_features(seen["encoder"]))
            self._presences.append(torch.sigmoid(said.float()))
        else:
            logits = self.net(padded)
        return logits[..., :height, :width]

    def outputs(self, x: Tensor) -> Outputs:
        """Everything that is trained: the logits of `forward`, and what stage and presence heads say."""
        if not self.watched_names:
            return Outputs(self(x))
        with watched(self.net, self.watched_names) as seen:
            logits = self(x)
        return self.with_extras(logits, x, seen)

    @property
    def watched_names(self) -> list[str]:
        """Modules of the network whose output stage and presence heads want; empty without these."""
        deep = self.stage_heads.names if self.stage_heads is not None else ()
        return [*deep, *(["encoder"] if self.presence_head is not None else ())]

    def with_extras(self, logits: Tensor, x: Tensor, seen: dict[str, Any]) -> Outputs:
        """The `outputs` of `x`, given its logits and what the watched modules gave, by name."""
        deep, aux = self.stage_heads, self.presence_head
        if deep is None and aux is None:
            return Outputs(logits)
        height, width = pad_to(x[:1, :1], self.stride, self.min_size).shape[-2:]
        return Outputs(
            logits,
            deep(seen) if deep is not None else (),
            aux(last_features(seen["encoder"])) if aux is not None else None,
            (height, width),
        )

    @property
    def extra_weights(self) -> tuple[float, float]:
        """Weights in the loss of the finest coarser stage, and of the classifier; 0 without."""
        deep, aux = self.stage_heads, self.presence_head
        return (deep.weight if deep is not None else 0.0, aux.weight if aux is not None else 0.0)

    @contextmanager
    def telling_presence(self) -> Iterator[list[Tensor]]:
        """Within it every forward adds P(class is there), (B, K) float32, to the list that is given."""
        self._presences = []
        try:
            yield self._presences
        finally:
            self._presences = None

    def logits_to_probs(self, logits: Tensor) -> Tensor:
        """(B, K', h, w) logits of any float type to (B, K, h, w) float32 in [0, 1]; binary has K = 1."""
        logits = logits.float()
        if self.head == "sigmoid":
            return torch.sigmoid(logits)
        if self.task == "binary":
            return torch.sigmoid(
                logits[:, 1:2] - logits[:, 0:1]
            )  # the foreground of a two-class softmax
        return torch.softmax(logits, dim=1)

    @property
    def encoder(self) -> nn.Module | None:
        """The part of the network called `encoder`, if there is one."""
        found = getattr(self.net, "encoder", None)
        return found if isinstance(found, nn.Module) else None

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters of the encoder; empty for a network without one."""
        return list(self.encoder.parameters()) if self.encoder is not None else []

    def decoder_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        encoder = {id(p) for p in self.encoder_parameters()}
        return [p for p in self.parameters() if id(p) not in encoder]

    def set_epoch(self, epoch: int) -> None:
        """Freeze or free encoder and BatchNorm for the epoch that begins (the first is 0)."""
        limit = self.freeze_encoder
        self.batchnorm_frozen = self.freeze_batchnorm is not None and epoch >= self.freeze_batchnorm
        self.encoder_frozen = limit if isinstance(limit, bool) else epoch < limit
        for parameter in self.encoder_parameters():
            parameter.requires_grad_(not self.encoder_frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Segmenter:
        """As nn.Module's, but what is frozen stays in eval mode: its BatchNorm statistics are kept."""
        super().train(mode)
        if self.batchnorm_frozen:
            for module in self.net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        if self.encoder_frozen and self.encoder is not None:
            self.encoder.eval()
        return self

    def extra_repr(self) -> str:
        shown: dict[str, Any] = {"task": self.task, "head": self.head, "stride": self.stride}
        return ", ".join(f"{k}={v}" for k, v in shown.items())


def pad_to(x: Tensor, stride: int, least: int = 1) -> Tensor:
    """Pad (B, C, h, w) below and right to multiples of `stride`, and to `least` at least.

    The picture is mirrored; where the strip is as large as the picture, its edge is repeated.
    """
    height, width = x.shape[-2:]
    down = -(-max(height, least) // stride) * stride - height
    right = -(-max(width, least) // stride) * stride - width
    if down == 0 and right == 0:
        return x
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


def n_parameters(segmenter: nn.Module) -> int:
    """How many numbers the network holds, frozen ones too."""
    return sum(p.numel() for p in segmenter.parameters())
