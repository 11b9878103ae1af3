"""`comp ensemble`: blend the out-of-fold predictions of runs, judge the blend honestly, write its recipe.

Members must share task, classes, folds and images; a difference is named and refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comp.blending.blend import Source, common_full, to_grid
from comp.blending.choice import Choice, choose
from comp.blending.crossfit import CrossFit, cross_fit, make_parts
from comp.blending.recipe import Member, Recipe, file_hashes, write_recipe
from comp.blending.search import METHODS
from comp.blending.summary import describe_parts, make_scores, say_limits
from comp.config import Competition, data_root
from comp.data.cache import Cache, open_cache
from comp.data.cache import Recipe as Reading
from comp.data.fold_table import FoldTable, read_folds
from comp.data.intake import find_records
from comp.errors import DataError, RunMismatchError, UnknownNameError, UsageError, some
from comp.files import Workspace, commit, digest, lock, sha256
from comp.metrics.scores import find_metric, score_counts
from comp.plots.ensemble_tables import render_ensemble, render_ensemble_lines
from comp.registry import unknown
from comp.store import Probs, Run, list_runs, read_run


@dataclass(frozen=True)
class Column:
    """One member in one of its stored views; `probs` holds the fold of each of its images."""

    run: Run
    views: str
    probs: dict[int, Probs]

    @property
    def name(self) -> str:
        return f"{self.run.name} ({self.views})"


def run(
    workspace: Workspace,
    competition: Competition,
    members: Sequence[str] | None = None,
    name: str | None = None,
    views: Sequence[str] | None = None,
    method: str = "auto",
) -> dict[str, Any]:
    """Fit, judge and write an ensemble; return its recipe's JSON value, with its scores also at the top.

    Args:
        members: run names; default: all complete runs.
        name: default: ensemble- and a hash of what it is made of.
        views: stored views to choose from; default: all that a member has.
        method: auto, or a key of `METHODS`.

    Raises:
        RunMismatchError: members that cannot be blended, naming the difference.
    """
    if method != "auto" and method not in METHODS:
        raise UnknownNameError(f"--method: {unknown(method, ['auto', *METHODS], 'method')}")
    metric = find_metric(competition.metric_name)
    started = time.monotonic()
    runs, notes = select_runs(workspace, members)
    check_alike(runs, competition)
    columns, by_member = open_columns(runs, views)
    names = [column.name for column in columns]
    records = find_records(competition, data_root(workspace, competition))
    table = read_folds(workspace, records)
    check_folds(workspace, runs, table)
    ids = check_images(columns, table)
    truth = open_cache(workspace.cache, competition, records.train, Reading())
    source = make_source(competition, columns, ids, table, truth)
    fold_of = dict(zip(table.ids, table.fold, strict=True))
    group_of = dict(zip(table.ids, table.group, strict=True))
    groups = [group_of[i] or f"image {i}" for i in ids] if any(table.group) else None
    folds = np.array([fold_of[i] for i in ids])
    parts = make_parts(folds, groups)
    for note in notes:
        print(note)
    print(f"blending {len(runs)} runs, {len(columns)} sets of predictions, {len(ids)} images")
    result = cross_fit(source, by_member, parts, metric.name, method)
    choice = choose(result, metric.name, names, groups)
    name = name or default_name(runs, names, method)
    recipe = make_recipe(name, competition, columns, result, choice, table)
    plain = recipe.to_json()
    folder = workspace.ensemble(name)
    with lock(folder / ".lock", wait_seconds=5):
        described = describe_parts(result, folds, names, metric.name)
        notes += say_limits(result, by_member, names)
        commit(folder / "report.md", render_ensemble(plain, described, notes))
        write_recipe(folder / "recipe.json", recipe)
    print(render_ensemble_lines(plain))
    print(
        f"report: {workspace.relative(folder / 'report.md')} ({time.monotonic() - started:.1f} s)"
    )
    return {**plain, **plain["scores"]}


def select_runs(workspace: Workspace, members: Sequence[str] | None) -> tuple[list[Run], list[str]]:
    """The runs to blend, by name, and what was left out."""
    if members:
        repeated = sorted({m for m in members if list(members).count(m) > 1})
        if repeated:
            raise UsageError(
                f"members are named twice: {some(repeated)}; a weight is fitted anyway"
            )
        runs = [read_run(workspace, member) for member in sorted(members)]
        if unready := [r for r in runs if not r.complete]:
            raise RunMismatchError(
                f"{len(unready)} members are incomplete: {some(map(say_folds, unready))}; "
                "finish them with `comp cv`, or leave them out"
            )
        return runs, []
    found = list_runs(workspace)
    runs = [r for r in found if r.complete]
    left_out = [say_folds(r) for r in found if not r.complete]
    if not runs:
        there = f"incomplete: {some(left_out)}" if left_out else "there is none"
        raise UsageError(
            f"no complete run in {workspace.relative(workspace.runs)} ({there}); run `comp cv` first"
        )
    return runs, [f"left out, incomplete: {', '.join(left_out)}"] if left_out else []


def say_folds(run: Run) -> str:
    """``unet (folds 0, 1 of 5)``."""
    total = "?" if run.cv is None else run.cv["n_folds"]
    done = ", ".join(map(str, sorted(run.folds))) or "none"
    return f"{run.name} (folds done: {done} of {total})"


def check_alike(runs: Sequence[Run], competition: Competition) -> None:
    """Refuse runs that differ from the competition or from each other."""
    expected = {"task": competition.task, "classes": list(competition.classes)}
    first = runs[0]
    for one in runs:
        for fold, result in one.folds.items():
            for key, value in expected.items():
                if result[key] != value:
                    raise RunMismatchError(
                        f"run {one.name!r}, fold {fold}: {key} is {result[key]!r}, the competition "
                        f"{competition.name!r} says {value!r}; leave the run out, or train it again"
                    )
        if sorted(one.folds) != sorted(first.folds):
            raise RunMismatchError(
                f"runs {first.name!r} and {one.name!r} have other folds: "
                f"{sorted(first.folds)} and {sorted(one.folds)}; name members that share them"
            )
        hashes = {result["folds_hash"] for result in (*first.folds.values(), *one.folds.values())}
        if len(hashes) > 1:
            raise RunMismatchError(
                f"runs {first.name!r} and {one.name!r} were trained on other folds (hashes "
                f"{' and '.join(sorted(hashes))}), so their predictions leak into each other; "
                "name members that share them with --member, or train again"
            )


def check_folds(workspace: Workspace, runs: Sequence[Run], table: FoldTable) -> None:
    """Refuse runs made on other folds than the file says now."""
    found = next(iter(runs[0].folds.values()))["folds_hash"]
    if found != table.hash:
        raise RunMismatchError(
            f"{workspace.relative(workspace.folds_csv)} has hash {table.hash}, but run "
            f"{runs[0].name!r} was trained on {found}: put the folds back, or train again"
        )


def open_columns(
    runs: Sequence[Run], views: Sequence[str] | None
) -> tuple[list[Column], list[list[int]]]:
    """Every member in every stored set of views asked for, and which columns belong to each member."""
    columns: list[Column] = []
    by_member: list[list[int]] = []
    for one in runs:
        results = list(one.folds.values())
        stored = [v for v in results[0]["views"] if all(v in r["views"] for r in results)]
        chosen = [v for v in stored if views is None or len(views) == 0 or v in views]
        if not chosen:
            raise UsageError(
                f"run {one.name!r} has stored the views {some(stored)}, none of them is "
                f"{' or '.join(views or ())}; store more with predict.tta"
            )
        by_member.append(list(range(len(columns), len(columns) + len(chosen))))
        for v in chosen:
            for fold, result in one.folds.items():
                verify(one, fold, result, f"oof.{v}")
            columns.append(Column(one, v, {fold: one.oof(fold, v) for fold in one.folds}))
    return columns, by_member


def verify(run: Run, fold: int, result: dict[str, Any], stem: str) -> None:
    """Compare stored probabilities with the hashes in result.json: a flipped bit would read silently."""
    for name in (f"{stem}.npy", f"{stem}.csv"):
        path = run.dir / f"fold{fold}" / name
        said = result["files"].get(name)
        got = sha256(path) if path.is_file() else "missing"
        if said is None or got != said["sha256"]:
            raise RunMismatchError(
                f"{path}: expected sha256 {said['sha256'][:12] if said else 'in result.json'}, got "
                f"{got[:12]}; delete {path.with_name('result.json')} and run `comp cv` again"
            )


def check_images(columns: Sequence[Column], table: FoldTable) -> list[str]:
    """The images that every column predicted out of fold, sorted; refuse columns that hold others."""
    for fold in columns[0].probs:
        expected = {i for i, f in zip(table.ids, table.fold, strict=True) if f == fold}
        for column in columns:
            got = set(column.probs[fold].ids)
            if got != expected:
                missing, extra = sorted(expected - got), sorted(got - expected)
                raise RunMismatchError(
                    f"{column.name}, fold {fold}: the predicted images are not those of the folds file"
                    + (f"; missing {len(missing)}: {some(missing)}" if missing else "")
                    + (f"; unknown {len(extra)}: {some(extra)}" if extra else "")
                    + "; train the run again"
                )
    return sorted(i for probs in columns[0].probs.values() for i in probs.ids)


def make_source(
    competition: Competition,
    columns: Sequence[Column],
    ids: Sequence[str],
    table: FoldTable,
    truth: Cache,
) -> Source:
    """Pixels of all columns on one grid, with their labels; shapes are checked here, once."""
    fold_of = dict(zip(table.ids, table.fold, strict=True))
    full = common_full(probs.dtype for column in columns for probs in column.probs.values())

    def labels(image: int) -> np.ndarray:
        found = truth.labels(truth.number(ids[image]))
        if found is None:
            raise DataError(f"image {ids[image]!r} has no mask, so nothing can be fitted on it")
        return found

    def planes(image: int, column: int) -> np.ndarray:
        return to_grid(columns[column].probs[fold_of[ids[image]]].read(ids[image]), full)

    for n, image_id in enumerate(ids):
        size = labels(n).shape[-2:]
        for column in columns:
            shape = column.probs[fold_of[image_id]].shape(image_id)
            if shape != (competition.n_classes, *size):
                raise RunMismatchError(
                    f"{column.name}, image {image_id!r}: expected probabilities of shape "
                    f"{(competition.n_classes, *size)}, got {shape}; train the run again"
                )
    return Source(
        competition.task, competition.n_classes, full, len(ids), len(columns), planes, labels
    )


def make_recipe(
    name: str,
    competition: Competition,
    columns: Sequence[Column],
    result: CrossFit,
    choice: Choice,
    table: FoldTable,
) -> Recipe:
    """Put the choice and its scores into a recipe."""
    metric = find_metric(competition.metric_name)
    owners = [column.run.name for column in columns]
    scores = make_scores(result, choice, metric.name, owners, competition.classes)
    fit = choice.fit
    return Recipe(
        name=name,
        competition=competition.name,
        task=competition.task,
        classes=competition.classes,
        folds_hash=table.hash,
        folds=tuple(sorted(columns[0].run.folds)),
        metric=metric.name,
        greater_is_better=metric.greater_is_better,
        members=tuple(
            make_member(column, weight, score_counts(metric.name, counts))
            for column, weight, counts in zip(columns, fit.weights, result.singles, strict=True)
            if weight
        ),
        thresholds=fit.thresholds,
        min_area_px=fit.min_area_px,
        chosen=choice.kind,
        method=fit.method,
        reason=choice.reason,
        scores=scores,
        n_images=len(result.parts),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def make_member(column: Column, weight: int, score: float) -> Member:
    """A member with the hashes of every file its probabilities are read from."""
    one, views = column.run, column.views
    oof, test = (file_hashes(one.folds, kind, views) for kind in ("oof", "test"))
    return Member(one.name, one.config_hash, views, weight, oof, test, score)


def default_name(runs: Sequence[Run], names: Sequence[str], method: str) -> str:
    """The same for the same members, so that the same command writes the same ensemble."""
    parts = [[r.name, r.config_hash, sorted(r.folds)] for r in runs]
    return f"ensemble-{digest([parts, list(names), method])[:8]}"
