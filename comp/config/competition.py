"""`configs/competition.yaml`: what every member of an ensemble must agree on, said once.

Only structure and types are checked here; names (metric, fold scheme, format) are looked up by the
command that needs them, in the tables that hold them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictInt,
    field_validator,
    model_serializer,
    model_validator,
)

Task = Literal["binary", "multiclass", "multilabel"]
BACKGROUND_NAMES = ("background", "bg", "other", "none")  # a class so named is no object
IGNORE = 255  # label value that marks "score nothing here" in every decoded mask


MAX_PIXELS = 178_956_970  # the size above which Pillow calls a picture a decompression bomb
Scale = Literal["dtype"] | tuple[float, float] | tuple[tuple[float, float], ...]


def scale_pairs(scale: Scale) -> tuple[tuple[float, float], ...]:
    """The (low, high) of `data.scale`: one for all bands or one a band; none for dtype."""
    if isinstance(scale, str):
        return ()
    return tuple((low, high) for low, high in (scale if isinstance(scale[0], tuple) else (scale,)))


class Section(BaseModel):
    """A frozen part of a config that refuses keys it does not know."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )
    LATER: ClassVar[frozenset[str]] = frozenset()
    """Keys that are younger than the first runs: left out of the resolved config where they say their
    default, so that a run made before them keeps its identity."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        for key in self.LATER:
            if getattr(self, key) == fields[key].get_default(call_default_factory=True):
                values.pop(key, None)
        return values


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
        description="COCO JSON (polygons, RLE) that is the truth, relative to data.root; a crowd is ignored pixels",
    )
    absent: Literal["refuse", "empty", "leave_out"] = Field(
        "refuse", description="rle, coco: an image of which the file says nothing"
    )
    manifest: str | None = Field(
        None,
        description="CSV image_id,split,image,masks (several files joined by ';', relative to data.root) "
        "in place of patterns; itself relative to the workspace, or to data.root",
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
        if self.manifest is not None and (self.images is not None or truths):
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

    LATER: ClassVar[frozenset[str]] = frozenset({"relative"})

    file: str = Field(description="CSV, relative to data.root")
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


class Data(Section):
    """Where the pictures are and how they are read."""

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"bands", "mask_colors", "mask_color_distance", "mask_invert", "scale", "max_pixels"}
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
    train_rle: Rle | None = Field(None, description="a table that is checked against the masks")
    meta: str | None = Field(
        None, description="CSV with one row an image, for groups and strata; relative to root"
    )
    meta_id_column: str = "ImageId"

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


class Folds(Section):
    """How the training images are divided."""

    LATER: ClassVar[frozenset[str]] = frozenset({"n_repeats", "time", "train_on", "purge"})

    scheme: str = Field(
        "stratified",
        description="kfold, stratified, iterative, group, stratified_group, logo, time, predefined, "
        "heldout, split",
    )
    n_splits: Annotated[StrictInt, Field(ge=1)] = 5
    n_repeats: Annotated[StrictInt, Field(ge=1, le=100)] = Field(
        1,
        description="divide the images so often, each time at random anew; n_splits folds each time",
    )
    seed: Annotated[StrictInt, Field(ge=0, le=2**32 - 1)] = 0
    group: str | None = Field(
        None,
        description="images of one group share a fold: a column of data.meta; auto: what the leak radar finds; "
        "names (s3_017: s3_), folders (a/17: a): what the image ids tell",
    )
    stratify: str | None = Field(
        None, description="column of data.meta; default: coverage and emptiness, or class presence"
    )
    time: str | None = Field(
        None, description="column of data.meta, numbers or dates, that scheme time goes along"
    )
    train_on: Literal["before", "around"] = Field(
        "before",
        description="scheme time: train on what comes before the validation block, or on both sides",
    )
    purge: Annotated[float, Field(ge=0)] = Field(
        0,
        description="scheme time: images nearer to the validation block than this are not trained on; "
        "in units of the column, days for dates",
    )
    heldout: str | None = Field(
        None, description="JSON or CSV of validation ids, relative to data.root (scheme heldout)"
    )
    val_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="scheme split: share of the one validation fold"
    )
    test_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="scheme split: share held out for one final score (fold -2)"
    )


class Submission(Section):
    """The shape of the submission CSV; ids, order and columns come from `sample` where there is one."""

    LATER: ClassVar[frozenset[str]] = frozenset({"relative"})

    sample: str | None = Field(None, description="sample_submission.csv, relative to data.root")
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


class Competition(Section):
    """One competition."""

    name: str
    task: Task
    classes: tuple[str, ...] = Field(
        min_length=1,
        description="binary: the foreground's name; multiclass: every class in index order",
    )
    ignore_index: StrictInt | None = Field(
        None, description="mask value where nothing is trained or scored"
    )
    metric: str | None = Field(
        None, description="default: iou_image_mean (binary), iou_dataset_macro (else)"
    )
    data: Data
    folds: Folds = Folds()
    submission: Submission = Submission()

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> Competition:
        if self.task == "binary" and len(self.classes) != 1:
            raise ValueError(
                f"classes: task binary names one class (the foreground), got {len(self.classes)}"
            )
        if self.task == "multiclass" and len(self.classes) < 2:
            raise ValueError("classes: task multiclass needs at least 2")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: names repeat")
        if len(self.classes) > 255:
            raise ValueError("classes: at most 255 (masks are uint8, 255 is ignore)")
        if self.task == "multilabel" and self.data.mask_colors is not None:
            raise ValueError(
                "data.mask_colors: a pixel has one colour, so the task is multiclass; multilabel takes mask_values"
            )
        if self.task == "multiclass" and self.data.mask_invert:
            raise ValueError("data.mask_invert is for binary and multilabel masks; use mask_values")
        return self

    @property
    def background(self) -> int | None:
        """Multiclass: the class that is the ground, by its name (`BACKGROUND_NAMES`); None: there is none."""
        if self.task != "multiclass":
            return None
        names = [name.lower() for name in self.classes]
        return next((names.index(name) for name in BACKGROUND_NAMES if name in names), None)

    @property
    def n_classes(self) -> int:
        """Planes of a stored probability: 1 for binary, else one a class."""
        return len(self.classes)

    @property
    def metric_name(self) -> str:
        return self.metric or ("iou_image_mean" if self.task == "binary" else "iou_dataset_macro")
