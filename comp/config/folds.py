"""`folds` of competition.yaml: how the training images are divided."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictInt

from comp.config.section import Section


class Folds(Section):
    """How the training images are divided."""

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"n_repeats", "time", "train_on", "purge", "listed"}
    )

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
    listed: str | None = Field(
        None,
        description="CSV with a column of ids and a column fold that numbers the folds (-1: always trained on), "
        "relative to data.root (scheme predefined)",
    )
    val_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="scheme split: share of the one validation fold"
    )
    test_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="scheme split: share held out for one final score (fold -2)"
    )
