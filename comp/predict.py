"""Model + images -> probabilities at each image's own size: the ONE way, for validation, OOF and test.

`crop` models see the image at native scale, padded to the encoder's stride and cut back; `resize` models
see it resized, and their probabilities are brought back to the original size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch.nn import functional as F

from comp.config import Predict, Train
from comp.data.cache import Cache
from comp.data.samples import scale_image
from comp.models.compute import Compute
from comp.models.segmenter import Segmenter
from comp.models.tta import predict_views
from comp.models.tta import views as view_set

OnLogits = Callable[[torch.Tensor, list[int]], None]
FORWARD_FACTOR = 4  # images in a forward pass for each one in a training batch


def predict_images(
    segmenter: Segmenter,
    cache: Cache,
    indices: Sequence[int],
    train: Train,
    predict: Predict,
    views: str,
    compute: Compute,
    device: torch.device,
    on_logits: OnLogits | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, probs) for every index, batched by size; order is not that of `indices`.

    Args:
        cache: of the recipe the model was trained on (native for `crop`, resized for `resize`).
        views: a name of the TTA table; `none` is one plain forward.
        on_logits: called with (B, K', h, w) float32 logits on the network's grid and the batch's
            indices, for the validation loss; needs views `none`.

    Yields:
        probs: (K, H, W) float32 in [0, 1] at the original size.
    """
    segmenter.eval()
    many = predict.batch_size or FORWARD_FACTOR * train.batch_size
    if device.type == "cuda" and views != "none":  # there all views of a batch go through at once
        many = max(1, many // len(view_set(views, predict.scales)))
    for batch in batches_by_size(cache, indices, many, train.size):
        stacked = np.stack([cache.image(i) for i in batch])
        images = torch.from_numpy(stacked).permute(0, 3, 1, 2).to(device)
        with torch.inference_mode():
            x = compute.to_layout(segmenter.normalize(scale_image(images)))
            with compute.autocast():
                if views == "none":
                    logits = segmenter(x).float()
                    if on_logits is not None:
                        on_logits(logits, batch)
                    probs = segmenter.logits_to_probs(logits)
                else:
                    probs = predict_views(segmenter, x, views, predict.scales)
            probs = probs.float()
        for index, one in zip(batch, probs, strict=True):
            yield index, to_size(one, cache.original_size(index))


def batches_by_size(
    cache: Cache, indices: Sequence[int], batch_size: int, size: tuple[int, int]
) -> Iterator[list[int]]:
    """Group indices of images of one size and type into batches.

    Args:
        batch_size: most images in a batch, and the most pixels in units of `size`.
    """
    budget = batch_size * size[0] * size[1]

    def kind(index: int) -> tuple[int, int, str]:
        image = cache.image(index)
        return (*image.shape[:2], str(image.dtype))

    for (height, width, _), group in groupby(sorted(indices, key=lambda i: (kind(i), i)), kind):
        members = list(group)
        step = max(1, min(batch_size, budget // (height * width)))
        for start in range(0, len(members), step):
            yield members[start : start + step]


def to_size(probs: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Bring (K, h, w) probabilities to (H, W): area-averaged going down, bilinear going up."""
    if probs.shape[1:] != size:
        smaller = size[0] < probs.shape[1] or size[1] < probs.shape[2]
        probs = F.interpolate(
            probs[None], size=size, mode="bilinear", align_corners=False, antialias=smaller
        )[0]
    return np.asarray(probs.clamp(0, 1).cpu().numpy(), dtype=np.float32)
