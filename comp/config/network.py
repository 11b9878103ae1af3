"""`model` and `loss` of a model YAML: the network, and what it is trained to make small."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from comp.config.section import OpenSection, Section


class AuxHead(Section):
    """smp's auxiliary classification head, trained to say which classes an image has at all."""

    weight: Annotated[float, Field(gt=0)] = Field(
        0.1, description="of its binary cross-entropy in the loss"
    )
    pooling: Literal["avg", "max"] = Field("avg", description="of the encoder's last features")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="before its last layer")


class Model(OpenSection):
    """Architecture and encoder; further keys go to the architecture (decoder_channels, ...)."""

    LATER: ClassVar[frozenset[str]] = frozenset({"deep_supervision", "aux_params"})

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
    deep_supervision: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="weight of the loss of the finest coarser decoder stage, halved a stage (0.5 is usual); "
        "null: only the last output is trained",
    )
    aux_params: AuxHead | None = Field(
        None,
        description="an auxiliary classifier of which classes an image has; its out-of-fold answers are stored",
    )


class LossTerm(OpenSection):
    """One term of the weighted sum; further keys go to the loss."""

    weight: Annotated[float, Field(ge=0)] = 1.0
