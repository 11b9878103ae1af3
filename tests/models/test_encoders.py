"""Encoder names and pixel statistics, offline."""

from __future__ import annotations

import pytest

from comp.errors import ConfigError
from comp.models.encoders import (
    IMAGENET,
    check_encoder,
    encoder_stats,
    known_encoders,
    pixel_stats,
    timm_name,
)


def test_names_of_smp_and_timm() -> None:
    assert {"resnet34", "mit_b0", "tu-convnext_tiny"} <= set(known_encoders())
    for name in (
        "resnet34",
        "efficientnet-b0",
        "tu-convnext_tiny",
        "tu-resnet18.a1_in1k",
        "timm-regnetx_002",
    ):
        assert check_encoder(name) == [], name
    for name in ("resnet", "tu-", "convnext_tiny", "tu-resnet18.nothing"):
        assert len(check_encoder(name)) == 1, name


def test_timm_names() -> None:
    assert timm_name("resnet34") is None
    assert timm_name("tu-resnet18.a1_in1k") == "resnet18.a1_in1k"
    assert timm_name("timm-mobilenetv3_large_100") == "tf_mobilenetv3_large_100"


def test_statistics_of_encoders() -> None:
    assert encoder_stats("resnet34") == IMAGENET
    assert encoder_stats("xception")[0] == (0.5, 0.5, 0.5)
    assert encoder_stats("dpn92")[0] == pytest.approx((0.4863, 0.4588, 0.4078), abs=1e-4)
    assert encoder_stats("efficientnet-b3", "advprop")[1] == (0.5, 0.5, 0.5)
    assert encoder_stats("tu-tf_efficientnetv2_s.in21k")[0] == (0.5, 0.5, 0.5)
    assert encoder_stats("tu-resnet18")[0] == pytest.approx(IMAGENET[0])


def test_the_statistics_are_those_of_the_tag() -> None:
    assert encoder_stats("tu-tf_efficientnet_b0")[0] == IMAGENET[0]
    assert encoder_stats("tu-tf_efficientnet_b0", "imagenet")[0] == IMAGENET[0]
    assert encoder_stats("tu-tf_efficientnet_b0", "ap_in1k") == ((0.5,) * 3, (0.5,) * 3)
    assert encoder_stats("tu-tf_efficientnet_b0.ap_in1k", "imagenet")[0] == (0.5,) * 3
    assert encoder_stats("tu-tf_efficientnet_b0", "weights/some.pth")[0] == IMAGENET[0]
    mean, _ = pixel_stats("encoder", 4, "tu-tf_efficientnet_b0", "ap_in1k") or ((), ())
    assert mean == (0.5,) * 4


def test_channels() -> None:
    assert pixel_stats("unit", 2, None, None) == ((0.0, 0.0), (1.0, 1.0))
    assert pixel_stats("image", 2, None, None) is None
    mean, std = pixel_stats("imagenet", 5, None, None) or ((), ())
    assert mean == (0.485, 0.456, 0.406, 0.485, 0.456) and len(std) == 5
    grey = pixel_stats("imagenet", 1, None, None)
    assert grey is not None and grey[0] == pytest.approx((0.449,))


def test_without_an_encoder_or_its_numbers() -> None:
    with pytest.raises(ConfigError, match="'encoder' needs an encoder"):
        pixel_stats("encoder", 3, None, None)
    with pytest.raises(
        ConfigError,
        match="timm publishes no mean and std of 'tu-no_such_model'; use unit, imagenet, dataset or image",
    ):
        encoder_stats("tu-no_such_model")


@pytest.mark.parametrize(
    ("ours", "tag", "theirs"),
    [
        ("xception", "imagenet", "legacy_xception"),
        ("inceptionv4", "imagenet", "inception_v4"),
        ("inceptionresnetv2", "imagenet", "inception_resnet_v2"),
        ("dpn131", "imagenet", "dpn131"),
        ("timm-tf_efficientnet_lite0", "imagenet", "tf_efficientnet_lite0"),
        ("timm-efficientnet-b0", "advprop", "tf_efficientnet_b0.ap_in1k"),
        ("timm-efficientnet-b0", "noisy-student", "tf_efficientnet_b0.ns_jft_in1k"),
        ("timm-skresnet18", "imagenet", "skresnet18"),
        ("senet154", "imagenet", "legacy_senet154"),
        ("resnext101_32x8d", "instagram", "resnext101_32x8d.fb_wsl_ig1b_ft_in1k"),
        ("mobileone_s0", "imagenet", "mobileone_s0"),
    ],
)
def test_smps_encoders_have_the_numbers_of_the_same_weights_in_timm(
    ours: str, tag: str, theirs: str
) -> None:
    for one, other in zip(encoder_stats(ours, tag), encoder_stats(f"tu-{theirs}"), strict=True):
        assert one == pytest.approx(other)
