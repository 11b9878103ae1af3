"""`configs/competition.yaml`: what every member of an ensemble must agree on, said once.

Only structure and types are checked here; names (metric, fold scheme, format) are looked up by the
command that needs them, in the tables that hold them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

Task = Literal["binary", "multiclass", "multilabel"]
IGNORE = 255  # label value that marks "score nothing here" in every decoded mask


class Section(BaseModel):
    """A frozen part of a config that refuses keys it does not know."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class Pairs(Section):
    """One set of images and the rule that finds each image's mask.

    Patterns are relative to `data.root`. ``{id}`` stands for the image_id (it may contain no ``/``),
    ``{class}`` for a class name (multilabel: one mask file a class); ``*`` is allowed in the extension
    only. Exactly one file must match for each id.
    """

    images: str = Field(
        description="pattern with {id}, e.g. images/{id}.png or train/images/img_{id}.tif"
    )
    masks: str | None = Field(
        None, description="pattern with {id}, e.g. masks/{id}.png or label/{id}_label.tif"
    )
    split: Literal["train", "val"] = Field(
        "train", description="val: the predefined validation part"
    )

    @model_validator(mode="after")
    def _patterns_hold_an_id(self) -> Pairs:
        for key in ("images", "masks"):
            pattern = getattr(self, key)
            if pattern is not None and pattern.count("{id}") != 1:
                raise ValueError(f"{key} must hold {{id}} exactly once, got {pattern!r}")
        return self


class Rle(Section):
    """A table of run-length codes: its file, columns and convention."""

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
    empty: str = Field("", description="cell of an empty mask")


class Data(Section):
    """Where the pictures are and how they are read."""

    root: str = Field(description="folder of the data; relative to the workspace root, or absolute")
    train: tuple[Pairs, ...] = Field(min_length=1)
    test: str | None = Field(None, description="pattern with {id} of the test images")
    channels: Annotated[StrictInt, Field(ge=1)] = Field(3, description="bands a model sees")
    mask_values: dict[StrictInt, StrictInt] | None = Field(
        None,
        description="pixel value -> class (binary: 0 or 1; the ignore index stays itself); other values are errors",
    )
    mask_threshold: StrictInt | None = Field(
        None,
        description="binary and multilabel masks with soft edges: foreground is value >= threshold",
    )
    train_rle: Rle | None = Field(None, description="a table that is checked against the masks")
    meta: str | None = Field(
        None, description="CSV with one row an image, for groups and strata; relative to root"
    )
    meta_id_column: str = "ImageId"

    @model_validator(mode="after")
    def _one_mask_rule(self) -> Data:
        if self.mask_values is not None and self.mask_threshold is not None:
            raise ValueError("mask_values and mask_threshold are two rules for one thing; keep one")
        return self


class Folds(Section):
    """How the training images are divided."""

    scheme: str = Field(
        "stratified",
        description="kfold, stratified, group, stratified_group, predefined, heldout, split",
    )
    n_splits: Annotated[StrictInt, Field(ge=1)] = 5
    seed: Annotated[StrictInt, Field(ge=0, le=2**32 - 1)] = 0
    group: str | None = Field(
        None, description="column of data.meta; images of one group share a fold"
    )
    stratify: str | None = Field(
        None, description="column of data.meta; default: coverage and emptiness, or class presence"
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
        return self

    @property
    def n_classes(self) -> int:
        """Planes of a stored probability: 1 for binary, else one a class."""
        return len(self.classes)

    @property
    def metric_name(self) -> str:
        return self.metric or ("iou_image_mean" if self.task == "binary" else "iou_dataset_macro")
