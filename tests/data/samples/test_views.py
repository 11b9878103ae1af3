"""Views of one picture: all distinct where the pipeline allows it; a stream that repeats is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import comp.data.samples.views as views_module
from comp.config import Competition, Train, check
from comp.data.cache.cache import Cache
from comp.data.cache.open import open_cache
from comp.data.samples.augment import Augment, build_augment
from comp.data.samples.loader import TrainLoader
from comp.data.samples.train import Sample, train_recipe
from comp.data.samples.views import N, check_views
from comp.data.sources.records import find_records
from tests.drawn import draw_kaggle

COLOURS = [{"RandomBrightnessContrast": {"p": 1.0}}]


@pytest.fixture
def train() -> Train:
    return Train(size=(24, 24), batch_size=2)


@pytest.fixture
def cache(tmp_path: Path, train: Train) -> Cache:
    draw_kaggle(tmp_path / "data", n=3, size=(40, 40), n_test=0)
    competition = check(
        Competition,
        {
            "name": "toy",
            "task": "binary",
            "classes": ["thing"],
            "data": {
                "root": "data",
                "train": [{"images": "images/{id}.png", "masks": "masks/{id}.png"}],
            },
        },
        "test",
    )
    records = find_records(competition, tmp_path / "data")
    return open_cache(tmp_path / "cache", competition, records.train, train_recipe(train))


class Stuck(Augment):
    """Keeps a random state of its own: each process that unpickles it begins the same stream."""

    def __init__(self, specs: object = (), soft: bool = False) -> None:
        super().__init__((), soft)
        self.rng = np.random.default_rng(0)

    def __reduce__(self) -> tuple[type[Stuck], tuple[()]]:
        return Stuck, ()

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.full_like(image, self.rng.integers(256)), labels


def test_every_view_is_another(cache: Cache, train: Train) -> None:
    found = check_views(cache, [0, 1, 2], train, build_augment(COLOURS), "binary", 1, workers=0)
    assert found.drawn == 2 * N and not found.problems
    assert found.distinct == found.possible == 2 * N


def test_few_possible_views_are_no_problem(cache: Cache, train: Train) -> None:
    whole = train.model_copy(update={"size": (40, 40)})
    plain = check_views(cache, [0], whole, build_augment([]), "binary", 1, workers=0)
    assert (plain.distinct, plain.possible, plain.problems) == (1, 1, ())
    flips = build_augment([{"HorizontalFlip": {"p": 0.5}}])
    flipped = check_views(cache, [0], whole, flips, "binary", 1, workers=0)
    assert (flipped.distinct, flipped.possible, flipped.problems) == (2, 2, ())


def test_an_epoch_that_repeats_is_found(
    cache: Cache, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Repeats(TrainLoader):
        def epoch(self, epoch: int, start: int = 0) -> Iterator[Sample]:
            batches = list(super().epoch(0))
            return iter(batches[:2] * (len(batches) // 2))

    monkeypatch.setattr(views_module, "TrainLoader", Repeats)
    found = check_views(cache, [0], train, build_augment(COLOURS), "binary", 1, workers=0)
    assert found.distinct == N // 2 and "repeat one another" in found.problems[0]


def test_random_numbers_of_its_own_are_found(cache: Cache, train: Train) -> None:
    found = check_views(cache, [0], train, Stuck(), "binary", 1, workers=0)
    assert "random numbers of its own" in found.problems[0]


@pytest.mark.slow
def test_real_workers_draw_what_this_process_draws_and_the_trap_is_found(
    cache: Cache, train: Train
) -> None:
    assert not check_views(cache, [0, 1, 2], train, build_augment(COLOURS), "binary", 1).problems
    found = check_views(cache, [0, 1, 2], train, Stuck(), "binary", 1)
    assert f"{N} distinct views of one crop among {2 * N}" in found.problems[0]
    assert found.distinct == 2 * N  # the crops alone would hide it
