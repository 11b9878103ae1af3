"""`train.sampler`: the shares it promises, along the epochs; a function of (seed, epoch); what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.config import Train, check
from comp.data.cache.open import open_cache
from comp.data.samples.augment import build_augment
from comp.data.samples.loader import TrainLoader
from comp.data.samples.order import EpochSampler
from comp.data.samples.sampling import ANYWHERE, HARDEST, Drawing, check_sampler, make_drawing
from comp.data.samples.train import TrainSamples, train_recipe
from comp.errors import ConfigError, DataError


def drawing_of(
    sampler: dict[str, Any],
    coverage: np.ndarray,
    task: str = "binary",
    crops: int = 1,
    epochs: int = 11,
) -> Drawing:
    """A drawing over N images of the coverage (N, K)."""
    train = check(Train, {"sampler": sampler, "epochs": epochs}, "x")
    place = np.repeat(np.arange(len(coverage)), crops)
    return make_drawing(train, coverage > 0, coverage, place, task)


def shares(
    drawing: Drawing, epoch: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image of each sample, its index, and the class it must hold."""
    index, classes = drawing.draw(seed, epoch)
    return drawing.place[index % len(drawing.place)], index, classes


RARE = np.repeat([[0.2], [0.0]], [20, 80], axis=0)  # a fifth with foreground


@given(
    st.floats(0, 1), st.integers(1, 3), st.integers(0, 20), st.integers(0, 99), st.integers(1, 400)
)
@settings(max_examples=60)
def test_the_share_from_images_with_foreground(
    share: float, crops: int, epoch: int, seed: int, samples: int
) -> None:
    drawing = drawing_of({"by": "emptiness", "share": share, "samples": samples}, RARE, crops=crops)
    image, index, classes = shares(drawing, epoch, seed)
    assert len(index) == len(set(index.tolist())) == samples
    assert abs((image < 20).sum() - share * samples) < 1 + 1e-6
    times = np.bincount(image, minlength=100)
    for part, expected in ((times[:20], share / 20), (times[20:], (1 - share) / 80)):
        assert (
            np.abs(part - expected * samples).max() < crops + 1e-6
        )  # evenly, a crop's rounding each
    assert (classes == ANYWHERE).all()


def test_the_share_goes_along_a_line() -> None:
    drawing = drawing_of({"by": "emptiness", "share": [1.0, 0.2], "samples": 1000}, RARE)
    found = [(shares(drawing, epoch)[0] < 20).mean() for epoch in (0, 5, 10, 30)]
    assert found == pytest.approx([1.0, 0.6, 0.2, 0.2], abs=0.0011)
    early = drawing_of({"by": "emptiness", "share": [1.0, 0.2], "epochs": 3}, RARE)
    assert (shares(early, 2)[0] < 20).mean() == pytest.approx(0.2, abs=0.011)


def test_bins_of_coverage_alike() -> None:
    coverage = np.concatenate([np.zeros(50), np.full(40, 0.01), np.full(9, 0.35), [0.6]])[:, None]
    drawing = drawing_of({"by": "coverage", "share": 1.0, "samples": 400}, coverage)
    image = shares(drawing, 0)[0]
    bins = np.digitize(coverage[image, 0], [0.005, 0.2, 0.5])
    assert np.bincount(bins).tolist() == [100, 100, 100, 100]
    half = drawing_of({"by": "coverage", "share": 0.5, "samples": 400}, coverage)
    bins = np.digitize(coverage[shares(half, 0)[0], 0], [0.005, 0.2, 0.5])
    assert np.abs(np.bincount(bins) - [150, 130, 68, 52]).max() <= 1


def test_classes_alike() -> None:
    coverage = np.zeros((100, 4))
    coverage[:90, 0] = coverage[90:98, 1] = coverage[98:, 2] = 0.5  # the fourth is nowhere
    drawing = drawing_of({"by": "class", "share": 1, "samples": 300}, coverage, "multiclass")
    held = (coverage[shares(drawing, 0)[0]] > 0).sum(axis=0)
    assert held.tolist() == [100, 100, 100, 0]
    plain = drawing_of({"by": "class", "share": 0, "samples": 300}, coverage, "multilabel")
    assert (coverage[shares(plain, 0)[0]] > 0).sum(axis=0).tolist() == [270, 24, 6, 0]


