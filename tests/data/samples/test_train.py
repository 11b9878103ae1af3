"""Samples depend on (seed, epoch, index) and on nothing else: workers, order, restarts."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from comp.config import Train
from comp.data.cache.open import open_cache
from comp.data.samples.augment import build_augment
from comp.data.samples.loader import TrainLoader
from comp.data.samples.train import TrainSamples, crops_of, scale_image, train_recipe
from comp.errors import DataError

AUGMENT = (
    {"HorizontalFlip": {"p": 0.5}},
    {"VerticalFlip": {"p": 0.5}},
    {"RandomBrightnessContrast": {"p": 0.5}},
    {"Affine": {"rotate": [-20, 20], "p": 0.5}},
)
CROP = {"mode": "crop", "size": (16, 16), "scale_jitter": (0.75, 1.33), "batch_size": 4}
SOFT = {"mode": "resize", "size": (8, 16), "soft_masks": True, "batch_size": 4}
NEAREST = {**SOFT, "soft_masks": False}


def samples_of(
    toy: Any, options: dict[str, Any], specs: Any = AUGMENT, indices: Any = None
) -> TrainSamples:
    train = Train(**options)
    competition = toy.competition
    cache = open_cache(toy.workspace.cache, competition, toy.records.train, train_recipe(train))
    chosen = range(len(cache)) if indices is None else indices
    augment = build_augment(specs, train_recipe(train).soft)
    return TrainSamples(
        cache, chosen, train, augment, train.seed, competition.task, competition.n_classes
    )


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def epoch_of(loader: TrainLoader, epoch: int, start: int = 0) -> list[dict[str, torch.Tensor]]:
    return list(loader.epoch(epoch, start))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("options", [CROP, SOFT, NEAREST])
def test_shapes_and_types(make_toy, task: str, options: dict[str, Any]) -> None:
    samples = samples_of(make_toy(task), options)
    size = options["size"]
    n = 1 if task == "binary" else 3
    for index in range(len(samples)):
        sample = samples[(0, index)]
        assert sample["image"].shape == (3, *size) and sample["image"].dtype == torch.uint8
        assert int(sample["number"]) == index
        assert all(tensor.is_contiguous() for tensor in sample.values())
        if options is SOFT:
            assert sample["planes"].shape == (n, *size)
            assert sample["valid"].shape == ((n if task == "multilabel" else 1), *size)
            assert sample["planes"].dtype == sample["valid"].dtype == torch.float32
            assert set(sample["valid"].unique().tolist()) <= {0.0, 1.0}
            assert sample["planes"].min() >= 0 and sample["planes"].max() <= 1
            assert "labels" not in sample
        else:
            assert sample["labels"].shape == ((3, *size) if task == "multilabel" else size)
            assert sample["labels"].dtype == torch.uint8
            allowed = {0, 1, 2, 255} if task == "multiclass" else {0, 1, 255}
            assert set(sample["labels"].unique().tolist()) <= allowed


def test_resize_without_augmentation_is_the_cache(make_toy) -> None:
    samples = samples_of(make_toy(), SOFT, specs=())
    image = samples.cache.image(5)
    np.testing.assert_array_equal(samples[(3, 5)]["image"].numpy(), image.transpose(2, 0, 1))
    np.testing.assert_allclose(
        samples[(3, 5)]["planes"][0], samples.cache.labels(5)[0] / 255, atol=1e-6
    )


@pytest.mark.parametrize("options", [CROP, SOFT])
def test_draws_differ_by_seed_epoch_and_index_and_agree_on_rerun(make_toy, options: Any) -> None:
    toy = make_toy()
    samples, again = samples_of(toy, options), samples_of(toy, options)
    other = samples_of(toy, {**options, "seed": 1})
    keys = [(epoch, index) for epoch in range(3) for index in range(12)]
    assert all(equal(samples[key], again[key]) for key in reversed(keys))
    assert not all(equal(samples[key], other[key]) for key in keys)
    views = {samples[(epoch, 3)]["image"].numpy().tobytes() for epoch in range(12)}
    assert len(views) >= 8


def test_several_crops_of_an_image_differ(make_toy) -> None:
    samples = samples_of(make_toy(), {**CROP, "crops_per_image": 3}, indices=[4, 7])
    assert len(samples) == 6
    drawn = [samples[(0, i)] for i in range(6)]
    assert [int(s["number"]) for s in drawn] == [4, 4, 4, 7, 7, 7]
    assert len({s["image"].numpy().tobytes() for s in drawn}) == 6
    assert len(samples_of(make_toy(), {**SOFT, "crops_per_image": 3})) == 12  # one a whole image


def test_deep_and_8_bit_images_share_a_batch(make_toy) -> None:
    import cv2

    toy = make_toy(n=5)
    deep = np.random.default_rng(0).integers(0, 65536, (21, 27, 3), np.uint16)
    cv2.imwrite(str(toy.data / "images" / "t001.png"), deep)
    samples = samples_of(toy, CROP)
    (batch,) = epoch_of(TrainLoader(samples, 8, 0), 0)
    assert batch["image"].dtype == torch.float32
    assert batch["image"].min() >= 0 and 0.5 < batch["image"].max() <= 1


def test_the_wrong_cache_and_no_images_are_refused(make_toy) -> None:
    toy = make_toy()
    good = samples_of(toy, CROP)
    with pytest.raises(ValueError, match="train wants the cache 8x16-soft, got native"):
        TrainSamples(good.cache, [0], Train(**SOFT), good.augment, 0, "binary", 1)
    with pytest.raises(DataError, match="no images to train on"):
        samples_of(toy, CROP, indices=[])
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.test)
    with pytest.raises(DataError, match="2 training images have no mask, among them 's0'"):
        TrainSamples(cache, [0, 1], Train(**CROP), good.augment, 0, "binary", 1)


def test_global_random_state_is_neither_read_nor_touched(make_toy) -> None:
    samples = samples_of(make_toy(), CROP)
    torch.manual_seed(0)
    np.random.seed(0)
    a = epoch_of(TrainLoader(samples, 4, 0), 0)
    torch.manual_seed(99)
    np.random.seed(99)
    before = torch.get_rng_state().clone()
    b = epoch_of(TrainLoader(samples, 4, 0), 0)
    assert all(equal(x, y) for x, y in zip(a, b, strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_samples_pickle_small(make_toy) -> None:
    assert len(pickle.dumps(samples_of(make_toy(), CROP))) < 5000


def test_scale_image() -> None:
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    scaled = scale_image(image)
    assert scaled.dtype == torch.float32
    np.testing.assert_array_equal(
        scaled.numpy().ravel(), np.arange(256, dtype=np.float32) / np.float32(255)
    )
    assert scale_image(scaled) is scaled
    kept = image.contiguous(memory_format=torch.channels_last)
    assert scale_image(kept).is_contiguous(memory_format=torch.channels_last)


def test_soft_and_hard_agree_where_a_pixel_is_pure(make_toy) -> None:
    toy = make_toy("multiclass")
    soft, hard = samples_of(toy, SOFT, specs=()), samples_of(toy, NEAREST, specs=())
    for index in range(12):
        planes, labels = soft[(0, index)]["planes"], hard[(0, index)]["labels"]
        pure = (
            (planes.max(dim=0).values == 1) & (soft[(0, index)]["valid"][0] == 1) & (labels != 255)
        )
        assert torch.equal(planes.argmax(dim=0)[pure], labels[pure].long())


@pytest.mark.parametrize(
    ("size", "crops"), [((64, 64), 1), ((65, 64), 2), ((128, 128), 2), ((300, 64), 3), ((8, 8), 1)]
)
def test_auto_crops_grow_with_the_side_of_an_image(size: tuple[int, int], crops: int) -> None:
    train = Train(mode="crop", size=(64, 64), crops_per_image="auto")
    assert crops_of(train, size) == crops
    assert crops_of(train.model_copy(update={"mode": "resize"}), size) == 1


# train.mix

EVERY = {"mosaic": 0.5, "copy_paste": 0.5, "cutmix": 0.5, "mixup": 0.5}
PASTED = {name: p for name, p in EVERY.items() if name != "mixup"}


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("options", [CROP, SOFT, NEAREST])
@pytest.mark.parametrize("mix", [EVERY, PASTED], ids=["with mixup", "without"])
def test_mixed_samples_of_every_mode_and_task(
    make_toy, task: str, options: dict[str, Any], mix: Any
) -> None:
    mixed, plain = (samples_of(make_toy(task), {**options, "mix": m}) for m in (mix, None))
    for i in range(12):
        sample, alone = mixed[(0, i)], plain[(0, i)]
        soft = options is SOFT or mix is EVERY
        assert sorted(sample) == sorted(
            ["image", "number", *(["planes", "valid"] if soft else ["labels"])]
        )
        assert sample["image"].dtype == torch.uint8
        assert sample["image"].shape == alone["image"].shape
        assert torch.equal(sample["number"], alone["number"])
        for name in set(sample) & set(alone):
            assert sample[name].shape == alone[name].shape
            assert sample[name].dtype == alone[name].dtype
        if not soft:
            allowed = {0, 1, 2, 255} if task == "multiclass" else {0, 1, 255}
            assert set(sample["labels"].unique().tolist()) <= allowed
        else:
            assert sample["planes"].min() >= 0 and sample["planes"].max() <= 1
            assert set(sample["valid"].unique().tolist()) <= {0.0, 1.0}


def test_partners_are_training_images_of_the_fold(make_toy, monkeypatch) -> None:
    samples = samples_of(make_toy(), {**CROP, "mix": EVERY}, indices=[1, 4, 6, 7])
    read: set[int] = set()
    image = samples.cache.image
    monkeypatch.setattr(samples.cache, "image", lambda i: (read.add(i), image(i))[1])
    for epoch in range(10):
        for i in range(4):
            assert int(samples[(epoch, i)]["number"]) == samples.indices[i]
    assert read == {1, 4, 6, 7}


def test_where_nothing_is_mixed_a_sample_is_what_it_is_without(make_toy) -> None:
    toy = make_toy()
    plain = samples_of(toy, CROP)
    rare = samples_of(toy, {**CROP, "mix": {"cutmix": 0.3}})
    over = samples_of(toy, {**CROP, "epochs": 4, "mix": {"cutmix": 1, "until": 0.5}})
    same = [equal(plain[(0, i)], rare[(0, i)]) for i in range(12)]
    assert 0 < sum(same) < 12
    assert not any(equal(plain[(1, i)], over[(1, i)]) for i in range(12))
    assert all(equal(plain[(2, i)], over[(2, i)]) for i in range(12))


@pytest.mark.parametrize("options", [CROP, SOFT])
def test_mixed_samples_are_a_function_of_seed_epoch_and_index(make_toy, options: Any) -> None:
    toy = make_toy()
    sampler = {"by": "emptiness", "share": 0.9, "samples": 30}
    if options is CROP:
        sampler |= {"positive_share": 0.5}
    options = {**options, "mix": EVERY, "sampler": sampler}
    samples, again = samples_of(toy, options), samples_of(toy, options)
    loader = TrainLoader(samples, 4, 0)
    first = epoch_of(loader, 1)
    assert len(first) == 7
    for batch, keys in zip(first, loader._plan, strict=True):
        assert all(
            equal({k: v[n] for k, v in batch.items()}, again[key]) for n, key in enumerate(keys)
        )
    rest = epoch_of(TrainLoader(again, 4, 0), 1, start=3)
    assert all(equal(a, b) for a, b in zip(first[3:], rest, strict=True))
    assert not all(equal(a, b) for a, b in zip(first, epoch_of(loader, 2), strict=True))
    copy = pickle.loads(pickle.dumps(samples))
    assert all(equal(copy[(1, i)], samples[(1, i)]) for i in range(5))


def test_partners_are_drawn_as_the_sampler_draws(make_toy) -> None:
    """Every fifth mask is empty: with share 1 none of those is mixed in."""
    samples = samples_of(
        make_toy(n=20), {**CROP, "sampler": {"by": "emptiness", "share": 1.0}}, specs=()
    )
    samples_plain = samples_of(make_toy(n=20), CROP, specs=())
    empty = {i for i in range(20) if not (samples.cache.labels(i) == 1).any()}
    assert len(empty) == 4

    def drawn(which: TrainSamples) -> set[int]:
        rng, found = np.random.default_rng(0), set()
        draw = which._draw
        which._draw = lambda place, *rest: (  # type: ignore[method-assign]
            found.add(which.place[place]),
            draw(place, *rest),
        )[1]
        for _ in range(200):
            which.partner(0, rng)
        return found

    assert drawn(samples).isdisjoint(empty) and empty <= drawn(samples_plain)


def test_deep_and_8_bit_images_are_mixed_as_one_type(make_toy) -> None:
    import cv2

    toy = make_toy(n=5)
    deep = np.random.default_rng(0).integers(0, 65536, (21, 27, 3), np.uint16)
    cv2.imwrite(str(toy.data / "images" / "t001.png"), deep)
    samples = samples_of(toy, {**CROP, "mix": EVERY})
    for epoch in range(4):
        (batch,) = epoch_of(TrainLoader(samples, 8, 0), epoch)
        assert batch["image"].dtype == torch.float32
        assert batch["image"].min() >= 0 and 0.5 < batch["image"].max() <= 1
