"""The contract of every architecture, and the messages of what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from comp.config import Model
from comp.errors import ConfigError
from comp.models.build import ARCHITECTURES, build_model, check_architecture, find_architecture

ENCODERS = {"PlainUnet": None, "DPT": "tu-vit_tiny_patch16_224"}


def model_of(arch: str, **kwargs: Any) -> Model:
    return Model(arch=arch, **{"encoder_name": ENCODERS.get(arch, "resnet18"), **kwargs})


def build(model: Model, task: str = "binary", n_classes: int = 1, channels: int = 3, **kwargs: Any):
    return build_model(model, task=task, n_classes=n_classes, channels=channels, **kwargs)


def test_every_architecture_of_smp_is_there() -> None:
    assert {
        cls for cls in ARCHITECTURES.values() if cls.__module__.startswith("segmentation")
    } == set(smp.MODEL_ARCHITECTURES_MAPPING.values())


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_every_architecture_gives_logits_of_the_input_size(arch: str) -> None:
    segmenter = build(model_of(arch), "multiclass", 5, channels=4)
    segmenter.train()
    size = max(64, segmenter.min_size)
    logits = segmenter(torch.randn(2, 4, size, size))
    assert logits.shape == (2, 5, size, size)
    logits.square().mean().backward()
    assert segmenter.decoder_parameters() and bool(segmenter.encoder_parameters()) == (
        arch != "PlainUnet"
    )
    segmenter.eval()
    with torch.no_grad():
        assert segmenter(torch.randn(1, 4, 33, 70)).shape == (1, 5, 33, 70)


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_a_batch_of_one_trains_exactly_where_we_say_so(arch: str) -> None:
    segmenter = build(model_of(arch))
    size = max(64, segmenter.min_size)
    segmenter.train()
    if segmenter.min_batch == 1:
        segmenter(torch.randn(1, 3, size, size))
        return
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        segmenter.net(torch.randn(1, 3, size, size))


@pytest.mark.parametrize(
    ("task", "head", "n_classes", "planes"),
    [
        ("binary", None, 1, 1),
        ("binary", "softmax", 1, 2),
        ("multiclass", None, 6, 6),
        ("multilabel", None, 3, 3),
    ],
)
def test_heads_and_planes(task: str, head: Any, n_classes: int, planes: int) -> None:
    segmenter = build(model_of("Unet", head=head), task, n_classes).eval()
    with torch.no_grad():
        logits = segmenter(torch.randn(1, 3, 32, 32))
    assert logits.shape[1] == planes
    assert segmenter.logits_to_probs(logits).shape[1] == n_classes
    assert segmenter.head == (head or ("softmax" if task == "multiclass" else "sigmoid"))


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("normalize", ["unit", "imagenet", "encoder", "image"])
def test_any_number_of_channels_and_every_normalisation(channels: int, normalize: str) -> None:
    segmenter = build(model_of("FPN", normalize=normalize), channels=channels).eval()
    with torch.no_grad():
        assert segmenter(segmenter.normalize(torch.rand(1, channels, 32, 32))).shape == (
            1,
            1,
            32,
            32,
        )


@pytest.mark.parametrize(
    "name", ["unet++", "UNET++", "UnetPlusPlus", "unet_plus_plus", "UNet-PlusPlus"]
)
def test_case_and_symbols_do_not_matter(name: str) -> None:
    assert find_architecture(name) == ("UnetPlusPlus", smp.UnetPlusPlus)


def test_common_spellings() -> None:
    for name, known in (
        ("DeepLabV3+", "DeepLabV3Plus"),
        ("U-Net", "Unet"),
        ("atrous_unet", "AtrousUnet"),
        ("manet", "MAnet"),
    ):
        assert find_architecture(name)[0] == known


def test_timm_encoders_take_their_own_arguments() -> None:
    net = build(model_of("Unet", encoder_name="tu-resnet10t", drop_path_rate=0.1)).net
    assert type(net.encoder).__name__ == "TimmUniversalEncoder"


def test_weights_are_a_function_of_the_seed() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build(model_of("DeepLabV3Plus")).state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True)
    )


def test_nothing_is_fetched_when_weights_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr("comp.models.weights.hf_hub_download", refuse)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", refuse)
    for encoder in ("resnet18", "tu-resnet10t"):
        for weights in ("imagenet", None):
            build(
                model_of("Unet", encoder_name=encoder, encoder_weights=weights), load_weights=False
            )
    build(model_of("Unet", encoder_weights="nowhere/file.pth"), load_weights=False)


class Own(nn.Module):
    """A user's own network."""

    def __init__(self, in_channels: int, classes: int, width: int = 4) -> None:
        super().__init__()
        self.stride = 4
        self.encoder = nn.Conv2d(in_channels, width, 1)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def test_a_users_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "own_nets", sys.modules[__name__])
    segmenter = build(model_of("own_nets:Own", width=7), channels=2)
    assert segmenter.stride == 4 and len(segmenter.encoder_parameters()) == 2
    assert segmenter(torch.randn(1, 2, 8, 8)).shape == (1, 1, 8, 8)
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        build(model_of("own_nets:Own", widht=7))
    with pytest.raises(ConfigError, match="neither a class nor a function"):
        build(model_of("own_nets:ENCODERS"))
    with pytest.raises(ConfigError, match="cannot import 'no_such_module:Net'"):
        build(model_of("no_such_module:Net"))


