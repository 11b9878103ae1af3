"""`predict` of a model YAML: from weights to stored probabilities."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from comp.config.section import PositiveInt, Section
from comp.config.training import Size


class Predict(Section):
    """From weights to stored probabilities."""

    LATER: ClassVar[frozenset[str]] = frozenset({"window", "overlap", "blend"})

    weights: Literal["best_metric", "best_loss", "last", "ema", "top", "soup", "snapshots"] = Field(
        "best_metric", description="of which epochs; the last four are made by train's options"
    )
    tta: tuple[str, ...] = Field(
        ("none",), min_length=1, description="views to store, each apart: none, hflip, flips, d4"
    )
    scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0,), min_length=1, description="zooms merged into every view set other than none"
    )
    batch_size: PositiveInt | None = Field(
        None, description="images at once, at train.size; default: 4 * train.batch_size"
    )
    store: Literal["uint8", "uint16"] = "uint8"
    window: Size | None = Field(
        None,
        description="mode crop: height, width of overlapping windows that a larger image is predicted by; "
        "null: images are seen whole, but above 4096 x 4096 pixels by windows of 1024 x 1024",
    )
    overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.25, description="least share of a window that the next one covers again"
    )
    blend: Literal["gaussian", "spline", "flat"] = Field(
        "gaussian", description="how windows fade into each other where they overlap"
    )

    @field_validator("tta")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"each set of views is stored once, got {list(value)}")
        return value
