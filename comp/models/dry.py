"""A network built dry: layers have shapes but no memory (torch's meta device), and one batch goes through it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from comp.config import Model
from comp.models.build import build_model
from comp.models.encoders import timm_name
from comp.models.probe import one_line
from comp.models.segmenter import n_parameters

SIZE = 256  # of the dry picture; an encoder of one size only is tried at that size too


@dataclass(frozen=True)
class Built:
    """One architecture on one encoder.

    Args:
        parameters: of the whole network (three bands, one class); None: they do not fit.
        stride: what h and w must be multiples of (the network is padded to it).
        size: side of the square picture that went through; other than `SIZE` it takes no other.
        error: why they do not fit.
    """

    parameters: int | None
    stride: int = 0
    size: int = SIZE
    error: str = ""


def measure_encoder(name: str) -> tuple[int | None, tuple[int, ...], str]:
    """Parameters and strides of an encoder alone, or why it gives no pyramid of features."""
    try:
        with Dry():
            encoder = smp.encoders.get_encoder(name, in_channels=3, depth=5, weights=None).eval()
            features, size = send(encoder, sizes_of(name))
    except Exception as problem:  # noqa: BLE001 - smp and timm raise every kind for a misfit
        return None, (), one_line(problem)
    # A stage without channels stands for a stride that the encoder leaves out (convnext: 2).
    strides = [size // f.shape[-2] for f in features if f.shape[1] and f.shape[-2] < size]
    return n_parameters(encoder), tuple(strides), ""


def try_pair(arch: str, encoder: str | None) -> Built:
    """Build one architecture on one encoder, dry, and send a batch of two through it."""
    try:
        with Dry():
            segmenter = build_model(
                Model(arch=arch, encoder_name=encoder),
                task="binary",
                n_classes=1,
                channels=3,
                load_weights=False,
            ).eval()
            logits, size = send(segmenter, sizes_of(encoder))
    except Exception as problem:  # noqa: BLE001 - smp and timm raise every kind for a misfit
        return Built(None, error=plain_reason(problem, arch, encoder))
    if tuple(logits.shape) != (2, 1, size, size):
        return Built(None, error=f"logits {tuple(logits.shape)} of a {size} x {size} picture")
    return Built(n_parameters(segmenter), segmenter.stride, size)


def send(network: nn.Module, sizes: Sequence[int]) -> tuple[Any, int]:
    """What the network gives for the first size that it takes, and that size.

    Raises:
        Exception: what it raised at the first size, when it takes none.
    """
    first: Exception | None = None
    for size in sizes:
        try:
            return network(torch.zeros(2, 3, size, size)), size
        except Exception as problem:  # noqa: BLE001 - whatever a network says of a size
            first = first or problem
    assert first is not None
    raise first


def plain_reason(problem: Exception, arch: str, encoder: str | None) -> str:
    """An error's text without what the reader knows: the names and where `build` says it."""
    text = one_line(problem)
    for head in (f"model: cannot build {arch} with encoder {encoder}: ", "model.encoder_name: "):
        text = text.removeprefix(head)
    return text


def sizes_of(encoder: str | None) -> list[int]:
    """Sides to try: the usual one, then the one that the encoder was trained at."""
    inner = timm_name(encoder) if encoder else None
    config = timm.get_pretrained_cfg(inner) if inner else None
    side = config.input_size[-1] if config is not None else SIZE
    return [SIZE] if side == SIZE else [SIZE, int(side)]


class Dry(TorchFunctionMode):
    """Context in which tensors have shapes and no memory, and nothing is learned or warned of.

    Depth rates (`torch.linspace(...)[i].item()`) are numbers that a constructor reads, so these are real.
    """

    def __enter__(self) -> Dry:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(torch.device("meta"))
            stack.enter_context(torch.no_grad())
            super().__enter__()
            self._others = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._others.__exit__(*error)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.linspace:
            given.setdefault("device", "cpu")
        return func(*args, **given)
