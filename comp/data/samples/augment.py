"""The one adapter to albumentations: pipelines from YAML, checked before any work, drawn from a seed per call.

What albumentations only warns of (unknown arguments) or finds out at the first batch (targets it lacks, sizes
that change, bands it cannot take) is a `ConfigError` here. Pixels that a warp brings in from outside are ignored.
"""

from __future__ import annotations

import inspect
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

# albumentations asks the package index for news when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

from comp.config import IGNORE
from comp.errors import ConfigError
from comp.registry import is_import_path, load_object, unknown

Specs = Sequence[Mapping[str, Mapping[str, Any]]]

CONTAINERS = ("OneOf", "SomeOf", "RandomOrder", "Sequential", "OneOrOther")
NOT_HERE = {
    "Normalize": "the model normalises (model.normalize)",
    "ToFloat": "the device scales pixels to [0, 1]",
    "FromFloat": "the device scales pixels to [0, 1]",
    "ToTensorV2": "samples become tensors after augmentation",
    "ToTensor3D": "samples become tensors after augmentation",
    "Lambda": "name your own code as package.module:Name",
}
NOT_HERE |= {
    name: f"several images in one are asked for by train.mix: {{{key}: 0.5}}"
    for key, names in {
        "mosaic": ("Mosaic",),
        "mixup": ("MixUp", "Mixup"),
        "cutmix": ("CutMix", "Cutmix"),
        "copy_paste": ("CopyPaste", "CopyAndPaste"),
    }.items()
    for name in names
}
PROBES = 6  # dry runs a transform, so that a random quarter turn of a non-square sample shows


class Augment:
    """A checked pipeline; a call draws everything from its seed and keeps no state.

    Args:
        specs: as in the config: ``({"HorizontalFlip": {"p": 0.5}}, ...)``.
        soft: labels are soft planes: warped linearly, filled with 0 (not valid). Hard labels are warped by
            nearest and filled with 255 (ignored), unless the config says `fill_mask`.
    """

    def __init__(self, specs: Specs, soft: bool = False) -> None:
        self.specs = tuple(specs)
        self.soft = soft
        problems: list[str] = []
        steps = [_build(spec, f"augment[{i}]", soft, problems) for i, spec in enumerate(self.specs)]
        if problems:
            raise ConfigError(problems)
        self._compose = A.Compose(
            steps, mask_interpolation=cv2.INTER_LINEAR if soft else cv2.INTER_NEAREST
        )

    def __reduce__(self) -> tuple[type[Augment], tuple[Specs, bool]]:
        return Augment, (self.specs, self.soft)

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment one sample.

        Args:
            image: (h, w, C) uint8, or float32 in [0, 1]; not written to.
            labels: (h, w) or (K, h, w) uint8, 255 is ignored; soft: (K + V, h, w) uint8.
            seed: everything random is a function of it.

        Returns:
            image and labels of the same shapes, dtypes and ranges.
        """
        if not self.specs:
            return image, labels
        # Not set_random_seed: it gives every step the same stream, so that two flips always agree.
        self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        planes = labels.ndim == 3
        mask = np.ascontiguousarray(np.moveaxis(labels, 0, -1)) if planes else labels
        done = self._compose(image=image, mask=mask)
        new, new_mask = done["image"], done["mask"]
        if (
            new.shape != image.shape
            or new_mask.shape[:2] != mask.shape[:2]
            or new.dtype != image.dtype
        ):
            raise ConfigError(
                f"augment: a {image.shape} {image.dtype} sample became {new.shape} {new.dtype}; "
                "transforms must keep size and type"
            )
        if new.dtype == np.float32:
            new = np.clip(new, 0.0, 1.0)
        if planes:
            new_mask = np.moveaxis(new_mask.reshape(mask.shape), -1, 0)
        return new, new_mask


def build_augment(specs: Specs, soft: bool = False) -> Augment:
    """Build the pipeline of a config.

    Raises:
        ConfigError: every unknown name or argument, with the nearest known one.
    """
    return Augment(specs, soft)


def check_augment(
    specs: Specs,
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    dtype: str = "uint8",
    planes: bool = False,
) -> list[str]:
    """Return every mistake of a pipeline: names, arguments, and what a dry run on noise shows.

    Args:
        size: `train.size`, (h, w): a crop or a quarter turn must give it back.
        channels: `data.channels`.
        dtype: of the images, uint8 or float32.
        planes: labels have planes: a multilabel task, or soft masks.

    Returns:
        one line a mistake; empty when the pipeline is sound.
    """
    problems: list[str] = []
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*size, channels), np.uint8)
    image = noise if dtype == "uint8" else noise.astype(np.float32) / np.float32(255)
    labels = rng.integers(0, 2, (*size, 2) if planes else size, np.uint8)
    for i, spec in enumerate(specs):
        where = f"augment[{i}]"
        found: list[str] = []
        step = _build(spec, where, False, found)
        problems += found
        if not found:
            problem = _dry_run(step, f"{where} {next(iter(spec))}", image, labels)
            problems += [problem] if problem else []
    return problems


def _dry_run(step: Any, where: str, image: np.ndarray, labels: np.ndarray) -> str | None:
    """Apply one step with certainty, a few times; return what is wrong."""
    _make_certain(step)
    compose = A.Compose([step], mask_interpolation=cv2.INTER_NEAREST)
    for seed in range(PROBES):
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done = compose(image=image.copy(), mask=labels.copy())
        except Exception as error:  # noqa: BLE001 - whatever a transform raises here, it would raise in training
            given = f"a {image.shape} {image.dtype} image" + (
                " with mask planes" if labels.ndim > 2 else ""
            )
            return f"{where}: fails on {given}: {' '.join(str(error).split())[:200]}"
        new = done["image"]
        if new.shape != image.shape or done["mask"].shape != labels.shape:
            sizes = f"{image.shape[:2]} to {tuple(new.shape[:2])}"
            return f"{where}: changes the size from {sizes}; samples already have train.size"
        if new.dtype != image.dtype or done["mask"].dtype != labels.dtype:
            return f"{where}: changes the type from {image.dtype} to {new.dtype}"
    return None


def _make_certain(step: Any) -> None:
    """Set every probability below `step` to 1."""
    step.p = 1.0
    for inner in getattr(step, "transforms", ()):
        _make_certain(inner)


def _build(
    spec: Mapping[str, Mapping[str, Any]], where: str, soft: bool, problems: list[str]
) -> Any:
    """Build one step; mistakes go to `problems` and None is returned."""
    ((name, given),) = spec.items()
    where = f"{where} {name}"
    kwargs = dict(given or {})
    cls = _find(name, where, problems)
    if cls is None:
        return None
    n_before = len(problems)
    if name in CONTAINERS:
        inner = kwargs.pop("transforms", None)
        if not isinstance(inner, list | tuple) or not inner:
            problems.append(f"{where}: expected transforms: [a list of transforms], got {inner!r}")
            return None
        plain = [_plain(item) for item in inner]
        if None in plain:
            problems.append(
                f"{where}: each of its transforms is one `Name: {{arguments}}`, got {inner[plain.index(None)]!r}"
            )
            return None
        kwargs["transforms"] = [
            _build(item, f"{where}[{i}]", soft, problems) for i, item in enumerate(plain) if item
        ]
    known = [
        p
        for p in inspect.signature(cls.__init__).parameters
        if p not in ("self", "strict", "args", "kwargs")
    ]
    problems += [
        f"{where}: {unknown(key, known, 'argument')}" for key in kwargs if key not in known
    ]
    if len(problems) > n_before:
        return None
    if "fill_mask" not in kwargs and _fills_mask(cls):
        kwargs["fill_mask"] = 0 if soft else IGNORE
    return _construct(cls, kwargs, name, where, problems)


def _construct(cls: Any, kwargs: dict[str, Any], name: str, where: str, problems: list[str]) -> Any:
    # strict: albumentations then raises where it would warn and go on with defaults
    strict = {"strict": True} if "InitSchema" in vars(cls) else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cls(**kwargs, **strict)
    except Exception as error:  # noqa: BLE001 - a constructor of albumentations or the user's own
        problems.append(f"{where}: {_short(error)}")
        return None


def _short(error: Exception) -> str:
    """pydantic's page of text -> ``p: Input should be less than or equal to 1, got 3``."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return "; ".join(_say(dict(item)) for item in cause.errors()[:3])
    return " ".join(str(error).split())[:200]


