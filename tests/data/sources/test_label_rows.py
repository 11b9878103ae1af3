"""Masks read in bands of rows are the masks read whole: labels, and every refusal word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from comp.config import Competition
from comp.data.images import png_rows, tif_rows
from comp.data.images.rows import evenly
from comp.data.sources import label_rows
from comp.data.sources.label_rows import LargeLabels, check_mask, count_values, large_labels
from comp.data.sources.labels import read_labels
from comp.data.sources.record import Record
from comp.errors import DataError
from tests.data.reading import competition

SIZE = (61, 47)
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"compression": "zlib", "rowsperstrip": 5},
    "tiles": {"compression": "zlib", "tile": (16, 32)},
    "plain": {},
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is large, and a band is a few rows."""
    for module in (tif_rows, png_rows):
        monkeypatch.setattr(module, "LARGE_PIXELS", 100)
        monkeypatch.setattr(module, "BAND_BYTES", 500)
    monkeypatch.setattr(label_rows, "BAND_PIXELS", 300)


def record(tmp_path: Path, *masks: np.ndarray, **options: Any) -> Record:
    paths = []
    for n, mask in enumerate(masks):
        paths.append(tmp_path / f"m{n}.tif")
        kind = {"photometric": "rgb" if mask.ndim == 3 and mask.shape[2] == 3 else "minisblack"}
        tifffile.imwrite(paths[-1], mask, **{**kind, **LAYOUTS["strips"], **options})
    return Record("a", tmp_path / "a.tif", tuple(paths))


def joined(labels: LargeLabels) -> np.ndarray:
    """As `read_labels`, planes first."""
    bands = list(labels.bands())
    assert len(bands) > 1
    whole = np.concatenate(bands)
    assert whole.shape == labels.shape and whole.dtype == np.uint8
    return whole if whole.ndim == 2 else np.moveaxis(whole, -1, 0)


def check(one: Record, how: Competition) -> np.ndarray:
    """Both roads give the same labels, which are returned, or the same refusal, which is raised."""
    try:
        whole = read_labels(one, how, SIZE)
    except DataError as error:
        with pytest.raises(DataError) as caught:
            found = large_labels(one, how, SIZE)
            assert found is not None
            list(found.bands())
        assert str(caught.value) == str(error)
        raise
    found = large_labels(one, how, SIZE)
    assert found is not None
    np.testing.assert_array_equal(joined(found), whole)
    return whole


def numbers(*values: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array(values, dtype), SIZE)


RULES: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "0 and 255": (numbers(0, 255), {}),
    "0 and 65535": (numbers(0, 65535, dtype="uint16"), {}),
    "one bit": (numbers(0, 1).astype(bool), {}),
    "one bit, inverted": (numbers(0, 1).astype(bool), {"mask_invert": True}),
    "inverted, ignored": (numbers(0, 1, 9), {"ignore_index": 9, "mask_invert": True}),
    "threshold": (numbers(*range(200)), {"mask_threshold": 128}),
    "map": (numbers(10, 20, 30), {"task": "multiclass", "classes": 3, "mask_values": {10: 2, 20: 1, 30: 0}}),
    "classes, ignored": (numbers(0, 1, 2, 255), {"task": "multiclass", "classes": 3, "ignore_index": 255}),
    "floats": (numbers(0, 1).astype(np.float32), {}),
    "int32": (numbers(0, 1, 2, dtype="int32"), {"task": "multiclass", "classes": 3}),
    "three equal bands": (np.repeat(numbers(0, 255)[..., None], 3, axis=2), {}),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", RULES)
def test_every_rule(small: None, tmp_path: Path, name: str, layout: str) -> None:
    mask, how = RULES[name]
    options = LAYOUTS[layout]
    if mask.dtype == bool:
        options = {k: v for k, v in options.items() if k != "tile"}
    check(record(tmp_path, mask, **options), competition(**how))


LATE = np.arange(61)[:, None]
STRAYS: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "a value that comes late": (np.where(LATE > 57, numbers(7), numbers(0, 255)), {}, "value 7 at 141 of 2867 pixels"),
    "two foregrounds": (np.where(LATE > 40, numbers(1), numbers(0, 255)), {}, r"value 1 at 940 .* \(also 255\)"),
    "a class too many": (numbers(0, 1, 7), {"task": "multiclass", "classes": 3}, "value 7 at"),
    "a scale too small": (numbers(0, 1), {"mask_threshold": 128}, "holds only 0 and 1"),
    "fractions": (numbers(0, 1).astype(np.float32) / 2, {}, "with fractions"),
    "colours": (np.random.default_rng(0).integers(0, 2, (*SIZE, 3), np.uint8), {}, "a colour mask"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRAYS)
def test_what_no_rule_names_is_refused_in_the_same_words(
    small: None, tmp_path: Path, name: str
) -> None:
    mask, how, said = STRAYS[name]
    with pytest.raises(DataError, match=said):
        check(record(tmp_path, mask), competition(**how))


