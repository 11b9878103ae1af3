"""Labels become planes and validity."""

from __future__ import annotations

import torch

from comp.models.target import Target, make_target

LABELS = torch.tensor([[[0, 1], [255, 1]]], dtype=torch.uint8)


def test_binary() -> None:
    target = make_target(LABELS, "binary", 1)
    assert target.planes.tolist() == [[[[0, 1], [0, 1]]]]
    assert target.valid.tolist() == [[[[1, 1], [0, 1]]]]
    assert target.planes.dtype == target.valid.dtype == torch.float32


def test_multiclass_has_one_plane_a_class_and_nothing_where_ignored() -> None:
    target = make_target(torch.tensor([[[2, 1], [255, 0]]], dtype=torch.uint8), "multiclass", 3)
    assert target.planes.argmax(1)[0].flatten()[[0, 1, 3]].tolist() == [2, 1, 0]
    assert target.planes.sum(1).tolist() == target.valid[:, 0].tolist() == [[[1, 1], [0, 1]]]


def test_multilabel_is_valid_plane_by_plane() -> None:
    labels = torch.tensor([[[[1, 0]], [[255, 1]]]], dtype=torch.uint8)
    target = make_target(labels, "multilabel", 2)
    assert target.planes.tolist() == [[[[1, 0]], [[0, 1]]]]
    assert target.valid.tolist() == [[[[1, 1]], [[0, 1]]]]


def test_the_last_class_is_not_taken_for_ignored() -> None:
    target = make_target(torch.full((1, 1, 1), 254, dtype=torch.uint8), "multiclass", 255)
    assert target.planes[0, 254, 0, 0] == 1 and target.valid.min() == 1


def test_to_moves_both() -> None:
    target = make_target(LABELS, "binary", 1).to("cpu")
    assert isinstance(target, Target) and target.planes.device.type == "cpu"
