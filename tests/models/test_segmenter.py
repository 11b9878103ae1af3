"""Heads, normalisation, freezing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from comp.config import Model, ModelConfig, check
from comp.errors import ConfigError
from comp.models.build import build_model
from comp.models.segmenter import Segmenter, n_parameters, pad_to


def identity(task: str, head: str, **kwargs: object) -> Segmenter:
    return Segmenter(nn.Identity(), task=task, head=head, **kwargs)  # type: ignore[arg-type]


def test_logits_to_probs_of_every_head() -> None:
    two = torch.randn(2, 2, 3, 3)
    assert torch.equal(
        identity("binary", "sigmoid").logits_to_probs(two[:, :1]), torch.sigmoid(two[:, :1])
    )
    foreground = identity("binary", "softmax").logits_to_probs(two)
    assert foreground.shape == (2, 1, 3, 3)
    assert torch.allclose(foreground, torch.softmax(two, 1)[:, 1:])
    assert torch.equal(
        identity("multiclass", "softmax").logits_to_probs(two), torch.softmax(two, 1)
    )
    assert torch.equal(identity("multilabel", "sigmoid").logits_to_probs(two), torch.sigmoid(two))
    for task, head in (("binary", "softmax"), ("multiclass", "softmax"), ("multilabel", "sigmoid")):
        assert identity(task, head).logits_to_probs(two.half()).dtype == torch.float32


def test_both_binary_heads_give_the_same_of_the_same_difference() -> None:
    two = torch.randn(2, 2, 3, 3)
    single = identity("binary", "sigmoid").logits_to_probs(two[:, 1:] - two[:, :1])
    assert torch.equal(identity("binary", "softmax").logits_to_probs(two), single)


def test_normalize_with_given_numbers_and_with_each_images_own() -> None:
    x = torch.rand(2, 2, 5, 5)
    given = identity("binary", "sigmoid", mean=(0.5, 0.25), std=(0.5, 2.0))
    assert torch.allclose(given.normalize(x)[:, 1], (x[:, 1] - 0.25) / 2)
    own = identity("binary", "sigmoid").normalize(x)
    assert torch.allclose(own.mean((2, 3)), torch.zeros(2, 2), atol=1e-5)
    assert torch.allclose(own.std((2, 3), correction=0), torch.ones(2, 2), atol=1e-3)
    assert torch.equal(
        identity("binary", "sigmoid").normalize(torch.ones(1, 3, 4, 4)), torch.zeros(1, 3, 4, 4)
    )


def test_normalisation_is_not_among_the_weights() -> None:
    assert list(identity("binary", "sigmoid", mean=(0.5,), std=(1.0,)).state_dict()) == []


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def moved(segmenter: Segmenter) -> tuple[bool, bool]:
    """Whether a training step moves the statistics of the encoder, of the head."""
    net = segmenter.net
    before = [b.clone() for b in (net.encoder[1].running_mean, net.head[0].running_mean)]  # type: ignore
    segmenter(torch.randn(4, 3, 8, 8) + 3)
    after = (net.encoder[1].running_mean, net.head[0].running_mean)  # type: ignore
    return not torch.equal(before[0], after[0]), not torch.equal(before[1], after[1])


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [(True, [1, 1, 1]), (False, [0, 0, 0]), (2, [1, 1, 0]), (0, [0, 0, 0]), (1, [1, 0, 0])],
)
def test_a_frozen_encoder_keeps_weights_and_statistics(
    freeze: bool | int, frozen: list[int]
) -> None:
    segmenter = Segmenter(Normed(), task="binary", head="sigmoid", freeze_encoder=freeze)
    for epoch, still in enumerate(frozen):
        segmenter.eval()
        segmenter.set_epoch(epoch)
        assert not segmenter.net.head.training  # type: ignore[union-attr]
        for _ in range(2):
            segmenter.train()
        assert [p.requires_grad for p in segmenter.encoder_parameters()] == [not still] * 4
        assert all(p.requires_grad for p in segmenter.decoder_parameters())
        assert moved(segmenter) == (not still, True)
        assert segmenter.net.encoder[2].training == (not still)  # type: ignore


def test_frozen_smp_encoders_too() -> None:
    model = Model(
        encoder_name="densenet121", arch="SkipUnet", freeze_encoder=True, decoder_channels=[8] * 5
    )
    segmenter = build_model(model, task="binary", n_classes=1, channels=3)
    segmenter.train()
    norms = [m for m in segmenter.encoder.modules() if isinstance(m, nn.BatchNorm2d)]  # type: ignore[union-attr]
    assert norms and not any(m.training for m in norms)
    segmenter(torch.randn(2, 3, 32, 32)).mean().backward()
    assert all(p.grad is None for p in segmenter.encoder_parameters())
    assert any(p.grad is not None for p in segmenter.decoder_parameters())


def test_a_network_without_encoder_has_only_a_decoder() -> None:
    segmenter = Segmenter(nn.Conv2d(3, 1, 1), task="binary", head="sigmoid", freeze_encoder=True)
    assert segmenter.encoder is None and segmenter.encoder_parameters() == []
    assert len(segmenter.decoder_parameters()) == 2 and n_parameters(segmenter) == 4


def test_a_batch_of_one_is_refused_where_it_cannot_be_trained_on() -> None:
    model = Model(arch="DeepLabV3Plus", encoder_name="resnet18")
    segmenter = build_model(model, task="binary", n_classes=1, channels=3)
    with pytest.raises(
        ConfigError, match=r"train\.batch_size: DeepLabV3Plus cannot train on a batch of 1"
    ):
        segmenter(torch.rand(1, 3, 32, 32))
    segmenter.eval()
    assert segmenter(torch.rand(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    assert "head=sigmoid" in repr(segmenter)


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (32, 31), (3, 40)])
def test_padding_keeps_the_picture_in_its_corner(size: tuple[int, int]) -> None:
    x = torch.randn(1, 2, *size)
    padded = pad_to(x, 32, least=64)
    assert padded.shape[2] % 32 == padded.shape[3] % 32 == 0 and min(padded.shape[2:]) >= 64
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    assert pad_to(padded, 32) is padded


def test_padding_mirrors() -> None:
    assert pad_to(torch.arange(5.0).view(1, 1, 1, 5).expand(1, 1, 5, 5), 8)[0, 0, 0].tolist() == [
        0,
        1,
        2,
        3,
        4,
        3,
        2,
        1,
    ]


def test_batchnorm_is_frozen_from_its_epoch_on() -> None:
    """Its statistics stay, its scale and shift train on, and training sees what prediction sees."""
    model = Model(arch="PlainUnet", encoder_name=None, filters=4, depth=2, freeze_batchnorm=1)
    segmenter = build_model(model, task="binary", n_classes=1, channels=3)
    norms = [m for m in segmenter.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    x = torch.rand(2, 3, 16, 16)
    segmenter.train()
    segmenter(x)
    assert all(m.training and m.num_batches_tracked == 1 for m in norms)
    segmenter.set_epoch(1)
    segmenter.train()
    trained = segmenter(x)
    assert all(not m.training and m.num_batches_tracked == 1 for m in norms)
    assert all(m.weight.requires_grad for m in norms)
    segmenter.eval()
    torch.testing.assert_close(segmenter(x), trained)


def test_stats_of_the_training_images_travel_with_the_weights() -> None:
    values = {"arch": "PlainUnet", "encoder_name": None, "filters": 4, "normalize": "dataset"}
    model = check(ModelConfig, {"model": values}, "test").model
    trained, fresh = (build_model(model, task="binary", n_classes=1, channels=2) for _ in range(2))
    trained.set_pixel_stats((0.25, 0.5), (0.5, 2.0))
    x = torch.rand(1, 2, 4, 4)
    assert torch.allclose(trained.normalize(x)[:, 0], (x[:, 0] - 0.25) / 0.5)
    assert torch.equal(fresh.normalize(x), x)
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh.normalize(x), trained.normalize(x))
    plain = check(ModelConfig, {"model": values | {"normalize": "unit"}}, "test").model
    kept = build_model(plain, task="binary", n_classes=1, channels=2).state_dict()
    assert "mean" not in kept and "std" not in kept
