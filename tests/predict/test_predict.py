"""The one way from images to probabilities: whole, by windows and in bands it gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn as nn
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from comp.config import Predict, Train
from comp.data.cache.cache import Cache, Recipe
from comp.models.compute import Compute
from comp.models.segmenter import Segmenter
from comp.predict import images as images_module
from comp.predict import predict_bands, to_size
from comp.predict import windows as windows_module

CPU = torch.device("cpu")
PLAIN = Compute(
    device_type="cpu", precision="fp32", channels_last=False, fused=False, threads=1
)  # fmt: skip


class Identity(Segmenter):
    """Its probabilities are the picture."""

    def __init__(self, stride: int = 32) -> None:
        said = {"task": "multilabel", "head": "sigmoid", "mean": (0.0,), "std": (1.0,)}
        super().__init__(nn.Identity(), stride=stride, **said)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape))
        return super().forward(x)

    def logits_to_probs(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.float()


class Pictures:
    """What prediction asks of a cache."""

    def __init__(self, *pictures: np.ndarray, originals: list[tuple[int, int]] | None = None):
        self.pictures = pictures
        self.originals = originals or [p.shape[:2] for p in pictures]
        self.recipe = Recipe()

    def image(self, i: int) -> np.ndarray:
        return self.pictures[i]

    def rows(self, i: int, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= len(self.pictures[i])
        return self.pictures[i][start:stop].copy()

    def original_size(self, i: int) -> tuple[int, int]:
        return self.originals[i]


def draw(height: int, width: int, bands: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, bands), np.float32)


def ask(
    model: Segmenter, pictures: Pictures, indices: Any = (0,), views: str = "none", **predict: Any
) -> dict[int, np.ndarray]:
    cache: Any = pictures
    train = Train(size=(32, 32), batch_size=2)
    looks = train, Predict(**predict), views, PLAIN, CPU
    parts: dict[int, list[np.ndarray]] = {}
    for band in predict_bands(model, cache, indices, *looks):
        assert band.row == sum(part.shape[1] for part in parts.get(band.index, ()))
        parts.setdefault(band.index, []).append(band.probs)
    return {index: np.concatenate(bands, axis=1) for index, bands in parts.items()}


@given(
    st.integers(1, 80), st.integers(1, 80), st.integers(1, 40), st.integers(1, 40),
    st.floats(0, 0.9), st.sampled_from(["gaussian", "spline", "flat"]),
)  # fmt: skip
def test_identity_returns_its_input(
    height: int, width: int, h: int, w: int, overlap: float, blend: str
) -> None:
    picture = draw(height, width)
    found = ask(Identity(), Pictures(picture), window=(h, w), overlap=overlap, blend=blend)
    np.testing.assert_allclose(found[0], picture.transpose(2, 0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("views", ["hflip", "d4"])
def test_identity_returns_its_input_through_all_views(views: str) -> None:
    picture = draw(75, 51)
    model = Identity()
    found = ask(model, Pictures(picture), views=views, window=(32, 24), overlap=0.5)
    np.testing.assert_allclose(found[0], picture.transpose(2, 0, 1), rtol=0, atol=1e-6)
    assert {shape[2:] for shape in model.seen} <= {(32, 24), (24, 32)}


def test_windows_with_context_give_what_the_whole_gives() -> None:
    """Windows differ from the whole only near their edges, where the blend hardly counts them."""
    torch.manual_seed(0)
    net = nn.Conv2d(2, 1, 5, padding=2, padding_mode="reflect")
    unit = {"mean": (0.0,), "std": (1.0,)}
    model = Segmenter(net, task="binary", head="sigmoid", stride=1, **unit)
    pictures = Pictures(draw(150, 130))
    whole = ask(model, pictures)[0]
    for blend, limit in (("gaussian", 2e-3), ("spline", 2e-3), ("flat", 1)):
        parts = ask(model, pictures, window=(64, 64), overlap=0.5, blend=blend)[0]
        assert parts.shape == whole.shape == (1, 150, 130)
        assert np.abs(parts - whole).max() < limit
        np.testing.assert_allclose(parts[:, :20, :20], whole[:, :20, :20], atol=1e-6)


def test_large_images_take_windows_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "WHOLE_PIXELS", 60 * 60)
    monkeypatch.setattr(windows_module, "LARGE_WINDOW", (48, 48))
    model, pictures = Identity(), Pictures(draw(60, 60), draw(60, 61), draw(60, 60))
    found = ask(model, pictures, (0, 1, 2))
    assert sorted(found) == [0, 1, 2]
    assert model.seen == [(2, 2, 60, 60)] + [(2, 2, 48, 48)] * 2
    np.testing.assert_allclose(found[1], pictures.image(1).transpose(2, 0, 1), atol=1e-6)


def test_bands_follow_each_other_from_the_top() -> None:
    cache: Any = Pictures(draw(20, 20), draw(100, 50), draw(90, 50))
    settings = Train(size=(32, 32), batch_size=1), Predict(window=(32, 32)), "none", PLAIN, CPU
    upto: dict[int, int] = {}
    for band in predict_bands(Identity(), cache, [2, 0, 1], *settings):
        assert band.row == upto.get(band.index, 0)
        assert band.probs.shape[2] == band.size[1] and band.probs.shape[1] <= 32
        upto[band.index] = band.rows.stop
        others = [i for i in upto if i != band.index]
        assert all(upto[i] == cache.original_size(i)[0] for i in others)
    assert upto == {0: 20, 1: 100, 2: 90}


def test_logits_come_with_the_places_they_are_of() -> None:
    cache: Any = Pictures(draw(20, 20), draw(50, 40))
    settings = Train(size=(32, 32), batch_size=1), Predict(window=(32, 32)), "none", PLAIN, CPU
    share = {0: 0.0, 1: 0.0}

    def on_logits(logits: torch.Tensor, places: list[Any]) -> None:
        for one, place in zip(logits, places, strict=True):
            seen = cache.image(place.index)[place.rows, place.columns].transpose(2, 0, 1)
            np.testing.assert_array_equal(one.numpy(), seen)
            share[place.index] += place.share

    list(predict_bands(Identity(), cache, [0, 1], *settings, on_logits))
    assert share == pytest.approx({0: 1, 1: 1})


def test_batches_hold_windows_up_to_their_pixels() -> None:
    model, pictures = Identity(), Pictures(draw(40, 200))
    ask(model, pictures, window=(32, 32), overlap=0, batch_size=3)
    assert [shape[0] for shape in model.seen] == [3, 3, 1] * 2
    model.seen.clear()
    ask(model, pictures, window=(64, 64), overlap=0, batch_size=3)
    assert [shape[0] for shape in model.seen] == [1] * 4  # 40 x 64 is more than two of 32 x 32


def test_eight_bit_pictures() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (70, 45, 3), np.uint8)
    found = ask(Identity(), Pictures(picture), window=(32, 32))[0]
    np.testing.assert_allclose(found, picture.transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize("size", [(64, 96), (301, 77), (33, 200)])
def test_growing_in_bands_is_growing_at_once(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_module, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(images_module, "BAND_PIXELS", 7 * size[1])
    cache: Any = Pictures(draw(32, 40), originals=[size])
    settings = Train(mode="resize", size=(32, 40)), Predict(), "none", PLAIN, CPU
    bands = list(predict_bands(Identity(), cache, [0], *settings))
    assert len(bands) > 4
    together = np.concatenate([band.probs for band in bands], axis=1)
    whole = to_size(torch.from_numpy(cache.image(0).transpose(2, 0, 1).copy()), size)
    np.testing.assert_allclose(together, whole, rtol=0, atol=5e-6)  # torch places pixels in float32


def test_shrinking_averages_and_growing_interpolates() -> None:
    probs = torch.from_numpy(draw(8, 8).transpose(2, 0, 1).copy())
    np.testing.assert_allclose(
        to_size(probs, (4, 4)).mean((1, 2)), probs.mean((1, 2)).numpy(), atol=0.02
    )
    grown = F.interpolate(probs[None], size=(16, 16), mode="bilinear", align_corners=False)[0]
    np.testing.assert_array_equal(to_size(probs, (16, 16)), grown.numpy())
    assert Cache.rows  # what `Pictures` stands for
