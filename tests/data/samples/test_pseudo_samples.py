"""Batches that mix in pseudo-labelled images: the share, the order, the pixels, any number of workers."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comp.config import Train
from comp.data.cache.cache import Cache
from comp.data.cache.open import open_cache
from comp.data.images.resize import n_planes
from comp.data.samples.augment import build_augment
from comp.data.samples.order import EpochSampler
from comp.data.samples.pseudo import PseudoMember, PseudoSource
from comp.data.samples.pseudo_labels import write_labels
from comp.data.samples.pseudo_samples import (
    NUMBER,
    MixedLoader,
    MixedSampler,
    MixedSamples,
    PseudoImages,
    pseudo_loader,
)
from comp.data.samples.train import TrainSamples, train_recipe
from comp.files import sha256
from comp.store import Probs, ProbsWriter
from tests.data.samples.test_train import AUGMENT, CROP, EVERY, NEAREST, SOFT, equal, samples_of

CPU = torch.device("cpu")


def source_of(toy: Any, fold: int = 0) -> PseudoSource:
    """A run `first` whose fold k gives the test images random probabilities."""
    rng = np.random.default_rng(fold)
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.test)
    files = {}
    with ProbsWriter(toy.workspace.fold("first", fold) / "test.none") as writer:
        for i, image_id in enumerate(cache.ids):
            p = rng.random((toy.competition.n_classes, *cache.original_size(i))) ** 4
            if toy.competition.task == "multiclass":
                p /= p.sum(axis=0)
            writer.append(image_id, np.rint(p * 255).astype(np.uint8))
        for path in writer.commit():
            files[f"fold{fold}/{path.name}"] = sha256(path)
    return PseudoSource("first", "run", (PseudoMember("first", "none", "h", files),))


def mixed_of(toy: Any, options: dict[str, Any], specs: Any = AUGMENT) -> MixedSamples:
    real = samples_of(toy, options, specs)
    recipe = replace(train_recipe(real.train), soft=False)
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.test, recipe)
    stem = toy.workspace.root / "labels"
    written = write_labels(source_of(toy), toy.workspace, 0, cache, (0.3, 0.7), stem)
    augment = build_augment(specs, soft=True)
    return MixedSamples(real, PseudoImages(cache, written.path, real.train, augment, real.seed))


class Images:
    """Only what a sampler asks of `PseudoImages`."""

    def __init__(self, n: int) -> None:
        self.place, self.seed = list(range(n)), 3

    numbers = PseudoImages.numbers


@given(
    n=st.integers(1, 60),
    test=st.integers(1, 9),
    share=st.sampled_from([0.01, 0.1, 0.25, 0.29, 1 / 3, 0.5, 0.9]),
    batch=st.integers(1, 9),
)
def test_the_share_of_every_batch(n: int, test: int, share: float, batch: int) -> None:
    sampler = MixedSampler(EpochSampler(n, 0), Images(test), share)  # type: ignore[arg-type]
    for epoch in range(2):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(keys) == len(sampler)
        real = [key[1] for key in keys if key[1] >= 0]
        slots = [-1 - key[1] for key in keys if key[1] < 0]
        assert sorted(real) == list(range(n)) and slots == list(range(len(slots)))
        plain = EpochSampler(n, 0)
        plain.set_epoch(epoch)
        assert real == [
            key[1] for key in plain
        ]  # in the order that they have without pseudo-labels
        assert all(key[0] == epoch for key in keys)
        assert abs(len(slots) - share * len(keys)) <= 1
        for start in range(0, len(keys) - batch + 1, batch):
            drawn = sum(key[1] < 0 for key in keys[start : start + batch])
            assert abs(drawn - share * batch) < 1


@given(n=st.integers(1, 7), cuts=st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_every_test_image_comes_once_a_round_whatever_the_epochs(n: int, cuts: list[int]) -> None:
    images: Any = Images(n)
    ends = np.cumsum([0, *cuts]).tolist()
    parts = [images.numbers(a, b) for a, b in pairwise(ends)]
    together = [i for part in parts for i in part]
    assert together == images.numbers(0, ends[-1])
    assert max(Counter(together).values(), default=0) <= -(-len(together) // n)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("options", [CROP, SOFT, NEAREST], ids=["crop", "soft", "nearest"])
def test_batches_of_every_mode_and_task(make_toy: Any, task: str, options: Any) -> None:
    toy = make_toy(task)
    samples = mixed_of(toy, options)
    loader = MixedLoader(samples, 0.25, 4, 0)
    assert len(loader) == loader.n_batches == 4  # 12 images, 3 a batch
    n_class, n_valid = n_planes(task, toy.competition.n_classes)
    size = options["size"]
    batches = list(loader.epoch(0))
    assert len(batches) == 4
    seen = []
    for batch in batches:
        assert sorted(batch) == ["image", "number", "planes", "valid"]
        assert batch["image"].shape == (4, 3, *size) and batch["image"].dtype == torch.uint8
        assert batch["planes"].shape == (4, n_class, *size)
        assert batch["valid"].shape == (4, n_valid, *size)
        assert batch["planes"].min() >= 0 and batch["planes"].max() <= 1
        assert set(batch["valid"].unique().tolist()) <= {0.0, 1.0}
        assert (batch["number"] == NUMBER).sum() == 1
        seen += batch["number"].tolist()
    assert sorted(i for i in seen if i >= 0) == list(range(12))
    again = list(loader.epoch(0))
    assert all(equal(a, b) for a, b in zip(batches, again, strict=True))
    other = list(loader.epoch(1))
    assert not all(equal(a, b) for a, b in zip(batches, other, strict=True))
    rest = list(loader.epoch(0, start=2))
    assert all(equal(a, b) for a, b in zip(batches[2:], rest, strict=True))


def test_training_images_are_what_they_are_without(make_toy: Any) -> None:
    toy = make_toy("multiclass")
    samples = mixed_of(toy, CROP)
    for i in range(3):
        plain, mixed = samples.real[(1, i)], samples[(1, i)]
        assert torch.equal(plain["image"], mixed["image"])
        labels = plain["labels"].long()
        assert torch.equal(mixed["valid"][0] > 0, labels != 255)
        kept = labels != 255
        assert torch.equal(mixed["planes"].argmax(0)[kept], labels[kept])
        assert (mixed["planes"].sum(0)[kept] == 1).all()


@pytest.mark.parametrize(
    "options", [CROP | {"scale_jitter": None}, NEAREST], ids=["crop", "resize"]
)
def test_labels_stay_on_their_pixels(make_toy: Any, options: Any) -> None:
    """The image of a test sample is made to be its own labels: after all, both must still agree."""
    toy = make_toy("binary")
    samples = mixed_of(toy, options, specs=AUGMENT[:2])

    class Painted(Cache):
        def image(self, i: int) -> np.ndarray:
            planes = samples.pseudo._planes.read(self.ids[i])
            return np.ascontiguousarray(np.moveaxis(planes[[0, 1, 1]], 0, -1))

    samples.pseudo.cache = Painted(samples.pseudo.cache.path)
    for slot in range(12):
        image, planes = samples.pseudo.draw(2, slot, slot % 2)
        assert (image[..., 0] == planes[0]).all() and (image[..., 1] == planes[1]).all()
    sample = samples[(2, -1, 0)]
    assert int(sample["number"]) == NUMBER
    weight = sample["image"][1].float()
    assert torch.equal(sample["valid"][0] > 0, weight >= 128)
    share = (sample["image"][0] / weight.clamp_min(1)).clamp_max(1)
    assert torch.allclose(sample["planes"][0], share)


def test_two_workers_give_the_same_batches(make_toy: Any) -> None:
    samples = mixed_of(make_toy("binary"), CROP)
    assert len(pickle.dumps(samples)) < 20_000
    alone = MixedLoader(samples, 0.5, 4, 0)
    expected = [list(alone.epoch(e)) for e in range(2)]
    loader = MixedLoader(samples, 0.5, 4, 0, workers=2)
    try:
        found = [list(loader.epoch(e)) for e in range(2)]
    finally:
        loader.close()
    for a, b in zip(expected, found, strict=True):
        assert len(a) == 6 and all(equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_sampler_draws_the_training_images(make_toy: Any) -> None:
    sampler = {"by": "emptiness", "share": 1.0, "samples": 9}
    samples = mixed_of(make_toy("binary"), CROP | {"sampler": sampler})
    loader = MixedLoader(samples, 0.25, 4, 0)
    batches = list(loader.epoch(0))
    assert [(b["number"] == NUMBER).sum().item() for b in batches] == [1, 1, 1]
    presence = samples.real.cache.stats.presence()
    numbers = [i for b in batches for i in b["number"].tolist() if i >= 0]
    assert len(numbers) == 9 and all(presence[i].any() for i in numbers)


@pytest.mark.parametrize("which", ["train", "test"])
def test_float_images_beside_8_bit_ones(make_toy: Any, which: str) -> None:
    import cv2

    toy = make_toy("binary")
    name = "images/t003.png" if which == "train" else "test/s1.png"
    path = toy.data / name
    image = cv2.imread(str(path)).astype(np.uint16) * 257
    cv2.imwrite(str(path), image)
    samples = mixed_of(toy, CROP)
    assert samples.as_float
    for batch in MixedLoader(samples, 0.5, 4, 0).epoch(0):
        assert batch["image"].dtype == torch.float32
        assert batch["image"].min() >= 0 and 0.5 < batch["image"].max() <= 1


def test_the_loader_of_a_fold_and_what_it_leaves(make_toy: Any) -> None:
    toy = make_toy("binary")
    train = {**CROP, "pseudo": {"share": 0.5, "confidence": [0.3, 0.7]}}
    samples: TrainSamples = samples_of(toy, train)
    folder: Path = toy.workspace.fold("second", 1)
    loader = pseudo_loader(
        source_of(toy, 1),
        1,
        samples,
        AUGMENT,
        toy.workspace,
        toy.competition,
        toy.records.test,
        folder,
        CPU,
    )
    assert "50 % of a batch from 2 test images as fold 1 of run first sees them" in loader.text
    assert "% of their pixels are sure" in loader.text and isinstance(samples.train, Train)
    assert Probs(folder / "pseudo.npy").ids == ["s0", "s1"]
    assert len(list(loader.epoch(0))) == 6
    loader.close()
    assert not list(folder.iterdir())


# train.mix


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("options", [CROP, SOFT, NEAREST], ids=["crop", "soft", "nearest"])
def test_training_samples_are_mixed_with_training_samples_alone(
    make_toy: Any, task: str, options: Any
) -> None:
    samples = mixed_of(make_toy(task), {**options, "mix": EVERY})
    alone = mixed_of(make_toy(task), options)
    for epoch in range(2):
        for i in range(12):
            plain, mixed = samples.real[(epoch, i)], samples[(epoch, i)]
            assert torch.equal(plain["image"], mixed["image"]) and int(mixed["number"]) == i
        for slot in range(4):
            key = (epoch, -1 - slot, slot % 2)
            mixed, plain = samples[key], alone[key]
            assert int(mixed["number"]) == NUMBER and sorted(mixed) == sorted(plain)
            assert all(mixed[name].shape == plain[name].shape for name in plain)
            assert all(mixed[name].dtype == plain[name].dtype for name in plain)
            assert equal(mixed, samples[key])
    copy = pickle.loads(pickle.dumps(samples))
    assert equal(copy[(1, -1, 1)], samples[(1, -1, 1)])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_what_is_pasted_into_a_pseudo_labelled_image_is_sure_and_the_rest_as_before(
    make_toy: Any, monkeypatch: Any, task: str
) -> None:
    samples = mixed_of(make_toy(task), {**CROP, "mix": {"cutmix": 1}}, specs=())
    plain = mixed_of(make_toy(task), CROP, specs=())
    given: list[Any] = []
    partner = samples.real.partner
    monkeypatch.setattr(
        samples.real, "partner", lambda *rest: (given.append(partner(*rest)), given[-1])[1]
    )
    for slot in range(6):
        key = (0, -1 - slot, 0)
        mixed, before = samples[key], plain[key]
        image, labels = given.pop()
        truth = samples.real.form.truth(labels, planes=True)
        pasted = (mixed["image"].numpy() != before["image"].numpy()).any(axis=0)
        assert 0.02 < pasted.mean() < 0.6
        assert np.array_equal(
            mixed["image"].numpy()[:, pasted], image.transpose(2, 0, 1)[:, pasted]
        )
        for name in ("planes", "valid"):
            mine, its = mixed[name].numpy(), truth[name]
            # the box, as far as the noise of the image shows it
            rows, columns = (np.flatnonzero(pasted.any(axis=a)) for a in (1, 0))
            box = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            assert np.array_equal(mine[box], its[box])
            outside = np.ones(mine.shape, bool)
            outside[box] = False
            assert np.array_equal(mine[outside], before[name].numpy()[outside])


@pytest.mark.parametrize("which", ["train", "test"])
def test_mixed_images_of_two_types(make_toy: Any, which: str) -> None:
    import cv2

    toy = make_toy("binary")
    path = toy.data / ("images/t003.png" if which == "train" else "test/s1.png")
    cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    samples = mixed_of(toy, {**CROP, "mix": EVERY})
    for batch in MixedLoader(samples, 0.25, 4, 0).epoch(0):
        assert batch["image"].dtype == torch.float32 and batch["image"].max() <= 1


def test_losses_reach_the_sampler_of_training_images(make_toy: Any) -> None:
    sampler = {"by": "loss", "share": 0.9, "samples": 30}
    loader = MixedLoader(mixed_of(make_toy(), {**CROP, "sampler": sampler}), 0.25, 4, 0)
    losses = np.zeros(12)
    losses[4] = 1.0
    loader.heed(losses)
    numbers = [n for batch in loader.epoch(0) for n in batch["number"].tolist() if n >= 0]
    assert numbers.count(4) >= 8  # 4 times as often as without, but for the rest of 0.1
