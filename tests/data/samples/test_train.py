"""Samples depend on (seed, epoch, index) and on nothing else: workers, order, restarts."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch

from comp.config import Train
from comp.data.cache.open import open_cache
from comp.data.samples.augment import build_augment
from comp.data.samples.train import (
    EpochSampler,
    TrainLoader,
    TrainSamples,
    crops_of,
    derive,
    scale_image,
    train_loader,
    train_recipe,
)
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


def test_order_is_a_function_of_seed_and_epoch() -> None:
    sampler = EpochSampler(50, 3)
    first = list(sampler)
    assert sorted(first) == [(0, i) for i in range(50)]
    sampler.set_epoch(1)
    second = list(sampler)
    assert [i for _, i in first] != [i for _, i in second]
    assert {e for e, _ in second} == {1}
    again = EpochSampler(50, 3)
    again.set_epoch(1)
    assert list(again) == second
    assert list(EpochSampler(50, 4)) != first


def test_derive_is_the_same_everywhere() -> None:
    assert derive(0, 1, "crop") == 4534338081869672492
    assert len({derive(1, 2), derive(12), derive(1, 2, 0), derive(2, 1)}) == 4
    assert 0 <= derive("x") < 2**64


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("options", "workers"), [(CROP, 2), pytest.param(SOFT, 3, marks=pytest.mark.slow)]
)
def test_any_number_of_workers_gives_the_same_data(make_toy, options: Any, workers: int) -> None:
    """Bit for bit: prefetch thread and spawned workers, epochs in any order, from the middle too."""
    samples = samples_of(make_toy(n=14), options)
    alone = TrainLoader(samples, 4, seed=5)
    expected = {epoch: epoch_of(alone, epoch) for epoch in range(3)}
    assert len(alone) == len(expected[0]) == 3
    loader = TrainLoader(samples, 4, 5, workers)
    try:
        for epoch in (0, 2, 1):
            got = epoch_of(loader, epoch)
            assert len(got) == 3
            assert all(equal(a, b) for a, b in zip(got, expected[epoch], strict=True))
        rest = epoch_of(loader, 1, start=2)
        assert all(equal(a, b) for a, b in zip(rest, expected[1][2:], strict=True))
    finally:
        loader.close()
    seen = [batch["image"].numpy().tobytes() for epoch in expected.values() for batch in epoch]
    assert len(set(seen)) == len(seen)  # workers and epochs differ


def test_an_epoch_resumes_in_the_middle(make_toy) -> None:
    loader = TrainLoader(samples_of(make_toy(), CROP), 4, 0)
    whole = epoch_of(loader, 2)
    rest = epoch_of(loader, 2, start=1)
    assert len(rest) == len(whole) - 1 == 2
    assert all(equal(a, b) for a, b in zip(rest, whole[1:], strict=True))


@pytest.mark.parametrize(
    ("n", "batch", "sizes"), [(12, 5, [5, 5]), (3, 5, [3]), (5, 5, [5]), (6, 5, [5])]
)
def test_an_incomplete_last_batch_is_left_out_unless_it_is_the_only_one(
    make_toy, n: int, batch: int, sizes: list[int]
) -> None:
    loader = TrainLoader(samples_of(make_toy(), CROP, indices=range(n)), batch, 0)
    assert [len(b["image"]) for b in loader.epoch(0)] == sizes
    assert len(loader) == len(sizes)


class Broken(TrainSamples):
    def __getitem__(self, key: tuple[int, int]) -> Any:
        if key[1] == 7:
            raise DataError("sample 7 is broken")
        return super().__getitem__(key)


def test_an_exception_in_the_thread_is_raised_where_batches_are_taken(make_toy) -> None:
    samples = samples_of(make_toy(), CROP)
    samples.__class__ = Broken
    with pytest.raises(DataError, match="sample 7 is broken"):
        epoch_of(TrainLoader(samples, 3, 0), 0)
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


def test_leaving_early_stops_the_thread(make_toy) -> None:
    loader = TrainLoader(samples_of(make_toy(n=30), CROP), 1, 0)
    batches = loader.epoch(0)
    next(batches)
    assert "prefetch" in {thread.name for thread in threading.enumerate()}
    batches.close()
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


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


def test_train_loader_reads_the_config(make_toy) -> None:
    samples = samples_of(make_toy(), CROP)
    loader = train_loader(
        samples, Train(**{**CROP, "batch_size": 6, "seed": 4}), torch.device("cpu")
    )
    assert (loader.batch_size, loader.sampler.seed, loader.pin_memory, len(loader)) == (
        6,
        4,
        False,
        2,
    )
    loader.close()


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


@pytest.mark.gpu
def test_batches_are_pinned_for_cuda(make_toy) -> None:
    samples = samples_of(make_toy(), CROP)
    for workers in (0, 1):
        loader = train_loader(samples, Train(**{**CROP, "workers": workers}), torch.device("cuda"))
        assert all(b["image"].is_pinned() for b in loader.epoch(0))
        loader.close()


@pytest.mark.parametrize(
    ("size", "crops"), [((64, 64), 1), ((65, 64), 2), ((128, 128), 2), ((300, 64), 3), ((8, 8), 1)]
)
def test_auto_crops_grow_with_the_side_of_an_image(size: tuple[int, int], crops: int) -> None:
    train = Train(mode="crop", size=(64, 64), crops_per_image="auto")
    assert crops_of(train, size) == crops
    assert crops_of(train.model_copy(update={"mode": "resize"}), size) == 1
