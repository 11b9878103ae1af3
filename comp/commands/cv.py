"""`comp cv`: every fold of every config, each skipped when done and resumed when not, then the reports."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.config import Competition, ModelConfig, data_root, resolved
from comp.data.cache import Cache, Recipe, open_cache
from comp.data.competition_check import check_competition
from comp.data.fold_table import FoldTable
from comp.data.intake import Records, find_records
from comp.data.split import ensure_folds
from comp.errors import ConfigError, JobsFailedError, RunMismatchError
from comp.files import Workspace, lock, read_json
from comp.jobs.executors import EXECUTORS
from comp.jobs.plan import PlannedRun, load_configs, plan_jobs, prepare_run, shared_identity
from comp.jobs.slots import Slot, cpu_count, make_slots
from comp.jobs.watch import Watch
from comp.plots.cv_report import render_cv_lines
from comp.registry import lookup
from comp.reports import write_cv_report
from comp.train.job import FoldJob


def run(
    workspace: Workspace,
    competition: Competition,
    configs: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    device: str = "auto",
    n_slots: int | None = None,
    executor: str = "local",
) -> dict[str, dict[str, Any]]:
    """Cross-validate the configs and return each run's cv.json value by run name.

    Raises:
        JobsFailedError: naming the jobs that failed; the others are finished and reported.
    """
    execute = lookup(EXECUTORS, executor, "executor")
    loaded = load_configs(workspace.root, configs, overrides, name)
    check_names(loaded, competition, workspace)
    records = find_records(competition, data_root(workspace, competition))
    truth = open_caches(workspace, competition, records, loaded)
    table = ensure_folds(workspace, competition, records, truth)
    folds = sorted({int(f) for f in table.fold if f >= 0})
    slots, computes = decide_where(workspace, loaded, device, n_slots)
    shared = shared_identity(competition, table.hash, truth.content_hash)
    runs = [PlannedRun(n, config, computes[n], shared) for n, config in loaded.items()]
    for planned in runs:
        if not is_complete(workspace, planned.name):
            check_model_builds(planned, competition, workspace)
    with contextlib.ExitStack() as locks:
        for planned in runs:
            locks.enter_context(lock(workspace.run(planned.name) / ".lock", wait_seconds=5))
            prepare_run(workspace, planned)
            draw_samples(workspace, planned, competition, truth, records, table)
        todo, done = plan_jobs(
            workspace, competition, runs, folds, [r.image_id for r in records.test]
        )
        check_device(todo, slots)
        if done:
            print(f"{len(done)} of {len(done) + len(todo)} folds are done and skipped")
        started = time.monotonic()
        watch = Watch(competition.metric_name, len(todo))
        with watch.running():
            ends = execute(todo, slots, watch) if todo else []
        if todo:
            print(f"{len(todo)} folds in {time.monotonic() - started:.0f} s on {len(slots)} slots")
        reports = {
            planned.name: write_cv_report(
                workspace, competition, planned.name, folds, usual_metrics(competition), truth
            )
            for planned in runs
        }
    for report in reports.values():
        print("\n" + render_cv_lines(report))
        print(f"report: {workspace.relative(workspace.run(report['run']) / 'cv.md')}")
    failed = [
        (job, end["error"]) for job, end in zip(todo, ends, strict=True) if end["type"] == "failed"
    ]
    if failed:
        lines = [
            f"{job.label}: {error} (log: {workspace.relative(job.folder / 'log.txt')})"
            for job, error in failed
        ]
        raise JobsFailedError(f"{len(failed)} of {len(todo)} jobs failed:\n  " + "\n  ".join(lines))
    return reports


def check_names(
    configs: dict[str, ModelConfig], competition: Competition, workspace: Workspace
) -> None:
    """Look every name of every config up in its table; all that is unknown is reported together."""
    from comp.data.augment import check_augment
    from comp.data.samples import train_recipe
    from comp.models.check import check_model

    problems = check_competition(competition)
    for name, config in configs.items():
        found = check_model(
            config,
            competition.task,
            competition.n_classes,
            competition.data.channels,
            root=workspace.root,
        )
        planes = competition.task == "multilabel" or train_recipe(config.train).soft
        found += check_augment(
            config.augment, config.train.size, competition.data.channels, planes=planes
        )
        if config.train.tensorboard and importlib.util.find_spec("tensorboard") is None:
            found.append('train.tensorboard: needs tensorboard: pip install "comp[tb]", or false')
        problems += [f"{name}: {problem}" for problem in found]
    if problems:
        raise ConfigError(problems)


def usual_metrics(competition: Competition) -> tuple[str, ...]:
    """What reports show beside the competition's metric."""
    from comp.train.validate import reported_metrics

    return reported_metrics(competition)


