"""What is decided and tried before any fold begins: where and how a run is computed, and that its network builds.

All that is wrong is said here, once, and not by every job.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from comp.config import Competition, ModelConfig, config_hash, resolved
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.open import open_cache
from comp.data.samples.pseudo import with_pseudo
from comp.data.sources.records import Records
from comp.errors import DataError, RunMismatchError, UsageError, some
from comp.files import Workspace, digest, read_json
from comp.jobs.plan import PlannedRun, begun
from comp.jobs.slots import Slot, cpu_count, make_slots
from comp.train.job import FoldJob

TRAINED = (
    "result.json",
    "weights.*",
    "checkpoint.*.pt",
)  # of a fold that goes on from its own weights


def decide_where(
    workspace: Workspace,
    competition: Competition,
    configs: dict[str, ModelConfig],
    device: str,
    n_slots: int | None,
    steps: Callable[[ModelConfig], int] | None = None,
) -> tuple[list[Slot], dict[str, dict[str, Any]]]:
    """The slots, and for each config the one way in which all its folds are computed.

    A run that was begun keeps its way: it is decided once. What the config leaves open is measured.

    Args:
        steps: of the training of one fold, where torch.compile may pay; None: it is not tried.
    """
    from comp.models.compute import gpu_count
    from comp.models.probe import decide

    slots = make_slots(device, gpu_count(), cpu_count(), n_slots)
    device_type = slots[0].device.partition(":")[0]
    computes = {}
    for name, config in configs.items():
        said = begun(workspace, name)
        if said is not None and said.get("config") == resolved(config):
            computes[name] = said["compute"]
            continue
        compute, told = decide(
            config,
            device_type,
            workspace.cache / "probe.json",
            task=competition.task,
            n_classes=competition.n_classes,
            channels=competition.data.channels,
            root=workspace.root,
            steps=steps(config) if steps is not None and device_type == "cuda" else None,
        )
        computes[name] = compute.as_dict()
        if told:
            print(f"probe: {name}: {told}")
    return slots, computes


def check_device(todo: Sequence[FoldJob], slots: Sequence[Slot]) -> None:
    """Refuse to go on with a run on another kind of device than it was begun on."""
    here = slots[0].device.partition(":")[0]
    for job in todo:
        there = job.compute["device_type"]
        if there != here:
            raise RunMismatchError(
                f"run {job.run!r} was begun on {there} and has folds to do; here is {here}: "
                f"use --device {there}, or --name for a new run"
            )


def is_complete(workspace: Workspace, name: str) -> bool:
    """True when the run's last report was over all its folds: then nothing is likely to be trained."""
    with contextlib.suppress(DataError):  # missing or damaged: it is written again
        return bool(read_json(workspace.run(name) / "cv.json")["complete"])
    return False


def weights_wanted(workspace: Workspace, config: ModelConfig) -> bool:
    """False when a complete run has this very config: its own weights are there, pretrained ones may be gone."""
    if config.model.encoder_weights is None:
        return True
    said = {config_hash(config), config_hash(with_pseudo(config))}
    names = [path.parent.name for path in workspace.runs.glob("*/config.json")]
    return not any(
        is_complete(workspace, name)
        and digest((begun(workspace, name) or {}).get("config")) in said
        for name in names
    )


def check_model_builds(
    planned: PlannedRun, competition: Competition, workspace: Workspace, folds: Sequence[int]
) -> int:
    """The model check: build the network with its weights and send one small batch through it.

    Pretrained weights are asked for only where a fold begins from them.

    Returns:
        its parameters, counted.
    """
    from comp.models.check import try_model, weights_notes

    begins = any(
        not any(any(workspace.fold(planned.name, fold).glob(p)) for p in TRAINED) for fold in folds
    )
    model, compute = planned.config.model, planned.compute
    height, width = (min(s, 128) for s in planned.config.train.size)
    parameters, seen, logits = try_model(
        model,
        competition.task,
        competition.n_classes,
        competition.data.channels,
        (height, width),
        workspace.root,
        load_weights=begins,
    )
    for note in weights_notes(model, workspace.root) if begins else ():
        print(f"model check: {planned.name}: {note}")
    on = f" on {model.encoder_name}" if model.encoder_name else ""
    print(
        f"model check: {planned.name}: {model.arch}{on}, {parameters / 1e6:.2f} M parameters, "
        f"{seen} -> {logits}; {compute['device_type']} {compute['precision']}"
    )
    return parameters


def choose_folds(
    folds: Sequence[int], only: Sequence[int] | None, workspace: Workspace
) -> list[int]:
    """The folds to train now.

    Raises:
        UsageError: a fold that the folds file does not have.
    """
    if only is None:
        return list(folds)
    if unknown := sorted(set(only) - set(folds)):
        raise UsageError(
            f"--folds: no fold {some(unknown)}; {workspace.relative(workspace.folds_csv)} has "
            f"{', '.join(map(str, folds))}"
        )
    return sorted(set(only))


def open_caches(
    workspace: Workspace,
    competition: Competition,
    records: Records,
    configs: Mapping[str, ModelConfig],
) -> tuple[Cache, str | None]:
    """The data check: decode every file once, for every reading recipe of the configs.

    Returns:
        the native cache of the training images; the hash of the test images' pixels, None without any.
    """
    from comp.data.samples.train import train_recipe

    started = time.monotonic()
    truth, content = open_cache(workspace.cache, competition, records.train, Recipe()), None
    for recipe in dict.fromkeys(train_recipe(c.train) for c in configs.values()):
        if recipe != Recipe():
            open_cache(workspace.cache, competition, records.train, recipe)
        if records.test:
            seen = replace(recipe, soft=False)
            content = open_cache(workspace.cache, competition, records.test, seen).content_hash
    n = len(records.test)
    print(
        f"data check: {len(records.train)} train and {n} test image{'s' * (n != 1)} read "
        f"({time.monotonic() - started:.1f} s)"
    )
    return truth, content