@pytest.mark.parametrize("stray", [False, True])
def test_colours(small: None, tmp_path: Path, stray: bool) -> None:
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 9, 9]], np.uint8)
    mask = colors[numbers(0, 1, 2)]
    if stray:
        mask[50, 3:9] = colors[3]
    how = competition(
        task="multiclass",
        classes=3,
        mask_colors={"#000000": 0, "#ff0000": 1, "#00ff00": 2},
    )
    if not stray:
        check(record(tmp_path, mask), how)
        return
    with pytest.raises(DataError, match=r"colour #090909 at 6 of 2867 pixels; expected"):
        check(record(tmp_path, mask), how)


def test_a_palette_stays_indices(small: None, tmp_path: Path) -> None:
    colormap = np.random.default_rng(1).integers(0, 65535, (3, 256), np.uint16)
    one = record(tmp_path, numbers(0, 1, 2), photometric="palette", colormap=colormap)
    assert set(np.unique(check(one, competition(task="multiclass", classes=3)))) == {0, 1, 2}


def test_one_file_an_object(small: None, tmp_path: Path) -> None:
    """Files of other strips, laid over each other."""
    masks = [numbers(0, 0, 0, 255, seed=n) for n in range(3)]
    one = record(tmp_path, *masks)
    tifffile.imwrite(one.masks[1], masks[1], tile=(16, 16))
    check(one, competition())
    classes = competition(task="multiclass", classes=3)
    apart = [np.where(numbers(0, 1, 2) == k, k, 0).astype(np.uint8) for k in (1, 2)]
    check(record(tmp_path, *apart), classes)
    apart[1][60, 46], apart[0][60, 46] = 2, 1
    with pytest.raises(DataError, match=r"m1\.tif: class 2 at row 60, column 46, where another"):
        check(record(tmp_path, *apart), classes)


def test_planes(small: None, tmp_path: Path) -> None:
    how = competition(task="multilabel", classes=2)
    planes = [numbers(0, 255, seed=n) for n in range(2)]
    assert check(record(tmp_path, *planes), how).shape == (2, *SIZE)
    both = record(tmp_path, np.stack(planes, -1), planarconfig="contig")
    assert check(both, how).shape == (2, *SIZE)
    bands = np.stack([*planes, planes[0]], -1)
    three = record(tmp_path, bands, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=r"3 bands; expected 2, one a class"):
        check(three, how)
    planes[1][3, 3] = 9
    with pytest.raises(DataError, match=r"value 9 at 1 of 2867"):
        check(record(tmp_path, np.stack(planes, -1), planarconfig="contig"), how)


def test_a_mask_by_itself(small: None, tmp_path: Path) -> None:
    one = record(tmp_path, numbers(0, 255))
    check_mask(one.masks[0], competition())
    with pytest.raises(DataError, match=r"m0\.tif: value 7 at"):
        check_mask(record(tmp_path, numbers(0, 7)).masks[0], competition())
    Image.fromarray(numbers(0, 9)).save(tmp_path / "m.bmp")
    with pytest.raises(DataError, match=r"m\.bmp: value 9 at"):
        check_mask(tmp_path / "m.bmp", competition())


def test_another_size_than_the_image(small: None, tmp_path: Path) -> None:
    one = record(tmp_path, numbers(0, 255)[:-1])
    with pytest.raises(DataError, match=r"m0\.tif: mask is 60 x 47 .* is 61 x 47"):
        check(one, competition())


def test_what_cannot_be_read_by_rows_is_left_to_read_labels(small: None, tmp_path: Path) -> None:
    path = tmp_path / "m.bmp"
    Image.fromarray(numbers(0, 255)).save(path)
    assert large_labels(Record("a", path, (path,)), competition(), SIZE) is None
    assert large_labels(Record("a", path), competition(), SIZE) is None


@pytest.mark.parametrize("kind", ["grey", "one bit", "palette"])
def test_png_masks(small: None, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("rasterio")
    path = tmp_path / "m.png"
    mask = numbers(0, 1, 2) if kind == "palette" else numbers(0, 255)
    image = Image.fromarray(mask > 0 if kind == "one bit" else mask)
    if kind == "palette":
        image.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0])
    image.save(path)
    how = {"task": "multiclass", "classes": 3} if kind == "palette" else {}
    check(Record("a", path, (path,)), competition(**how))


VALUES = hnp.arrays(
    st.sampled_from([np.dtype(t) for t in ("bool", "uint8", "uint16", "int16", "int64")]),
    st.tuples(st.integers(0, 9), st.integers(1, 9)),
    elements=st.integers(0, 1),
)


@given(VALUES, st.integers(1, 12))
def test_counts_and_even_bands(values: np.ndarray, n_rows: int) -> None:
    found, n = np.unique(values, return_counts=True)
    assert dict(count_values(values)) == dict(zip(found.tolist(), n.tolist(), strict=True))
    uneven = np.split(values, [1, 1, 4])
    even = list(evenly(uneven, n_rows))
    assert all(len(band) == n_rows for band in even[:-1])
    assert all(len(band) for band in even)
    np.testing.assert_array_equal(np.concatenate([*even, values[:0]]), values)
