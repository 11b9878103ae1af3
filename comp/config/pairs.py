"""`data.train` of competition.yaml: which image has which truth: mask files, run-length codes, COCO, or a list."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from comp.config.section import Section


class Pairs(Section):
    """One set of images and the rule that finds each image's truth.

    Patterns are relative to `data.root`. ``{id}`` stands for the image_id, ``{dir}`` for one folder or more
    (the image_id is then ``dir/id``), ``{class}`` for a class name (multilabel: one mask file a class),
    ``{object}`` for anything (binary: one mask file an object, their union is the mask), ``{band}`` for each of
    `data.bands`; ``*`` is allowed in the extension only. The truth is one of masks, rle, coco, or a manifest.
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"rle", "coco", "absent", "manifest"})

    images: str | None = Field(
        None, description="pattern with {id}, e.g. images/{id}.png or train/images/img_{id}.tif"
    )
    masks: str | None = Field(
        None, description="pattern with {id}, e.g. masks/{id}.png or label/{id}_label.tif"
    )
    rle: StrictBool = Field(
        False, description="the table of data.train_rle is the truth: there are no mask files"
    )
    coco: str | None = Field(
        None,
        description="COCO JSON (polygons, RLE), or .jsonl with the polygons of an image a line, that is the truth; "
        "relative to data.root; a crowd is ignored pixels",
    )
    absent: Literal["refuse", "empty", "leave_out"] = Field(
        "refuse",
        description="an image without a mask, or of which the rle or coco file says nothing: an error, an image "
        "without objects, or left out",
    )
    manifest: str | None = Field(
        None,
        description="CSV image_id,split,image,masks (several files joined by ';', relative to data.root) "
        "in place of patterns; itself relative to the workspace, or to data.root; with rle or coco it says the "
        "images and their parts, and its masks are not read",
    )
    split: Literal["train", "val"] = Field(
        "train", description="val: the predefined validation part"
    )

    @model_validator(mode="after")
    def _patterns_hold_an_id(self) -> Pairs:
        for key in ("images", "masks"):
            pattern = getattr(self, key)
            if pattern is None:
                continue
            parts = pattern.split("/")
            if "{id}" not in pattern or any(part.count("{id}") > 1 for part in parts):
                raise ValueError(
                    f"{key} must hold {{id}}, at most once between two '/', got {pattern!r}"
                )
            if parts.count("{dir}") != pattern.count("{dir}") or parts.count("{dir}") > 1:
                raise ValueError(f"{key}: {{dir}} stands for whole folders, once, got {pattern!r}")
        return self

    @model_validator(mode="after")
    def _one_truth(self) -> Pairs:
        truths = [key for key in ("masks", "rle", "coco") if getattr(self, key)]
        if self.manifest is not None and (self.images is not None or self.masks is not None):
            raise ValueError("manifest stands alone: it names images and masks itself")
        if self.manifest is None and self.images is None:
            raise ValueError("images: missing (a pattern with {id}), or give a manifest")
        if len(truths) > 1:
            raise ValueError(f"{' and '.join(truths)} are {len(truths)} truths; keep one")
        if self.masks is not None and ("{dir}" in self.masks) != ("{dir}" in (self.images or "")):
            raise ValueError("{dir} must stand in images and masks, or in neither")
        return self


class Rle(Section):
    """A table of run-length codes: its file, columns and convention."""

    LATER: ClassVar[frozenset[str]] = frozenset({"relative", "code"})

    file: str = Field(description="CSV, relative to data.root")
    code: Literal["pairs", "counts", "coco", "coco_zlib"] = Field(
        "pairs",
        description="how a cell spells a mask: pairs of start and length; or COCO counts: as numbers, "
        "as COCO's packed text, or that text in zlib and base64 (alone, or `class confidence code` an object)",
    )
    id_column: str = "ImageId"
    rle_column: str = "EncodedPixels"
    class_column: str | None = Field(
        None,
        description="None: one row an image or an object; classes joined into the id: `{id}_{class}`",
    )
    class_in_id: StrictBool = Field(
        False, description="id is `<image_id>_<class>` (Severstal, Clouds)"
    )
    row: Literal["image", "image_class", "object"] = "image"
    order: Literal["column", "row"] = Field(
        "column", description="pixel order: column-major (Kaggle) or row-major"
    )
    base: Annotated[StrictInt, Field(ge=0, le=1)] = Field(
        1, description="number of the first pixel"
    )
    relative: StrictBool = Field(
        False, description="a start counts from the end of the run before (SIIM-ACR: with base 0)"
    )
    empty: str = Field("", description="cell of an empty mask")
