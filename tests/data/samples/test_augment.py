"""The adapter to albumentations: every mistake before any work, every draw a function of its seed."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from typing import Any

import albumentations
import numpy as np
import pytest

from comp.data.samples.augment import build_augment, check_augment, transforms
from comp.errors import ConfigError

FLIPS = ({"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}})
RICH = (
    *FLIPS,
    {"Affine": {"rotate": [-30, 30], "scale": [0.8, 1.2], "p": 0.8}},
    {"OneOf": {"transforms": [{"GaussNoise": {}}, "Blur"], "p": 0.5}},
    {"RandomBrightnessContrast": {"p": 0.5}},
)


def noise(size: tuple[int, int] = (24, 24), bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (*size, bands), np.uint8)
    return image if dtype == "uint8" else image.astype(np.float32) / 255


class Invert(albumentations.ImageOnlyTransform):
    """A user's own transform."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return 255 - img


def test_all_mistakes_at_once_with_the_nearest_name() -> None:
    specs = (
        {"HorizontalFlipp": {}},
        {"Rotate": {"limits": 3}},
        {"Rotate": {"p": 3}},
        {"OneOf": {"transforms": [{"GaussNoise": {}}, "Blurr"]}},
        {"OneOf": {}},
        {"SomeOf": {"transforms": [3]}},
        {"Normalize": {}},
        {"CenterCrop": {"height": 8}},
        {"nowhere.at_all:Thing": {}},
    )
    expected = [
        "augment[0] HorizontalFlipp: unknown transform 'HorizontalFlipp'; did you mean 'HorizontalFlip'?",
        "augment[1] Rotate: unknown argument 'limits'; did you mean 'limit'?",
        "augment[2] Rotate: p: Input should be less than or equal to 1, got 3",
        "augment[3] OneOf[1] Blurr: unknown transform 'Blurr'; did you mean 'Blur'?",
        "augment[4] OneOf: expected transforms: [a list of transforms], got None",
        "augment[5] SomeOf: each of its transforms is one `Name: {arguments}`, got 3",
        "augment[6] Normalize: has no place in augment; the model normalises (model.normalize)",
        "augment[7] CenterCrop: argument 'width' is missing",
        "augment[8] nowhere.at_all:Thing: cannot import 'nowhere.at_all:Thing': "
        "ModuleNotFoundError: No module named 'nowhere'",
    ]
    assert check_augment(specs) == expected
    with pytest.raises(ConfigError) as caught:
        build_augment(specs)
    assert caught.value.problems == expected


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ({"RandomCrop": {"height": 8, "width": 8}}, {}, "RandomCrop: changes the size from (64, 64) to (8, 8)"),
        ({"RandomRotate90": {}}, {"size": (32, 48)}, "RandomRotate90: changes the size from (32, 48) to (48, 32)"),
        ({"ColorJitter": {}}, {"channels": 5}, "ColorJitter: fails on a (64, 64, 5) uint8 image"),
        ({"MaskDropout": {}}, {"planes": True}, "MaskDropout: fails on a (64, 64, 3) uint8 image with mask planes: "),
        ({"OverlayElements": {}}, {}, "OverlayElements: fails on a (64, 64, 3) uint8 image: OverlayElements requires"),
    ],
)  # fmt: skip
def test_a_dry_run_shows_what_names_do_not(spec: Any, options: Any, message: str) -> None:
    (problem,) = check_augment((spec,), **options)
    assert problem.startswith(f"augment[0] {message}")
    assert check_augment(({"RandomRotate90": {}}, {"MaskDropout": {}}), size=(32, 32)) == []


@pytest.mark.parametrize(
    ("name", "key"), [("Mosaic", "mosaic"), ("MixUp", "mixup"), ("CutMix", "cutmix"), ("CopyPaste", "copy_paste")]
)  # fmt: skip
def test_several_images_in_one_are_asked_for_elsewhere(name: str, key: str) -> None:
    assert check_augment(({name: {}},)) == [
        f"augment[0] {name}: has no place in augment; several images in one are asked for by train.mix: {{{key}: 0.5}}"
    ]


def test_nothing_asks_the_network() -> None:
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


def test_same_seed_same_sample_whatever_came_before() -> None:
    augment, other = build_augment(RICH), build_augment(RICH)
    image, labels = noise(), noise()[..., 0] % 2
    before, kept = image.copy(), labels.copy()
    drawn = [augment(image, labels, seed) for seed in range(20)]
    for seed in reversed(range(20)):
        again = other(image, labels, seed)
        np.testing.assert_array_equal(drawn[seed][0], again[0])
        np.testing.assert_array_equal(drawn[seed][1], again[1])
    assert len({pixels.tobytes() for pixels, _ in drawn}) == 20
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(labels, kept)


def test_steps_draw_independently() -> None:
    """`Compose.set_random_seed` gives every step the same stream: two flips would always agree."""
    augment = build_augment(FLIPS)
    image = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    views = Counter(augment(image, image[..., 0], seed)[0].tobytes() for seed in range(400))
    assert len(views) == 4
    assert min(views.values()) > 60


def test_pickle_draws_the_same() -> None:
    augment = build_augment(RICH)
    image, labels = noise(), noise()[..., 0] % 2
    carried = pickle.loads(pickle.dumps(augment))
    for seed in range(5):
        np.testing.assert_array_equal(
            carried(image, labels, seed)[0], augment(image, labels, seed)[0]
        )


USABLE = [
    (name, dtype, bands)
    for dtype, bands in (("uint8", 3), ("float32", 5))
    for name in sorted(transforms())
    if not check_augment(({name: {}},), size=(24, 24), channels=bands, dtype=dtype)
]

