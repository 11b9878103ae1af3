"""`comp cv`: every fold of every config, each skipped when done and resumed when not, then the reports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.config import Competition, data_root
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.open import open_cache
from comp.data.folds.check import check_competition
from comp.data.folds.split import ensure_folds
from comp.data.folds.table import FoldTable
from comp.data.samples.pseudo import check_pseudo, find_source, with_pseudo
from comp.data.sources.records import Records, find_records
from comp.errors import CompError, DiskError, UsageError
from comp.files import Workspace, remove_temporaries
from comp.jobs.configs import blame_overrides, load_configs, look_up_names
from comp.jobs.estimate import Costs, training_steps
from comp.jobs.executors import EXECUTORS, describe_failures
from comp.jobs.plan import (
    PlannedRun,
    plan_jobs,
    prepare_run,
    pretrained_identity,
    shared_identity,
)
from comp.jobs.ready import (
    check_device,
    check_model_builds,
    choose_folds,
    decide_where,
    is_complete,
    open_caches,
    weights_wanted,
)
from comp.jobs.room import check_room, check_shared_memory
from comp.jobs.shares import Share, lock_jobs, lock_run, nobody_else, planning, say_missing
from comp.jobs.status import end_orphans
from comp.jobs.watch import Watch
from comp.plots.cv_report import render_cv_lines
from comp.plots.tables import count_of
from comp.registry import lookup
from comp.reports import write_cv_report
from comp.store.generations import remove_generations, restart_corrupt


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
    restart: bool = False,
    share: Share | None = None,
    address: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Cross-validate the configs and return each run's cv.json value by run name.

    Args:
        only: the folds to train now; default: all.
        competition_overrides: those that `competition` was made with, to name them in its mistakes.
        pseudo: a run or ensemble whose labels of the test images are trained on too.
        restart: a fold that has only corrupt checkpoints begins anew, instead of failing.
        share: only this part of the list of jobs; other processes do the others in the same workspace.
        address: of a cluster, for the executor `ray`.

    Raises:
        JobsFailedError: naming the jobs that failed; the others are finished and reported.
        DiskError: the same, when the disk was what failed a job; or nothing is begun, for want of room.
    """
    execute = lookup(EXECUTORS, executor, "executor")
    if address is not None and executor != "ray":
        raise UsageError(f"--address {address}: is for --executor ray, here it is {executor}")
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
    truth, test_content = open_caches(workspace, competition, records, loaded)
    table = ensure_folds(workspace, competition, records, truth)
    folds = list(range(table.n_folds))
    wanted = choose_folds(folds, only, workspace)
    shared = shared_identity(competition, table.hash, truth.content_hash)
    source = None
    if pseudo is not None:
        loaded = {n: with_pseudo(config) for n, config in loaded.items()}
        test_ids = [record.image_id for record in records.test]
        source = find_source(
            workspace,
            competition,
            pseudo,
            table,
            shared,
            list(loaded),
            test_ids=test_ids,
            test_content=test_content,
        )
    with contextlib.ExitStack() as locks, contextlib.ExitStack() as plans:
        if share is not None:
            plans.enter_context(planning(workspace))
        slots, computes = decide_where(
            workspace,
            competition,
            loaded,
            device,
            n_slots,
            lambda config: training_steps(config, truth, table),
        )
        runs = [
            PlannedRun(
                n, config, computes[n], shared, source, pretrained_identity(workspace, n, config)
            )
            for n, config in loaded.items()
        ]
        parameters = {
            planned.name: check_model_builds(planned, competition, workspace, wanted)
            for planned in runs
            if not is_complete(workspace, planned.name)
        }
        for planned in runs:
            alone = share is None or nobody_else(workspace, planned.name)
            lock_run(workspace, planned.name, locks, shared=share is not None)
            remove_temporaries(workspace.run(planned.name))  # shares write there one at a time
            end_orphans(workspace.run(planned.name), print)
            prepare_run(workspace, planned, take_over=alone)
            draw_samples(workspace, planned, competition, truth, records, table)
        costs = Costs(workspace, competition, runs, truth, table, len(records.test))
        planned_jobs = plan_jobs(
            workspace,
            competition,
            runs,
            folds,
            [r.image_id for r in records.test],
            test_content,
            None if share is None else lambda jobs: costs.cut(jobs, wanted, share),
        )
        todo, done = ([job for job in jobs if job.fold in wanted] for jobs in planned_jobs)
        check_device(todo, slots)
        if share is not None:
            lock_jobs(todo, locks)
        at_once = 1 if executor == "serial" else len(slots)
        if executor != "ray":  # its workers may have other machines
            check_shared_memory(todo, at_once)
        check_room(workspace.runs, todo, parameters, truth, table, len(records.test), at_once)
        estimates = costs.left(todo, done, at_once)
        plans.close()
        for job in done:  # killed between its last commit and its end
            remove_generations(job.folder)
            remove_temporaries(job.folder)
        for job in todo if restart else ():
            if said := restart_corrupt(job.folder):
                print(f"{job.label}: {said}")
        if done:
            of = count_of(len(done) + len(todo), "fold")
            over = "" if todo else ": nothing to do"
            print(f"{len(done)} of {of} {'is' if len(done) == 1 else 'are'} done and skipped{over}")
        started = time.monotonic()
        watch = Watch(
            competition.metric_name, len(todo), jobs=todo, slots=at_once, seconds=estimates
        )
        how: dict[str, Any] = {"seconds": estimates, "address": address, "n_slots": n_slots}
        with watch.running():
            ends = execute(todo, slots, watch, **how) if todo else []
        if todo:
            seconds = time.monotonic() - started
            print(
                f"{count_of(len(todo), 'fold')} in {seconds:.0f} s on {count_of(at_once, 'slot')}"
            )
        failure = describe_failures(workspace, todo, ends)
        if share is not None:  # who reports last sees what all have done
            plans.enter_context(planning(workspace))
        try:
            reports = {
                planned.name: write_cv_report(
                    workspace,
                    competition,
                    planned.name,
                    folds,
                    usual_metrics(competition),
                    truth,
                    forgive=share is not None,
                    tuned=planned.config.tuned,
                )
                for planned in runs
            }
        except CompError as error:  # it must not hide which jobs failed
            if failure is None:
                raise
            kind = DiskError if isinstance(error, DiskError) else type(failure)
            raise kind(f"{failure}\n{error}") from error
    for report in reports.values():
        print("\n" + render_cv_lines(report))
        print(f"report: {workspace.relative(workspace.run(report['run']) / 'cv.md')}")
    if failure is not None:
        raise failure
    if share is not None:
        print(say_missing(share, reports, wanted))
    return reports


def usual_metrics(competition: Competition) -> tuple[str, ...]:
    """What reports show beside the competition's metric."""
    from comp.metrics.reported import reported_metrics

    return reported_metrics(competition)


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
    from comp.plots.paint import labels_of_planes
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
        cache,
        chosen,
        train,
        augment,
        train.seed,
        competition.task,
        competition.n_classes,
        competition.background,
    )
    grid = []
    for n, index in enumerate(chosen):
        drawn = []
        for epoch in range(4):
            sample = samples[(epoch, samples.place.index(n))]
            image = np.moveaxis(sample["image"].numpy(), 0, -1)
            if "labels" in sample:
                labels = sample["labels"].numpy()
            else:
                planes, valid = sample["planes"].numpy(), sample["valid"].numpy()
                labels = labels_of_planes(planes, valid, competition.task)
            drawn.append((image, labels))
        image, labels_native, step = truth.glance(index)
        assert labels_native is not None
        title = truth.ids[index] + (f", every {step}th pixel" if step > 1 else "")
        grid.append((title, image, labels_native, drawn))
    plot_samples(grid, path, task=competition.task, classes=competition.classes)
