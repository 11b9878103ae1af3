"""`train` of a model YAML: the loop."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from comp.config.mixing import Mix
from comp.config.sampling import Pseudo, Sampler
from comp.config.section import PositiveInt, Section

Size = tuple[PositiveInt, PositiveInt]


class EarlyStop(Section):
    """Stop when no validation, of the raw weights or of their EMA, improved for `patience` validations."""

    patience: PositiveInt
    monitor: Literal["loss", "metric"] = "metric"


class Train(Section):
    """The loop."""

    LATER: ClassVar[frozenset[str]] = frozenset(
        {
            "sampler",
            "mix",
            "pseudo",
            "ema",
            "ema_batches",
            "average_top",
            "soup",
            "snapshots",
            "compile",
        }
    )

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 8
    accumulate: PositiveInt = Field(1, description="batches a step")
    mode: Literal["crop", "resize"] = Field(
        "crop", description="crop: native scale, random crops; resize: the whole image to `size`"
    )
    size: Size = Field((256, 256), description="height, width that the network sees in training")
    scale_jitter: tuple[float, float] | None = Field(
        None, description="crop: zoom drawn log-uniformly from this range, e.g. [0.75, 1.33]"
    )
    soft_masks: StrictBool = Field(
        True, description="resize: area-averaged masks instead of nearest labels"
    )
    stretch: StrictBool = Field(
        False, description="each image's percentiles 0.5 and 99.8 become 0 and 1 before all else"
    )
    crops_per_image: PositiveInt | Literal["auto"] = Field(
        1, description="crop: samples of each image in an epoch; auto: more of larger images"
    )
    sampler: Sampler | None = Field(
        None,
        description="more of the rare, by emptiness, coverage or class, or of the hard, by loss",
    )
    mix: Mix | None = Field(
        None, description="mixup, cutmix, copy_paste, mosaic: samples made of several images"
    )
    pseudo: Pseudo | None = Field(
        None,
        description="with --pseudo RUN: its share of a batch, and which pixels are sure enough",
    )
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="decay of a moving average of the weights over the steps (0.999; the first steps decay "
        "faster), validated beside them: weights `ema`, of the last epoch",
    )
    ema_batches: Annotated[StrictInt, Field(ge=0)] = Field(
        50,
        description="training batches that BatchNorm's statistics are taken from anew for averaged weights "
        "(ema, top, soup, snapshots); 0: as they are; a frozen BatchNorm keeps its own",
    )
    average_top: Annotated[StrictInt, Field(ge=2)] | None = Field(
        None,
        description="weights `top`: the mean of the n epochs of best validation metric, which flatters like "
        "best_metric",
    )
    soup: Annotated[StrictInt, Field(ge=2)] | None = Field(
        None,
        description="weights `soup`: of the n best epochs, best first, those whose joining the mean does not "
        "worsen the fold's validation metric (greedy soup); chosen on it, so its score flatters most",
    )
    snapshots: Annotated[StrictInt, Field(ge=2)] | None = Field(
        None,
        description="weights `snapshots`: the mean of the weights at the ends of the last n cycles of "
        "schedule restarts",
    )
    early_stop: EarlyStop | None = None
    validate_every: PositiveInt = Field(1, description="epochs; the last epoch is always validated")
    seed: StrictInt = 0
    workers: Annotated[StrictInt, Field(ge=0)] = Field(
        0, description="loader processes; 0: a prefetch thread"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where native, else fp16 on CUDA, else fp32"
    )
    channels_last: StrictBool | Literal["auto"] = "auto"
    fused: StrictBool | Literal["auto"] = Field(
        "auto", description="fused optimizer step where the optimizer has one"
    )
    compile: Literal["auto", False] = Field(
        "auto",
        description="CUDA: torch.compile and CUDA graphs where a trial shows that they save clearly more than "
        "compiling takes; false: never",
    )
    hang_seconds: Annotated[StrictInt, Field(ge=1)] | None = Field(
        1800,
        exclude=True,  # of how a run is watched, not of what it is: it may be changed while it is made
        description="a job that trains no step and predicts no image for so long is killed, and goes on once "
        "from its checkpoint; null: never",
    )
    tensorboard: StrictBool = Field(
        False, description="also write TensorBoard event files (pip install tensorboard)"
    )

    @model_validator(mode="after")
    def _positive_crops_are_crops(self) -> Train:
        sampler = self.sampler
        if sampler is not None and sampler.positive_share is not None and self.mode == "resize":
            raise ValueError(
                "sampler.positive_share is for mode crop; whole images are chosen by {by: emptiness, share: ...}"
            )
        return self

    @field_validator("scale_jitter")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("expected [low, high] with 0 < low <= high")
        return value