@given(st.floats(0, 1), st.integers(0, 20), st.integers(1, 300))
@settings(max_examples=50)
def test_exactly_the_share_of_crops_is_positive(share: float, epoch: int, samples: int) -> None:
    drawing = drawing_of({"positive_share": share, "samples": samples}, RARE)
    image, _, classes = shares(drawing, epoch)
    assert abs((classes == 0).sum() - share * samples) <= 1
    assert (image[classes == 0] < 20).all()
    expected = max(
        share, 0.2
    )  # images with foreground are drawn more often only where they must be
    assert abs((image < 20).sum() - expected * samples) < 1 + 1e-6


def test_positive_crops_of_rare_classes() -> None:
    coverage = np.zeros((100, 3))
    coverage[:, 0] = 0.5
    coverage[:30, 1] = 0.3
    coverage[:6, 2] = 0.01
    even = drawing_of({"positive_share": 1, "samples": 3000}, coverage, "multiclass")
    image, _, classes = shares(even, 0)
    assert (coverage[image, classes] > 0).all()
    assert np.bincount(classes) / 3000 == pytest.approx(
        [0.7 + 0.12 + 0.02, 0.12 + 0.02, 0.02], abs=0.03
    )
    rare = drawing_of(
        {"by": "class", "share": 1, "positive_share": 1, "samples": 3000}, coverage, "multiclass"
    )
    classes = shares(rare, 0)[2]
    assert np.bincount(classes) / 3000 == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_function_of_seed_and_epoch() -> None:
    drawing = drawing_of({"by": "emptiness", "share": 0.5, "positive_share": 0.3}, RARE)
    again = drawing_of({"by": "emptiness", "share": 0.5, "positive_share": 0.3}, RARE)
    runs = {(s, e): np.stack(drawing.draw(s, e)).tobytes() for s in range(3) for e in range(3)}
    assert len(set(runs.values())) == 9
    assert all(np.stack(again.draw(*key)).tobytes() == runs[key] for key in reversed(list(runs)))


def test_what_is_said_of_it() -> None:
    sampler = {"by": "emptiness", "share": [0.9, 0.5], "positive_share": 0.25, "samples": 200}
    assert drawing_of(sampler, RARE).describe() == (
        "sampler: 200 samples an epoch of 100 images, 90 % at first and 50 % at last from the 20 images "
        "with foreground, 25 % of the crops hold foreground for certain, an image at most 9 times"
    )
    assert "100 samples an epoch" in drawing_of({"by": "coverage", "share": 1}, RARE).describe()
    assert "100 % spread evenly over the classes" in (
        drawing_of({"by": "class", "share": 1}, np.eye(4), "multiclass").describe()
    )


@pytest.mark.parametrize(
    ("sampler", "coverage", "task", "error", "message"),
    [
        ({"by": "class", "share": 1}, RARE, "binary", ConfigError, "task binary has one class; use emptiness"),
        ({"by": "emptiness", "share": 1}, RARE, "multiclass", ConfigError, "task multiclass takes by: class"),
        ({"by": "coverage", "share": 1}, RARE, "multiclass", ConfigError, "coverage is of one foreground"),
        ({"by": "coverage", "share": 1}, RARE, "multilabel", ConfigError, "task multilabel takes by: class"),
        ({"by": "emptiness", "share": 0.5}, RARE + 1, "binary", DataError, "all 100 training images hold foreg"),
        ({"by": "emptiness", "share": 0.5}, RARE * 0, "binary", DataError, "share: none of the 100 training im"),
        ({"positive_share": 0.5}, RARE * 0, "binary", DataError, "train.sampler.positive_share: none of the"),
        ({"by": "class", "share": 1}, RARE * 0, "multilabel", DataError, "100 training images holds any class"),
    ],
)  # fmt: skip
def test_what_cannot_be_given(
    sampler: Any, coverage: np.ndarray, task: str, error: Any, message: str
) -> None:
    with pytest.raises(error) as caught:
        drawing_of(sampler, coverage, task)
    assert message in str(caught.value)


