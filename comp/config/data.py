"""`data` of competition.yaml: where the pictures are, and how images and masks are read."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from comp.config.pairs import Pairs, Rle
from comp.config.section import Section

MAX_PIXELS = 178_956_970  # the size above which Pillow calls a picture a decompression bomb
Scale = Literal["dtype"] | tuple[float, float] | tuple[tuple[float, float], ...]


def scale_pairs(scale: Scale) -> tuple[tuple[float, float], ...]:
    """The (low, high) of `data.scale`: one for all bands or one a band; none for dtype."""
    if isinstance(scale, str):
        return ()
    return tuple((low, high) for low, high in (scale if isinstance(scale[0], tuple) else (scale,)))


class Data(Section):
    """Where the pictures are and how they are read."""

    LATER: ClassVar[frozenset[str]] = frozenset(
        {
            "bands",
            "mask_colors",
            "mask_color_distance",
            "mask_invert",
            "scale",
            "max_pixels",
            "overlap",
            "exclude",
            "meta_ids",
        }
    )

    root: str = Field(description="folder of the data; relative to the workspace root, or absolute")
    train: tuple[Pairs, ...] = Field(min_length=1)
    test: str | None = Field(None, description="pattern with {id} of the test images")
    bands: tuple[str, ...] | None = Field(
        None, description="one file a band: what {band} stands for, stacked in this order"
    )
    channels: Annotated[StrictInt, Field(ge=1)] = Field(3, description="bands a model sees")
    mask_values: dict[StrictInt, StrictInt] | None = Field(
        None,
        description="pixel value -> class (binary: 0 or 1; the ignore index stays itself); other values are errors",
    )
    mask_threshold: StrictInt | None = Field(
        None,
        description="binary and multilabel masks with soft edges: foreground is value >= threshold",
    )
    mask_colors: dict[str, StrictInt] | None = Field(
        None,
        description='colour -> class, e.g. {"#ff0000": 1} (binary: 0 or 1; the ignore index stays itself); '
        "other colours are errors; palettes are read by colour, not by index",
    )
    mask_color_distance: Annotated[StrictInt, Field(ge=0, le=255)] = Field(
        0,
        description="masks saved with loss: a pixel may differ this much in each of r, g, b from its colour",
    )
    mask_invert: StrictBool = Field(
        False, description="binary and multilabel: what the masks mark is the background"
    )
    scale: Scale = Field(
        "dtype",
        description="how stored numbers become [0, 1]: dtype - by the full range of the file's type (floats must "
        "lie in [0, 1]); [low, high], or one such pair a band - linearly, the rest cut off, NaN as low",
    )
    max_pixels: Annotated[StrictInt, Field(ge=1)] = Field(
        MAX_PIXELS,
        description="a file that claims more is refused before it is decoded; images in tif files of more than "
        "67 million pixels are read in bands of rows and may have 2^31, unless this is set below its default",
    )
    overlap: Literal["refuse", "ignore", "last"] = Field(
        "refuse",
        description="task multiclass, truth from codes or COCO: a pixel of objects of different classes is "
        "refused, ignored, or of the class that stands later in classes",
    )
    exclude: tuple[str, ...] | str | None = Field(
        None,
        description="ids of training images that are left out as if they were not there; or a text file of them, "
        "one a line, in the workspace or below root",
    )
    train_rle: Rle | None = Field(None, description="a table that is checked against the masks")
    meta: str | None = Field(
        None, description="CSV with one row an image, for groups and strata; relative to root"
    )
    meta_id_column: str = "ImageId"
    meta_ids: Literal["exact", "prefix"] = Field(
        "exact",
        description="exact: a row an image; prefix: a row for all images whose ids begin so, up to a character "
        "that is no letter or digit (vid01 for vid01_frame0005)",
    )

    @model_validator(mode="after")
    def _patterns_have_what_they_name(self) -> Data:
        images = [pattern for pattern in (*(p.images for p in self.train), self.test) if pattern]
        with_band = [pattern for pattern in images if "{band}" in pattern]
        if self.bands is None and with_band:
            raise ValueError(f"bands: missing; {with_band[0]!r} holds {{band}}: list them in order")
        if self.bands is not None and len(with_band) < len(images):
            alone = next(pattern for pattern in images if "{band}" not in pattern)
            raise ValueError(f"bands are given, but {alone!r} holds no {{band}}")
        if self.bands is not None and (
            not self.bands or len(set(self.bands)) < len(self.bands) or not all(self.bands)
        ):
            raise ValueError("bands: expected at least one name, each once")
        if self.train_rle is None and any(pairs.rle for pairs in self.train):
            raise ValueError("train_rle: missing; a part of train says rle: true")
        return self

    @model_validator(mode="after")
    def _one_mask_rule(self) -> Data:
        rules = [
            key
            for key in ("mask_values", "mask_threshold", "mask_colors")
            if getattr(self, key) is not None
        ]
        if len(rules) > 1:
            raise ValueError(
                f"{' and '.join(rules)} are {len(rules)} rules for one thing; keep one"
            )
        if self.mask_color_distance and self.mask_colors is None:
            raise ValueError("mask_color_distance needs mask_colors")
        return self

    @field_validator("exclude", mode="before")
    @classmethod
    def _ids_are_text(cls, ids: object) -> object:
        if isinstance(ids, list) and (odd := [i for i in ids if not isinstance(i, str)]):
            raise ValueError(f"image ids are text, in quotes, got {odd[0]!r}")
        if ids == "" or (isinstance(ids, list) and not all(ids)):
            raise ValueError("an id, or the name of the file of ids, is empty")
        return ids

    @property
    def excluded(self) -> tuple[str, ...]:
        """The ids of `exclude`; a file of them was read when the competition was loaded."""
        return self.exclude if isinstance(self.exclude, tuple) else ()

    @field_validator("mask_colors")
    @classmethod
    def _colors_are_hex(cls, colors: dict[str, int] | None) -> dict[str, int] | None:
        seen = set()
        for color in colors or ():
            if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
                raise ValueError(f'colours are written "#rrggbb", in quotes, got {color!r}')
            if color.lower() in seen:
                raise ValueError(f"{color} stands there twice")
            seen.add(color.lower())
        return colors

    @field_validator("scale")
    @classmethod
    def _low_is_below_high(cls, scale: Scale) -> Scale:
        if not scale:
            raise ValueError("expected dtype, [low, high], or one such pair a band")
        for low, high in scale_pairs(scale):
            if not low < high:
                raise ValueError(f"[low, high] needs low < high, got [{low:g}, {high:g}]")
        return scale

    @property
    def reading(self) -> list[tuple[str, object]]:
        """The younger keys that change what is read, where they differ from their default (for cache keys)."""
        return [
            (key, getattr(self, key))
            for key in ("mask_colors", "mask_color_distance", "mask_invert", "scale")
            if getattr(self, key) != type(self).model_fields[key].default
        ]
