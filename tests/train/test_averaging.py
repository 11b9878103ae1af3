"""Averages of weights against plain numpy, what is remembered, the greedy soup, BatchNorm taken anew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from comp.config import Train
from comp.models.segmenter import Segmenter
from comp.train.averaging import (
    Ema,
    Picked,
    Snapshots,
    Top,
    Weights,
    greedy_soup,
    make_averages,
    mean_weights,
    reestimate,
    wearing,
)


class Net(nn.Module):
    """An encoder and a head with a BatchNorm each, dropout, and two names for one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Conv2d(2, 1, 1), nn.BatchNorm2d(1))
        self.tied = self.head[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x)) + self.tied.sum()


def network(**frozen: Any) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Net(), task="binary", head="sigmoid", stride=1, **frozen)


def encoder(segmenter: Segmenter) -> Any:
    return segmenter.encoder


def move(segmenter: Segmenter, by: float) -> None:
    with torch.no_grad():
        for parameter in segmenter.parameters():
            parameter += by


def test_ema_follows_its_formula_and_soon_forgets_the_start() -> None:
    segmenter = network()
    ema = Ema(0.9)
    ema.begin(segmenter)
    name, parameter = next(iter(segmenter.named_parameters()))
    wanted = parameter.detach().numpy().astype(np.float64)
    for step in range(1, 101):
        move(segmenter, 0.1 * (-1) ** step + 0.01)
        ema.update(segmenter)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * parameter.detach().numpy()
    np.testing.assert_allclose(ema.weights[name].numpy(), wanted, rtol=1e-5)


def test_ema_has_the_networks_own_buffers_and_every_name_of_a_tied_parameter() -> None:
    segmenter = network()
    ema = Ema(0.9)
    ema.begin(segmenter)
    move(segmenter, 1.0)
    ema.update(segmenter)
    encoder(segmenter)[1].running_mean.fill_(7.0)
    whole = ema.whole(segmenter)
    assert set(whole) == set(segmenter.state_dict())
    assert torch.equal(whole["net.tied"], whole["net.head.0.weight"])
    assert not torch.equal(whole["net.tied"], segmenter.state_dict()["net.tied"])
    assert whole["net.encoder.1.running_mean"].tolist() == [7.0, 7.0]


def test_wearing_gives_every_bit_back_even_after_an_error() -> None:
    segmenter = network()
    before = {k: v.clone() for k, v in segmenter.state_dict().items()}
    other = {k: v + 1 for k, v in before.items()}
    with pytest.raises(RuntimeError, match="stop"), wearing(segmenter, other):
        assert all(torch.equal(v, other[k]) for k, v in segmenter.state_dict().items())
        raise RuntimeError("stop")
    assert all(torch.equal(v, before[k]) for k, v in segmenter.state_dict().items())


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, math.nan]), max_size=12),
    st.integers(1, 4),
    st.booleans(),
)
def test_the_top_is_what_sorting_finds(values: list[float], size: int, better: bool) -> None:
    top = Top(size, better)
    for epoch, value in enumerate(values):
        top.offer(value, epoch, dict)
    kept = [(v, e) for e, v in enumerate(values) if not math.isnan(v)]
    kept.sort(key=lambda pair: (-pair[0] if better else pair[0], pair[1]))
    assert [(p.value, p.epoch) for p in top.picked] == kept[:size]


def test_weights_that_are_not_kept_are_not_copied() -> None:
    top, copies = Top(1, True), []
    for epoch, value in enumerate((0.5, 0.4, 0.6)):
        top.offer(value, epoch, lambda: copies.append(1) or {})
    assert len(copies) == 2


def test_only_the_last_snapshots_are_kept() -> None:
    snapshots = Snapshots(2)
    for epoch in (3, 6, 9):
        snapshots.take(epoch, {})
    assert [p.epoch for p in snapshots.picked] == [6, 9]


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=1))
def test_mean_is_numpys(rows: list[list[float]]) -> None:
    parts = [{"a": torch.tensor(r), "n": torch.tensor(i)} for i, r in enumerate(rows)]
    mean = mean_weights(parts)
    wanted = np.mean(np.array(rows, np.float32).astype(np.float64), axis=0)
    np.testing.assert_allclose(mean["a"].numpy(), wanted, rtol=1e-6, atol=1e-6)
    assert mean["a"].dtype == torch.float32 and int(mean["n"]) == 0