HARD_ONLY = {
    name
    for name, dtype, bands in USABLE
    if check_augment(({name: {}},), (24, 24), bands, dtype, planes=True)
}


def test_most_of_albumentations_is_usable() -> None:
    assert len(HARD_ONLY) <= 2
    assert len([u for u in USABLE if u[1] == "uint8"]) >= 75
    assert len([u for u in USABLE if u[1] == "float32"]) >= 55


@pytest.mark.parametrize(("name", "dtype", "bands"), USABLE)
def test_every_transform_keeps_shapes_types_ranges_and_labels(
    name: str, dtype: str, bands: int
) -> None:
    image = noise(bands=bands, dtype=dtype)
    labels = (np.indices((24, 24)).sum(axis=0) % 2).astype(np.uint8)
    hard = build_augment(({name: {"p": 1.0}},))
    soft = build_augment(({name: {"p": 1.0}},), soft=True)
    for seed in range(3):
        new, new_labels = hard(image, labels, seed)
        assert new.shape == image.shape and new.dtype == image.dtype
        assert new_labels.shape == labels.shape and new_labels.dtype == np.uint8
        assert set(np.unique(new_labels)) <= {0, 1, 255}
        assert new.min() >= 0 and new.max() <= (255 if dtype == "uint8" else 1)
        if name in HARD_ONLY:
            continue
        planes = np.stack([labels * 255, np.full_like(labels, 255)])
        _, new_planes = soft(image, planes, seed)
        assert new_planes.shape == planes.shape and new_planes.dtype == np.uint8
        assert (
            new_planes[0].astype(int) <= new_planes[1].astype(int) + 1
        ).all()  # valid bounds a class


@pytest.mark.parametrize(
    "transform", ["Affine", "Rotate", "ShiftScaleRotate", "Perspective", "ElasticTransform"]
)
def test_what_a_warp_brings_in_is_ignored(transform: str) -> None:
    arguments: dict[str, Any] = {
        "Affine": {"translate_percent": [0.3, 0.3]},
        "Rotate": {"limit": [45, 45]},
        "ShiftScaleRotate": {"scale_limit": [-0.4, -0.4]},
        "Perspective": {"scale": [0.3, 0.3], "keep_size": True, "fit_output": True},
        "ElasticTransform": {"alpha": 300, "sigma": 10},
    }
    specs = ({transform: {**arguments[transform], "p": 1.0}},)
    image, labels = np.full((32, 32, 3), 200, np.uint8), np.ones((32, 32), np.uint8)
    new, new_labels = build_augment(specs)(image, labels, 1)
    assert set(np.unique(new_labels)) == {1, 255}
    assert (new_labels[new[..., 0] == 0] == 255).all()
    planes = np.full((2, 32, 32), 255, np.uint8)
    _, new_planes = build_augment(specs, soft=True)(image, planes, 1)
    assert new_planes.min() == 0
    np.testing.assert_array_equal(new_planes[0], new_planes[1])
    told = {transform: {**arguments[transform], "p": 1.0, "fill_mask": 0}}
    assert set(np.unique(build_augment((told,))(image, labels, 1)[1])) == {0, 1}


def test_reflection_brings_in_truth() -> None:
    spec = {"Affine": {"rotate": [45, 45], "border_mode": 4, "p": 1.0}}
    labels = (np.indices((24, 24))[1] // 6 % 2).astype(np.uint8)
    assert set(np.unique(build_augment((spec,))(noise(), labels, 1)[1])) == {0, 1}


def test_dropout_leaves_the_mask() -> None:
    labels = np.ones((24, 24), np.uint8)
    _, new = build_augment(({"CoarseDropout": {"p": 1.0}},))(noise(), labels, 1)
    assert (new == 1).all()


def test_planes_move_with_the_image() -> None:
    image = noise((16, 24), bands=6, dtype="float32")
    labels = np.moveaxis((image * 255).astype(np.uint8), -1, 0)
    specs = (*FLIPS, {"Transpose": {"p": 0.0}}, {"RandomRotate90": {"p": 0.0}})
    augment = build_augment(specs)
    for seed in range(8):
        new, planes = augment(image, labels, seed)
        np.testing.assert_array_equal(planes, np.moveaxis((new * 255).astype(np.uint8), -1, 0))


def test_one_plane_stays_a_plane() -> None:
    labels = np.zeros((1, 24, 24), np.uint8)
    assert build_augment(FLIPS)(noise(), labels, 0)[1].shape == (1, 24, 24)


def test_read_only_views_are_taken() -> None:
    image, labels = noise(), noise()[..., 0] % 2
    image.flags.writeable = labels.flags.writeable = False
    for name in ("CoarseDropout", "PixelDropout", "RandomBrightnessContrast", "GridDropout"):
        build_augment(({name: {"p": 1.0}},))(image, labels, 0)


def test_no_transforms_no_change() -> None:
    image, labels = noise(), noise()[..., 0]
    assert build_augment(())(image, labels, 3) == (image, labels)


def test_a_users_own_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("my_transforms")
    module.Invert = Invert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_transforms", module)
    specs = ({"my_transforms:Invert": {"p": 1.0}},)
    assert check_augment(specs) == []
    image = noise()
    np.testing.assert_array_equal(build_augment(specs)(image, image[..., 0], 0)[0], 255 - image)


def test_a_size_that_changes_in_training_is_an_error() -> None:
    augment = build_augment(({"RandomCrop": {"height": 8, "width": 8, "p": 1.0}},))
    with pytest.raises(ConfigError, match=r"sample became \(8, 8, 3\) uint8; transforms must keep"):
        augment(noise(), noise()[..., 0], 0)
