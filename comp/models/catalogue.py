"""Which architectures and encoders there are, how large they are, and what works together.

Each pair is built dry. Hundreds of encoders take long, so what was built is kept in one file a set of
versions, and a later call goes on where the time was up.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp

from comp import __version__
from comp.errors import CompError, UsageError
from comp.files import digest, read_json, write_json
from comp.models.build import ARCHITECTURES, min_batch
from comp.models.dry import Built, measure_encoder, try_pair
from comp.models.encoders import known_encoders
from comp.registry import unknown

SAVE_SECONDS = 10.0
LIBRARIES = ("torch", "timm", "segmentation-models-pytorch")
EXAMPLES = {"DPT": "tu-vit_tiny_patch16_224"}  # where the usual resnet34 does not fit


@dataclass(frozen=True)
class Encoder:
    """One encoder and what it was built with.

    Args:
        parameters: of the encoder alone; None where it gives no pyramid of features.
        strides: 1/stride is the size of each stage, finest first.
        built: by architecture; one that is missing was not tried yet.
    """

    name: str
    parameters: int | None
    strides: tuple[int, ...]
    error: str
    built: dict[str, Built]


@dataclass(frozen=True)
class Catalogue:
    """What is known of the encoders that were asked for, and which are not done yet."""

    archs: tuple[str, ...]
    encoders: tuple[Encoder, ...]
    missing: tuple[str, ...]
    limit_seconds: float
    unsaved: str = ""  # why what was built could not be kept


def versions() -> dict[str, str]:
    """What a dry build depends on."""
    found = {"comp": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def encoder_archs() -> tuple[str, ...]:
    """Architectures that stand on an encoder."""
    return tuple(
        name
        for name, network in ARCHITECTURES.items()
        if "encoder_name" in inspect.signature(network).parameters
    )


def choose(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Architectures and encoders that words ask for: a word that an architecture's name holds chooses
    among those (the one it names, if it names one), any other among the encoders; no word: all.

    Raises:
        UsageError: a word that no name holds.
    """
    archs, encoders = encoder_archs(), known_encoders()
    of_archs: set[str] = set()
    of_encoders: set[str] = set()
    for word in [part for text in words for part in text.lower().split()]:
        plain = word.replace("+", "plus")
        found = {a for a in archs if a.lower() == plain} or {a for a in archs if plain in a.lower()}
        of_archs |= found
        if not found:
            fitting = {e for e in encoders if word in e.lower()}
            of_encoders |= fitting
            if not fitting:
                said = unknown(word, (*archs, *encoders), "architecture or encoder")
                raise UsageError(
                    f"--models: {said if 'did you mean' in said else f'no name holds {word!r}'}"
                )
    return (
        tuple(a for a in archs if a in of_archs) or archs,
        tuple(e for e in encoders if e in of_encoders) or encoders,
    )


def describe_archs() -> list[dict[str, Any]]:
    """Every architecture of the table: parameters on a usual encoder, stride, smallest batch."""
    rows = []
    for name in ARCHITECTURES:
        example = EXAMPLES.get(name, "resnet34") if name in encoder_archs() else None
        built = try_pair(name, example)
        rows.append(
            {
                "arch": name,
                "encoder": example,
                "parameters": built.parameters,
                "stride": built.stride,
                "min_batch": min_batch(name),
                "error": built.error,
            }
        )
    return rows


def catalogue_path(folder: Path) -> Path:
    """The file of what was built with these versions."""
    return folder / f"models-{digest(versions())}.json"


def make_catalogue(
    archs: Sequence[str],
    encoders: Sequence[str],
    folder: Path,
    limit_seconds: float = 60.0,
    progress: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Catalogue:
    """Dry-build every pair that is not in the folder's file yet, until the time is up.

    Args:
        folder: where the file stands; what is built is added to it now and then, and at the end.
        limit_seconds: no encoder is begun later than this; one always is, so every call gets on.
        progress: told the name of each encoder that is begun.
    """
    path = catalogue_path(folder)
    known = read_catalogue(path)
    began = saved = clock()
    begun, changed, unsaved = False, False, ""
    for name in encoders:
        todo = [a for a in archs if name not in known or a not in known[name].built]
        if not todo:
            continue
        if begun and clock() - began > limit_seconds:
            break
        begun = True
        if progress is not None:
            progress(name)
        known[name] = build_encoder(name, todo, known.get(name))
        changed = True
        if clock() - saved > SAVE_SECONDS:
            unsaved = write_catalogue(path, known)
            saved, changed = clock(), False
    if changed:
        unsaved = write_catalogue(path, known)
    done = [n for n in encoders if n in known and all(a in known[n].built for a in archs)]
    missing = set(encoders) - set(done)
    return Catalogue(
        tuple(archs),
        tuple(known[n] for n in done),
        tuple(n for n in encoders if n in missing),
        limit_seconds,
        unsaved,
    )


def build_encoder(name: str, archs: Iterable[str], before: Encoder | None = None) -> Encoder:
    """Build an encoder alone, then below each architecture.

    An encoder without a pyramid of features fits none but DPT, and that is not tried again and again.
    """
    parameters, strides, error = (
        measure_encoder(name)
        if before is None
        else (before.parameters, before.strides, before.error)
    )
    built = dict(before.built) if before is not None else {}
    for arch in archs:
        if error and ARCHITECTURES[arch] is not smp.DPT:
            built[arch] = Built(None, error=error)
        else:
            built[arch] = try_pair(arch, name)
    return Encoder(name, parameters, strides, error, built)


def read_catalogue(path: Path) -> dict[str, Encoder]:
    """What the file holds; nothing when it is missing or damaged: then it is made again."""
    try:
        found = read_json(path)
        return {
            name: Encoder(
                name,
                entry["parameters"],
                tuple(entry["strides"]),
                entry["error"],
                {arch: Built(**built) for arch, built in entry["built"].items()},
            )
            for name, entry in found["encoders"].items()
        }
    except (CompError, KeyError, TypeError, AttributeError):
        return {}


def write_catalogue(path: Path, known: dict[str, Encoder]) -> str:
    """Commit the file, with what another process added meanwhile; why it cannot be written, or ""."""
    merged = read_catalogue(path) | known
    entries = {
        name: {
            "parameters": e.parameters,
            "strides": list(e.strides),
            "error": e.error,
            "built": {arch: vars(built) for arch, built in e.built.items()},
        }
        for name, e in sorted(merged.items())
    }
    try:
        write_json(path, {"versions": versions(), "encoders": entries})
    except CompError as error:
        return str(error)
    return ""
