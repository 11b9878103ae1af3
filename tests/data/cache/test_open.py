"""The decode-once cache: right arrays, decoded once whoever asks, whole or not there at all."""

from __future__ import annotations

import errno
import os
import pickle
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from comp.data.cache import build as cache_build
from comp.data.cache import open as cache_module
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.open import count_decodes, index_path, open_cache
from comp.data.images.read import read_image
from comp.data.images.resize import resize_image, resize_labels, soft_planes
from comp.data.sources.labels import read_labels
from comp.errors import DataError, DiskError

NATIVE = Recipe()
TASKS = ["binary", "multiclass", "multilabel"]


def open_toy(toy: Any, recipe: Recipe = NATIVE, **options: Any) -> Cache:
    return open_cache(toy.workspace.cache, toy.competition, toy.records.train, recipe, **options)


@pytest.mark.parametrize("task", TASKS)
def test_native_is_what_the_files_hold(make_toy, task: str) -> None:
    toy = make_toy(task)
    cache = open_toy(toy, n_threads=3)
    assert cache.ids == tuple(r.image_id for r in toy.records.train)
    assert cache.image_dtype == np.uint8
    for i, record in enumerate(toy.records.train):
        image = read_image(record.image, 3)
        np.testing.assert_array_equal(cache.image(i), image)
        np.testing.assert_array_equal(cache.labels(i), read_labels(record, toy.competition))
        assert cache.original_size(i) == image.shape[:2]
        assert cache.number(record.image_id) == i
        assert not cache.image(i).flags.writeable


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("native_first", [False, True])
def test_resized_is_the_same_from_files_and_from_native(
    make_toy, task: str, soft: bool, native_first: bool
) -> None:
    toy = make_toy(task, n=4)
    if native_first:
        open_toy(toy)
    cache = open_toy(toy, Recipe((16, 8), soft))
    assert cache.decodes == (0 if native_first else 4)
    n_classes = toy.competition.n_classes
    for i, record in enumerate(toy.records.train):
        labels = read_labels(record, toy.competition)
        wanted = resize_labels(labels, (16, 8))
        if soft:
            wanted = soft_planes(labels, task, n_classes, (16, 8))
        np.testing.assert_array_equal(
            cache.image(i), resize_image(read_image(record.image, 3), (16, 8))
        )
        np.testing.assert_array_equal(cache.labels(i), wanted)
    assert cache.original_size(0) == (20, 26)


