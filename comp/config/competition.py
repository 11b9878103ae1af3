"""`configs/competition.yaml`: what every member of an ensemble must agree on, said once.

Only structure and types are checked here; names (metric, fold scheme, format) are looked up by the
command that needs them, in the tables that hold them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictInt, model_validator

from comp.config.data import MAX_PIXELS, Data, Scale, scale_pairs
from comp.config.folds import Folds
from comp.config.pairs import Pairs, Rle
from comp.config.section import Section
from comp.config.submission import Submission

__all__ = [
    "BACKGROUND_NAMES",
    "IGNORE",
    "MAX_PIXELS",
    "Competition",
    "Data",
    "Folds",
    "Pairs",
    "Rle",
    "Scale",
    "Section",
    "Submission",
    "Task",
    "scale_pairs",
]

Task = Literal["binary", "multiclass", "multilabel"]
BACKGROUND_NAMES = ("background", "bg", "other", "none")  # a class so named is no object
IGNORE = 255  # label value that marks "score nothing here" in every decoded mask


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
