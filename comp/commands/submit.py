"""`comp submit`: test probabilities -> blend -> masks -> a verified CSV, and a card that says what it is made of.

Refuses members that changed since the recipe was fitted. The card is written last.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from comp import __version__
from comp.blending.recipe import Member, Recipe, Scores, check_member, file_hashes, read_recipe
from comp.config import Competition, data_root
from comp.data.images.decode import read_size
from comp.data.sources.records import find_records
from comp.errors import DataError, RunMismatchError, UsageError, some
from comp.files import Workspace, sha256, write_json
from comp.formats.rle_table import has_classes
from comp.formats.writing import write_submission
from comp.metrics.scores import find_metric
from comp.plots.cv_report import mean_heldout
from comp.plots.ensemble_tables import render_empty, settings, share
from comp.plots.tables import count_of
from comp.store import Probs, Run, list_runs, read_run
from comp.store.empties import differ, empty_shares, predict_mask


def run(
    workspace: Workspace,
    competition: Competition,
    recipe_name: str | None = None,
    output: Path | None = None,
    run_name: str | None = None,
) -> Path:
    """Write a submission and its card; return the path of the CSV.

    Args:
        recipe_name: an ensemble; default: the newest complete one.
        output: default: submissions/<YYYYMMDD-HHMMSS>-<name>.csv.
        run_name: submit this run alone, at threshold 0.5, instead of an ensemble.

    Raises:
        RunMismatchError: a member, the competition or the test images changed since the recipe was made.
        SubmissionError: the masks do not fit sample_submission.csv; nothing is written.
    """
    if recipe_name is not None and run_name is not None:
        raise UsageError("--ensemble and --run are two answers to one question; keep one")
    if output is not None and output.suffix == ".json":
        raise UsageError(f"--output {output}: .json is the card's; name a .csv")
    if run_name is not None:
        recipe = single_recipe(read_run(workspace, run_name), competition)
    else:
        recipe = read_recipe(find_recipe(workspace, recipe_name))
    check_competition(recipe, competition)
    root = data_root(workspace, competition)
    records = {record.image_id: record for record in find_records(competition, root).test}
    if not records:
        raise DataError(
            f"competition {competition.name!r} has no test images (data.test), so nothing to submit"
        )
    stacks = open_members(workspace, recipe, sorted(records))
    path = output or default_path(workspace, recipe.name)
    sample = competition.submission.sample
    written = write_submission(
        path,
        competition.submission,
        competition.task,
        competition.classes,
        sorted(records),
        lambda image_id: predict_mask(recipe, stacks, image_id),
        lambda image_id: read_size(records[image_id].image),
        None if sample is None else root / sample,
    )
    asked = [c for c in competition.classes if c not in written["classes_not_in_sample"]]
    if not has_classes(competition.submission):
        asked = list(competition.classes)
    shares = empty_shares(workspace, recipe, asked, written["empty_rows"], written["images"])
    card = make_card(workspace, recipe, written, path, ensemble=run_name is None)
    write_json(path.with_suffix(".json"), card | {"empty_masks": shares})
    print(
        f"submission: {workspace.relative(path)}: {count_of(written['rows'], 'row')}, "
        f"{count_of(written['images'], 'image')}"
    )
    print(
        render_empty(
            shares, [key for key in ("oof", "truth") if differ(shares["test"], shares[key])]
        )
    )
    if written["empty_rows"] == written["rows"]:
        print("warning: every mask is empty; look at the ensemble's thresholds and clean-up")
    print(f"  {recipe.name}: {recipe.chosen}, {settings(recipe.to_json())}")
    for member in recipe.members:
        part = share(member.weight, [asdict(m) for m in recipe.members])
        print(f"  {part:>6}  {member.run} ({member.views})")
    if missing := written.get("classes_not_in_sample"):
        print(f"  classes that the sample does not ask for: {some(missing)}")
    return path


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
            f"run {run.name!r} is incomplete (folds done: {some(sorted(run.folds)) or 'none'}); "
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
        n_images=sum(row["n_images"] for row in cv["folds"]),
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
    workspace: Workspace, recipe: Recipe, ids: Sequence[str]
) -> list[tuple[int, Probs]]:
    """Weight and test probabilities of every member and fold, each file checked against the recipe.

    Raises:
        RunMismatchError: a file changed, or holds other images than the test images `ids`.
    """
    stacks: list[tuple[int, Probs]] = []
    for member in recipe.members:
        folder = workspace.run(member.run)
        found = {name: sha256(folder / name) for name in member.test if (folder / name).is_file()}
        check_member(member, folder, found, "test")
        for fold in recipe.folds:
            name = f"fold{fold}/test.{member.views}.npy"
            if name not in member.test:
                raise RunMismatchError(
                    f"run {member.run!r} has no test probabilities of fold {fold} in the views "
                    f"{member.views!r}; train it again now that there are test images"
                )
            probs = Probs(folder / name)
            missing, extra = sorted(set(ids) - set(probs.ids)), sorted(set(probs.ids) - set(ids))
            if missing or extra:
                raise RunMismatchError(
                    f"{folder / name} is not of the test images"
                    + (f"; missing {len(missing)}: {some(missing)}" if missing else "")
                    + (f"; unknown {len(extra)}: {some(extra)}" if extra else "")
                    + "; train the run again"
                )
            stacks.append((member.weight, probs))
    return stacks


def heldout_of(workspace: Workspace, recipe: Recipe, ensemble: bool) -> dict[str, Any] | None:
    """The final score where images were held out for one: of the blend, or of a single run's folds."""
    if ensemble:
        found = recipe.scores.heldout
        return found and {
            "score": found[recipe.metric], "n_images": found["n_images"], "of": "the blend"
        }  # fmt: skip
    mean = mean_heldout(read_run(workspace, recipe.name).cv or {}, recipe.metric)
    return None if mean is None else {"score": mean, "of": "mean over folds"}


