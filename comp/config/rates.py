"""`optim` and `schedule` of a model YAML: the optimizer, and its learning rate over time."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from comp.config.section import OpenSection


class Optim(OpenSection):
    """Optimizer; further keys go to it (betas, momentum, ...)."""

    LATER: ClassVar[frozenset[str]] = frozenset({"layer_decay"})

    name: str = "AdamW"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    encoder_lr: Annotated[float, Field(gt=0)] | None = Field(None, description="default: lr")
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="the encoder's last layer learns at encoder_lr, each layer before it this factor slower "
        "(0.75); for pretrained encoders; layers are timm's where it says them, else the stages",
    )
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Schedule(OpenSection):
    """Learning rate over time; further keys go to the schedule (factor, patience, min_lr, power, ...)."""

    name: str = Field(
        "constant", description="constant, cosine, restarts, poly, onecycle, step, plateau"
    )
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(
        0,
        description="the rate climbs in a line over these; every schedule but onecycle, which has its own",
    )
    monitor: Literal["loss", "metric"] = Field(
        "loss", description="plateau: the validation loss or the validation metric"
    )
