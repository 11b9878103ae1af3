"""Mixed samples: every pixel and its label come from where they should; mass, ignored pixels, until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.config import Mix, Train, check
from comp.data.images.resize import n_planes, soft_planes
from comp.data.samples.mix import (
    Form,
    Mixer,
    Pair,
    blend,
    blend_truth,
    draw_box,
    draw_objects,
    paste_where,
    put_together,
)
from comp.errors import ConfigError
from comp.models.target import make_target

TASKS = ("binary", "multiclass", "multilabel")
SIZE = (12, 15)


def form_of(task: str, soft: bool = False, background: int | None = None) -> Form:
    return Form(task, 1 if task == "binary" else 3, background, soft)


def make_pair(form: Form, number: int, size: tuple[int, int] = SIZE) -> Pair:
    """Random labels, and an image that says everywhere whose it is (band 0) and which place (1 and 2)."""
    rng = np.random.default_rng(number)
    fine = (size[0] * 2, size[1] * 2) if form.soft else size  # so that shares lie between 0 and 1
    shape = (form.n_classes, *fine) if form.task == "multilabel" else fine
    labels = rng.integers(0, 3 if form.task == "multiclass" else 2, shape).astype(np.uint8)
    labels[rng.random(shape) < 0.15] = 255
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0] = number
    image[..., 1] = np.arange(size[0])[:, None]
    image[..., 2] = np.arange(size[1])
    if form.soft:
        labels = soft_planes(labels, form.task, form.n_classes, size)
    return image, labels


def soften(form: Form, labels: np.ndarray) -> np.ndarray:
    """Hard labels as soft planes of the same size."""
    return soft_planes(labels, form.task, form.n_classes, labels.shape[-2:])


class Others:
    """Gives partners numbered 2, 3, ... and remembers them."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.given: list[Pair] = []

    def __call__(self, rng: np.random.Generator) -> Pair:
        self.given.append(make_pair(self.form, 2 + len(self.given)))
        return self.given[-1]


def draws_of(seed: int) -> Callable[[str], np.random.Generator]:
    return lambda name: np.random.default_rng([seed, *name.encode()])


def mixer_of(form: Form, epochs: int = 10, **mix: Any) -> Mixer:
    return Mixer(check(Mix, mix, "x"), epochs, form)