def open_caches(
    workspace: Workspace,
    competition: Competition,
    records: Records,
    configs: dict[str, ModelConfig],
) -> Cache:
    """The data check: decode every file once, for every reading recipe of the configs.

    Returns:
        the native cache of the training images.
    """
    from dataclasses import replace

    from comp.data.samples import train_recipe

    started = time.monotonic()
    truth = open_cache(workspace.cache, competition, records.train, Recipe())
    for recipe in dict.fromkeys(train_recipe(c.train) for c in configs.values()):
        if recipe != Recipe():
            open_cache(workspace.cache, competition, records.train, recipe)
        if records.test:
            open_cache(workspace.cache, competition, records.test, replace(recipe, soft=False))
    print(
        f"data check: {len(records.train)} train and {len(records.test)} test images read "
        f"({time.monotonic() - started:.1f} s)"
    )
    return truth


def decide_where(
    workspace: Workspace, configs: dict[str, ModelConfig], device: str, n_slots: int | None
) -> tuple[list[Slot], dict[str, dict[str, Any]]]:
    """The slots, and for each config the one way in which all its folds are computed.

    A run that was begun keeps its way: it is decided once.
    """
    from comp.models.compute import decide_compute, gpu_count

    slots = make_slots(device, gpu_count(), cpu_count(), n_slots)
    device_type = slots[0].device.partition(":")[0]
    computes = {}
    for name, config in configs.items():
        said = begun(workspace, name)
        if said is not None and said.get("config") == resolved(config):
            computes[name] = said["compute"]
        else:
            computes[name] = decide_compute(config, device_type).as_dict()
    return slots, computes


def begun(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """config.json of a run that was begun, or None."""
    path = workspace.run(name) / "config.json"
    return read_json(path) if path.is_file() else None


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
    path = workspace.run(name) / "cv.json"
    return path.is_file() and bool(read_json(path)["complete"])


def check_model_builds(planned: PlannedRun, competition: Competition, workspace: Workspace) -> None:
    """The model check: build the network with its weights and send one small batch through it."""
    from comp.models.check import try_model

    model, compute = planned.config.model, planned.compute
    height, width = (min(s, 128) for s in planned.config.train.size)
    parameters, seen, logits = try_model(
        model,
        competition.task,
        competition.n_classes,
        competition.data.channels,
        (height, width),
        workspace.root,
    )
    on = f" on {model.encoder_name}" if model.encoder_name else ""
    print(
        f"model check: {planned.name}: {model.arch}{on}, {parameters / 1e6:.2f} M parameters, "
        f"{seen} -> {logits}; {compute['device_type']} {compute['precision']}"
    )


def draw_samples(
    workspace: Workspace,
    planned: PlannedRun,
    competition: Competition,
    truth: Cache,
    records: Records,
    table: FoldTable,
) -> None:
    """Draw samples.png: training images and what augmentation makes of them. Made once a run."""
    path = workspace.run(planned.name) / "samples.png"
    if path.is_file():
        return
    from comp.data.augment import build_augment
    from comp.data.samples import TrainSamples, train_recipe
    from comp.plots.pictures import plot_samples

    train = planned.config.train
    recipe = train_recipe(train)
    cache = (
        truth
        if recipe == Recipe()
        else open_cache(workspace.cache, competition, records.train, recipe)
    )
    chosen = [i for i, fold in enumerate(table.fold) if fold != -2][:4]
    augment = build_augment(planned.config.augment, soft=recipe.soft)
    samples = TrainSamples(
        cache, chosen, train, augment, train.seed, competition.task, competition.n_classes
    )
    grid = []
    for n, index in enumerate(chosen):
        drawn = []
        for epoch in range(4):
            sample = samples[(epoch, samples.place.index(n))]
            image = np.moveaxis(sample["image"].numpy(), 0, -1)
            if "labels" in sample:
                labels = sample["labels"].numpy()
            elif competition.task == "binary":
                labels = (sample["planes"][0].numpy() >= 0.5).astype(np.uint8)
            elif competition.task == "multiclass":
                labels = sample["planes"].numpy().argmax(0).astype(np.uint8)
            else:
                labels = (sample["planes"].numpy() >= 0.5).astype(np.uint8)
            drawn.append((image, labels))
        labels_native = truth.labels(index)
        assert labels_native is not None
        grid.append((truth.ids[index], truth.image(index), labels_native, drawn))
    plot_samples(grid, path, task=competition.task, classes=competition.classes)
