"""`configs/<model>.yaml`: one model and how it is trained. It says nothing of data or class count.

Keys are the keyword arguments they reach; `model`, `optim`, `schedule` and loss terms pass unknown keys
on to the thing they name, which refuses what it does not know.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_serializer, field_validator, model_validator

from comp.config.mixing import Mix
from comp.config.network import LossTerm, Model
from comp.config.prediction import Predict
from comp.config.rates import Optim, Schedule
from comp.config.sampling import Pseudo, Sampler, Share, Shares
from comp.config.section import OpenSection, PositiveInt, Section
from comp.config.training import EarlyStop, Size, Train
from comp.config.tune import Searched, Tuned

__all__ = [
    "EarlyStop",
    "LossTerm",
    "Mix",
    "Model",
    "ModelConfig",
    "OpenSection",
    "Optim",
    "PositiveInt",
    "Predict",
    "Pseudo",
    "Sampler",
    "Schedule",
    "Searched",
    "Share",
    "Shares",
    "Size",
    "Train",
    "Tuned",
]


class ModelConfig(Section):
    """One model YAML, resolved."""

    model: Model = Model()
    loss: dict[str, LossTerm] = Field(default={"bce": LossTerm(weight=1.0)}, min_length=1)
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    train: Train = Train()
    augment: tuple[dict[str, dict[str, Any]], ...] = Field(
        (), description="albumentations, in order: - HorizontalFlip: {p: 0.5}"
    )
    predict: Predict = Predict()
    tune: dict[str, Searched] | None = Field(
        None,
        min_length=1,
        description="what comp tune searches: a dotted path, as -o takes it, to a range or a list of values",
    )
    tuned: Tuned | None = Field(
        None,
        exclude=True,
        description="written by comp tune: which folds these values were chosen on",
    )

    @field_serializer("tune")
    def _is_no_part_of_the_model(self, _: Any) -> None:
        """A run stays the same one whatever is searched around it."""

    @model_validator(mode="after")
    def _windows_are_of_crops(self) -> ModelConfig:
        if self.predict.window is not None and self.train.mode == "resize":
            raise ValueError(
                "predict.window: a model of train.mode resize sees the whole image at train.size; "
                "drop predict.window, or train.mode: crop"
            )
        return self

    @model_validator(mode="after")
    def _averages_are_made(self) -> ModelConfig:
        train, kind = self.train, self.predict.weights
        wants = {"ema": "ema: 0.999", "top": "average_top: 3", "soup": "soup: 5"}
        wants["snapshots"] = "snapshots: 3"
        if kind in wants:
            key = wants[kind].partition(":")[0]
            if getattr(train, key) is None:
                raise ValueError(
                    f"predict.weights: {kind} is made by train.{wants[kind]}, which is not set"
                )
        # by its plain name: the table of schedules lies above this module
        if train.snapshots is not None and "restarts" not in self.schedule.name.lower():
            raise ValueError(
                "train.snapshots: taken at the ends of cycles, which only schedule.name: restarts has"
            )
        if self.optim.layer_decay is not None and self.model.encoder_name is None:
            raise ValueError("optim.layer_decay: the model has no encoder")
        return self

    @field_validator("loss", mode="before")
    @classmethod
    def _weight_alone(cls, value: Any) -> Any:
        """``dice: 0.4`` is short for ``dice: {weight: 0.4}``."""
        if not isinstance(value, dict):
            return value
        return {
            k: {"weight": v}
            if isinstance(v, int | float) and not isinstance(v, bool)
            else (v if v is not None else {})
            for k, v in value.items()
        }

    @field_validator("augment", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        """``- HorizontalFlip`` is short for ``- HorizontalFlip: {}``."""
        if not isinstance(value, list | tuple):
            return value
        plain = []
        for item in value:
            if isinstance(item, str):
                item = {item: {}}
            if isinstance(item, dict):
                if len(item) != 1:
                    raise ValueError(
                        f"each transform is one `Name: {{arguments}}`, got the keys {sorted(map(str, item))}"
                    )
                item = {k: ({} if v is None else v) for k, v in item.items()}
            plain.append(item)
        return plain
