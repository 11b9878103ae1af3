"""`comp ensemble`: blend the out-of-fold predictions of runs, judge the blend honestly, write its recipe.

Members must share task, data, folds and images; a difference is named and refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from comp.blending.blend import Source, blend_counts, common_full, to_grid
from comp.blending.choice import Choice, choose
from comp.blending.crossfit import CrossFit, Fit, cross_fit, make_parts
from comp.blending.judged import Named, judge, say_worth
from comp.blending.levels import VERSION as LEVELS_VERSION
from comp.blending.levels import read_levels
from comp.blending.recipe import Member, Recipe, file_hashes, write_recipe
from comp.blending.search import METHODS
from comp.blending.summary import describe_parts, make_scores, say_limits
from comp.config import Competition, data_root
from comp.data.cache.cache import Cache
from comp.data.cache.cache import Recipe as Reading
from comp.data.cache.open import open_cache
from comp.data.folds.table import HELD_OUT, FoldTable, read_folds
from comp.data.sources.records import find_records
from comp.errors import DataError, RunMismatchError, UnknownNameError, UsageError, some
from comp.files import Workspace, commit, digest, lock, remove, write_json
from comp.metrics.scores import find_metric, score_counts
from comp.plots.ensemble_plots import plot_errors
from comp.plots.ensemble_tables import render_ensemble, render_ensemble_lines
from comp.plots.ensemble_values import PICTURE
from comp.plots.tables import count_of
from comp.registry import unknown
from comp.store import Probs, Run
from comp.store.heard import Answers, answer_hashes, read_answers
from comp.store.members import check_alike, select_runs
from comp.store.price import seconds_an_image
from comp.store.whole import check_whole, verify_file

CLEAN_UPS = ("none", "area", "all")


@dataclass(frozen=True)
class Column:
    """One member in one of its stored views; `probs` holds, for the fold of an image, its probabilities,
    and `heard` what an auxiliary classifier says of it."""

    run: Run
    views: str
    probs: dict[int, Probs]
    heard: dict[int, Answers | None] = field(default_factory=dict)

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
    clean_up: str = "all",
) -> dict[str, Any]:
    """Fit, judge and write an ensemble; return its recipe's JSON value, with its scores also at the top.

    Args:
        members: run names; default: all complete runs.
        name: default: ensemble- and a hash of what it is made of.
        views: stored views to choose from; default: all that a member has.
        method: auto, or a key of `METHODS`.
        clean_up: none; area, the smallest object only; all rules.

    Raises:
        RunMismatchError: members that cannot be blended, naming the difference.
        DataError: a member's file is missing or damaged.
    """
    if method != "auto" and method not in METHODS:
        raise UnknownNameError(f"--method: {unknown(method, ['auto', *METHODS], 'method')}")
    if clean_up not in CLEAN_UPS:
        raise UnknownNameError(f"--clean-up: {unknown(clean_up, CLEAN_UPS, 'clean-up')}")
    metric = find_metric(competition.metric_name)
    started = time.monotonic()
    check_whole(workspace, members)
    runs, notes = select_runs(workspace, members)
    check_alike(runs, competition)
    columns, by_member = open_columns(runs, views)
    names = [column.name for column in columns]
    records = find_records(competition, data_root(workspace, competition))
    table = read_folds(workspace, records)
    check_folds(workspace, runs, table)
    images = check_images(columns, table)
    ids = [image_id for image_id, _ in images]
    truth = open_cache(workspace.cache, competition, records.train, Reading())
    check_content(runs[0], truth)
    source = make_source(competition, columns, images, truth)
    fold_of = dict(zip(table.ids, table.fold, strict=True))
    group_of = dict(zip(table.ids, table.group, strict=True))
    grouped = any(table.group) or table.repeats  # repeats of an image are one unit in every error
    groups = [group_of[i] or f"image {i}" for i in ids] if grouped else None
    folds = np.array([fold_of[i] for i in ids])
    parts = make_parts(folds, groups)
    for note in notes:
        print(note)
    print(
        f"blending {count_of(len(runs), 'run')}, {count_of(len(columns), 'set')} of predictions, "
        f"{count_of(len(set(ids)), 'image')}"
    )
    singles = read_singles(workspace, source, columns, images, truth)
    result = cross_fit(
        source, by_member, parts, metric.name, method,
        clean_up != "none", rules=clean_up == "all", groups=groups, singles=singles,
    )  # fmt: skip
    if clean_up != "none":
        fits = [result.fit, *result.part_fits.values()]
        seconds = sum(fit.clean_up_seconds for fit in fits)
        print(f"clean-up: looked for in {seconds:.1f} s, {count_of(len(fits), 'time')}")
    choice = choose(result, metric.name, names, groups)
    name = name or default_name(runs, names, method, clean_up)
    heldout, more = score_heldout(competition, columns, choice.fit, table, truth)
    notes += more
    recipe = make_recipe(name, competition, columns, result, choice, table, heldout)
    plain = recipe.to_json()
    named = Named(
        [column.run.name for column in columns],
        [column.views for column in columns],
        [seconds_an_image(column.run, column.views) for column in columns],
        by_member,
    )
    judged = judge(source, result, named, metric.name, groups)
    folder = workspace.ensemble(name)
    with lock(folder / ".lock", wait_seconds=5):
        described = describe_parts(result, folds, names, metric.name)
        notes += say_limits(result, by_member, names, table.n_repeats)
        notes += say_worth(judged, len(runs), len(ids))
        remove(folder / PICTURE)
        if len(runs) > 1:
            plot_errors(judged["errors"], folder / PICTURE)
        write_json(folder / "judged.json", judged)
        commit(folder / "report.md", render_ensemble(plain, described, notes, judged))
        write_recipe(folder / "recipe.json", recipe)
    print(render_ensemble_lines(plain, judged))
    print(
        f"report: {workspace.relative(folder / 'report.md')} ({time.monotonic() - started:.1f} s)"
    )
    return {**plain, **plain["scores"], "judged": judged}


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
                verify_file(one, fold, result, f"oof.{v}")
            heard = {
                fold: read_answers(one, fold, "oof", v, len(result["classes"]))
                for fold, result in one.folds.items()
            }
            columns.append(Column(one, v, {fold: one.oof(fold, v) for fold in one.folds}, heard))
    return columns, by_member


def check_images(columns: Sequence[Column], table: FoldTable) -> list[tuple[str, int]]:
    """The images that every column predicted out of fold, each with the fold, sorted; one row a repeat.

    Columns that hold other images are refused.
    """
    for fold in columns[0].probs:
        expected = {table.ids[i] for i in table.validation(fold)}
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
    return sorted((i, fold) for fold, probs in columns[0].probs.items() for i in probs.ids)


def check_content(run: Run, truth: Cache) -> None:
    """Refuse to score on other pixels or labels than the members were trained on."""
    said = run.shared.get("data", {}).get("content")
    if said is not None and said != truth.content_hash:
        raise RunMismatchError(
            f"images or masks changed since run {run.name!r} was trained (content {said}, now "
            f"{truth.content_hash}): put them back, or train again"
        )


def make_source(
    competition: Competition,
    columns: Sequence[Column],
    images: Sequence[tuple[str, int]],
    truth: Cache,
) -> Source:
    """Pixels of all columns on one grid, with their labels; shapes are checked here, once.

    Args:
        images: image_id, and the fold whose predictions count.
    """
    full = common_full(probs.dtype for column in columns for probs in column.probs.values())

    def labels(image: int) -> np.ndarray:
        found = truth.labels(truth.number(images[image][0]))
        if found is None:
            raise DataError(
                f"image {images[image][0]!r} has no mask, so nothing can be fitted on it"
            )
        return found

    def planes(image: int, column: int) -> np.ndarray:
        image_id, fold = images[image]
        return to_grid(columns[column].probs[fold].read(image_id), full)

    for n, (image_id, fold) in enumerate(images):
        size = labels(n).shape[-2:]
        for column in columns:
            shape = column.probs[fold].shape(image_id)
            if shape != (competition.n_classes, *size):
                raise RunMismatchError(
                    f"{column.name}, image {image_id!r}: expected probabilities of shape "
                    f"{(competition.n_classes, *size)}, got {shape}; train the run again"
                )

    def presence(image: int, column: int) -> np.ndarray | None:
        image_id, fold = images[image]
        said = columns[column].heard.get(fold)
        return None if said is None else said[image_id]

    return Source(
        competition.task, competition.n_classes, full, len(images), len(columns), planes, labels,
        presence if any(any(c.heard.values()) for c in columns) else None,
    )  # fmt: skip


def read_singles(
    workspace: Workspace,
    source: Source,
    columns: Sequence[Column],
    images: Sequence[tuple[str, int]],
    truth: Cache,
) -> np.ndarray:
    """Each column alone at 0.5, (C, N, K, 4); counted from pixels only where no table of it is kept."""
    found = []
    for number, column in enumerate(columns):
        files = [
            result["files"][f"oof.{column.views}.npy"]["sha256"]
            for _, result in sorted(column.run.folds.items())
        ]
        what = [
            LEVELS_VERSION,
            files,
            images,
            truth.content_hash,
            source.task,
            source.n_classes,
            source.full,
        ]
        path = workspace.cache / "levels" / f"{digest(what)[:16]}.npy"
        found.append(read_levels(source, number, path).counts())
    return np.stack(found)


def score_heldout(
    competition: Competition, columns: Sequence[Column], fit: Fit, table: FoldTable, truth: Cache
) -> tuple[dict[str, float | int] | None, list[str]]:
    """Score the chosen blend, once, on the images of fold -2, every fold's model in it as for test images.

    Returns:
        {metric: value, "n_images": n}, or None where there is nothing to score; notes that say why.
    """
    if HELD_OUT not in table.fold:
        return None, []
    taken, weights, lacking = [], [], []
    for column, weight in zip(columns, fit.weights, strict=True):
        for fold, result in column.run.folds.items() if weight else ():
            stem = f"heldout.{column.views}"
            if f"{stem}.npy" not in result["files"]:
                lacking.append(f"{column.name}, fold {fold}")
                continue
            verify_file(column.run, fold, result, stem)
            probs = column.run.heldout(fold, column.views)
            taken.append(Column(column.run, column.views, {HELD_OUT: probs}))
            if fit.rules.presence and column.heard[fold] is not None:
                said = read_answers(
                    column.run, fold, "heldout", column.views, competition.n_classes
                )
                taken[-1].heard[HELD_OUT] = said
            weights.append(weight)
    if lacking:
        return None, [f"No final score: held-out images were not predicted by {some(lacking)}."]
    images = check_images(taken, table)
    source = make_source(competition, taken, images, truth)
    counts = blend_counts(
        source, range(len(images)), weights, fit.thresholds, fit.min_area_px, fit.rules
    )
    metric = competition.metric_name
    return {metric: score_counts(metric, counts), "n_images": len(images)}, []


def make_recipe(
    name: str,
    competition: Competition,
    columns: Sequence[Column],
    result: CrossFit,
    choice: Choice,
    table: FoldTable,
    heldout: dict[str, float | int] | None,
) -> Recipe:
    """Put the choice and its scores into a recipe."""
    metric = find_metric(competition.metric_name)
    owners = [column.run.name for column in columns]
    scores = make_scores(result, choice, metric.name, owners, competition.classes, heldout)
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
            make_member(column, weight, score_counts(metric.name, counts), bool(fit.rules.presence))
            for column, weight, counts in zip(columns, fit.weights, result.singles, strict=True)
            if weight
        ),
        thresholds=fit.thresholds,
        min_area_px=fit.min_area_px,
        clean_up=fit.rules,
        chosen=choice.kind,
        method=fit.method,
        reason=choice.reason,
        scores=scores,
        n_images=len(result.parts) // table.n_repeats,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def make_member(column: Column, weight: int, score: float, heard: bool) -> Member:
    """A member with the hashes of every file its probabilities are read from.

    Args:
        heard: the answers of its auxiliary classifier are read too.
    """
    one, views = column.run, column.views
    oof, test = (file_hashes(one.folds, kind, views) for kind in ("oof", "test"))
    if heard:
        oof, test = oof | answer_hashes(one, "oof", views), test | answer_hashes(one, "test", views)
    return Member(one.name, one.config_hash, views, weight, oof, test, score)


def default_name(
    runs: Sequence[Run], names: Sequence[str], method: str, clean_up: str = "all"
) -> str:
    """The same for the same members, so that the same command writes the same ensemble."""
    parts = [[r.name, r.config_hash, sorted(r.folds)] for r in runs]
    how = [method] if clean_up == "all" else [method, clean_up]
    return f"ensemble-{digest([parts, list(names), *how])[:8]}"
