"""A device without enough memory: smaller parts, said, and an error where nothing smaller is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from comp.config import ModelConfig, Predict, Train
from comp.errors import CompError
from comp.train.memory import cut, is_out_of_memory, next_cut, with_room


@dataclass(frozen=True)
class Looker:
    """The part of Eyes that is asked here."""

    config: ModelConfig


def looker(batch_size: int, predict: int | None = None) -> Any:
    return Looker(
        ModelConfig(train=Train(batch_size=batch_size), predict=Predict(batch_size=predict))
    )


def test_a_batch_is_cut_into_nearly_equal_parts() -> None:
    batch = {"image": torch.arange(7), "number": torch.arange(7) * 2}
    assert cut(batch, 1) == [batch]
    parts = cut(batch, 2)
    assert [p["image"].tolist() for p in parts] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [p["number"].tolist() for p in parts] == [[0, 2, 4, 6], [8, 10, 12]]


def test_each_cut_halves_the_batch_and_doubles_accumulation() -> None:
    said: list[str] = []
    assert next_cut(1, 8, 2, 1, said.append) == 2
    assert next_cut(2, 8, 2, 1, said.append) == 4
    assert said == [
        "out of memory: batches of 4 instead of 8, gradients of 4 instead of 2 of them a step, from here on",
        "out of memory: batches of 2 instead of 4, gradients of 8 instead of 4 of them a step, from here on",
    ]


@pytest.mark.parametrize(("parts", "least"), [(8, 1), (4, 2)])
def test_what_cannot_be_cut_any_more_is_an_error(parts: int, least: int) -> None:
    with pytest.raises(
        CompError, match=r"out of memory even with \d of the batch's 8 .*train.size"
    ):
        next_cut(parts, 8, 1, least, lambda text: None)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("size mismatch"), False),
    ],
)
def test_what_is_want_of_memory(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


def test_predicting_goes_on_with_fewer_pictures_and_remembers_it() -> None:
    said: list[str] = []

    def action(eyes: Any) -> int:
        many = eyes.config.predict.batch_size or 16
        if many > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return int(many)

    value, eyes = with_room(looker(4), action, said.append)
    assert value == 4 == eyes.config.predict.batch_size
    assert [s.split(": ")[1] for s in said] == ["8 from here on", "4 from here on"]
    assert with_room(eyes, action, said.append)[0] == 4 and len(said) == 2


def test_not_even_one_picture() -> None:
    def action(eyes: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(
        CompError, match=r"out of memory predicting one picture: set predict\.window"
    ):
        with_room(looker(1, 2), action, lambda text: None)


def test_other_errors_are_passed_on() -> None:
    def action(eyes: Any) -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        with_room(looker(1), action, lambda text: None)
