"""`train.mix` of a model YAML: samples made of several training images, with their masks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from comp.config.section import Section

Part = Annotated[float, Field(gt=0, le=1)]
EXPECTED = "expected mosaic, copy_paste, cutmix or mixup, such as {cutmix: {p: 0.5}}; null for none"


class MixUp(Section):
    """Two samples shine through each other, and so do their masks (Zhang et al. 2018)."""

    p: Part = Field(0.5, description="the part of the samples")
    alpha: Annotated[float, Field(gt=0)] = Field(
        0.4,
        description="weights from Beta(alpha, alpha), the larger for the sample itself; small: nearly one image",
    )


class CutMix(Section):
    """A rectangle of another sample, with its mask (Yun et al. 2019)."""

    p: Part = Field(0.5, description="the part of the samples")
    area: tuple[Part, Part] = Field(
        (0.1, 0.5), description="of the rectangle: [least, most] of the sample, drawn evenly"
    )

    @field_validator("area")
    @classmethod
    def _low_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _low_then_high(value)


class CopyPaste(Section):
    """Objects of another sample, cut out along their mask (Ghiasi et al. 2021)."""

    p: Part = Field(0.5, description="the part of the samples")
    share: Part = Field(
        0.5,
        description="the chance of each object of the other sample, at least one; an object: connected "
        "pixels of one class (multilabel: of any class), never of the background",
    )


class Mosaic(Section):
    """Four samples around a point, each at its own scale (Bochkovskiy et al. 2020)."""

    p: Part = Field(0.5, description="the part of the samples")
    centre: tuple[Part, Part] = Field(
        (0.25, 0.75), description="where they meet: [least, most] of height and width"
    )

    @field_validator("centre")
    @classmethod
    def _low_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _low_then_high(value)


class Mix(Section):
    """Samples made of several training images of the fold, after their augmentation, in this order:
    mosaic, copy_paste, cutmix, mixup. ``cutmix: 0.3`` is short for ``cutmix: {p: 0.3}``."""

    until: Part = Field(
        1.0, description="this part of the epochs, the first ones; the rest sees images as they are"
    )
    mosaic: Mosaic | None = Field(None, description="four samples in one, meeting at a point")
    copy_paste: CopyPaste | None = Field(None, description="objects of another sample pasted in")
    cutmix: CutMix | None = Field(None, description="a rectangle of another sample pasted in")
    mixup: MixUp | None = Field(
        None, description="the weighted mean of two samples; ignored where either is"
    )

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, value: Any) -> Any:
        if not isinstance(value, dict | Mix):
            raise ValueError(f"{EXPECTED}; got {value!r}")
        return value

    @field_validator("mosaic", "copy_paste", "cutmix", "mixup", mode="before")
    @classmethod
    def _probability_alone(cls, value: Any) -> Any:
        if isinstance(value, bool | str | list):
            raise ValueError(f"expected a probability, or {{p: 0.5, ...}}, got {value!r}")
        return {"p": value} if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _says_something(self) -> Mix:
        if not (self.mosaic or self.copy_paste or self.cutmix or self.mixup):
            raise ValueError(EXPECTED)
        return self


def _low_then_high(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected [low, high] with low <= high, got {list(value)}")
    return value
