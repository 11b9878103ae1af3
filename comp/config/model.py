"""`configs/<model>.yaml`: one model and how it is trained. It says nothing of data or class count.

Keys are the keyword arguments they reach; `model`, `optim`, `schedule` and loss terms pass unknown keys
on to the thing they name, which refuses what it does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, field_validator

from comp.config.competition import Section

Size = tuple[Annotated[StrictInt, Field(ge=1)], Annotated[StrictInt, Field(ge=1)]]
PositiveInt = Annotated[StrictInt, Field(ge=1)]


class OpenSection(BaseModel):
    """A frozen section whose further keys are keyword arguments of the thing it names."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keys that belong to the thing named."""
        return dict(self.model_extra or {})


class Model(OpenSection):
    """Architecture and encoder; further keys go to the architecture (decoder_channels, ...)."""

    arch: str = Field(
        "Unet",
        description="any architecture of smp, AtrousUnet, SkipUnet, PlainUnet, or package.module:Name",
    )
    encoder_name: str | None = Field(
        "resnet34",
        description="any smp or timm encoder (tu- names included); null: the architecture has none",
    )
    encoder_weights: str | None = Field(
        None, description="null, a pretrained tag such as imagenet, or a local file"
    )
    head: Literal["sigmoid", "softmax"] | None = Field(
        None,
        description="binary: one sigmoid plane or a two-class softmax; default: softmax for multiclass, else sigmoid",
    )
    freeze_encoder: StrictBool | StrictInt = Field(
        False,
        description="true: always; n: for the first n epochs; its BatchNorm stays in eval mode",
    )
    freeze_batchnorm: Annotated[StrictInt, Field(ge=0)] | None = Field(
        None,
        description="from this epoch on (the first is 0) BatchNorm keeps its statistics and trains as it "
        "predicts: for sets of pictures so unlike that a batch's statistics are nobody's",
    )
    normalize: Literal["unit", "imagenet", "encoder", "image"] = Field(
        "imagenet",
        description="of pixels in [0, 1]: none, ImageNet's or the encoder's mean and std, or those of "
        "what the network is shown (with crops, train.stretch is steadier)",
    )


class LossTerm(OpenSection):
    """One term of the weighted sum; further keys go to the loss."""

    weight: Annotated[float, Field(ge=0)] = 1.0


class Optim(OpenSection):
    """Optimizer; further keys go to it (betas, momentum, ...)."""

    name: str = "AdamW"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    encoder_lr: Annotated[float, Field(gt=0)] | None = Field(None, description="default: lr")
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Schedule(OpenSection):
    """Learning rate over time; further keys go to the schedule (factor, patience, min_lr, power, ...)."""

    name: str = Field("constant", description="constant, cosine, poly, onecycle, step, plateau")
    warmup_epochs: Annotated[float, Field(ge=0)] = 0
    monitor: Literal["loss", "metric"] = Field(
        "loss", description="plateau: the validation loss or the validation metric"
    )


class EarlyStop(Section):
    """Stop when the validation has not improved for `patience` validations."""

    patience: PositiveInt
    monitor: Literal["loss", "metric"] = "metric"


class Train(Section):
    """The loop."""

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
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
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
    tensorboard: StrictBool = Field(
        False, description="also write TensorBoard event files (pip install tensorboard)"
    )

    @field_validator("scale_jitter")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("expected [low, high] with 0 < low <= high")
        return value


class Predict(Section):
    """From weights to stored probabilities."""

    weights: Literal["best_metric", "best_loss", "last"] = "best_metric"
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

    @field_validator("tta")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"each set of views is stored once, got {list(value)}")
        return value


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
    tune: dict[str, Any] | None = Field(None, description="search space, read by comp tune")

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
