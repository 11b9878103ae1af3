"""Views: ttach's group, our merge, exact sizes."""

from __future__ import annotations

import pytest
import torch
import ttach
from torch import Tensor, nn

from comp.config import Model
from comp.errors import ConfigError
from comp.models.build import build_model
from comp.models.segmenter import Segmenter
from comp.models.tta import TTA, predict_views, views

COUNTS = {"none": 1, "hflip": 2, "flips": 4, "d4": 8}


class Conv(nn.Module):
    """A network of stride `stride` that refuses other sizes and is not symmetric."""

    def __init__(self, stride: int = 1, classes: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] % self.stride == 0 and x.shape[3] % self.stride == 0
        return self.conv(x)


def segmenter(stride: int = 1, task: str = "binary", classes: int = 1) -> Segmenter:
    head = "softmax" if task == "multiclass" else "sigmoid"
    return Segmenter(Conv(stride, classes), task=task, head=head, stride=stride).eval()


def test_every_view_set_is_tried() -> None:
    assert set(COUNTS) == set(TTA)


@pytest.mark.parametrize("name", list(TTA))
@pytest.mark.parametrize("size", [(65, 97), (101, 101), (64, 32), (1, 7)])
@pytest.mark.parametrize("scales", [(1.0,), (0.75, 1.0, 1.5)])
def test_any_size_in_the_same_out(
    name: str, size: tuple[int, int], scales: tuple[float, ...]
) -> None:
    model = segmenter(stride=16, task="multiclass", classes=3)
    probs = predict_views(model, torch.randn(2, 3, *size), name, scales)
    assert probs.shape == (2, 3, *size) and probs.dtype == torch.float32
    assert float(probs.min()) >= 0 and float(probs.max()) <= 1
    assert torch.allclose(probs.sum(1), torch.ones(2, *size), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("d4", ttach.aliases.d4_transform()), ("flips", ttach.aliases.flip_transform())],
)
@pytest.mark.parametrize("size", [(65, 97), (101, 101)])
def test_views_equal_ttachs_wrapper_on_probabilities(
    name: str, theirs: ttach.Compose, size: tuple[int, int]
) -> None:
    model = segmenter()
    x = torch.randn(2, 3, *size)
    wrapped = ttach.SegmentationTTAWrapper(
        nn.Sequential(model.net, nn.Sigmoid()), theirs, merge_mode="mean"
    )
    with torch.no_grad():
        assert torch.allclose(predict_views(model, x, name), wrapped(x), atol=1e-6)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_views_are_distinct_and_come_back_exactly(name: str, count: int) -> None:
    x = torch.randn(1, 2, 5, 7)
    seen = set()
    for scale, transform in views(name):
        turned = transform.augment_image(x)
        assert scale == 1 and torch.equal(transform.deaugment_mask(turned), x)
        seen.add((tuple(turned.shape), tuple(turned.flatten().tolist())))
    assert len(seen) == len(views(name)) == count


def test_zooms_are_merged_into_every_set_but_none() -> None:
    assert [scale for scale, _ in views("none", (0.5, 2.0))] == [1.0]
    assert sorted({scale for scale, _ in views("hflip", (0.5, 2.0))}) == [0.5, 2.0]
    assert len(views("d4", (0.5, 1.0))) == 16


@pytest.mark.parametrize("size", [(48, 80), (64, 64)])
def test_batched_views_are_the_same(size: tuple[int, int]) -> None:
    model = segmenter(stride=16)
    x = torch.randn(2, 3, *size)
    for name in TTA:
        one = predict_views(model, x, name, (1.0, 1.25), batched=False)
        together = predict_views(model, x, name, (1.0, 1.25), batched=True)
        assert torch.allclose(one, together, atol=1e-6)


def test_probabilities_are_averaged_not_logits() -> None:
    class Sided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x[:, :1] > 0, 8.0, -1.0)

    model = Segmenter(Sided(), task="binary", head="sigmoid", stride=1).eval()
    x = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)
    assert torch.equal(predict_views(model, x, "hflip"), predict_views(model, x, "none"))
    flat = Segmenter(Flip(), task="binary", head="sigmoid", stride=1).eval()
    wanted = (torch.sigmoid(torch.tensor(8.0)) + torch.sigmoid(torch.tensor(-1.0))) / 2
    assert torch.allclose(predict_views(flat, x, "hflip"), wanted.expand(1, 1, 1, 2))


class Flip(nn.Module):
    """Says yes on the left, whatever it sees."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([8.0, -1.0]).view(1, 1, 1, 2)


def test_bf16_networks_give_float32_probabilities() -> None:
    model = segmenter(stride=16)
    x = torch.randn(2, 3, 33, 20)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        probs = predict_views(model, x.to(memory_format=torch.channels_last), "d4")
    assert probs.dtype == torch.float32
    assert torch.allclose(probs, predict_views(model, x, "d4"), atol=2e-2)


def test_a_real_network_of_odd_size() -> None:
    model = build_model(
        Model(encoder_name="resnet18"), task="binary", n_classes=1, channels=3
    ).eval()
    x = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        assert model(x).shape == (1, 1, 65, 97)
        assert predict_views(model, x, "hflip", (1.0, 1.25)).shape == (1, 1, 65, 97)
        whole = torch.randn(1, 3, 64, 96)
        assert torch.equal(model(whole), model.net(whole))  # nothing to pad


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown tta 'hflipp'; did you mean 'hflip'\?"):
        views("hflipp")