def _say(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"][:1])
    if item["type"] == "missing":
        return f"argument {where!r} is missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}, got {item['input']!r}" if where else message


def _plain(item: Any) -> Mapping[str, Mapping[str, Any]] | None:
    """``HorizontalFlip`` and ``{HorizontalFlip: null}`` -> ``{HorizontalFlip: {}}``; None: neither."""
    if isinstance(item, str):
        return {item: {}}
    if isinstance(item, Mapping) and len(item) == 1:
        ((name, arguments),) = item.items()
        if isinstance(name, str) and (arguments is None or isinstance(arguments, Mapping)):
            return {name: dict(arguments or {})}
    return None


def _find(name: str, where: str, problems: list[str]) -> Any:
    """The class of a name; a name of nobody's, or of something that has no place here, is a problem."""
    if is_import_path(name):
        try:
            return load_object(name)
        except ConfigError as error:
            problems += [f"{where}: {problem}" for problem in error.problems]
            return None
    if name in NOT_HERE:
        problems.append(f"{where}: has no place in augment; {NOT_HERE[name]}")
        return None
    table = transforms()
    if name not in table:
        problems.append(f"{where}: {unknown(name, table, 'transform')}")
    return table.get(name)


def transforms() -> dict[str, Any]:
    """Name -> class of everything that a pipeline may hold."""
    bases = (A.DualTransform, A.ImageOnlyTransform)
    found = {name: getattr(A, name) for name in CONTAINERS}
    for name in dir(A):
        thing = getattr(A, name)
        if not inspect.isclass(thing) or thing in bases or issubclass(thing, A.Transform3D):
            continue
        if issubclass(thing, bases):
            found[name] = thing
    return {name: thing for name, thing in found.items() if name not in NOT_HERE}


def _fills_mask(cls: Any) -> bool:
    """True for transforms that bring pixels in from outside and would label them 0.

    Dropouts have None (the mask stays); MaskDropout removes the object itself, so 0 is true there.
    """
    parameter = inspect.signature(cls.__init__).parameters.get("fill_mask")
    return parameter is not None and parameter.default is not None and cls.__name__ != "MaskDropout"