REFUSED = [
    ({"arch": "Unett"}, "model.arch: unknown architecture 'Unett'; did you mean 'Unet'?"),
    (
        {"encoder_name": "resnet35"},
        "model.encoder_name: unknown encoder 'resnet35'; did you mean 'resnet3?4'?|'resnet50'",
    ),
    ({"encoder_name": "tu-convnext_tinny"}, "did you mean 'tu-convnext_tiny'?"),
    (
        {"encoder_name": "tu-resnet18.a1_in2k"},
        r"unknown pretrained tag 'a1_in2k'; did you mean 'a1_in1k'\? \(of encoder tu-resnet18\)",
    ),
    (
        {"encoder_name": "zzz"},
        r"unknown encoder 'zzz'; expected one of smp's \(resnet34, \.\.\.\) or any timm model as tu-NAME",
    ),
    ({"encoder_name": None}, "model.encoder_name: Unet needs an encoder, such as resnet34"),
    (
        {"head": "softmax", "task": "multilabel"},
        "model.head: task multilabel has head sigmoid, got 'softmax'",
    ),
    (
        {"head": "sigmoid", "task": "multiclass"},
        "model.head: task multiclass has head softmax, got 'sigmoid'",
    ),
    (
        {"decoder_chanels": [1]},
        "model.decoder_chanels: unknown argument of Unet 'decoder_chanels'; did you mean 'decoder_channels'?",
    ),
    ({"pretrained_cfg_overlay": {}}, "model.pretrained_cfg_overlay: unknown argument of Unet"),
    ({"encoder_name": "tu-resnet10t", "decoder_chanels": [1]}, "did you mean 'decoder_channels'?"),
    ({"classes": 3}, "model.classes: not for a config"),
    ({"activation": "sigmoid"}, "model.activation: not for a config"),
    (
        {"arch": "PlainUnet"},
        "model.encoder_name: PlainUnet has no encoder; say encoder_name: null, got 'resnet18'",
    ),
    (
        {"arch": "PlainUnet", "encoder_name": None, "freeze_encoder": True},
        "model.freeze_encoder: PlainUnet has no encoder",
    ),
    (
        {"arch": "PlainUnet", "encoder_name": None, "normalize": "encoder"},
        "model.normalize: 'encoder' needs an encoder",
    ),
    (
        {"arch": "DPT"},
        "model.encoder_name: DPT needs a timm ViT, such as tu-vit_tiny_patch16_224, got 'resnet18'",
    ),
    (
        {"encoder_weights": "imagnet"},
        r"model.encoder_weights: unknown pretrained tag 'imagnet'; did you mean 'imagenet'\?",
    ),
    (
        {"encoder_weights": "w/none.pth"},
        "model.encoder_weights: no file w/none.pth: put the weights of encoder resnet18 there",
    ),
]
LATE = [
    (
        {"decoder_channels": [8, 8]},
        "model: cannot build Unet with encoder resnet18: Model depth is 5",
    ),
    (
        {"arch": "DeepLabV3Plus", "encoder_name": "densenet121"},
        "cannot build DeepLabV3Plus with encoder densenet121: DenseNet",
    ),
    (
        {"encoder_name": "tu-vit_tiny_patch16_224"},
        "cannot build Unet with encoder tu-vit_tiny_patch16_224: ",
    ),
    (
        {"encoder_name": "tu-resnet10t", "foo_bar": 3},
        "cannot build Unet with encoder tu-resnet10t: .*foo_bar",
    ),
    (
        {"arch": "SkipUnet", "skips": [5]},
        r"skips: expected different stages out of \[1, 2, 3, 4\], got \[5\]",
    ),
    ({"arch": "SkipUnet", "decoder_channels": []}, "decoder_channels: expected 1 to 5 numbers"),
    (
        {"arch": "SkipUnet", "norm": "bach"},
        "norm: expected one of batch, group, instance, none, got 'bach'",
    ),
    ({"arch": "AtrousUnet", "rates": [1]}, "rates and kernels: expected one of each a branch"),
    ({"arch": "AtrousUnet", "kernels": [2, 3, 3, 3]}, "kernels: expected odd sizes"),
    (
        {"arch": "AtrousUnet", "decoder_channels": [8, 2]},
        "decoder_channels: expected at least 4 each",
    ),
    (
        {"arch": "PlainUnet", "encoder_name": None, "filters": [1, 2]},
        r"filters: expected one number, or depth \+ 1 = 5",
    ),
    (
        {"arch": "PlainUnet", "encoder_name": None, "depth": 0},
        "depth and convs_per_block: expected at least 1",
    ),
    ({"arch": "PlainUnet", "encoder_name": None, "dropout": 1}, "dropout: expected a share"),
    (
        {"arch": "PlainUnet", "encoder_name": None, "upsample": "x"},
        "upsample: expected 'transpose' or 'bilinear'",
    ),
]


