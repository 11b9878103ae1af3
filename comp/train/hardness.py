"""The last known training loss of each image, which `train.sampler` by loss draws by. Part of what is saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from comp.models.losses import Target, WeightedLoss


class Hardness:
    """What the loss said of each image when it was last learnt from.

    The loss of the config on the one image by itself, so region losses too are of the image, not of the
    batch. Of several samples of an image in an epoch the mean counts. A mixed sample counts for the image
    that others were mixed into.

    Args:
        n: images of the training cache.

    Attributes:
        losses: (n,) float64, NaN where nothing is known.
    """

    def __init__(self, n: int, loss: WeightedLoss) -> None:
        self.loss = loss
        self.losses = np.full(n, np.nan)
        self._noted: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def note(self, numbers: Tensor, logits: Tensor, target: Target) -> None:
        """Remember a batch: numbers (B,) of its images in the cache, negative for none of them."""
        each = [
            self.loss(logits[i : i + 1], Target(target.planes[i : i + 1], target.valid[i : i + 1]))
            for i in range(len(logits))
        ]
        self._noted.append((numbers, torch.stack([total for total, _ in each])))

    def mark(self) -> int:
        """Where the notes end now; `rewind` goes back there."""
        return len(self._noted)

    def rewind(self, mark: int) -> None:
        """Forget what was noted since `mark`: it is done again."""
        del self._noted[mark:]

    def end_epoch(self) -> None:
        """Take over what the epoch said; what is no number says nothing."""
        if not self._noted:
            return
        numbers = torch.cat([numbers for numbers, _ in self._noted]).numpy()
        each = torch.cat([losses.double() for _, losses in self._noted]).cpu().numpy()
        self._noted = []
        kept = (numbers >= 0) & np.isfinite(each)
        numbers, each = numbers[kept], each[kept]
        sums = np.bincount(numbers, each, minlength=len(self.losses))
        times = np.bincount(numbers, minlength=len(self.losses))
        seen = times > 0
        self.losses[seen] = sums[seen] / times[seen]

    def state(self) -> dict[str, Any]:
        noted = [[numbers, losses.cpu()] for numbers, losses in self._noted]
        return {"losses": torch.from_numpy(self.losses.copy()), "noted": noted}

    def load(self, state: dict[str, Any]) -> None:
        self.losses = state["losses"].numpy().copy()
        self._noted = [(numbers, losses) for numbers, losses in state.get("noted", [])]
