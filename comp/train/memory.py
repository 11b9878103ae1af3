"""Too little memory on the device: batches are cut into parts, and the log and the result say so.

Gradients of the parts are added up, so a step still learns from as many pictures; only BatchNorm and
losses over a whole batch see the smaller parts. The cut stays for the rest of the fold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from comp.errors import CompError
from comp.predict.images import FORWARD_FACTOR
from comp.train.validate import Eyes

T = TypeVar("T")
Say = Callable[[str], None]
# Libraries below torch have no class of their own for it.
WORDS = ("ALLOC_FAILED", "DefaultCPUAllocator: ")


def is_out_of_memory(error: BaseException) -> bool:
    """True where an operation failed for want of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error) for w in WORDS)


def cut(batch: dict[str, torch.Tensor], parts: int) -> list[dict[str, torch.Tensor]]:
    """A batch in `parts` parts of nearly the same size."""
    if parts == 1:
        return [batch]
    pieces = {name: tensor.tensor_split(parts) for name, tensor in batch.items()}
    return [{name: piece[n] for name, piece in pieces.items()} for n in range(parts)]


def next_cut(parts: int, batch_size: int, accumulate: int, min_batch: int, say: Say) -> int:
    """Twice as many parts, after a step that ran out of memory; says what it means.

    Call it outside the `except`, whose traceback holds the tensors of the step.

    Raises:
        CompError: the parts would be smaller than the network can be trained on.
    """
    release()
    size = batch_size // (2 * parts)
    if size < max(1, min_batch):
        raise CompError(
            f"out of memory even with {batch_size // parts} of the batch's {batch_size} pictures at once: "
            "lower train.size, or take a smaller model"
        )
    say(
        f"out of memory: batches of {size} instead of {batch_size // parts}, gradients of "
        f"{2 * parts * accumulate} instead of {parts * accumulate} of them a step, from here on"
    )
    return 2 * parts


def with_room(eyes: Eyes, action: Callable[[Eyes], T], say: Say) -> tuple[T, Eyes]:
    """Predict something, with half as many pictures at once as long as memory runs out.

    Args:
        action: predicts what the eyes look at, as many at once as their config says.

    Returns:
        its value, and the eyes to go on with.

    Raises:
        CompError: not even one picture fits.
    """
    while True:
        try:
            return action(eyes), eyes
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        release()
        predict, train = eyes.config.predict, eyes.config.train
        many = predict.batch_size or FORWARD_FACTOR * train.batch_size
        if many == 1:
            raise CompError(
                "out of memory predicting one picture: set predict.window (mode crop), or lower train.size"
            )
        say(f"out of memory predicting {many} pictures at once: {many // 2} from here on")
        fewer = predict.model_copy(update={"batch_size": many // 2})
        eyes = replace(eyes, config=eyes.config.model_copy(update={"predict": fewer}))


def release() -> None:
    """Give the device's cached memory back."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
