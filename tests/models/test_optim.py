"""Optimizers by name, their groups, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from comp.config import Optim
from comp.errors import ConfigError
from comp.models.optim import (
    build_optimizer,
    check_optimizer,
    encoder_layers,
    known_optimizers,
    stage_of,
)
from comp.models.segmenter import Segmenter


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 1, 1)
        self.position = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def no_weight_decay(self) -> set[str]:
        return {"position"}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x)) + self.position


def small(freeze: bool | int = False) -> Segmenter:
    return Segmenter(Small(), task="binary", head="sigmoid", stride=1, freeze_encoder=freeze)


def test_groups_split_parts_and_decay_with_the_decoder_last() -> None:
    optimizer = build_optimizer(
        Optim(name="adamw", lr=1e-2, encoder_lr=1e-3, weight_decay=0.1), small()
    )
    groups = [
        (g["name"], g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups
    ]
    assert groups == [
        ("encoder_no_decay", 1e-3, 0.0, 3),
        ("encoder", 1e-3, 0.1, 1),
        ("decoder_no_decay", 1e-2, 0.0, 2),
        ("decoder", 1e-2, 0.1, 1),
    ]


class Staged(nn.Module):
    """An encoder of a stem with a norm of its own and two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(1, 1, 1),
                "bn1": nn.BatchNorm2d(1),
                "layer1": nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)),
                "layer2": nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)),
            }
        )
        self.head = nn.Conv2d(1, 1, 1)


