"""Large masks come into the cache band by band: the same bytes, counts, hashes and faults as whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from comp.data.cache import cache as cache_module
from comp.data.cache.cache import Recipe
from comp.data.cache.open import open_cache
from comp.data.checks import scan as scan_module
from comp.data.checks.scan import scan
from comp.data.images import png_rows
from comp.data.images.decode import decode
from comp.data.images.read import read_image
from comp.data.sources.records import find_records
from comp.errors import DataError
from tests.data.large import make_large

RECIPES = [Recipe(), Recipe(stretch=True), Recipe((16, 24)), Recipe((16, 24), True, True)]


@pytest.fixture(params=["binary", "multiclass", "multilabel"])
def masked(request: pytest.FixtureRequest, make_toy: Any) -> Any:
    """A toy whose images and masks are tif; the first mask of each is of one colour."""
    toy = make_toy(task=request.param, n=4, size=(40, 56))
    for path in sorted((toy.data / "images").glob("*.png")):
        tifffile.imwrite(path.with_suffix(".tif"), read_image(path, 3), tile=(16, 16))
        path.unlink()
    for path in sorted((toy.data / "masks").glob("*.png")):
        values = decode(path, indices=True).pixels[..., 0]
        if path.stem.startswith("t000") and toy.competition.task != "multiclass":
            values = np.zeros_like(values)
        tifffile.imwrite(path.with_suffix(".tif"), values, compression="zlib", rowsperstrip=7)
        path.unlink()
    pairs = toy.competition.data.train[0]
    masks = pairs.masks.replace(".png", ".tif")
    pairs = pairs.model_copy(update={"images": "images/{id}.tif", "masks": masks})
    data = toy.competition.data.model_copy(update={"train": (pairs,)})
    toy.competition = toy.competition.model_copy(update={"data": data})
    return toy


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.kind)
@pytest.mark.parametrize("native_first", [False, True])
def test_large_labels_are_cached_the_same(
    masked: Any, recipe: Recipe, native_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, how = masked.records.train, masked.competition
    plain = open_cache(masked.workspace.cache / "plain", how, records, recipe)
    make_large(monkeypatch)
    folder = masked.workspace.cache / "bands"
    if native_first:
        open_cache(folder, how, records)
    banded = open_cache(folder, how, records, recipe)
    assert banded.content_hash == plain.content_hash
    for i in range(len(plain)):
        seen, wanted = banded.labels(i), plain.labels(i)
        assert seen is not None and wanted is not None
        np.testing.assert_array_equal(seen, wanted)
        drop = ("offset", "labels_offset")
        for one, other in ((banded.entry(i), plain.entry(i)),):
            assert {k: v for k, v in one.items() if k not in drop} == {
                k: v for k, v in other.items() if k not in drop
            }
        rows = banded.label_rows(i, 2, 9)
        rows = rows if rows.ndim == 2 else np.moveaxis(rows, -1, 0)
        np.testing.assert_array_equal(rows, wanted[..., 2:9, :])
    assert [p.name for p in folder.iterdir() if p.name.endswith(".tmp")] == []


def test_scan_of_large_masks_is_the_same(masked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = scan(masked.records.train, masked.competition, n_threads=1)
    make_large(monkeypatch)
    monkeypatch.setattr(scan_module, "LARGE_PIXELS", 41 * 56)
    banded = scan(masked.records.train, masked.competition, n_threads=1)
    for one, other in zip(banded.seen, plain.seen, strict=True):
        assert (one.counts, one.size, one.stored, one.pixels_hash, one.problems) == (
            other.counts, other.size, other.stored, other.pixels_hash, (),
        )  # fmt: skip


def test_strange_values_of_large_masks_are_all_listed(
    masked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in sorted((masked.data / "masks").glob("t00[13]*.tif")):
        values = decode(path, indices=True).pixels[..., 0]
        values[-1, -1] = 77
        tifffile.imwrite(path, values, rowsperstrip=7)
    records, how = masked.records.train, masked.competition
    with pytest.raises(DataError) as plain:
        open_cache(masked.workspace.cache / "plain", how, records)
    found = scan(records, how, n_threads=1)
    make_large(monkeypatch)
    with pytest.raises(DataError) as banded:
        open_cache(masked.workspace.cache / "bands", how, records)
    assert str(banded.value) == str(plain.value)
    assert "value 77 at 1 of" in str(plain.value) and "2 of 4 images" in str(plain.value)
    assert scan(records, how, n_threads=1).problems == found.problems


def test_truth_that_is_drawn_waits_its_turn(make_toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks that cannot be read by rows beside a large image are decoded one image at a time."""
    toy = make_toy(n=4, size=(40, 56))
    for path in sorted((toy.data / "images").glob("*.png")):
        tifffile.imwrite(path.with_suffix(".tif"), read_image(path, 3), tile=(16, 16))
        path.unlink()
    pairs = toy.competition.data.train[0].model_copy(update={"images": "images/{id}.tif"})
    data = toy.competition.data.model_copy(update={"train": (pairs,)})
    how = toy.competition.model_copy(update={"data": data})
    plain = open_cache(toy.workspace.cache / "plain", how, toy_records(toy, how))
    make_large(monkeypatch, 100)
    monkeypatch.setattr(png_rows, "find_spec", lambda name: None)
    banded = open_cache(toy.workspace.cache / "bands", how, toy_records(toy, how))
    assert banded.content_hash == plain.content_hash


def toy_records(toy: Any, how: Any) -> Any:
    return find_records(how, toy.data).train


def test_a_glance_at_a_large_image(masked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = open_cache(masked.workspace.cache, masked.competition, masked.records.train)
    whole = [(cache.image(i), cache.labels(i)) for i in range(4)]
    assert cache.glance(1)[2] == 1
    make_large(monkeypatch)
    monkeypatch.setattr(cache_module, "GLANCE", 10)
    for i, (image, labels) in enumerate(whole):
        seen, drawn, step = cache.glance(i)
        assert step == (4 if image.shape[0] * image.shape[1] > 41 * 56 else 1)
        np.testing.assert_array_equal(seen, image[::step, ::step])
        assert drawn is not None and labels is not None
        np.testing.assert_array_equal(drawn, labels[..., ::step, ::step])


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
import tifffile
from comp.data.cache.open import open_cache
from comp.data.checks.scan import scan
from comp.data.intake.mask_facts import look_at_masks
from comp.data.sources.record import Record
from tests.data.reading import competition

folder, side = Path(sys.argv[1]), int(sys.argv[2])
record = Record("a", folder / "a.tif", (folder / "m.tif",))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
facts = look_at_masks([record])
assert facts.values == [0, 255], facts
assert scan([record], competition()).problems == []
cache = open_cache(folder / "cache", competition(), [record], n_threads=1)
assert cache.entry(0)["counts"] == [side * side // 2]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_memory_is_that_of_a_band(repository: Path, tmp_path: Path) -> None:
    """144 Mpx of image and as many of mask, through all that init, verify and folds do of them."""
    side, tile = 12288, 512
    on = np.zeros((tile, tile), np.uint8)
    on[::2] = 255
    n = (side // tile) ** 2
    for name, one in (("a", np.dstack([on, on + 1, on + 2])), ("m", on)):
        shape = (side, side, *one.shape[2:])
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            (one for _ in range(n)),
            shape=shape,
            dtype=np.uint8,
            tile=(tile, tile),
            compression="zlib",
            photometric="rgb" if len(shape) == 3 else "minisblack",
        )
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), str(side)],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300  # MiB; the image alone has 432
