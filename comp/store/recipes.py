"""Recipes as a submission takes them: the one asked for or one of a single run, and its members' test probabilities."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from comp.blending.recipe import Member, Recipe, Scores, check_member, file_hashes
from comp.config import Competition
from comp.errors import RunMismatchError, UsageError, some
from comp.files import Workspace, read_json, sha256
from comp.metrics.scores import find_metric
from comp.store.predicted import open_test_probs
from comp.store.probs import Probs
from comp.store.runs import RESULT, Run, list_runs


def find_recipe(workspace: Workspace, name: str | None) -> Path:
    """The recipe of the ensemble named, or the newest one.

    Raises:
        UsageError: there is none, saying what there is instead.
    """
    found = sorted(
        workspace.ensembles.glob("*/recipe.json"), key=lambda p: (p.stat().st_mtime_ns, p)
    )
    if name is not None:
        path = workspace.ensemble(name) / "recipe.json"
        if not path.is_file():
            known = ", ".join(p.parent.name for p in found) or "none"
            raise UsageError(
                f"no complete ensemble {name!r} in {workspace.ensembles}; there are: {known}"
            )
        return path
    if not found:
        runs = [r.name for r in list_runs(workspace) if r.complete]
        tail = f"`comp submit --run NAME` ({some(runs)})" if runs else "`comp cv` before it"
        raise UsageError(
            f"no complete ensemble in {workspace.relative(workspace.ensembles)}; run `comp ensemble`, or {tail}"
        )
    return found[-1]


def single_recipe(run: Run, competition: Competition) -> Recipe:
    """A recipe of one run in its first views, at threshold 0.5."""
    if not run.complete or run.cv is None:
        raise RunMismatchError(
            f"run {run.name!r} is incomplete (done: {some([f'fold {k}' for k in sorted(run.folds)]) or 'no fold'}); "
            "finish it with `comp cv`"
        )
    cv, views = run.cv, run.cv["views"][0]

    oof, test = (file_hashes(run.folds, kind, views) for kind in ("oof", "test"))
    score = cv["pooled"]
    return Recipe(
        name=run.name,
        competition=cv["competition"],
        task=cv["task"],
        classes=tuple(cv["classes"]),
        folds_hash=cv["folds_hash"],
        folds=tuple(sorted(run.folds)),
        metric=cv["metric"],
        greater_is_better=find_metric(cv["metric"]).greater_is_better,
        members=(Member(run.name, run.config_hash, views, 1, oof, test, score),),
        thresholds=None if competition.task == "multiclass" else (0.5,) * competition.n_classes,
        min_area_px=0,
        chosen="single",
        method="single",
        reason="one run, asked for by name",
        scores=Scores(None, None, None, score, score, {run.name: score}, {}, cv["per_class"]),
        n_images=cv.get("n_images", sum(row["n_images"] for row in cv["folds"])),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def check_competition(recipe: Recipe, competition: Competition) -> None:
    """Refuse a recipe that was fitted for another task or other classes."""
    for key in ("task", "classes"):
        got, expected = getattr(recipe, key), getattr(competition, key)
        if got != expected:
            raise RunMismatchError(
                f"{recipe.name!r} was fitted for {key} {got!r}, the competition {competition.name!r} "
                f"says {expected!r}; run `comp ensemble` again"
            )


def open_members(
    workspace: Workspace,
    recipe: Recipe,
    ids: Sequence[str],
    content: Callable[[str], str],
    then: str = "",
) -> list[tuple[int, Probs]]:
    """Weight and test probabilities of every member and fold, each file checked against the recipe.

    Args:
        ids: of the test images.
        content: run name -> hash of the test images' pixels, asked for where a result tells one.
        then: what to do after `comp cv`, with its comma.

    Raises:
        RunMismatchError: a file changed, or is not of the test images.
    """
    stacks: list[tuple[int, Probs]] = []
    for member in recipe.members:
        folder = workspace.run(member.run)
        found = {name: sha256(folder / name) for name in member.test if (folder / name).is_file()}
        check_member(member, folder, found, "test")
        for fold in recipe.folds:
            files = [
                name.rpartition("/")[2] for name in member.test if name.startswith(f"fold{fold}/")
            ]
            result = folder / f"fold{fold}" / RESULT
            said = read_json(result) if result.is_file() else {}  # checked by the recipe's hashes
            probs = open_test_probs(
                result.parent,
                member.views,
                {**said, "fold": fold, "files": files},
                ids,
                partial(content, member.run),
                f"run {member.run!r}",
                then,
            )
            stacks.append((member.weight, probs))
    return stacks
