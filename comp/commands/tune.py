"""`comp tune`: a study of one config, its trials run like folds, the best confirmed, the tuned config written."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from comp.config import Competition, ModelConfig, check, data_root, resolved
from comp.config.reading import Layers, read_layers
from comp.data.folds.check import check_competition
from comp.data.folds.split import ensure_folds
from comp.data.sources.records import find_records
from comp.errors import (
    CompError,
    ConfigError,
    JobsFailedError,
    RunMismatchError,
    UsageError,
    some,
)
from comp.files import Workspace, check_name, commit, write_json
from comp.jobs.configs import blame_overrides
from comp.jobs.executors import EXECUTORS
from comp.jobs.plan import PlannedRun, pretrained_identity, shared_identity
from comp.jobs.ready import check_model_builds, choose_folds, decide_where, open_caches
from comp.metrics.scores import find_metric
from comp.plots.tune_plots import plot_study
from comp.plots.tune_report import TuneReport, render_tune, render_tune_lines
from comp.registry import lookup
from comp.tuning.best import next_command, write_best
from comp.tuning.confirming import Confirmed, choose_confirm_folds, confirm
from comp.tuning.importance import importances
from comp.tuning.job import Limits
from comp.tuning.making import Maker
from comp.tuning.pareto import pareto_front
from comp.tuning.rows import COMPLETE, Row
from comp.tuning.searching import search
from comp.tuning.space import Space, read_space
from comp.tuning.storage import sqlite_url
from comp.tuning.study import Study
from comp.tuning.wanted import Wanted, choose_config

GIB = 2**30


def run(workspace: Workspace, competition: Competition, wanted: Wanted) -> dict[str, Any]:
    """Search, confirm, report; go on with a study that was begun. Returns study.json's value.

    Raises:
        JobsFailedError: no trial has a score.
        DiskError: the disk was what failed one.
    """
    wanted.check()
    execute = lookup(EXECUTORS, wanted.executor, "executor")
    path = choose_config(workspace, wanted.config)
    name, config, layers, space = load(workspace, competition, wanted, path)
    for line in space.describe(config):
        print(line)
    records = find_records(competition, data_root(workspace, competition))
    records = replace(records, test=())  # no trial predicts them
    truth, _ = open_caches(workspace, competition, records, {name: config})
    table = ensure_folds(workspace, competition, records, truth)
    folds = choose_folds(list(range(table.n_folds)), wanted.folds, workspace)
    shared = shared_identity(competition, table.hash, truth.content_hash)
    home = replace(workspace, study=check_name(wanted.study or name, "study name"))
    slots, _ = decide_where(home, competition, {}, wanted.device, wanted.slots)
    limits = Limits(
        wanted.max_seconds, None if wanted.max_memory is None else int(wanted.max_memory * GIB)
    )
    maker = Maker(
        home,
        competition,
        layers,
        space,
        records,
        shared,
        folds,
        limits,
        wanted.device,
        wanted.slots,
    )
    check_builds(maker, name, config)
    metric = find_metric(competition.metric_name)
    confirm_folds = choose_confirm_folds(maker, wanted, table.n_folds)
    how: dict[str, Any] = {"address": wanted.address, "n_slots": wanted.slots}
    with contextlib.closing(open_study(maker, config, wanted, metric.greater_is_better)) as study:
        for note in study.notes:
            print(note)
        if len(wanted.objectives) > 1 and wanted.pruner != "none":
            print("several objectives: no trial is pruned")
        ended = search(study, maker, wanted, partial(execute, slots=slots, **how), len(slots))
        rows = study.rows()
        found = None
        if others := study.others():
            print(f"not confirmed yet: {name_trials(others)} run elsewhere; who ends last confirms")
        elif wanted.confirm and ended is None and any(row.state == COMPLETE for row in rows):
            found = confirm(
                maker,
                wanted,
                rows,
                confirm_folds,
                config.train.seed,
                metric.greater_is_better,
                lambda jobs, hears: execute(jobs, slots, hears, **how),
                len(slots),
            )
        value = report(study, rows, maker, wanted, path, config, found)
    if ended is not None:
        raise ended
    if not any(row.state == COMPLETE for row in rows):
        raise JobsFailedError(f"study {home.study}: no trial has a score")
    return value


def load(
    workspace: Workspace, competition: Competition, wanted: Wanted, path: Path
) -> tuple[str, ModelConfig, Layers, Space]:
    """The config that is tuned: its name, itself, who said what of it, what is searched.

    Raises:
        ConfigError: the mistakes of competition, config and search space together.
    """
    layers = read_layers(path, wanted.all_overrides)
    found = blame_overrides(
        check_competition(competition), competition.name, wanted.competition_overrides
    )
    space = read_space(layers, None, competition, workspace.root, found_before=found)
    name = check_name(path.stem, "run name")
    return name, check(ModelConfig, layers.values, layers), layers, space


def check_builds(maker: Maker, name: str, config: ModelConfig) -> None:
    """Build the untuned network before anything is begun."""
    _, computes = decide_where(
        maker.workspace, maker.competition, {name: config}, maker.device, maker.n_slots
    )
    pretrained = pretrained_identity(maker.workspace, name, config)
    planned = PlannedRun(name, config, computes[name], maker.shared, None, pretrained)
    check_model_builds(planned, maker.competition, maker.workspace, maker.folds)
    problems = []
    for knob in maker.space.knobs:
        for choice in knob.choices if knob.path.split(".")[0] == "model" else ():
            try:
                maker.build({knob.path: choice})
            except CompError as error:
                problems.append(f"tune.{knob.path}: choice {choice}: {error}")
    if problems:
        raise ConfigError(problems)


def open_study(maker: Maker, config: ModelConfig, wanted: Wanted, greater_is_better: bool) -> Study:
    """The study in its storage, made now or gone on with."""
    home, space = maker.workspace, maker.space
    assert home.study is not None
    up = "maximize" if greater_is_better else "minimize"
    study = Study.open(
        *where(home, wanted, home.study),
        distributions=space.distributions(),
        directions=[up] + ["minimize"] * (len(wanted.objectives) - 1),
        seed=config.train.seed,
        meta={
            "config": resolved(config),
            "objectives": list(wanted.objectives),
            **maker.shared,
            "folds": list(maker.folds),
            "epochs": config.train.epochs,
            "limits": {"max_seconds": wanted.max_seconds, "max_memory": wanted.max_memory},
        },
        untuned=space.baseline(config),
        sampler=wanted.sampler,
        pruner=wanted.pruner,
    )
    try:
        refuse_leftovers(study, home)
        for name in wanted.earlier:
            if wanted.storage is None and not (home.study_folder(name) / "study.db").is_file():
                raise UsageError(f"--from {name}: no study at {home.study_folder(name)}")
            with contextlib.closing(Study.load(*where(home, wanted, name))) as other:
                n = study.add_history(other)
            print(f"--from {name}: {n} of its trials are known to the sampler too")
    except BaseException:
        study.close()
        raise
    return study


def refuse_leftovers(study: Study, home: Workspace) -> None:
    """Refuse to begin a study among the trials of another one.

    Raises:
        RunMismatchError: naming the folder.
    """
    if not study.rows() and any(home.runs.glob("*/config.json")):
        folder = home.relative(home.runs)
        raise RunMismatchError(
            f"{folder} holds trials of a study that is gone, or is kept elsewhere: delete {folder}, or name "
            "another study with --study NAME"
        )


def where(home: Workspace, wanted: Wanted, study: str) -> tuple[str, str]:
    """The URL of the storage and the study's name in it, which may hold other competitions' studies too."""
    if wanted.storage is not None:
        return wanted.storage, f"{home.competition}/{study}"
    return sqlite_url(home.study_folder(study) / "study.db"), study


def name_trials(rows: Sequence[Row]) -> str:
    """``trial 3, trial 5``."""
    return some([f"trial {row.index}" for row in rows])


def report(
    study: Study,
    rows: Sequence[Row],
    maker: Maker,
    wanted: Wanted,
    path: Path,
    config: ModelConfig,
    found: Confirmed | None,
) -> dict[str, Any]:
    """Write and print what was found, and the tuned config; return study.json's value."""
    home, competition = maker.workspace, maker.competition
    assert home.study is not None
    folder = home.study_folder(home.study)
    metric = find_metric(competition.metric_name)
    tuned = write_best(maker, wanted, path, rows, found, metric.greater_is_better)
    up = (metric.greater_is_better, *[False] * (len(wanted.objectives) - 1))
    said = TuneReport(
        study=home.study,
        competition=competition.name,
        config=home.relative(path),
        objectives=(metric.name, *wanted.objectives[1:]),
        greater_is_better=up,
        folds=tuple(maker.folds),
        epochs=config.train.epochs,
        rows=rows,
        space=[line.strip() for line in maker.space.describe(config)[1:]],
        logs=frozenset(knob.path for knob in maker.space.knobs if knob.log),
        importances=importances(study.view()),
        front=pareto_front(rows, up),
        verdict=None if found is None else found.verdict,
        seeds=() if found is None else found.seeds,
        tuned=None if tuned is None else home.relative(tuned.path),
        next_command=next_command(path, tuned, found),
        notes=() if tuned is None else tuned.notes,
    )
    pictures = plot_study(said, folder)
    said = replace(said, pictures=[picture.name for picture in pictures])
    commit(folder / "report.md", render_tune(said))
    value = {
        "study": said.study,
        "competition": said.competition,
        "config": said.config,
        "objectives": list(said.objectives),
        "greater_is_better": list(said.greater_is_better),
        "folds": list(said.folds),
        "epochs": said.epochs,
        "trials": [row_values(row) for row in rows],
        "importances": said.importances.shares,
        "front": list(said.front),
        "confirmed": None if found is None else found.as_dict(),
        "tuned": said.tuned,
    }
    write_json(folder / "study.json", value)
    print("\n" + render_tune_lines(said))
    print(f"report: {home.relative(folder / 'report.md')}")
    return value


def row_values(row: Row) -> dict[str, Any]:
    """A trial as plain values."""
    told = ("seconds", "peak_bytes", "n_parameters", "scores", "why", "error")
    return {
        "index": row.index,
        "state": row.state,
        "params": row.params,
        "values": row.values,
        "attempts": row.attempts,
        "pruned_at": row.pruned_at,
        "over": row.over,
        **{key: row.attrs.get(key) for key in told},
    }
