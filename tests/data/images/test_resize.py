"""Images by area, labels by centre, soft planes by area; every band count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.images.resize import (
    n_planes,
    resize_image,
    resize_labels,
    soft_planes,
    soft_target,
    stretch_image,
)

sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))


@given(sizes, sizes, st.integers(1, 9), st.sampled_from(["uint8", "float32"]))
def test_image_keeps_type_range_and_bands(old, new, bands, dtype) -> None:
    rng = np.random.default_rng(bands)
    image = rng.integers(0, 256, (*old, bands), np.uint8)
    image = image if dtype == "uint8" else image.astype(np.float32) / 255
    resized = resize_image(image, new)
    assert resized.shape == (*new, bands)
    assert resized.dtype == image.dtype
    assert resized.flags["C_CONTIGUOUS"]
    assert resized.min() >= image.min() - 1e-6 and resized.max() <= image.max() + 1e-6
    for k in range(bands):
        alone = resize_image(np.ascontiguousarray(image[..., k : k + 1]), new)
        np.testing.assert_allclose(resized[..., k], alone[..., 0], atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (4, 1), (1, 4)])
def test_image_shrinks_by_area_on_each_axis(rows: int, columns: int) -> None:
    image = np.random.default_rng(0).random((8, 12, 6)).astype(np.float32)
    blocks = image.reshape(8 // rows, rows, 12 // columns, columns, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_image(image, (8 // rows, 12 // columns)), blocks, atol=1e-6)


def test_one_axis_shrinks_by_area_while_the_other_grows() -> None:
    image = np.random.default_rng(0).random((12, 3, 1)).astype(np.float32)
    half = image.reshape(4, 3, 3, 1).mean(axis=1)
    np.testing.assert_allclose(resize_image(image, (4, 3)), half, atol=1e-6)
    grown = resize_image(image, (4, 6))
    np.testing.assert_allclose(grown, resize_image(half, (4, 6)), atol=1e-6)


@given(sizes, sizes, st.booleans())
def test_labels_take_the_pixel_under_the_centre(old, new, planes) -> None:
    labels = np.random.default_rng(1).integers(0, 256, ((2, *old) if planes else old), np.uint8)
    resized = resize_labels(labels, new)
    assert resized.shape == labels.shape[:-2] + new
    for y in range(new[0]):
        for x in range(new[1]):
            row = int((y + 0.5) * old[0] / new[0])
            column = int((x + 0.5) * old[1] / new[1])
            np.testing.assert_array_equal(resized[..., y, x], labels[..., row, column])


def test_soft_planes_are_block_means() -> None:
    labels = np.random.default_rng(2).integers(0, 2, (8, 12), np.uint8)
    planes = soft_planes(labels, "binary", 1, (4, 4))
    assert planes.shape == (2, 4, 4)
    means = labels.reshape(4, 2, 4, 3).mean(axis=(1, 3))
    target, valid = soft_target(planes, "binary", 1)
    np.testing.assert_allclose(target[0], means, atol=1 / 255)
    assert (valid == 1).all()


def test_ignored_pixels_do_not_dilute_the_others() -> None:
    labels = (
        np.array([[1, 255], [1, 255], [0, 255], [255, 255]], np.uint8).repeat(4, 0).repeat(4, 1)
    )
    target, valid = soft_target(soft_planes(labels, "binary", 1, (4, 1)), "binary", 1)
    np.testing.assert_allclose(target[0, :3, 0], [1, 1, 0], atol=1e-6)
    assert valid[0, :, 0].tolist() == [1, 1, 1, 0]  # half valid counts as valid


@given(sizes, sizes, st.integers(2, 6))
def test_multiclass_targets_sum_to_one_where_valid(old, new, n_classes) -> None:
    rng = np.random.default_rng(n_classes)
    labels = rng.integers(0, n_classes + 1, old).astype(np.uint8)
    labels[labels == n_classes] = 255
    planes = soft_planes(labels, "multiclass", n_classes, new)
    target, valid = soft_target(planes, "multiclass", n_classes)
    assert target.shape == (n_classes, *new) and valid.shape == (1, *new)
    assert target.dtype == valid.dtype == np.float32
    assert target.min() >= 0 and target.max() <= 1
    np.testing.assert_allclose(target.sum(axis=0)[valid[0] == 1], 1, atol=1e-5)


def test_multilabel_has_a_validity_plane_a_class() -> None:
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[1] = 255
    labels[2] = 1
    planes = soft_planes(labels, "multilabel", 3, (2, 2))
    assert planes.shape == (6, 2, 2) and n_planes("multilabel", 3) == (3, 3)
    target, valid = soft_target(planes, "multilabel", 3)
    assert target[:, 0, 0].tolist() == [0, 0, 1]
    assert valid[:, 0, 0].tolist() == [1, 0, 1]


def test_same_size_copies_nothing_but_the_values() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (5, 7), np.uint8)
    assert resize_labels(labels, (5, 7)) is labels
    target, _ = soft_target(soft_planes(labels, "binary", 1, (5, 7)), "binary", 1)
    np.testing.assert_array_equal(target[0], labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_dim_image_is_stretched_to_the_whole_range(dtype: type) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(10, 31, (64, 64, 3)).astype(np.uint8)
    full = 255 if dtype is np.uint8 else 1
    stretched = stretch_image(image if dtype is np.uint8 else image.astype(np.float32) / 255)
    assert stretched.dtype == dtype and stretched.shape == image.shape
    assert stretched.min() == 0 and stretched.max() == pytest.approx(full)
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(stretched.ravel()[order].astype(np.float64)) >= -1e-6).all()


def test_an_image_of_one_value_is_not_stretched() -> None:
    image = np.full((8, 8, 3), 7, np.uint8)
    np.testing.assert_array_equal(stretch_image(image), image)
