"""A large image comes into the cache band by band: the same bytes, hash and levels as whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comp.data.cache import bands as cache_bands
from comp.data.cache import channel_stats as channel_module
from comp.data.cache.bands import LargeImage, large_image, on_disk, stretched, survey, write_image
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.open import index_path, open_cache
from comp.data.cache.stats import hash_pixels
from comp.data.images import tif_rows
from comp.data.images.bands import BandPath
from comp.data.images.read import read_image
from comp.data.images.resize import stretch_image
from comp.errors import DataError, DiskError
from tests.data.large import make_large
from tests.data.reading import data_of

RECIPES = [Recipe(), Recipe(stretch=True), Recipe((16, 24)), Recipe((16, 24), True, True)]


def large(image: np.ndarray, step: int = 3) -> LargeImage:
    starts = range(0, len(image), step)
    return LargeImage(
        image.shape[:2], image.shape[2], lambda: iter([image[s : s + step] for s in starts])
    )


def joined(image: LargeImage) -> np.ndarray:
    return np.concatenate(list(image.bands()))


PIXELS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)))


@given(PIXELS, st.integers(1, 9))
def test_hash_and_stretch_are_those_of_the_whole(image: np.ndarray, step: int) -> None:
    seen = survey(large(image, step))
    assert seen.pixel_hash == hash_pixels(image)
    low, high = np.percentile(image, (0.5, 99.8))
    assert (seen.low, seen.high) == pytest.approx((low, high), abs=1e-9)
    np.testing.assert_array_equal(joined(stretched(large(image, step), seen)), stretch_image(image))


@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 2))),
    st.integers(1, 9),
)
def test_numbers_of_16_bits_too(numbers: np.ndarray, step: int) -> None:
    image = (numbers / np.float64(65535)).astype(np.float32)
    seen = survey(large(image, step))
    assert seen.pixel_hash == hash_pixels(image)
    assert (seen.low, seen.high) == pytest.approx(np.percentile(image, (0.5, 99.8)), abs=1e-7)


def test_on_disk_is_the_image_and_leaves_no_file(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((20, 10, 3), np.float32)
    np.testing.assert_array_equal(on_disk(large(image), tmp_path), image)
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_said_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10 << 20})
    monkeypatch.setattr(cache_bands.shutil, "disk_usage", lambda path: usage)
    image = LargeImage((4096, 4096), 1, lambda: iter([np.zeros((8, 4096, 1), np.uint8)]))
    with (
        open(tmp_path / "x", "wb") as file,
        pytest.raises(DiskError, match=r"needs 16 MB of the cache and 10 MB are free"),
    ):
        write_image(file, image)
    assert (tmp_path / "x").stat().st_size == 0


@pytest.fixture
def tifs(make_toy: Any) -> Any:
    """A toy whose images are tif, two of them large when `small` bands are on."""
    toy = make_toy(n=4, size=(40, 56))
    for path in sorted((toy.data / "images").glob("*.png")):
        pixels = read_image(path, 3)
        tifffile.imwrite(path.with_suffix(".tif"), pixels, compression="zlib", rowsperstrip=7)
        path.unlink()
    pairs = toy.competition.data.train[0].model_copy(update={"images": "images/{id}.tif"})
    data = toy.competition.data.model_copy(update={"train": (pairs,)})
    toy.competition = toy.competition.model_copy(update={"data": data})
    return toy


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.kind)
@pytest.mark.parametrize("native_first", [False, True])
def test_the_cache_is_the_same(
    tifs: Any, recipe: Recipe, native_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tifs.records.train
    plain = open_cache(tifs.workspace.cache / "plain", tifs.competition, records, recipe)
    limit = 41 * 56  # some images are larger
    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", limit)
    monkeypatch.setattr(cache_bands, "LARGE_PIXELS", limit)
    monkeypatch.setattr(tif_rows, "BAND_BYTES", 2000)
    monkeypatch.setattr(cache_bands, "BAND_BYTES", 2000)
    folder = tifs.workspace.cache / "bands"
    if native_first:
        open_cache(folder, tifs.competition, records)
    banded = open_cache(folder, tifs.competition, records, recipe)
    assert banded.content_hash == plain.content_hash
    for i in range(len(plain)):
        np.testing.assert_array_equal(banded.image(i), plain.image(i))
        np.testing.assert_array_equal(banded.labels(i), plain.labels(i))
        assert banded.entry(i)["hash"] == plain.entry(i)["hash"]
        assert banded.original_size(i) == plain.original_size(i)
        height = len(plain.image(i))
        np.testing.assert_array_equal(banded.rows(i, 3, height - 2), plain.image(i)[3:-2])
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))


def test_bands_in_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    planes = [rng.integers(0, 60000, (40, 30), np.uint16) for _ in range(4)]
    paths = [tmp_path / f"b{k}.tif" for k in range(4)]
    for k, (path, plane) in enumerate(zip(paths, planes, strict=True)):
        tifffile.imwrite(path, plane, rowsperstrip=3 + k)
    image, how = BandPath.of(paths), data_of(channels=4)
    whole = read_image(image, how)
    make_large(monkeypatch, 100)
    found = large_image(image, how)
    assert found is not None and found.shape == whole.shape
    np.testing.assert_array_equal(joined(found), whole)
    tifffile.imwrite(paths[2], planes[2].astype(np.uint8), rowsperstrip=5)
    with pytest.raises(DataError, match=r"b2\.tif: .* uint8, but .*b0\.tif, a band of the same"):
        joined(found)
    tifffile.imwrite(paths[2], planes[2][:-1], rowsperstrip=5)
    with pytest.raises(DataError, match=r"b2\.tif: 39 x 30, but .*b0\.tif, a band .* 40 x 30"):
        large_image(image, how)


def test_channel_stats_of_large_images(tifs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_cache(tifs.workspace.cache, tifs.competition, tifs.records.train)
    plain = channel_module.channel_stats(cache, [0, 2, 3])
    make_large(monkeypatch)
    monkeypatch.setattr(channel_module, "_ROWS", 1000)
    assert channel_module.channel_stats(cache, [0, 2, 3]) == plain


def test_a_broken_large_image_is_listed_with_the_others(
    tifs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", 100)
    records = tifs.records.train
    for record in records[1:3]:
        with tifffile.TiffFile(record.image) as file:
            at = file.pages[0].dataoffsets[2]  # type: ignore[union-attr]
        whole = record.image.read_bytes()
        record.image.write_bytes(whole[:at] + b"\xff" * 40 + whole[at + 40 :])
    with pytest.raises(DataError, match=r"2 of 4 images cannot be read:\n.*t001.*\n.*t002"):
        open_cache(tifs.workspace.cache, tifs.competition, records)
    assert not index_path(tifs.workspace.cache, tifs.competition, records, Recipe()).exists()


def test_rows_of_an_image_are_memory_of_their_own(make_toy: Any) -> None:
    toy = make_toy(n=3)
    cache: Cache = open_cache(toy.workspace.cache, toy.competition, toy.records.train)
    rows = cache.rows(1, 4, 9)
    assert rows.flags.writeable
    np.testing.assert_array_equal(rows, cache.image(1)[4:9])
