"""Deep supervision and the auxiliary classifier: shapes, truth on coarser grids, gradients, and no trace when off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from comp.config import LossTerm, Model
from comp.errors import ConfigError
from comp.models.build import build_model
from comp.models.extras import (
    Outputs,
    add_extras,
    pooled_target,
    presence_loss,
    presence_of,
)
from comp.models.losses import build_loss
from comp.models.segmenter import Segmenter
from comp.models.target import Target, make_target
from comp.models.tta import predict_views

STAGED = [
    {"arch": "Unet", "encoder_name": "resnet18"},
    {"arch": "UnetPlusPlus", "encoder_name": "resnet18"},
    {"arch": "MAnet", "encoder_name": "resnet18"},
    {"arch": "Linknet", "encoder_name": "resnet18"},
    {"arch": "FPN", "encoder_name": "resnet18"},
    {"arch": "SkipUnet", "encoder_name": "resnet18"},
    {"arch": "AtrousUnet", "encoder_name": "resnet18"},
    {"arch": "PlainUnet", "encoder_name": None, "filters": 4},
]


def build(task: str = "binary", n_classes: int = 1, **section: Any) -> Segmenter:
    torch.manual_seed(0)
    return build_model(
        Model(**{"arch": "Unet", "encoder_name": "resnet18", **section}),
        task=task,
        n_classes=n_classes,
        channels=3,
        load_weights=False,
    )


@pytest.mark.parametrize("section", STAGED, ids=lambda s: s["arch"])
def test_stages_are_coarser_one_after_the_other(section: dict[str, Any]) -> None:
    segmenter = build(**section, deep_supervision=0.5)
    outputs = segmenter.outputs(torch.rand(2, 3, 70, 90))
    assert outputs.logits.shape == (2, 1, 70, 90)
    heights = [logits.shape[-2] for logits in outputs.stages]
    assert 1 <= len(heights) <= 3 and heights == sorted(set(heights), reverse=True)
    for logits in outputs.stages:
        assert logits.shape[:2] == (2, 1)
        assert outputs.padded[0] % logits.shape[-2] == outputs.padded[1] % logits.shape[-1] == 0
        assert logits.shape[-2] < outputs.padded[0]


def test_off_leaves_no_trace_and_on_draws_the_same_network() -> None:
    plain, deep = build().eval(), build(deep_supervision=0.5, aux_params={"weight": 0.2})
    assert plain.outputs(torch.rand(2, 3, 32, 32)).stages == ()
    own = plain.state_dict()
    assert not [k for k in own if k.startswith(("stage_heads", "presence_head"))]
    assert all(torch.equal(value, deep.state_dict()[key]) for key, value in own.items())
    assert Model(arch="Unet").model_dump().keys().isdisjoint({"deep_supervision", "aux_params"})


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_part_learns_and_ignored_pixels_teach_nothing(task: str, head: str) -> None:
    if (task, head) in (("multiclass", "sigmoid"), ("multilabel", "softmax")):
        pytest.skip(f"{task} has no {head} head")
    k = 1 if task == "binary" else 3
    segmenter = build(task, k, head=head, deep_supervision=0.5, aux_params={}).train()
    name = "bce" if head == "sigmoid" else "ce"
    loss = build_loss({name: LossTerm(), "dice": LossTerm()}, task=task, head=head)
    shape = (2, k, 40, 48) if task == "multilabel" else (2, 40, 48)
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, max(k, 2), shape, generator=generator).to(torch.uint8)
    labels[..., :20, :] = 255
    labels[1] = 255
    outputs = segmenter.outputs(torch.rand(2, 3, 40, 48, generator=generator))
    target = make_target(labels, task, k)
    total, terms = loss(outputs.logits, target)
    total, terms = add_extras(total, terms, outputs, target, loss, segmenter.extra_weights)
    for logits in (*outputs.stages, outputs.presence):
        assert logits is not None
        logits.retain_grad()
    assert list(terms) == [name, "dice", "deep_supervision", "presence"]
    assert all(bool(torch.isfinite(value)) and value >= 0 for value in terms.values())
    total.backward()
    for logits in (*outputs.stages, outputs.presence):
        assert logits is not None and logits.grad is not None
        assert bool(logits.grad[0].any()) and not bool(logits.grad[1].any())  # ignored as a whole
    for part in (segmenter.stage_heads, segmenter.presence_head):
        assert part is not None
        for parameter in part.parameters():
            assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())


def test_the_total_is_the_weighted_sum() -> None:
    loss = build_loss({"bce": LossTerm(weight=2.0)}, task="binary", head="sigmoid")
    target = make_target(torch.ones(1, 8, 8, dtype=torch.uint8), "binary", 1)
    stages = (torch.zeros(1, 1, 4, 4), torch.full((1, 1, 2, 2), 1.0))
    outputs = Outputs(torch.zeros(1, 1, 8, 8), stages, torch.zeros(1, 1), (8, 8))
    total, terms = loss(outputs.logits, target)
    after, all_terms = add_extras(total, terms, outputs, target, loss, (0.5, 0.1))
    half = np.log(2.0)
    one = np.log1p(np.exp(-1.0))
    expected = 2 * half + 0.5 * (2 * half + 0.5 * 2 * one) + 0.1 * half
    assert float(after) == pytest.approx(expected, rel=1e-6)
    assert float(all_terms["deep_supervision"]) == pytest.approx((2 * half + one) / 1.5, rel=1e-6)
    assert float(all_terms["presence"]) == pytest.approx(half, rel=1e-6)
    assert list(terms) == ["bce"]


def test_the_coarse_truth_is_the_mean_of_valid_pixels() -> None:
    planes = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0]]).view(1, 1, 2, 4)
    valid = torch.tensor([[1.0, 1, 1, 0], [1, 1, 0, 0]]).view(1, 1, 2, 4)
    made = pooled_target(Target(planes, valid), (2, 6), (1, 3))
    assert made.planes[0, 0, 0, :2].tolist() == pytest.approx([0.75, 0.0])
    assert made.valid[0, 0, 0].tolist() == [1.0, 0.0, 0.0]  # a quarter valid, and padding


def test_a_stage_that_does_not_divide_is_refused() -> None:
    target = Target(torch.zeros(1, 1, 6, 6), torch.ones(1, 1, 6, 6))
    with pytest.raises(ConfigError, match=r"4 x 4 does not divide the network's 6 x 6"):
        pooled_target(target, (6, 6), (4, 4))


def test_presence_is_known_where_a_pixel_is_seen_or_nothing_is_hidden() -> None:
    labels = torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[1, 2, 2] = 1
    labels[2, 0, 0] = 255
    labels[3, 2, 2], labels[3, 0, 0] = 1, 255
    present, known = presence_of(make_target(labels, "binary", 1))
    assert present[:, 0].tolist() == [0, 1, 0, 1]
    assert known[:, 0].tolist() == [1, 1, 0, 1]
    nothing = make_target(torch.full((2, 4, 4), 255, dtype=torch.uint8), "binary", 1)
    assert float(presence_loss(torch.full((2, 1), 9.0), nothing)) == 0.0


@pytest.mark.parametrize("batched", [False, True])
def test_answers_are_the_mean_over_views(batched: bool) -> None:
    segmenter = build("multiclass", 3, aux_params={"pooling": "max"}).eval()
    x = torch.rand(2, 3, 32, 64)

    def plain(picture: Tensor) -> Tensor:
        with torch.no_grad(), segmenter.telling_presence() as said:
            segmenter(picture)
        return said[0]

    with torch.inference_mode(), segmenter.telling_presence() as said:
        predict_views(segmenter, x, "hflip", batched=batched)
    told = torch.cat(said).view(2, 2, 3).mean(0)
    wanted = (plain(x) + plain(x.flip(-1))) / 2
    assert torch.allclose(told, wanted, atol=1e-6)
    segmenter(x)
    assert segmenter._presences is None  # nothing is kept outside


def test_the_classifier_learns_what_is_there() -> None:
    segmenter = build(aux_params={"weight": 1.0}).train()
    loss = build_loss({"bce": LossTerm()}, task="binary", head="sigmoid")
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(segmenter.parameters(), 1e-3)
    values = []
    for _ in range(30):
        labels = torch.zeros(8, 32, 32, dtype=torch.uint8)
        labels[::2, 8:24, 8:24] = 1
        x = torch.rand(8, 3, 32, 32, generator=generator) * 0.2 + labels[:, None] * 0.8
        target = make_target(labels, "binary", 1)
        outputs = segmenter.outputs(x)
        total, terms = loss(outputs.logits, target)
        total, terms = add_extras(total, terms, outputs, target, loss, segmenter.extra_weights)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(float(terms["presence"]))
    assert np.mean(values[-5:]) < 0.3 * values[0]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"arch": "DeepLabV3Plus", "deep_supervision": 0.5},
            "no decoder stages .* those with: Unet",
        ),
        (
            {"arch": "PlainUnet", "encoder_name": None, "depth": 1, "deep_supervision": 0.5},
            "one decoder stage only",
        ),
        (
            {"arch": "PlainUnet", "encoder_name": None, "aux_params": {}},
            "PlainUnet has no encoder for a classifier",
        ),
    ],
)
def test_what_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**section)