def test_the_check_before_training() -> None:
    assert check_sampler(Train(), "binary") == []
    assert (
        check_sampler(check(Train, {"sampler": {"by": "emptiness", "share": 1}}, "x"), "multilabel")
        == []
    )


CROP = {"mode": "crop", "size": (6, 6), "batch_size": 4, "epochs": 3}


def samples_of(toy: Any, sampler: dict[str, Any] | None, **train: Any) -> TrainSamples:
    options = check(Train, {**CROP, **train, "sampler": sampler}, "x")
    cache = open_cache(
        toy.workspace.cache, toy.competition, toy.records.train, train_recipe(options)
    )
    return TrainSamples(
        cache, range(len(cache)), options, build_augment(()), options.seed, toy.competition.task,
        toy.competition.n_classes, toy.competition.background,
    )  # fmt: skip


def epoch_of(loader: TrainLoader, epoch: int) -> list[dict[str, torch.Tensor]]:
    return list(loader.epoch(epoch))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_all_crops_hold_foreground(make_toy, task: str) -> None:
    loader = TrainLoader(samples_of(make_toy(task), {"positive_share": 1.0, "samples": 40}), 4, 0)
    assert len(loader) == 10
    for epoch in range(2):
        for batch in epoch_of(loader, epoch):
            labels = batch["labels"].flatten(1)
            held = (labels == 1) if task != "multiclass" else (labels != 255)
            assert held.any(dim=1).all()


def test_the_background_class_is_no_foreground(make_toy) -> None:
    toy = make_toy("multiclass")
    names = ("background", *toy.competition.classes[1:])
    named = replace(toy, competition=toy.competition.model_copy(update={"classes": names}))
    assert toy.competition.background is None and named.competition.background == 0
    plain, samples = (samples_of(t, {"positive_share": 1.0, "samples": 40}) for t in (toy, named))
    assert plain.drawing is not None and plain.drawing.foreground.all()
    assert samples.drawing is not None
    _, classes = samples.drawing.draw(0, 0)
    assert set(classes.tolist()) <= set(range(1, len(names)))
    for batch in epoch_of(TrainLoader(samples, 4, 0), 0):
        labels = batch["labels"].flatten(1)
        assert ((labels > 0) & (labels != 255)).any(dim=1).all()


def test_whole_images_by_emptiness(make_toy) -> None:
    samples = samples_of(make_toy(), {"by": "emptiness", "share": 0.25}, mode="resize")
    numbers = torch.cat([batch["number"] for batch in epoch_of(TrainLoader(samples, 4, 0), 0)])
    assert (numbers % 5 == 0).sum() == 9  # 3 of the 12 images are empty


def test_the_same_image_again_is_another_crop(make_toy) -> None:
    samples = samples_of(
        make_toy(n=6, size=(30, 30)), {"by": "emptiness", "share": 1.0, "samples": 64}
    )
    batches = epoch_of(TrainLoader(samples, 4, 0), 0)
    views = {image.numpy().tobytes() for batch in batches for image in batch["image"]}
    assert len(views) > 60