def test_many_at_once_decode_once(make_toy) -> None:
    toy = make_toy(n=10)
    opened: list[Cache] = []
    threads = [threading.Thread(target=lambda: opened.append(open_toy(toy))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    assert count_decodes(toy.workspace.cache) == 10
    open_toy(toy, Recipe((8, 8)))
    open_toy(toy, Recipe((8, 8), soft=True))
    assert count_decodes(toy.workspace.cache) == 10


def test_pickle_carries_the_path_only(make_toy) -> None:
    cache = open_toy(make_toy())
    carried = pickle.dumps(cache)
    assert len(carried) < 500
    np.testing.assert_array_equal(pickle.loads(carried).image(3), cache.image(3))


def test_test_images_have_no_labels(make_toy) -> None:
    toy = make_toy()
    cache = open_cache(toy.workspace.cache, toy.competition, toy.records.test, Recipe((8, 8)))
    assert cache.labels(0) is None
    assert cache.image(1).shape == (8, 8, 3)
    assert cache.stats.counts.tolist() == [[-1], [-1]]


def test_stats_need_no_second_look(make_toy) -> None:
    toy = make_toy("multiclass")
    cache = open_toy(toy)
    stats = cache.stats
    for i in range(len(cache)):
        labels = cache.labels(i)
        assert stats.counts[i].tolist() == [int((labels == k).sum()) for k in range(3)]
        assert stats.valid[i].tolist() == [int((labels != 255).sum())] * 3
        assert stats.sizes[i].tolist() == list(labels.shape)
    np.testing.assert_allclose(stats.coverage().sum(axis=1), 1)
    again = open_toy(toy, Recipe((8, 8))).stats
    np.testing.assert_array_equal(again.counts, stats.counts)
    assert again.hashes == stats.hashes


def test_stats_of_multilabel(make_toy) -> None:
    cache = open_toy(make_toy("multilabel"))
    labels = cache.labels(2)
    assert cache.stats.counts[2].tolist() == [int((plane == 1).sum()) for plane in labels]


def test_duplicates_are_seen_and_blank_tiles_are_not(make_toy) -> None:
    toy = make_toy()
    images = toy.data / "images"
    (images / "t007.png").write_bytes((images / "t004.png").read_bytes())
    (toy.data / "masks" / "t007.png").write_bytes((toy.data / "masks" / "t004.png").read_bytes())
    for name in ("t000", "t006"):
        size = read_image(images / f"{name}.png", 3).shape
        cv2.imwrite(str(images / f"{name}.png"), np.zeros(size, np.uint8))
    assert open_toy(toy).stats.duplicates() == [[4, 7]]


def test_deep_images_are_float_and_may_stand_beside_8_bit(make_toy) -> None:
    toy = make_toy(n=3)
    deep = np.random.default_rng(0).integers(0, 65536, (21, 27, 3), np.uint16)
    cv2.imwrite(str(toy.data / "images" / "t001.png"), deep)
    cache = open_toy(toy)
    assert cache.image_dtype == np.float32
    assert cache.image(0).dtype == np.uint8
    np.testing.assert_allclose(cache.image(1), deep[..., ::-1] / 65535, atol=1e-6)
    assert open_toy(toy, Recipe((8, 8))).image(1).dtype == np.float32


def test_the_name_changes_with_everything_that_changes_the_content(make_toy) -> None:
    toy = make_toy()
    records = toy.records.train

    def name(
        competition: Any = toy.competition, recipe: Recipe = NATIVE, rows: Any = records
    ) -> str:
        return index_path(toy.workspace.cache, competition, rows, recipe).name

    def changed(**data: Any) -> Any:
        update = toy.competition.data.model_copy(update=data)
        return toy.competition.model_copy(update={"data": update})

    before = name()
    names = {
        before, name(recipe=Recipe((8, 8))), name(recipe=Recipe((8, 8), True)), name(rows=records[1:]),
        name(changed(channels=1)), name(changed(mask_threshold=9)), name(changed(mask_values={0: 0, 255: 1})),
        name(toy.competition.model_copy(update={"ignore_index": 7})),
    }  # fmt: skip
    assert len(names) == 8
    assert name() == before
    os.utime(records[3].masks[0], (1, 1))
    assert name() != before


def test_the_name_says_which_mask_belongs_to_which_image(make_toy) -> None:
    """Images of one place may share a mask; a mask given to another image is another content."""
    toy = make_toy()
    a, b, c = toy.records.train[:3]
    first = [a, b, replace(c, masks=a.masks)]
    second = [a, b, replace(c, masks=b.masks)]
    paths = [index_path(toy.workspace.cache, toy.competition, r, Recipe()) for r in (first, second)]
    assert paths[0] != paths[1]


def test_all_unreadable_files_are_named_and_nothing_stays(make_toy) -> None:
    toy = make_toy()
    (toy.data / "images" / "t002.png").write_bytes(b"not a picture")
    cv2.imwrite(str(toy.data / "masks" / "t005.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError) as caught:
        open_toy(toy)
    message = str(caught.value)
    assert message.startswith("2 of 12 images cannot be read:\n")
    assert "t002.png" in message and "t005.png" in message and "9 x 9" in message
    left = [p.name for p in toy.workspace.cache.iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_twenty_problems_are_listed_and_the_rest_counted(make_toy) -> None:
    toy = make_toy(n=25)
    for path in (toy.data / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="25 of 25 images cannot be read") as caught:
        open_toy(toy)
    assert len(str(caught.value).splitlines()) == 23  # the count, twenty, "and 5 more", what to do
    assert str(caught.value).splitlines()[-2] == "  and 5 more"


def test_missing_files_are_named(make_toy) -> None:
    toy = make_toy()
    records = toy.records.train
    records[0].image.unlink()
    with pytest.raises(DataError, match=r"1 files are missing: .*t000\.png"):
        open_cache(toy.workspace.cache, toy.competition, records)
    with pytest.raises(DataError, match="no images to cache"):
        open_cache(toy.workspace.cache, toy.competition, [])


@pytest.mark.parametrize("suffix", [".images", ".labels", ".json"])
def test_a_damaged_cache_is_made_again(make_toy, suffix: str) -> None:
    toy = make_toy()
    cache = open_toy(toy)
    expected = np.array(cache.image(5))
    damaged = cache.path.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises((DataError, ValueError)):
        Cache(cache.path)
    np.testing.assert_array_equal(open_toy(toy).image(5), expected)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_nothing(make_toy, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    toy = make_toy()
    write = cache_build._write

    def refuse(file: Any, array: np.ndarray) -> None:
        if file.tell() > 3000:
            raise OSError(code, os.strerror(code))
        write(file, array)

    monkeypatch.setattr(cache_build, "_write", refuse)
    with pytest.raises(DiskError, match="disk full" if code == errno.ENOSPC else "cannot write"):
        open_toy(toy)
    assert [p.suffix for p in toy.workspace.cache.iterdir()] == [".lock"]


def test_what_a_killed_builder_left_goes(make_toy) -> None:
    toy = make_toy()
    path = index_path(toy.workspace.cache, toy.competition, toy.records.train, Recipe())
    path.parent.mkdir(parents=True)
    left = path.parent / f".{path.stem}.images.1234.5.tmp"
    left.write_bytes(b"half")
    other = path.parent / ".native-other.images.1234.5.tmp"
    other.write_bytes(b"somebody else's")
    open_toy(toy)
    assert not left.exists() and other.exists()


def test_old_caches_of_a_kind_go_but_never_one_in_use(
    make_toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = make_toy(n=8)
    monkeypatch.setattr(cache_module, "KEEP", 2)
    records = toy.records.train
    made = [open_cache(toy.workspace.cache, toy.competition, records[i:]) for i in range(4)]
    resized = open_cache(toy.workspace.cache, toy.competition, records[4:], Recipe((8, 8)))
    assert all(cache.path.is_file() for cache in made)  # all used within the last day
    for age, cache in enumerate([resized, *made]):
        past = time.time() - 2 * cache_module.KEEP_SECONDS - age
        os.utime(cache.path, (past, past))
    newest = open_cache(toy.workspace.cache, toy.competition, records[5:])
    assert [cache.path.is_file() for cache in made] == [True, False, False, False]
    assert newest.path.is_file() and resized.path.is_file()
    assert not made[3].path.with_suffix(".images").exists()


def test_progress_is_told(make_toy) -> None:
    told: list[tuple[int, int]] = []
    open_toy(make_toy(n=5), progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 5) for i in range(1, 6)]


def test_soft_labels_need_a_size() -> None:
    with pytest.raises(ValueError, match="soft labels need a size"):
        Recipe(None, soft=True)


@pytest.mark.realdata
def test_nuclei_are_decoded_once(real_data: Path, tmp_path: Path) -> None:
    from comp.config import Competition
    from comp.data.sources.records import find_records

    root = real_data / "nuclei"
    pairs = {"images": "images/{id}.png", "masks": "masks/{id}.png"}
    competition = Competition.model_validate(
        {
            "name": "n",
            "task": "binary",
            "classes": ["nucleus"],
            "data": {"root": str(root), "train": [pairs]},
        }
    )
    records = find_records(competition, root).train[:40]
    for _ in range(2):
        for recipe in (Recipe(), Recipe((256, 256), soft=True)):
            cache = open_cache(tmp_path, competition, records, recipe)
    assert count_decodes(tmp_path) == 40
    assert cache.stats.duplicates() == []
