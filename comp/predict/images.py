"""Images through a model: batches of whole images of one size, large ones by windows, band by band.

A band is what is final: rows that no further window covers. So of a large image one row of windows is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch.nn import functional as F

from comp.config import Predict, Train
from comp.data.cache.cache import Cache
from comp.data.samples.train import scale_image
from comp.models.compute import Compute
from comp.models.segmenter import Segmenter
from comp.models.tta import predict_views
from comp.models.tta import views as view_set
from comp.predict.windows import WHOLE_PIXELS, Grid, make_grid, window_of
from comp.progress import beat

FORWARD_FACTOR = 4  # images in a forward pass for each one in a training batch
BAND_PIXELS = 1 << 24  # of one plane, when a resized prediction is brought to a large image's size


@dataclass(frozen=True)
class Place:
    """Where in an image the network looked.

    Args:
        index: of the image.
        rows, columns: of the image as the cache holds it.
        share: of the image's weight in a mean over images: 1 / the number of its windows.
    """

    index: int
    rows: slice
    columns: slice
    share: float = 1.0


@dataclass(frozen=True)
class Band:
    """Probabilities of some rows of one image.

    Args:
        row: the first; bands of an image follow each other from its top to its bottom.
        probs: (K, h, W) float32 in [0, 1], at the original size.
        size: (H, W) of the image.
    """

    index: int
    row: int
    probs: np.ndarray
    size: tuple[int, int]

    @property
    def rows(self) -> slice:
        return slice(self.row, self.row + self.probs.shape[1])


OnLogits = Callable[[torch.Tensor, list[Place]], None]
OnPresence = Callable[[np.ndarray, list[Place]], None]


@dataclass(frozen=True)
class _Look:
    """How the network is asked."""

    segmenter: Segmenter
    train: Train
    predict: Predict
    views: str
    compute: Compute
    device: torch.device
    on_logits: OnLogits | None
    on_presence: OnPresence | None

    @property
    def batch_size(self) -> int:
        """Most images at once, at `train.size`."""
        many = self.predict.batch_size or FORWARD_FACTOR * self.train.batch_size
        if self.device.type == "cuda" and self.views != "none":  # all views of a batch go at once
            many = max(1, many // len(view_set(self.views, self.predict.scales)))
        return many

    def at_once(self, height: int, width: int) -> int:
        """How many of one size: at most `batch_size`, and at most as many pixels as those have."""
        budget = self.batch_size * self.train.size[0] * self.train.size[1]
        return max(1, min(self.batch_size, budget // (height * width)))

    def probs(self, images: Sequence[np.ndarray], places: list[Place]) -> torch.Tensor:
        """(B, K, h, w) float32 of images (h, w, C) of one size and type."""
        stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self.device)
        with torch.inference_mode(), self.segmenter.telling_presence() as said:
            x = self.compute.to_layout(self.segmenter.normalize(scale_image(stacked)))
            with self.compute.autocast():
                if self.views != "none":
                    probs = predict_views(self.segmenter, x, self.views, self.predict.scales)
                else:
                    logits = self.segmenter(x).float()
                    if self.on_logits is not None:
                        self.on_logits(logits, places)
                    probs = self.segmenter.logits_to_probs(logits)
            if said and self.on_presence is not None:  # views one after another, each of all images
                told = torch.cat(said).view(-1, len(images), said[0].shape[1]).mean(0)
                self.on_presence(told.cpu().numpy(), places)
            return probs.float()


def predict_bands(
    segmenter: Segmenter,
    cache: Cache,
    indices: Sequence[int],
    train: Train,
    predict: Predict,
    views: str,
    compute: Compute,
    device: torch.device,
    on_logits: OnLogits | None = None,
    on_presence: OnPresence | None = None,
) -> Iterator[Band]:
    """Yield the probabilities of every index: most images as one band, large ones as several.

    Images are batched by size, so their order is not that of `indices`; the bands of one image come
    together.

    Args:
        cache: of the recipe the model was trained on (native for `crop`, resized for `resize`).
        predict: its window, overlap and blend; see `window_of` for the images that go through windows.
        views: a name of the TTA table; `none` is one plain forward. Every window is seen in all views.
        on_logits: called with (B, K', h, w) float32 logits on the network's grid and the places they
            are of, for the validation loss; needs views `none`.
        on_presence: called with (B, K) float32 P(class is there), the mean over views, and the places,
            where the model has an auxiliary classifier.
    """
    segmenter.eval()
    look = _Look(segmenter, train, predict, views, compute, device, on_logits, on_presence)
    windows = {
        i: window_of(_size(cache, i), predict) if train.mode == "crop" else None for i in indices
    }
    whole = [i for i in indices if windows[i] is None]
    done = 0
    for batch in batches_by_size(cache, whole, look.batch_size, train.size):
        images = [cache.image(i) for i in batch]
        places = [
            Place(i, slice(0, image.shape[0]), slice(0, image.shape[1]))
            for i, image in zip(batch, images, strict=True)
        ]
        for index, one in zip(batch, look.probs(images, places), strict=True):
            yield from _whole_bands(index, one, cache.original_size(index))
        done += len(batch)
        beat("images", done, len(indices))
    for index in sorted(set(indices).difference(whole)):
        window = windows[index]
        assert window is not None
        grid = make_grid(_size(cache, index), window, predict.overlap, predict.blend)
        for band in _window_bands(look, cache, index, grid):
            yield band
            beat("images", done, len(indices))
        done += 1


def _size(cache: Cache, index: int) -> tuple[int, int]:
    """(h, w) of an image as the cache holds it."""
    height, width = cache.image(index).shape[:2]
    return height, width


def _window_bands(look: _Look, cache: Cache, index: int, grid: Grid) -> Iterator[Band]:
    """Predict one image by windows, from the top; rows are yielded when no window will add to them."""
    size = _size(cache, index)
    rows, columns = grid.rows, grid.columns
    step = look.at_once(rows.length, columns.length)
    summed: np.ndarray | None = None
    for number, top in enumerate(rows.starts):
        strip = cache.rows(index, top, top + rows.length)
        for first in range(0, len(columns.starts), step):
            lefts = columns.starts[first : first + step]
            parts = [slice(left, left + columns.length) for left in lefts]
            where = slice(top, top + rows.length)
            places = [Place(index, where, part, 1 / len(grid)) for part in parts]
            probs = look.probs([strip[:, part] for part in parts], places).cpu().numpy()
            if summed is None:
                summed = np.zeros((probs.shape[1], rows.length, size[1]), np.float32)
            for n, (one, part) in enumerate(zip(probs, parts, strict=True), first):
                one *= rows.weights[number][:, None] * columns.weights[n]
                summed[:, :, part] += one
        assert summed is not None
        last = number == len(rows.starts) - 1
        done = rows.length if last else rows.starts[number + 1] - top
        yield Band(index, top, np.clip(summed[:, :done], 0, 1), size)
        summed[:, : rows.length - done] = summed[:, done:]
        summed[:, rows.length - done :] = 0


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


def _whole_bands(index: int, probs: torch.Tensor, size: tuple[int, int]) -> Iterator[Band]:
    """`to_size`, in bands where a large image grows from a small prediction."""
    height, width = probs.shape[1:]
    if size[0] * size[1] <= WHOLE_PIXELS or size[0] < height or size[1] <= width:
        yield Band(index, 0, to_size(probs, size), size)
        return
    step = max(1, BAND_PIXELS // size[1])
    for start in range(0, size[0], step):
        stop = min(size[0], start + step)
        yield Band(index, start, _grown_rows(probs, size, start, stop), size)


def _grown_rows(probs: torch.Tensor, size: tuple[int, int], start: int, stop: int) -> np.ndarray:
    """Rows start..stop of `to_size` where both axes grow: bilinear, pixel centres aligned."""
    height = probs.shape[1]
    at = (torch.arange(start, stop, dtype=torch.float64) + 0.5) * height / size[0] - 0.5
    at = at.clamp(min=0)
    above = at.long().clamp(max=height - 1)
    share = (at - above).to(probs).view(1, -1, 1)
    above = above.to(probs.device)
    below = (above + 1).clamp(max=height - 1)
    rows = probs[:, above] * (1 - share) + probs[:, below] * share
    return to_size(rows, (stop - start, size[1]))
