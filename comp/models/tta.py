"""Test-time augmentation: view sets on ttach's transforms, merged as probabilities in float32.

Any height and width goes in, and the same comes out. ttach's own merging, scaling and wrapper are not
used: they round sizes down, and average logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
import ttach
from torch import Tensor

from comp.models.segmenter import Segmenter
from comp.registry import lookup


def views(
    name: str, scales: Sequence[float] = (1.0,)
) -> list[tuple[float, ttach.base.Transformer]]:
    """The views of one set: (zoom, transform) pairs, each merged with the same weight.

    Args:
        name: a name of `TTA`.
        scales: every transform is taken at each of them; `none` is one plain view and has no zooms.
    """
    transforms = list(lookup(TTA, name, "tta")())
    return [(scale, t) for scale in ((1.0,) if name == "none" else scales) for t in transforms]


@torch.no_grad()
def predict_views(
    segmenter: Segmenter,
    x: Tensor,
    name: str,
    scales: Sequence[float] = (1.0,),
    batched: bool | None = None,
) -> Tensor:
    """Predict a batch through every view of a set and average the probabilities.

    Args:
        segmenter: in eval mode.
        x: (B, C, h, w) normalised, any size.
        batched: views of one shape in one batch, which is faster on a GPU and slower on a CPU;
            default: by the device of `x`.

    Returns:
        probs: (B, K, h, w) float32 in [0, 1].
    """
    batched = x.is_cuda if batched is None else batched
    size = (x.shape[2], x.shape[3])
    todo = views(name, scales)
    total: Tensor | None = None
    for start, stop in _groups(todo, size, batched):
        zoomed = _zoom(x, todo[start][0])
        seen = torch.cat([t.augment_image(zoomed) for _, t in todo[start:stop]])
        if x.is_contiguous(memory_format=torch.channels_last):
            seen = seen.contiguous(memory_format=torch.channels_last)
        probs = segmenter.logits_to_probs(segmenter(seen))
        for part, (_, transform) in zip(probs.split(len(x)), todo[start:stop], strict=True):
            plain = _resize(transform.deaugment_mask(part), size)
            total = plain if total is None else total + plain
    assert total is not None
    return (total / len(todo)).clamp(0, 1)


def _groups(
    todo: Sequence[tuple[float, ttach.base.Transformer]], size: tuple[int, int], batched: bool
) -> list[tuple[int, int]]:
    """Ranges of consecutive views that go through the network together."""
    if not batched:
        return [(n, n + 1) for n in range(len(todo))]
    probe = torch.empty(1, 1, *size)
    shapes = [(scale, t.augment_image(probe).shape) for scale, t in todo]
    cuts = [n for n in range(1, len(todo)) if shapes[n] != shapes[n - 1]]
    return list(zip([0, *cuts], [*cuts, len(todo)], strict=True))


def _zoom(x: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return x
    return _resize(x, (max(1, round(x.shape[2] * scale)), max(1, round(x.shape[3] * scale))))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to an exact size, averaging where it gets smaller."""
    if x.shape[-2:] == size:
        return x
    smaller = size[0] < x.shape[2] or size[1] < x.shape[3]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=smaller)


TTA: dict[str, Callable[[], ttach.Compose]] = {
    "none": lambda: ttach.Compose([]),
    "hflip": ttach.aliases.hflip_transform,
    "flips": ttach.aliases.flip_transform,
    "d4": ttach.aliases.d4_transform,
}