class Told(Staged):
    """The same, whose encoder says its layers as timm's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder.group_matcher = lambda coarse: {  # type: ignore[assignment]
            "stem": r"^conv1|bn1|layer1",
            "blocks": [(r"^layer2\.0", None)],
        }


@pytest.mark.parametrize(("net", "layers"), [(Staged, 3), (Told, 2)])
def test_earlier_layers_of_the_encoder_learn_slower(net: type[nn.Module], layers: int) -> None:
    segmenter = Segmenter(net(), task="binary", head="sigmoid", stride=1)
    optim = Optim(lr=1e-2, encoder_lr=1e-3, layer_decay=0.5, weight_decay=0.1)
    optimizer = build_optimizer(optim, segmenter)
    rates = {g["name"]: g["lr"] for g in optimizer.param_groups}
    found = [rates[f"encoder_{n}_no_decay"] for n in range(layers)]
    assert found == pytest.approx([1e-3 * 0.5 ** (layers - 1 - n) for n in range(layers)])
    assert optimizer.param_groups[-1]["name"] == "decoder" and rates["decoder"] == 1e-2
    ids = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in segmenter.parameters())


def test_layers_that_a_timm_model_tells_are_taken() -> None:
    told = encoder_layers(Told().encoder)
    assert [len(layer) for layer in told] == [8, 4]  # a norm that no group matches joins the last
    assert [len(layer) for layer in encoder_layers(Staged().encoder)] == [4, 4, 4]


@pytest.mark.parametrize(
    ("name", "layers"),
    [("resnet18", 5), ("tu-resnet18", 5), ("timm-efficientnet-b0", 17), ("mobilenet_v2", 19)],
)
def test_layers_of_encoders(name: str, layers: int) -> None:
    encoder = smp.encoders.get_encoder(name, weights=None)
    found = encoder_layers(encoder)
    assert len(found) == layers
    first = next(iter(encoder.parameters()))
    assert any(p is first for p in found[0])
    ids = [id(p) for layer in found for p in layer]
    assert sorted(ids) == sorted(id(p) for p in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("conv1.weight", "conv1"),
        ("layer3.0.conv1.weight", "layer3"),
        ("model.stages_2.blocks.1.norm.weight", "model.stages_2"),
        ("blocks.3.2.conv.weight", "blocks.3"),
        ("stem.conv.weight", "stem.conv"),
        ("pos_embed", ""),
    ],
)
def test_the_stage_of_a_name(name: str, stage: str) -> None:
    assert stage_of(name) == stage


def test_layer_decay_leaves_a_network_without_encoder_and_a_frozen_one_alone() -> None:
    names = [g["name"] for g in build_optimizer(Optim(layer_decay=0.5), small(True)).param_groups]
    assert names == ["decoder_no_decay", "decoder"]


def test_every_parameter_is_in_one_group() -> None:
    segmenter = small()
    ids = [id(p) for g in build_optimizer(Optim(), segmenter).param_groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in segmenter.parameters())


def test_an_encoder_frozen_for_ever_is_left_out_and_one_frozen_for_a_while_is_not() -> None:
    names = [g["name"] for g in build_optimizer(Optim(), small(freeze=True)).param_groups]
    assert names == ["decoder_no_decay", "decoder"]
    assert len(build_optimizer(Optim(), small(freeze=2)).param_groups) == 4


def test_frozen_weights_do_not_move_and_later_do() -> None:
    segmenter = small(freeze=1)
    optimizer = build_optimizer(
        Optim(name="AdamW", lr=0.1, weight_decay=0.1), segmenter, fused=True
    )
    before = [p.clone() for p in segmenter.encoder_parameters()]
    for epoch, moves in ((0, False), (1, True)):
        segmenter.set_epoch(epoch)
        optimizer.zero_grad(set_to_none=True)
        segmenter(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        same = [
            torch.equal(a, b) for a, b in zip(before, segmenter.encoder_parameters(), strict=True)
        ]
        assert all(same) != moves


@pytest.mark.parametrize(
    "name",
    ["Adam", "AdamW", "SGD", "RMSprop", "NAdam", "radam", "lamb", "Lion", "adafactor", "muon"],
)
@pytest.mark.parametrize("fused", [False, True])
def test_named_optimizers_take_a_step(name: str, fused: bool) -> None:
    segmenter = small()
    optimizer = build_optimizer(
        Optim(name=name, lr=0.01, weight_decay=0.01), segmenter, fused=fused
    )
    before = segmenter.net.head.weight.clone()  # type: ignore[union-attr, operator]
    segmenter(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(before, segmenter.net.head.weight)  # type: ignore[union-attr, arg-type]


def test_torchs_class_is_preferred_and_arguments_reach_it() -> None:
    optimizer = build_optimizer(Optim(name="sgd", momentum=0.8, nesterov=True), small())
    assert type(optimizer) is torch.optim.SGD and optimizer.defaults["momentum"] == 0.8
    assert build_optimizer(Optim(name="Adam", betas=[0.8, 0.9]), small()).defaults["betas"] == (
        0.8,
        0.9,
    )


def test_fused_is_used_where_there_is_one() -> None:
    assert build_optimizer(Optim(name="AdamW"), small(), fused=True).defaults["fused"] is True
    assert "fused" not in build_optimizer(Optim(name="RMSprop"), small(), fused=True).defaults


@pytest.mark.filterwarnings("ignore:It is highly recommended")
@pytest.mark.parametrize("name", known_optimizers())
def test_every_known_name_can_be_made(name: str) -> None:
    assert check_optimizer(Optim(name=name)) == []


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"name": "adamm"}, "optim.name: unknown optimizer 'adamm'; did you mean 'Adam"),
        (
            {"name": "SGD", "momentun": 0.9},
            "optim.momentun: unknown argument of SGD 'momentun'; did you mean 'momentum'?",
        ),
        ({"name": "Adam", "encoder_lrr": 0.9}, "did you mean 'encoder_lr'?"),
        (
            {"name": "lion", "betta": 0.9},
            "optim.betta: unknown argument of lion 'betta'; did you mean 'betas'?",
        ),
        ({"name": "Adam", "fused": True}, "optim.fused: say it as train.fused"),
        ({"name": "Adam", "betas": [0.9, 2.0]}, "optim: Adam refuses its arguments: Invalid beta"),
        ({"name": "SGD", "nesterov": True}, "optim: SGD refuses its arguments: Nesterov"),
        ({"name": "Rprop", "weight_decay": 0.1}, "optim.weight_decay: Rprop has none; leave it 0"),
        ({"name": "LBFGS"}, "unknown optimizer 'LBFGS'"),
        ({"name": "adahessian"}, "unknown optimizer"),
    ],
)
def test_what_is_refused(kwargs: dict[str, Any], message: str) -> None:
    assert len(check_optimizer(Optim(**kwargs))) == 1
    with pytest.raises(ConfigError, match=message):
        build_optimizer(Optim(**kwargs), small())


def test_nothing_left_to_train_is_refused() -> None:
    class OnlyEncoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Conv2d(3, 1, 1)

    segmenter = Segmenter(OnlyEncoder(), task="binary", head="sigmoid", freeze_encoder=True)
    with pytest.raises(ConfigError, match=r"model\.freeze_encoder: nothing is left to train"):
        build_optimizer(Optim(), segmenter)
