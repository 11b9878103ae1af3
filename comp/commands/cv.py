"""`comp cv`: every fold of every config, each skipped when done and resumed when not, then the reports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.config import Competition, ModelConfig, config_hash, data_root, resolved
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.open import open_cache
from comp.data.folds.check import check_competition
from comp.data.folds.split import ensure_folds
from comp.data.folds.table import FoldTable
from comp.data.samples.pseudo import check_pseudo, find_source, with_pseudo
from comp.data.sources.records import Records, find_records
from comp.errors import DiskError, RunMismatchError, UsageError, some
from comp.files import Workspace, digest, lock, read_json
from comp.jobs.configs import blame_overrides, load_configs, look_up_names
from comp.jobs.executors import EXECUTORS, describe_failures
from comp.jobs.plan import PlannedRun, plan_jobs, prepare_run, shared_identity
from comp.jobs.slots import Slot, cpu_count, make_slots
from comp.jobs.watch import Watch
from comp.plots.cv_report import render_cv_lines
from comp.plots.tables import count_of
from comp.registry import lookup
from comp.reports import write_cv_report
from comp.train.job import FoldJob

TRAINED = (
    "result.json",
    "weights.*",
    "checkpoint.*.pt",
)  # of a fold that goes on from its own weights


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
    only: Sequence[int] | None = None,
    competition_overrides: Sequence[str] = (),
    pseudo: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Cross-validate the configs and return each run's cv.json value by run name.

    Args:
        only: the folds to train now; default: all.
        competition_overrides: those that `competition` was made with, to name them in its mistakes.
        pseudo: a run or ensemble whose labels of the test images are trained on too.

    Raises:
        JobsFailedError: naming the jobs that failed; the others are finished and reported.
        DiskError: the same, when the disk was what failed a job.
    """
    execute = lookup(EXECUTORS, executor, "executor")
    loaded = load_configs(
        workspace.root,
        configs,
        overrides,
        name,
        lambda config: (
            look_up_names(config, competition, workspace.root, weights_wanted(workspace, config))
            + check_pseudo(config, pseudo is not None)
        ),
        blame_overrides(check_competition(competition), competition.name, competition_overrides),
    )
    records = find_records(competition, data_root(workspace, competition))
    truth = open_caches(workspace, competition, records, loaded)
    table = ensure_folds(workspace, competition, records, truth)
    folds = list(range(table.n_folds))
    wanted = choose_folds(folds, only, workspace)
    shared = shared_identity(competition, table.hash, truth.content_hash)
    source = None
    if pseudo is not None:
        loaded = {n: with_pseudo(config) for n, config in loaded.items()}
        test_ids = [record.image_id for record in records.test]
        source = find_source(workspace, competition, pseudo, table, shared, test_ids, list(loaded))
    slots, computes = decide_where(workspace, competition, loaded, device, n_slots)
    runs = [PlannedRun(n, config, computes[n], shared, source) for n, config in loaded.items()]
    for planned in runs:
        if not is_complete(workspace, planned.name):
            check_model_builds(planned, competition, workspace, wanted)
    with contextlib.ExitStack() as locks:
        for planned in runs:
            locks.enter_context(lock(workspace.run(planned.name) / ".lock", wait_seconds=5))
            prepare_run(workspace, planned)
            draw_samples(workspace, planned, competition, truth, records, table)
        planned_jobs = plan_jobs(
            workspace, competition, runs, folds, [r.image_id for r in records.test]
        )
        todo, done = ([job for job in jobs if job.fold in wanted] for jobs in planned_jobs)
        check_device(todo, slots)
        if done:
            of = count_of(len(done) + len(todo), "fold")
            print(f"{len(done)} of {of} {'is' if len(done) == 1 else 'are'} done and skipped")
        started = time.monotonic()
        watch = Watch(competition.metric_name, len(todo))
        with watch.running():
            ends = execute(todo, slots, watch) if todo else []
        if todo:
            seconds = time.monotonic() - started
            print(
                f"{count_of(len(todo), 'fold')} in {seconds:.0f} s on {count_of(len(slots), 'slot')}"
            )
        failure = describe_failures(workspace, todo, ends)
        try:
            reports = {
                planned.name: write_cv_report(
                    workspace, competition, planned.name, folds, usual_metrics(competition), truth
                )
                for planned in runs
            }
        except DiskError as error:  # it must not hide which jobs failed
            raise DiskError(f"{failure}\n{error}" if failure else str(error)) from error
    for report in reports.values():
        print("\n" + render_cv_lines(report))
        print(f"report: {workspace.relative(workspace.run(report['run']) / 'cv.md')}")
    if failure is not None:
        raise failure
    return reports


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

    from comp.data.samples.train import train_recipe

    started = time.monotonic()
    truth = open_cache(workspace.cache, competition, records.train, Recipe())
    for recipe in dict.fromkeys(train_recipe(c.train) for c in configs.values()):
        if recipe != Recipe():
            open_cache(workspace.cache, competition, records.train, recipe)
        if records.test:
            open_cache(workspace.cache, competition, records.test, replace(recipe, soft=False))
    print(
        f"data check: {len(records.train)} train and {count_of(len(records.test), 'test image')} read "
        f"({time.monotonic() - started:.1f} s)"
    )
    return truth


def decide_where(
    workspace: Workspace,
    competition: Competition,
    configs: dict[str, ModelConfig],
    device: str,
    n_slots: int | None,
) -> tuple[list[Slot], dict[str, dict[str, Any]]]:
    """The slots, and for each config the one way in which all its folds are computed.

    A run that was begun keeps its way: it is decided once. What the config leaves open is measured.
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
        )
        computes[name] = compute.as_dict()
        if told:
            print(f"probe: {name}: {told}")
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
) -> None:
    """The model check: build the network with its weights and send one small batch through it.

    Pretrained weights are asked for only where a fold begins from them.
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
    from comp.data.samples.augment import build_augment
    from comp.data.samples.train import TrainSamples, train_recipe
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
