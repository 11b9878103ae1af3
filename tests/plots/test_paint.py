"""Arrays to colours: every kind of image, every task, ignored pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from comp.plots.paint import (
    ERROR_COLOURS,
    IGNORED,
    TINT,
    display_image,
    labels_of_planes,
    outline_labels,
    paint_errors,
    paint_labels,
    palette,
)

EXTRA, MISSED = ERROR_COLOURS["false positive"], ERROR_COLOURS["false negative"]
WRONG, BOTH = ERROR_COLOURS["wrong class"], ERROR_COLOURS["both"]


def test_uint8_rgb_stays() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(display_image(image), image)


@pytest.mark.parametrize(
    ("bands", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (4, [0, 1, 2]), (9, [0, 1, 2])]
)
def test_which_bands_are_shown(bands: int, shown: list[int]) -> None:
    image = np.tile(np.arange(bands, dtype=np.uint8), (2, 3, 1))
    assert display_image(image)[0, 0].tolist() == shown


def test_sixteen_bit_and_float_are_stretched_alike() -> None:
    ramp = np.linspace(2000, 3000, 300).astype(np.uint16).reshape(10, 10, 3)
    shown = display_image(ramp)
    assert shown.min() == 0 and shown.max() == 255 and 120 < shown.mean() < 135
    np.testing.assert_array_equal(shown, display_image(ramp.astype(np.float32) / 65536))


def test_one_bright_pixel_does_not_blacken_the_rest() -> None:
    image = np.full((20, 20, 1), 0.2, np.float32)
    image[:10] = 0.3
    image[0, 0] = 1e6
    shown = display_image(image)
    assert shown[15, 5, 0] == 0 and shown[5, 5, 0] == 255


def test_a_rare_value_alone_still_shows() -> None:
    image = np.zeros((50, 50), np.float32)
    image[0, 0] = 7
    assert display_image(image)[0, 0].tolist() == [255, 255, 255]


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=5),
    )
)
def test_any_image_can_be_shown(image: np.ndarray) -> None:
    shown = display_image(image)
    assert shown.shape == (*image.shape[:2], 3) and shown.dtype == np.uint8


def test_binary_labels_are_black_and_white() -> None:
    painted = paint_labels(np.array([[0, 1, 255]], np.uint8), "binary", 1)
    assert painted[0].tolist() == [[0, 0, 0], [255, 255, 255], list(IGNORED)]


def test_multiclass_labels_have_a_colour_each() -> None:
    painted = paint_labels(np.arange(21, dtype=np.uint8)[None], "multiclass", 21)
    assert len({tuple(colour) for colour in painted[0].tolist()}) == 21
    assert paint_labels(np.array([[255]], np.uint8), "multiclass", 21)[0, 0].tolist() == list(
        IGNORED
    )


def test_overlapping_planes_mix() -> None:
    planes = np.array([[[0, 1, 0, 1, 255]], [[0, 0, 1, 1, 255]]], np.uint8)
    colours = palette("multilabel", 2)
    painted = paint_labels(planes, "multilabel", 2)[0].tolist()
    mixed = [(a + b) // 2 for a, b in zip(colours[0], colours[1], strict=True)]
    assert painted == [[0, 0, 0], list(colours[0]), list(colours[1]), mixed, list(IGNORED)]


def test_binary_errors() -> None:
    shown = np.full((1, 5, 3), 100, np.uint8)
    labels, mask = np.array([[0, 0, 1, 1, 255]], np.uint8), np.array([[0, 1, 0, 1, 1]], np.uint8)
    painted = paint_errors(shown, labels, mask, "binary")[0].tolist()
    assert painted == [[45] * 3, list(EXTRA), list(MISSED), [132] * 3, list(IGNORED)]


def test_multiclass_errors() -> None:
    labels, mask = np.array([[0, 2, 255]], np.uint8), np.array([[0, 1, 1]], np.uint8)
    painted = paint_errors(np.zeros((1, 3, 3), np.uint8), labels, mask, "multiclass")[0].tolist()
    assert painted == [[0, 0, 0], list(WRONG), list(IGNORED)]


def test_multilabel_errors() -> None:
    labels = np.array([[[0, 1, 1, 255, 255]], [[0, 1, 0, 1, 255]]], np.uint8)
    mask = np.array([[[0, 1, 0, 1, 1]], [[1, 1, 1, 0, 0]]], np.uint8)
    painted = paint_errors(np.zeros((1, 5, 3), np.uint8), labels, mask, "multilabel")[0].tolist()
    assert painted == [list(EXTRA), [110] * 3, list(BOTH), list(MISSED), list(IGNORED)]


def test_outlines_leave_the_binary_background() -> None:
    shown = np.full((7, 7, 3), 80, np.uint8)
    labels = np.zeros((7, 7), np.uint8)
    labels[1:6, 1:6] = 1
    labels[:, 6] = 255
    drawn = outline_labels(shown, labels, "binary", 1)
    assert drawn[0, 0].tolist() == [80, 80, 80] and drawn[1, 1].tolist() == list(TINT)
    assert drawn[3, 3].tolist() == [(80 * 7 + part * 3) // 10 for part in TINT]
    assert drawn[3, 6].tolist() == list(IGNORED)
    np.testing.assert_array_equal(shown, 80)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_outlines_of_many_classes(task: str) -> None:
    labels = np.array([[0, 0, 1, 1]] * 4, np.uint8)
    if task == "multilabel":
        labels = np.stack([labels == 0, labels == 1]).astype(np.uint8)
    drawn = outline_labels(np.zeros((4, 4, 3), np.uint8), labels, task, 2)
    colours = palette(task, 2)
    assert drawn[1, 1].tolist() == list(colours[0]) and drawn[1, 2].tolist() == list(colours[1])
    assert drawn[1, 0].tolist() == [part * 3 // 10 for part in colours[0]]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_soft_planes_as_labels(task: str) -> None:
    rng = np.random.default_rng(0)
    n = 1 if task == "binary" else 3
    hard = rng.integers(0, 2, (n, 5, 7)) if task != "multiclass" else rng.integers(0, 3, (5, 7))
    planes = (hard == np.arange(n)[:, None, None]) if task == "multiclass" else hard == 1
    valid = np.ones((n if task == "multilabel" else 1, 5, 7), np.float32)
    valid[:, :2] = 0
    soft = np.where(planes, 0.6, 0.2).astype(np.float32)
    labels = labels_of_planes(soft, valid, task)
    wanted = hard[0] if task == "binary" else hard
    assert labels.dtype == np.uint8 and (labels[..., :2, :] == 255).all()
    np.testing.assert_array_equal(labels[..., 2:, :], wanted[..., 2:, :])
    grey = outline_labels(np.zeros((5, 7, 3), np.uint8), labels, task, n)[0, 0]
    assert grey.tolist() == [IGNORED[0] * 3 // 10] * 3


def test_a_plane_ignored_alone_leaves_the_others() -> None:
    planes, valid = np.ones((2, 4, 4), np.float32), np.ones((2, 4, 4), np.float32)
    valid[0, 1] = 0
    labels = labels_of_planes(planes, valid, "multilabel")
    assert (labels[0, 1] == 255).all() and (labels[1] == 1).all()
    shown = outline_labels(np.zeros((4, 4, 3), np.uint8), labels, "multilabel", 2)
    assert shown[1].tolist() != [[45, 45, 45]] * 4