def batches() -> Iterator[Tensor]:
    for seed in range(4):
        yield torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(seed)) + seed


def test_batchnorm_gets_the_mean_of_the_batches_statistics() -> None:
    segmenter = network()
    norm = encoder(segmenter)[1]
    norm.running_mean.fill_(100.0)
    assert reestimate(segmenter, batches, segmenter) == 2
    seen = [encoder(segmenter)[0](b) for b in batches()]
    wanted = torch.stack([s.mean((0, 2, 3)) for s in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, wanted)
    spread = torch.stack([s.var((0, 2, 3)) for s in seen]).mean(0)
    torch.testing.assert_close(norm.running_var, spread)
    assert norm.momentum == 0.1 and not segmenter.training


def test_no_dropout_and_no_random_number_while_statistics_are_taken() -> None:
    segmenter = network()
    state = torch.get_rng_state()
    reestimate(segmenter, batches, segmenter)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("frozen", "left"), [({"freeze_batchnorm": 0}, 0), ({"freeze_encoder": True}, 1)]
)
def test_a_frozen_batchnorm_keeps_its_statistics(frozen: dict[str, Any], left: int) -> None:
    segmenter = network(**frozen)
    norm = encoder(segmenter)[1]
    norm.running_mean.fill_(7.0)
    drawn = []

    def counted() -> Iterator[Tensor]:
        drawn.append(1)
        return batches()

    assert reestimate(segmenter, counted, segmenter) == left
    assert norm.running_mean.tolist() == [7.0, 7.0]
    assert len(drawn) == (1 if left else 0)


def soup_of(values: list[float], better: bool = True) -> tuple[list[int], float, list[float]]:
    """Each epoch's weights are one number; a mean scores as near as it is to 1."""
    picked = [Picked(n, -abs(v - 1) * (1 if better else -1), w(v)) for n, v in enumerate(values)]
    asked: list[float] = []

    def judge(weights: Weights) -> tuple[Weights, float]:
        asked.append(float(weights["w"]))
        return weights, -abs(float(weights["w"]) - 1) * (1 if better else -1)

    chosen, weights, score = greedy_soup(picked, judge, better)
    assert abs(score) == pytest.approx(abs(float(weights["w"]) - 1))
    return [p.epoch for p in chosen], float(weights["w"]), asked


def w(value: float) -> Weights:
    return {"w": torch.tensor(value, dtype=torch.float64)}


@pytest.mark.parametrize("better", [True, False])
def test_soup_takes_what_does_not_worsen_it(better: bool) -> None:
    chosen, mean, asked = soup_of([1.2, 0.8, 5.0, 1.0], better)
    assert chosen == [0, 1, 3] and mean == pytest.approx(1.0)
    assert asked == pytest.approx([1.2, 1.0, 7 / 3, 1.0])


def test_soup_of_which_nothing_helps_is_the_best_epoch() -> None:
    assert soup_of([1.0, 3.0, 3.0])[:2] == ([0], 1.0)


def test_nothing_is_remembered_that_was_not_asked_for() -> None:
    averages = make_averages(Train(), network(), True)
    assert averages.state() == {}
    averages.load({})
    assert (averages.ema, averages.top, averages.snapshots) == (None, None, None)


def test_soup_and_top_share_what_they_remember(tmp_path: Any) -> None:
    train = Train(ema=0.99, average_top=2, soup=3, snapshots=2)
    first, second = (make_averages(train, network(), True) for _ in range(2))
    assert first.top is not None and first.top.size == 3
    assert first.ema is not None and first.snapshots is not None
    moved = network()
    move(moved, 1.0)
    first.ema.update(moved)
    first.top.offer(0.5, 1, lambda: w(1.0))
    first.snapshots.take(2, w(2.0))
    torch.save(first.state(), tmp_path / "state.pt")
    second.load(torch.load(tmp_path / "state.pt", weights_only=True))
    assert str(second) == str(first)
