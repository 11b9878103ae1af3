"""Masks follow their images through what albumentations offers; what parts them is found and named."""

from __future__ import annotations

from typing import Any

import albumentations as A
import numpy as np
import pytest

from comp.data.samples.alignment import THING, check_alignment, correlate, draw_pair, leaves

HERE = "tests.data.samples.test_alignment"
SOUND: list[dict[str, Any]] = [
    {"HorizontalFlip": {"p": 0.5}},
    {"RandomRotate90": {}},
    {"D4": {}},
    {"Affine": {"rotate": [-30, 30], "scale": [0.8, 1.2], "translate_percent": [-0.1, 0.1]}},
    {"ElasticTransform": {"alpha": 120, "sigma": 6}},
    {"GridDistortion": {}},
    {"RandomBrightnessContrast": {"brightness_limit": 0.4}},
    {"GaussNoise": {"std_range": [0.2, 0.44]}},
    {"CoarseDropout": {}},
    {"GridDropout": {}},
    {"InvertImg": {}},
    {"RandomFog": {}},
    {"MaskDropout": {}},
]


class FlipImageOnly(A.ImageOnlyTransform):
    """Moves the image; the mask does not hear of it."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return np.ascontiguousarray(img[:, ::-1])


class ShiftMask(A.DualTransform):
    """Moves the mask by a tenth."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return img

    def apply_to_mask(self, mask: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        return np.roll(mask, mask.shape[1] // 10, axis=1)


class MixLabels(A.DualTransform):
    """Blurs the mask: labels that were not there."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return img

    def apply_to_mask(self, mask: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        return ((mask.astype(int) + np.roll(mask, 1, axis=0)) // 2).astype(np.uint8)


class Fails(A.ImageOnlyTransform):
    """Raises."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        raise ValueError("no such picture")


@pytest.mark.parametrize("spec", SOUND, ids=lambda spec: next(iter(spec)))
@pytest.mark.parametrize("kind", ["labels", "planes", "soft"])
def test_sound_transforms_pass(spec: dict[str, Any], kind: str) -> None:
    if kind != "labels" and "MaskDropout" in spec:
        pytest.skip("it takes one plane")
    assert not check_alignment([spec], planes=kind == "planes", soft=kind == "soft")


def test_a_pipeline_and_other_bands_and_sizes_pass() -> None:
    pipeline = [SOUND[0], SOUND[3], {"OneOf": {"transforms": [SOUND[6], SOUND[7]]}}]
    assert not check_alignment(pipeline, (96, 160), channels=1)
    assert not check_alignment(pipeline, (64, 64), channels=5)
    assert not check_alignment([])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("FlipImageOnly", "image and mask part"),
        ("ShiftMask", "image and mask part"),
        ("MixLabels", f"labels 0 and {THING} became [100] too"),
        ("Fails", "fails: no such picture"),
    ],
)
def test_what_parts_them_is_named(name: str, said: str) -> None:
    (problem,) = check_alignment([SOUND[0], {f"{HERE}:{name}": {}}])
    assert problem.startswith(f"augment[1] {HERE}:{name}: ") and said in problem


def test_it_is_found_inside_containers_and_when_it_is_rare() -> None:
    wrong = {f"{HERE}:FlipImageOnly": {"p": 0.01}}
    (problem,) = check_alignment([{"OneOf": {"transforms": [SOUND[6], wrong]}}])
    assert problem.startswith(f"augment[0] OneOf[1] {HERE}:FlipImageOnly: ")


def test_leaves_take_every_spelling() -> None:
    specs = [{"SomeOf": {"transforms": ["HorizontalFlip", {"D4": None}], "n": 1}}, {"D4": {}}]
    assert [where for where, _ in leaves(specs)] == [
        "augment[0] SomeOf[0] HorizontalFlip",
        "augment[0] SomeOf[1] D4",
        "augment[1] D4",
    ]


def test_correlation_knows_same_inverted_other_and_nothing() -> None:
    image, labels = draw_pair((128, 128), 3, False, False)
    assert correlate(image, labels, False) == pytest.approx(1)
    assert correlate(255 - image, labels, False) == pytest.approx(1)
    turned = correlate(np.rot90(image).copy(), labels, False)
    assert turned is not None and turned < 0.3
    assert correlate(image, np.zeros_like(labels), False) is None
    assert correlate(np.zeros_like(image), labels, False) == 0
