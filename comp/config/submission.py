"""`submission` of competition.yaml: the shape of the file that is handed in."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator

from comp.config.section import Section


class Submission(Section):
    """The shape of the submission: a CSV, whose ids, order and columns come from `sample` where there is
    one, or masks as GeoTIFF files."""

    LATER: ClassVar[frozenset[str]] = frozenset({"relative", "format", "pixel_values"})

    sample: str | None = Field(None, description="sample_submission.csv, relative to data.root")
    format: Literal["csv", "geotiff"] = Field(
        "csv",
        description="csv - run-length codes; geotiff - a zip of one mask tif an image, which lies where its "
        "image lies (the keys of the CSV do not matter then)",
    )
    pixel_values: tuple[Annotated[StrictInt, Field(ge=0, le=255)], ...] | None = Field(
        None,
        description="format: geotiff - the pixel value of each class, in class order (binary and multilabel: "
        "of background and foreground); default 0, 1, ...",
    )
    id_column: str = "ImageId"
    rle_column: str = "EncodedPixels"
    class_column: str | None = None
    class_in_id: StrictBool = False
    class_names: tuple[str, ...] | None = Field(
        None, description="how the CSV spells each class, in class order; default 0, 1, ..."
    )
    row: Literal["image", "image_class", "object"] = "image"
    order: Literal["column", "row"] = "column"
    base: Annotated[StrictInt, Field(ge=0, le=1)] = 1
    relative: StrictBool = Field(
        False, description="a start counts from the end of the run before (SIIM-ACR: with base 0)"
    )
    empty: str = Field("", description="cell of an empty mask: blank, -1, '1 0', ...")
    connectivity: Literal[4, 8] = Field(
        8, description="row: object - pixels that touch so belong together"
    )

    @field_validator("pixel_values")
    @classmethod
    def _values_differ(cls, values: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if values is not None and len(set(values)) < len(values):
            raise ValueError(f"one value stands for one class, got {list(values)}")
        return values
