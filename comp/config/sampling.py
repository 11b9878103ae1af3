"""`train.sampler` and `train.pseudo` of a model YAML: what an epoch and a batch are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from comp.config.section import PositiveInt, Section

Share = Annotated[float, Field(ge=0, le=1)]
# at the first epoch and at the last; one number in YAML: the same at both
Shares = tuple[Share, Share]


class Sampler(Section):
    """Which images an epoch is made of; without it each comes once (`crops_per_image` times)."""

    by: Literal["emptiness", "coverage", "class", "loss"] | None = Field(
        None,
        description="emptiness: `share` of the samples comes from images with foreground; coverage, class: "
        "`share` is spread evenly over bins of coverage or over classes; loss: in proportion to each image's "
        "last known training loss, none above 4 times its part; the rest as the images are",
    )
    share: Shares | None = Field(
        None, description="0 to 1, or [at the first epoch, at the last] along a line"
    )
    positive_share: Shares | None = Field(
        None,
        description="mode crop: at least this share of the crops holds foreground; multi-class: of a class "
        "drawn from those of the image; one number or [first, last]",
    )
    samples: PositiveInt | None = Field(
        None, description="of an epoch; default: as many as without a sampler"
    )
    epochs: PositiveInt | None = Field(
        None, description="after which the last share is reached and stays; default: train.epochs"
    )

    @field_validator("share", "positive_share", mode="before")
    @classmethod
    def _one_is_both(cls, value: Any) -> Any:
        alone = isinstance(value, int | float) and not isinstance(value, bool)
        return (value, value) if alone else value

    @model_validator(mode="after")
    def _says_something(self) -> Sampler:
        if (self.by is None) != (self.share is None):
            raise ValueError("by and share belong together, such as {by: emptiness, share: 0.7}")
        if self.by is None and self.positive_share is None and self.samples is None:
            raise ValueError(
                "expected by and share, positive_share, or samples; null for no sampler"
            )
        if self.by == "loss" and self.share is not None and max(self.share) == 1:
            raise ValueError(
                "by: loss needs a share below 1: the rest keeps the easy images in, whose loss may rise again"
            )
        if self.by == "emptiness" and self.share is not None and self.positive_share is not None:
            ends = zip(self.positive_share, self.share, strict=True)
            if any(positive > share for positive, share in ends):
                raise ValueError(
                    "positive_share is above share: crops with foreground come from images with foreground"
                )
        return self


class Pseudo(Section):
    """How test images with the labels of `comp cv --pseudo RUN` are mixed into the training."""

    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="of a batch: the part that is pseudo-labelled test images"
    )
    confidence: tuple[Share, Share] = Field(
        (0.1, 0.9),
        description="pixels with a probability between the two are ignored, the others keep it as their "
        "truth; multi-class: kept where one class has at least the second and no other more than the first",
    )

    @field_validator("confidence")
    @classmethod
    def _low_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"expected [low, high] with low <= high, got {list(value)}")
        return value
