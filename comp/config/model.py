"""`configs/<model>.yaml`: one model and how it is trained. It says nothing of data or class count.

Keys are the keyword arguments they reach; `model`, `optim`, `schedule` and loss terms pass unknown keys
on to the thing they name, which refuses what it does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    field_validator,
    model_validator,
)

from comp.config.competition import Section

Size = tuple[Annotated[StrictInt, Field(ge=1)], Annotated[StrictInt, Field(ge=1)]]
PositiveInt = Annotated[StrictInt, Field(ge=1)]


class OpenSection(Section):
    """A frozen section whose further keys are keyword arguments of the thing it names."""

    model_config = ConfigDict(extra="allow")

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
    normalize: Literal["unit", "imagenet", "encoder", "dataset", "image"] = Field(
        "imagenet",
        description="of pixels in [0, 1]: none; ImageNet's mean and std, the encoder's, the fold's "
        "training images'; or those of what the network is shown (with crops, train.stretch is steadier)",
    )


class LossTerm(OpenSection):
    """One term of the weighted sum; further keys go to the loss."""

    weight: Annotated[float, Field(ge=0)] = 1.0


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


class EarlyStop(Section):
    """Stop when no validation, of the raw weights or of their EMA, improved for `patience` validations."""

    patience: PositiveInt
    monitor: Literal["loss", "metric"] = "metric"


Share = Annotated[float, Field(ge=0, le=1)]
Shares = tuple[
    Share, Share
]  # at the first epoch and at the last; one number in YAML: the same at both


class Sampler(Section):
    """Which images an epoch is made of; without it each comes once (`crops_per_image` times)."""

    by: Literal["emptiness", "coverage", "class"] | None = Field(
        None,
        description="emptiness: `share` of the samples comes from images with foreground; coverage, class: "
        "`share` is spread evenly over bins of coverage or over classes, the rest as the images are",
    )
    share: Shares | None = Field(
        None, description="0 to 1, or [at the first epoch, at the last] along a line"
    )
    positive_share: Shares | None = Field(
        None,
        description="mode crop: at least this share of the crops holds foreground; multi-class: of a class "
        "drawn from those of the image; one number or [first, last]",
    )
    samples: PositiveInt | None = Field(
        None, description="of an epoch; default: as many as without a sampler"
    )
    epochs: PositiveInt | None = Field(
        None, description="after which the last share is reached and stays; default: train.epochs"
    )

    @field_validator("share", "positive_share", mode="before")
    @classmethod
    def _one_is_both(cls, value: Any) -> Any:
        alone = isinstance(value, int | float) and not isinstance(value, bool)
        return (value, value) if alone else value

    @model_validator(mode="after")
    def _says_something(self) -> Sampler:
        if (self.by is None) != (self.share is None):
            raise ValueError("by and share belong together, such as {by: emptiness, share: 0.7}")
        if self.by is None and self.positive_share is None and self.samples is None:
            raise ValueError(
                "expected by and share, positive_share, or samples; null for no sampler"
            )
        if self.by == "emptiness" and self.share is not None and self.positive_share is not None:
            ends = zip(self.positive_share, self.share, strict=True)
            if any(positive > share for positive, share in ends):
                raise ValueError(
                    "positive_share is above share: crops with foreground come from images with foreground"
                )
        return self


class Pseudo(Section):
    """How test images with the labels of `comp cv --pseudo RUN` are mixed into the training."""

    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="of a batch: the part that is pseudo-labelled test images"
    )
    confidence: tuple[Share, Share] = Field(
        (0.1, 0.9),
        description="pixels with a probability between the two are ignored, the others keep it as their "
        "truth; multi-class: kept where one class has at least the second and no other more than the first",
    )

    @field_validator("confidence")
    @classmethod
    def _low_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"expected [low, high] with low <= high, got {list(value)}")
        return value


class Train(Section):
    """The loop."""

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"sampler", "pseudo", "ema", "ema_batches", "average_top", "soup", "snapshots"}
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
        None, description="more of the rare: by emptiness, coverage or class, over the epochs"
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


class Predict(Section):
    """From weights to stored probabilities."""

    LATER: ClassVar[frozenset[str]] = frozenset({"window", "overlap", "blend"})

    weights: Literal["best_metric", "best_loss", "last", "ema", "top", "soup", "snapshots"] = Field(
        "best_metric", description="of which epochs; the last four are made by train's options"
    )
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
    window: Size | None = Field(
        None,
        description="mode crop: height, width of overlapping windows that a larger image is predicted by; "
        "null: images are seen whole, but above 4096 x 4096 pixels by windows of 1024 x 1024",
    )
    overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.25, description="least share of a window that the next one covers again"
    )
    blend: Literal["gaussian", "spline", "flat"] = Field(
        "gaussian", description="how windows fade into each other where they overlap"
    )

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