def at(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return labels[..., mask]


every_form = pytest.mark.parametrize(
    "form", [form_of(task, soft) for task in TASKS for soft in (False, True)], ids=str
)
SPATIAL = {"mosaic": {"p": 1}, "copy_paste": {"p": 1}, "cutmix": {"p": 1}}


@every_form
@pytest.mark.parametrize("kind", SPATIAL)
def test_every_pixel_keeps_its_label_its_place_and_its_ignore(form: Form, kind: str) -> None:
    mixer = mixer_of(form, **{kind: SPATIAL[kind]})
    sources_seen = set()
    for seed in range(20):
        base, others = make_pair(form, 1), Others(form)
        before = [array.copy() for array in base]
        image, truth = mixer(base, 0, draws_of(seed), others)
        assert image.dtype == np.uint8 and image.shape == base[0].shape
        assert all(np.array_equal(a, b) for a, b in zip(base, before, strict=True))
        for n, (source, labels) in enumerate([base, *others.given], start=1):
            mine = image[..., 0] == n
            sources_seen.add(n)
            assert np.array_equal(image[mine], source[mine])  # its own pixels, in their own place
            wanted = form.truth(labels)
            assert sorted(truth) == sorted(wanted)
            for name in truth:
                assert truth[name].dtype == wanted[name].dtype
                assert truth[name].shape == wanted[name].shape
                assert np.array_equal(at(truth[name], mine), at(wanted[name], mine))
        assert set(np.unique(image[..., 0])) <= {1, *range(2, 2 + len(others.given))}
    assert sources_seen == ({1, 2, 3, 4} if kind == "mosaic" else {1, 2})


@every_form
def test_mosaic_is_four_quarters(form: Form) -> None:
    pairs = [make_pair(form, n) for n in range(1, 5)]
    image, labels = put_together(pairs, (5, 9))
    whose = image[..., 0]
    assert (whose[:5, :9] == 1).all() and (whose[:5, 9:] == 2).all()
    assert (whose[5:, :9] == 3).all() and (whose[5:, 9:] == 4).all()
    assert np.array_equal(labels[..., 5:, 9:], pairs[3][1][..., 5:, 9:])
    places = set()
    for seed in range(30):
        drawn, _ = mixer_of(form, mosaic={"p": 1, "centre": [0.4, 0.6]})(
            pairs[0], 0, draws_of(seed), Others(form)
        )
        mine = np.argwhere(drawn[..., 0] == 1)
        places.add((int(mine[:, 0].min() > 0), int(mine[:, 1].min() > 0)))
        assert 4 * 6 <= len(mine) <= 8 * 9  # between 0.4 and 0.6 of 12 and 15
    assert len(places) == 4  # the sample itself in each of the quarters


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    low=st.floats(0.01, 1),
    high=st.floats(0.01, 1),
    seed=st.integers(0, 999),
)
@settings(max_examples=200)
def test_a_box_lies_inside_and_has_its_area(
    height: int, width: int, low: float, high: float, seed: int
) -> None:
    low, high = min(low, high), max(low, high)
    rows, columns = draw_box((height, width), (low, high), np.random.default_rng(seed))
    sides = rows.stop - rows.start, columns.stop - columns.start
    assert 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
    least = max(0, sides[0] - 1) * max(0, sides[1] - 1) / (height * width)
    assert least <= high + 1e-9
    most = (sides[0] + 1) * (sides[1] + 1) / (height * width)
    assert most >= low - 1e-9


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.01, 0.3, 0.7, 1.0]),
    st.sampled_from([0.0, 0.1, 0.3, 0.6]),
)
@settings(max_examples=150)
def test_objects_are_taken_whole(seed: int, share: float, dense: float) -> None:
    """The oracle: scipy's 8-connected components of each class, each wholly in or wholly out."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    things = np.where(rng.random((14, 11)) < dense, rng.integers(1, 4, (14, 11)), 0).astype(
        np.uint8
    )
    mask = draw_objects(things, share, rng)
    assert mask.shape == things.shape and mask.dtype == bool
    assert not mask[things == 0].any() and mask.any() == things.any()
    n_taken = n_all = 0
    for value in np.unique(things[things > 0]):
        numbered, n = ndimage.label(things == value, structure=np.ones((3, 3)))
        for i in range(1, n + 1):
            inside = mask[numbered == i]
            assert inside.all() or not inside.any()
            n_taken += bool(inside.all())
        n_all += n
    if share == 1.0:
        assert n_taken == n_all


@pytest.mark.parametrize("soft", [False, True])
def test_what_is_an_object(soft: bool) -> None:
    def things(task: str, labels: Any, background: int | None = None) -> list[Any]:
        form = form_of(task, soft, background)
        given_labels = np.array(labels, np.uint8)
        return form.things(soften(form, given_labels) if soft else given_labels).tolist()

    assert things("binary", [[0, 1, 255]]) == [[0, 1, 0]]
    assert things("multiclass", [[0, 1, 2, 255]], background=0) == [[0, 2, 3, 0]]
    assert things("multiclass", [[0, 1, 2, 255]]) == [[1, 2, 3, 0]]
    planes = [[[0, 1, 0, 255]], [[0, 0, 255, 255]], [[0, 0, 1, 0]]]
    assert things("multilabel", planes) == [[0, 1, 1, 0]]
    half = np.array([[[127, 128]], [[255, 255]]], np.uint8)
    assert form_of("binary", True).things(half).tolist() == [[0, 1]]


def test_a_sample_without_objects_gives_nothing() -> None:
    form = form_of("binary")
    base, empty = make_pair(form, 1), (make_pair(form, 2)[0], np.zeros(SIZE, np.uint8))
    image, truth = mixer_of(form, copy_paste=1.0)(base, 0, draws_of(0), lambda rng: empty)
    assert np.array_equal(image, base[0]) and np.array_equal(truth["labels"], base[1])


@every_form
def test_mixup_adds_up_the_truth_and_ignores_where_either_does(form: Form) -> None:
    mixer = mixer_of(form, mixup={"p": 1, "alpha": 0.8})
    shares = []
    for seed in range(12):
        base, others = make_pair(form, 1), Others(form)
        base[0][...] = 0
        image, truth = mixer(base, 0, draws_of(seed), others)
        (other, its), mine = others.given[0], form.truth(base[1], planes=True)
        theirs = form.truth(its, planes=True)
        valid = truth["valid"] > 0
        assert np.array_equal(valid, (mine["valid"] > 0) & (theirs["valid"] > 0))
        assert truth["planes"].dtype == truth["valid"].dtype == np.float32
        # the share, read from the truth where one says all and the other nothing
        sure = np.broadcast_to(valid, truth["planes"].shape)
        only = sure & (mine["planes"] == 1) & (theirs["planes"] == 0)
        values = truth["planes"][only]
        assert only.any() and np.ptp(values) < 1e-6
        share = float(values[0])
        shares.append(share)
        mass = share * mine["planes"][sure].sum() + (1 - share) * theirs["planes"][sure].sum()
        assert truth["planes"][sure].sum() == pytest.approx(mass, rel=1e-5)
        assert np.abs(image - (1 - share) * other.astype(float)).max() <= 0.5 + 1e-4
        if form.task == "multiclass":
            sums = truth["planes"].sum(axis=0)[valid[0]]
            np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert min(shares) >= 0.5 and max(shares) <= 1  # the sample itself is never the smaller part
    assert np.ptp(shares) > 0.1


@given(
    share=st.floats(0, 1),
    bands=st.sampled_from([1, 3, 4, 7, 600]),
    kind=st.sampled_from(["uint8", "float32"]),
)
def test_blend_is_the_weighted_mean(share: float, bands: int, kind: str) -> None:
    rng = np.random.default_rng(bands)
    a, b = (rng.integers(0, 256, (5, 4, bands)).astype(kind) for _ in range(2))
    if kind == "float32":
        a, b = a / np.float32(255), b / np.float32(255)
    mixed = blend(a, b, share)
    assert mixed.dtype == a.dtype and mixed.shape == a.shape
    wanted = share * a.astype(np.float64) + (1 - share) * b
    assert np.abs(mixed - wanted).max() <= (0.5 + 1e-4 if kind == "uint8" else 1e-6)


def test_blend_truth_of_itself_is_itself() -> None:
    for task in TASKS:
        form = form_of(task, True)
        truth = form.truth(make_pair(form, 3)[1])
        again = blend_truth(truth, truth, 0.7)
        np.testing.assert_allclose(again["planes"], truth["planes"], atol=1e-6)
        assert np.array_equal(again["valid"], truth["valid"])


def test_float_images_of_many_bands() -> None:
    form = form_of("binary")
    rng = np.random.default_rng(0)
    pairs = [(rng.random((*SIZE, 6), np.float32), make_pair(form, n)[1]) for n in range(2)]
    every = mixer_of(form, mosaic=1, copy_paste=1, cutmix=1, mixup=1)
    image, truth = every(pairs[0], 0, draws_of(1), lambda rng: pairs[1])
    assert image.dtype == np.float32 and image.shape == (*SIZE, 6)
    assert image.min() >= 0 and image.max() <= 1 and truth["planes"].shape == (1, *SIZE)
    pasted = paste_where(pairs[0], pairs[1], np.ones(SIZE, bool))
    assert np.array_equal(pasted[0], pairs[1][0]) and pasted[0].dtype == np.float32


@pytest.mark.parametrize(
    ("until", "epochs", "last"),
    [(0.8, 10, 8), (0.8, 4, 3), (1.0, 7, 7), (0.1, 5, 1), (0.29, 100, 29)],
)
def test_mixing_ends_with_its_epoch(until: float, epochs: int, last: int) -> None:
    form = form_of("binary")
    mixer = mixer_of(form, epochs, until=until, cutmix=1, mixup=1)
    base = make_pair(form, 1)
    for epoch in range(epochs):
        others = Others(form)
        image, truth = mixer(base, epoch, draws_of(epoch), others)
        assert bool(others.given) == (epoch < last)
        assert sorted(truth) == ["planes", "valid"]  # of one kind in every epoch
        if epoch >= last:
            assert np.array_equal(image, base[0])
            assert np.array_equal(truth["valid"][0] > 0, base[1] != 255)


def test_the_part_of_the_samples_and_what_one_option_leaves_to_the_others() -> None:
    form = form_of("binary")
    both, one = mixer_of(form, mosaic=0.3, cutmix=0.5), mixer_of(form, cutmix=0.5)
    n_both = n_one = 0
    for seed in range(300):
        given_both, given_one = Others(form), Others(form)
        both(make_pair(form, 1), 0, draws_of(seed), given_both)
        one(make_pair(form, 1), 0, draws_of(seed), given_one)
        n_both += len(given_both.given) >= 3
        n_one += len(given_one.given)
        assert len(given_both.given) % 3 == len(given_one.given)  # cutmix is drawn alike
    assert 0.22 < n_both / 300 < 0.38 and 0.42 < n_one / 300 < 0.58


def test_the_line_that_says_so() -> None:
    mixer = mixer_of(form_of("binary"), 20, until=0.8, cutmix=0.5, mixup={"p": 0.25})
    assert mixer.describe() == (
        "mix: cutmix 50 %, mixup 25 % of the samples in the first 16 of 20 epochs, with training images of the fold"
    )
    assert "epochs" not in mixer_of(form_of("binary"), 20, mosaic=1).describe()


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({}, "expected mosaic, copy_paste, cutmix or mixup"),
        ({"until": 0.5}, "expected mosaic, copy_paste, cutmix or mixup"),
        (
            {"cutmix": {"area": [0.5, 0.1]}},
            r"expected \[low, high\] with low <= high, got \[0.5, 0.1\]",
        ),
        ({"mosaic": {"centre": [0.5, 0.1]}}, "low <= high"),
        ({"mixup": 0}, "greater than 0"),
        ({"mixup": {"alpha": 0}}, "greater than 0"),
        ({"cutmix": 1.5}, "less than or equal to 1"),
        ({"cutmx": 0.5}, "cutmix"),
        ({"until": 0, "cutmix": 0.5}, "greater than 0"),
        ("cutmix", "expected mosaic, copy_paste, cutmix or mixup, .*; got 'cutmix'"),
        ({"cutmix": True}, r"expected a probability, or \{p: 0.5, ...\}, got True"),
    ],
)
def test_what_is_refused(mix: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(Train, {"mix": mix}, "x")


def test_a_number_alone_is_the_probability_and_the_default_is_left_out() -> None:
    assert check(Train, {"mix": {"cutmix": 0.3}}, "x") == check(
        Train, {"mix": {"cutmix": {"p": 0.3}}}, "x"
    )
    assert "mix" not in Train().model_dump()
    assert Train().mix is None


@pytest.mark.parametrize("task", TASKS)
def test_hard_labels_as_planes_are_their_soft_planes_and_a_losss_target(task: str) -> None:
    form = form_of(task)
    labels = make_pair(form, 1)[1]
    truth = form.truth(labels, planes=True)
    planes = form.planes_of(labels)
    assert len(planes) == sum(n_planes(task, form.n_classes))
    wanted = Form(task, form.n_classes, soft=True).truth(planes)
    target = make_target(torch.from_numpy(labels)[None], task, form.n_classes)
    for name, its in (("planes", target.planes), ("valid", target.valid)):
        assert truth[name].dtype == wanted[name].dtype == np.float32
        np.testing.assert_array_equal(truth[name], wanted[name])
        np.testing.assert_array_equal(truth[name], its[0].numpy())