@pytest.mark.parametrize(("kwargs", "message"), REFUSED)
def test_what_is_refused_without_building(kwargs: dict[str, Any], message: str) -> None:
    task = kwargs.pop("task", "binary") if "task" in kwargs else "binary"
    model = Model(**{"encoder_name": "resnet18", **kwargs})
    assert len(check_architecture(model, task)) == 1
    with pytest.raises(ConfigError, match=message):
        build(model, task, 3)


@pytest.mark.parametrize(("kwargs", "message"), LATE)
def test_what_only_building_finds_is_one_clear_line(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        build(Model(**{"encoder_name": "resnet18", **kwargs}))
    assert "\n" not in str(error.value)


def test_all_mistakes_come_together() -> None:
    model = Model(encoder_name="resnet35", head="softmax", decoder_chanels=[1], classes=3)
    assert len(check_architecture(model, "multilabel")) == 4


@pytest.mark.parametrize("arch", ["AtrousUnet", "SkipUnet", "PlainUnet"])
def test_our_networks_say_every_argument_in_their_docstring(arch: str) -> None:
    cls = ARCHITECTURES[arch]
    said_elsewhere = {
        "self",
        "encoder_name",
        "encoder_weights",
        "encoder_depth",
        "in_channels",
        "classes",
    }
    for name in set(inspect.signature(cls).parameters) - said_elsewhere:
        assert name in (cls.__doc__ or "") or name == "norm", name
