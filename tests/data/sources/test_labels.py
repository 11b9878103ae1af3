"""Masks -> labels: every rule, sizes, objects, colours, inversion, and every refusal's message."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from comp.data.images.decode import Stored
from comp.data.images.palette import color_codes, labels_of_colors
from comp.data.sources.labels import read_labels, read_mask_values, read_plane
from comp.data.sources.records import Record
from comp.errors import ConfigError, DataError
from tests.data.reading import GREY, RGB, competition, labels_of, save

# ------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize("on", [1, 255, 65535])
def test_binary_without_a_rule_knows_the_usual_foregrounds(on: int) -> None:
    values = np.array([[0, on], [on, 0]], np.uint16 if on > 255 else np.uint8)
    assert labels_of(values).tolist() == [[0, 1], [1, 0]]


def test_binary_without_a_rule_refuses_what_is_not_plain() -> None:
    with pytest.raises(DataError, match=r"m\.png: value 7 at 1 of 3 pixels; expected 0 and one of"):
        labels_of(np.array([[0, 7, 255]], np.uint8))
    with pytest.raises(DataError, match=r"value 1 at 1 of 3 pixels \(also 255\)"):
        labels_of(np.array([[0, 1, 255]], np.uint8))


def test_a_one_bit_mask_is_foreground_where_set(tmp_path: Path) -> None:
    on = GREY > 99
    values = read_mask_values(save(tmp_path / "a.png", on))
    assert values.dtype == bool
    for kwargs in ({}, {"mask_threshold": 128}, {"mask_values": {0: 0, 255: 1}}):
        assert np.array_equal(labels_of(values, **kwargs), on)


def test_the_ignore_index_comes_before_every_rule() -> None:
    values = np.array([[0, 1, 9]], np.uint8)
    assert labels_of(values, ignore_index=9).tolist() == [[0, 1, 255]]
    assert labels_of(values, ignore_index=9, mask_values={0: 1, 1: 0}).tolist() == [[1, 0, 255]]
    assert labels_of(values, ignore_index=9, mask_threshold=1).tolist() == [[0, 1, 255]]
    mapped = labels_of(values, ignore_index=9, mask_values={0: 0, 1: 9, 9: 9})
    assert mapped.tolist() == [[0, 255, 255]]


def test_mask_values_map_and_refuse() -> None:
    values = np.array([[10, 20, 30]], np.uint8)
    three = {"task": "multiclass", "classes": 3}
    assert labels_of(values, **three, mask_values={10: 0, 20: 1, 30: 2}).tolist() == [[0, 1, 2]]
    with pytest.raises(DataError, match=r"value 30 at 1 of 3 .* data\.mask_values \(10, 20\)"):
        labels_of(values, **three, mask_values={10: 0, 20: 1})
    with pytest.raises(DataError, match=r"data\.mask_values: 30: 5 is no class; expected 0\.\.2"):
        labels_of(values, **three, mask_values={10: 0, 20: 1, 30: 5})


def test_a_threshold_takes_soft_masks_and_refuses_to_empty_one() -> None:
    soft = np.array([[0, 118, 119, 237]], np.uint8)
    assert labels_of(soft, mask_threshold=119).tolist() == [[0, 0, 1, 1]]
    with pytest.raises(DataError, match="holds only 0 and 1, but"):
        labels_of(np.array([[0, 1]], np.uint8), mask_threshold=119)


def test_multiclass_refuses_a_value_that_is_no_class() -> None:
    values = np.array([[0, 1, 2, 7, 255]], np.uint8)
    with pytest.raises(
        DataError, match=r"value 7 at 1 of 5 pixels; expected a class index 0\.\.2 or"
    ):
        labels_of(values, task="multiclass", classes=3, ignore_index=255)
    with pytest.raises(DataError, match=r"value 7 .*\(also 255\)"):
        labels_of(values, task="multiclass", classes=3)


@given(
    hnp.arrays(np.uint16, (5, 6), elements=st.sampled_from([0, 1, 2, 300, 65535])),
    st.sampled_from([np.uint16, np.int64]),
)
def test_values_beyond_a_byte_map_as_the_table_says(values: np.ndarray, dtype: type) -> None:
    table = {0: 0, 1: 2, 2: 1, 300: 2, 65535: 0}
    got = labels_of(values.astype(dtype), task="multiclass", classes=3, mask_values=table)
    assert np.array_equal(got, np.vectorize(table.get)(values)) and got.dtype == np.uint8


def test_two_and_four_bit_masks_keep_their_numbers(tmp_path: Path) -> None:
    def part(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    for bits, row in ((2, bytes([0b00011011])), (4, bytes([0x0A, 0xF1]))):
        head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
        parts = part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" + row)) + part(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
        expected = [0, 1, 2, 3] if bits == 2 else [0, 10, 15, 1]
        assert read_mask_values(tmp_path / "a.png").tolist() == [expected]


def test_masks_of_colour_or_of_fractions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: a colour mask \(3 bands that differ\)"):
        read_mask_values(save(tmp_path / "a.png", RGB))
    three = np.repeat(GREY[..., None], 3, 2)
    assert np.array_equal(read_mask_values(save(tmp_path / "b.png", three)), GREY)
    tifffile.imwrite(tmp_path / "c.tif", GREY.astype(np.float32))
    assert np.array_equal(read_mask_values(tmp_path / "c.tif"), GREY)
    tifffile.imwrite(tmp_path / "d.tif", (GREY / 2 + 0.25).astype(np.float32))
    with pytest.raises(DataError, match=r"d\.tif: a float32 mask with fractions"):
        read_mask_values(tmp_path / "d.tif")


def test_a_mask_of_another_size_names_both(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", RGB)
    mask = save(tmp_path / "m.png", np.zeros((10, 31), np.uint8))
    with pytest.raises(DataError, match=r"m\.png: mask is 10 x 31 .* image .*a\.png is 20 x 31"):
        read_labels(Record("a", image, (mask,)), competition())
    with pytest.raises(DataError, match="a: no mask belongs to"):
        read_labels(Record("a", image), competition())


def test_multilabel_from_a_file_a_class_or_from_bands(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", RGB)
    planes = [np.greater(GREY, t).astype(np.uint8) * 255 for t in (50, 100, 200)]
    files = tuple(save(tmp_path / f"m{k}.png", plane) for k, plane in enumerate(planes))
    expected = np.stack(planes) // 255
    comp = competition("multilabel", 3)
    assert np.array_equal(read_labels(Record("a", image, files), comp), expected)
    bands = save(tmp_path / "bands.png", np.dstack(planes))
    assert np.array_equal(read_labels(Record("a", image, (bands,)), comp), expected)
    with pytest.raises(DataError, match=r"bands\.png: 3 bands; expected 2, one a class"):
        read_labels(Record("a", image, (bands,)), competition("multilabel", 2))


# ---------------------------------------------------------------------- colours, objects, inversion

COLORS = {"#000000": 0, "#FF0000": 1, "#0000ff": 2, "#ffffff": 255}
THREE = {"task": "multiclass", "classes": 3, "ignore_index": 255}


def color_mask() -> tuple[np.ndarray, np.ndarray]:
    """(labels, their colours)."""
    labels = np.array([[0, 1, 2], [255, 2, 1]], np.uint8)
    table = {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 0, 255), 255: (255, 255, 255)}
    return labels, np.array([[table[v] for v in row] for row in labels.tolist()], np.uint8)


def test_colours_are_classes_in_rgb_in_palettes_of_any_order_and_in_grey(tmp_path: Path) -> None:
    labels, pixels = color_mask()
    comp = competition(**THREE, mask_colors=COLORS)
    paths = [save(tmp_path / "rgb.png", pixels)]
    alpha = np.full((2, 3, 1), 9, np.uint8)
    paths.append(save(tmp_path / "rgba.png", np.dstack([pixels, alpha])))
    colors = [(255, 255, 255), (0, 0, 255), (0, 0, 0), (255, 0, 0)]
    for order in (colors, colors[::-1]):
        place = {color: k for k, color in enumerate(order)}
        indices = bytes(place[tuple(p)] for p in pixels.reshape(-1, 3).tolist())
        image = Image.frombytes("P", (3, 2), indices)
        image.putpalette([v for color in order for v in color])
        paths.append(tmp_path / f"p{len(paths)}.png")
        image.save(paths[-1])
        table = np.zeros((3, 256), np.uint16)
        table[:, :4] = np.array(order).T * 257
        paths.append(tmp_path / f"p{len(paths)}.tif")
        grid = np.frombuffer(indices, np.uint8).reshape(2, 3)
        tifffile.imwrite(paths[-1], grid, photometric="palette", colormap=table)
    for path in paths:
        assert np.array_equal(read_plane(path, comp), labels), path
    grey = save(tmp_path / "grey.png", np.array([[0, 255]], np.uint8))
    assert read_plane(grey, comp).tolist() == [[0, 255]]
    bits = save(tmp_path / "bits.png", np.array([[False, True]]))
    assert read_plane(bits, comp).tolist() == [[0, 255]]


def test_a_colour_that_no_class_has_names_file_and_colour(tmp_path: Path) -> None:
    _, pixels = color_mask()
    pixels[0, 0], pixels[0, 1] = (1, 2, 3), (250, 3, 9)
    path = save(tmp_path / "a.png", pixels)
    comp = competition(**THREE, mask_colors=COLORS)
    with pytest.raises(
        DataError, match=r"a\.png: colour #010203 at 1 of 6 pixels \(also #fa0309\); expected"
    ):
        read_plane(path, comp)
    near = competition(**THREE, mask_colors=COLORS, mask_color_distance=9)
    assert read_plane(path, near)[0].tolist() == [0, 1, 2]
    near = competition(**THREE, mask_colors=COLORS, mask_color_distance=8)
    with pytest.raises(DataError, match=r"#fa0309 at 1 .*\(within data\.mask_color_distance\)"):
        read_plane(path, near)
    wrong = competition(**THREE, mask_colors={"#000000": 7})
    with pytest.raises(
        DataError, match=r"data\.mask_colors: #000000: 7 is no class; expected 0\.\.2"
    ):
        read_plane(path, wrong)
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, GREY.astype(np.uint16))
    with pytest.raises(DataError, match=r"a mask of 1 bands of uint16; data\.mask_colors reads"):
        read_plane(deep, comp)


def test_colours_in_the_config_are_checked() -> None:
    for bad, told in (
        ({"ff0000": 1}, 'colours are written "#rrggbb"'),
        ({"#ff0000": 1, "#FF0000": 0}, "#FF0000 stands there twice"),
    ):
        with pytest.raises(ConfigError, match=told):
            competition(mask_colors=bad)
    with pytest.raises(ConfigError, match="mask_values and mask_colors are 2 rules"):
        competition(mask_colors={"#000000": 0}, mask_values={0: 0})
    with pytest.raises(ConfigError, match="mask_color_distance needs mask_colors"):
        competition(mask_color_distance=3)
    with pytest.raises(ConfigError, match="a pixel has one colour"):
        competition("multilabel", 3, mask_colors={"#000000": 0})
    with pytest.raises(ConfigError, match="mask_invert is for binary"):
        competition("multiclass", 3, mask_invert=True)


def test_inverted_masks_are_turned_when_told(tmp_path: Path) -> None:
    values = np.array([[0, 255, 9]], np.uint8)
    assert labels_of(values, mask_invert=True, ignore_index=9).tolist() == [[1, 0, 255]]
    soft = np.array([[0, 118, 119, 237]], np.uint8)
    assert labels_of(soft, mask_invert=True, mask_threshold=119).tolist() == [[1, 1, 0, 0]]
    assert labels_of(np.array([[False, True]]), mask_invert=True).tolist() == [[1, 0]]
    path = save(tmp_path / "a.png", color_mask()[1][:1])
    comp = competition(
        mask_invert=True, mask_colors={"#000000": 0, "#ff0000": 1, "#0000ff": 9}, ignore_index=9
    )
    assert read_plane(path, comp).tolist() == [[1, 0, 255]]


def test_a_threshold_of_sixteen_bits_does_not_empty_a_byte_mask() -> None:
    deep = np.array([[0, 40000]], np.uint16)
    assert labels_of(deep, mask_threshold=32768).tolist() == [[0, 1]]
    with pytest.raises(
        DataError, match=r"an 8-bit mask up to 255, but data\.mask_threshold is 32768"
    ):
        labels_of(np.array([[0, 255]], np.uint8), mask_threshold=32768)


def test_one_mask_an_object_is_their_union(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", RGB)
    rng = np.random.default_rng(5)
    planes = [(rng.random(GREY.shape) < 0.2).astype(np.uint8) * 255 for _ in range(4)]
    files = tuple(save(tmp_path / f"o{k}.png", plane) for k, plane in enumerate(planes))
    whole = np.max(planes, axis=0) // 255
    assert np.array_equal(read_labels(Record("a", image, files), competition()), whole)
    third = planes[0] // 255
    third[0, :2] = 9
    planes[1][0, :2] = (255, 0)
    files = (save(tmp_path / "i.png", third), save(tmp_path / "o1.png", planes[1]))
    labels = read_labels(Record("a", image, files), competition(ignore_index=9))
    assert labels[0, :2].tolist() == [1, 255]  # a class comes before ignored pixels
    two = tuple(save(tmp_path / f"c{k}.png", np.full_like(GREY, k)) for k in (1, 2))
    with pytest.raises(
        DataError, match=r"c2\.png: class 2 at row 0, column 0, where another mask of a"
    ):
        read_labels(Record("a", image, two), competition("multiclass", 3))


@given(
    hnp.arrays(np.uint8, (4, 5, 3), elements=st.sampled_from([0, 1, 254, 255])), st.integers(0, 2)
)
def test_colours_map_as_a_loop_would(pixels: np.ndarray, distance: int) -> None:
    table = {0x000000: 3, 0xFF0000: 1, 0x00FF00: 0, 0x010101: 255}
    codes = color_codes(Path("a"), Stored(pixels, False))
    labels, wrong = labels_of_colors(codes, table, distance)
    missing = 0
    for row, column in np.ndindex(4, 5):
        r, g, b = (int(v) for v in pixels[row, column])
        apart = {
            c: (
                max(abs((c >> 16) - r), abs((c >> 8 & 255) - g), abs((c & 255) - b)),
                abs((c >> 16) - r) + abs((c >> 8 & 255) - g) + abs((c & 255) - b),
            )
            for c in sorted(table)
        }
        best = min(apart, key=lambda c: apart[c])
        if apart[best][0] <= distance:
            assert labels[row, column] == table[best]
        else:
            missing += 1
            assert (r << 16 | g << 8 | b) in wrong
    assert sum(wrong.values()) == missing