def test_copies_begin_with_the_plain_sample(make_toy) -> None:
    toy = make_toy()
    plain, sampled = samples_of(toy, None), samples_of(toy, {"samples": 100})
    for index in range(12):
        a, b = plain[(1, index)], sampled[(1, index)]
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert int(sampled[(1, index + 24)]["number"]) == int(a["number"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_draw_the_same(make_toy) -> None:
    samples = samples_of(make_toy(), {"positive_share": 0.5, "samples": 20})
    alone = [epoch_of(TrainLoader(samples, 4, 3), epoch) for epoch in range(2)]
    loader = TrainLoader(samples, 4, 3, workers=2)
    try:
        for epoch in (1, 0):
            for a, b in zip(epoch_of(loader, epoch), alone[epoch], strict=True):
                assert all(torch.equal(a[name], b[name]) for name in a)
    finally:
        loader.close()


def test_a_sampler_that_does_not_fit_is_refused_by_the_loader_only(make_toy) -> None:
    samples = samples_of(make_toy("multiclass"), {"by": "coverage", "share": 0.5})
    assert len(samples) == 12  # a few samples may be drawn for a picture whatever the shares
    with pytest.raises(ConfigError, match="task multiclass takes by: class"):
        TrainLoader(samples, 4, 0)


def test_without_a_sampler_the_order_is_as_it_was() -> None:
    """The numbers of the first release: runs that were begun go on as they were."""
    sampler = EpochSampler(6, 3)
    assert list(sampler) == [(0, i) for i in (0, 5, 4, 2, 3, 1)]


# by loss


@given(
    losses=st.lists(st.one_of(st.floats(0, 1e3), st.just(float("nan"))), min_size=2, max_size=30),
    share=st.floats(0, 0.95),
    samples=st.integers(1, 300),
    seed=st.integers(0, 99),
)
@settings(max_examples=100)
def test_harder_images_come_more_often_and_none_is_starved(
    losses: list[float], share: float, samples: int, seed: int
) -> None:
    n, known = len(losses), np.array(losses)
    drawing = drawing_of({"by": "loss", "share": share, "samples": samples}, np.ones((n, 1)))
    weights = drawing.weights(0, known)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= (1 - share) / n - 1e-12
    assert weights.max() <= (1 - share + HARDEST * share) / n + 1e-9
    filled = np.nan_to_num(known, nan=np.nanmax(known) if not np.isnan(known).all() else 1.0)
    order = np.argsort(filled)
    assert (np.diff(weights[order]) >= -1e-12).all()
    if np.isnan(known).all() or share == 0 or filled.max() == 0:
        np.testing.assert_allclose(weights, 1 / n)
    index, classes = drawing.draw(seed, 3, known)
    assert len(index) == len(set(index.tolist())) == samples and (classes == ANYWHERE).all()
    times = np.bincount(drawing.place[index % n], minlength=n)
    assert np.abs(times - weights * samples).max() < 1 + 1e-6
    again = drawing.draw(seed, 3, known.copy())
    assert np.array_equal(index, again[0])


def test_in_proportion_to_the_loss_up_to_a_cap() -> None:
    drawing = drawing_of({"by": "loss", "share": 0.5}, np.ones((4, 1)))
    weights = drawing.weights(0, np.array([1.0, 1, 2, 4]))
    np.testing.assert_allclose(weights, 0.125 + np.array([1, 1, 2, 4]) / 16)
    many = drawing_of({"by": "loss", "share": 0.5}, np.ones((100, 1)))
    losses = np.ones(100)
    losses[7] = 1e6  # its label may be wrong: 4 times as often as the mean, and no more
    weights = many.weights(0, losses)
    assert weights[7] == pytest.approx(0.5 / 100 + 0.5 * 4 / 100)
    np.testing.assert_allclose(np.delete(weights, 7), 0.005 + 0.5 * 0.96 / 99)
    losses[8] = 6.0  # over the cap only once the first is cut
    weights = many.weights(0, losses)
    assert weights[8] == weights[7] == pytest.approx(0.025) and weights.sum() == pytest.approx(1)
    nothing = np.zeros(100)
    nothing[7] = 1.0
    assert many.weights(0, nothing)[7] == pytest.approx(0.025)
    np.testing.assert_allclose(many.weights(0, np.zeros(100)), 0.01)


def test_what_was_never_learnt_from_counts_as_the_hardest() -> None:
    drawing = drawing_of({"by": "loss", "share": 0.5}, np.ones((4, 1)))
    weights = drawing.weights(0, np.array([1.0, 2.0, np.nan, 1.0]))
    assert weights[2] == weights[1] > weights[0]
    plain = drawing_of({"samples": 4}, np.ones((4, 1)))
    np.testing.assert_array_equal(plain.weights(0, np.array([1.0, 2, 3, 4])), plain.weights(0))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_by_loss_is_for_every_task_and_needs_a_rest(task: str) -> None:
    assert check_sampler(check(Train, {"sampler": {"by": "loss", "share": 0.5}}, "x"), task) == []
    with pytest.raises(ConfigError, match="by: loss needs a share below 1"):
        check(Train, {"sampler": {"by": "loss", "share": [0.5, 1.0]}}, "x")
    said = drawing_of({"by": "loss", "share": 0.5}, np.ones((4, 1))).describe()
    assert said == (
        "sampler: 4 samples an epoch of 4 images, 50 % by the last known loss of each, "
        "an image at most 3 times"
    )