def default_path(workspace: Workspace, name: str) -> Path:
    """submissions/<YYYYMMDD-HHMMSS>-<name>.csv, with a number where that second has one already."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    path, number = workspace.submissions / f"{stem}.csv", 2
    while path.exists() or path.with_suffix(".json").exists():
        path, number = workspace.submissions / f"{stem}-{number}.csv", number + 1
    return path


def make_card(
    workspace: Workspace, recipe: Recipe, written: dict[str, Any], path: Path, ensemble: bool
) -> dict[str, Any]:
    """What the submission is made of; `comp score` adds its scores."""
    members = [asdict(member) for member in recipe.members]
    return {
        "submission": path.name,
        "competition": recipe.competition,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ensemble": recipe.name if ensemble else None,
        "chosen": recipe.chosen,
        "method": recipe.method,
        "members": [
            {
                "run": member["run"],
                "views": member["views"],
                "weight": member["weight"],
                "share": share(member["weight"], members),
                "score": member["score"],
                "config_hash": member["config_hash"],
            }
            for member in members
        ],
        "thresholds": recipe.thresholds,
        "min_area_px": recipe.min_area_px,
        "folds": recipe.folds,
        "folds_hash": recipe.folds_hash,
        "metric": recipe.metric,
        "cv": {
            "as_fitted": recipe.scores.as_fitted,
            "cross_fitted": recipe.scores.cross_fitted,
            "uniform": recipe.scores.uniform,
            "best_single": recipe.scores.best_single,
            "used": recipe.scores.used,
            "heldout": heldout_of(workspace, recipe, ensemble),
        },
        "git": git_state(workspace.root),
        "comp_version": __version__,
        "rows": written["rows"],
        "images": written["images"],
        "empty_rows": written["empty_rows"],
        "foreground_px": written["foreground_px"],
        "sha256": written["sha256"],
        "scores": {},
    }


def git_state(root: Path) -> dict[str, Any] | None:
    """Commit of the workspace and whether files differ from it; None outside a repository or without git."""

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=True
        ).stdout

    try:
        commit = ask("rev-parse", "HEAD").strip()
        changed = bool(ask("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": changed}
