"""`comp submit`: test probabilities -> blend -> masks -> a verified CSV, or a zip of GeoTIFF masks, and a card.

Refuses members that changed since the recipe was fitted. The card is written last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from comp import __version__
from comp.blending.recipe import Recipe, read_recipe
from comp.config import Competition, Train, data_root
from comp.data.cache.cache import train_recipe
from comp.data.cache.open import open_cache
from comp.data.images.decode import read_size
from comp.data.images.geo import read_georeference
from comp.data.sources.codes import settled_submission
from comp.data.sources.records import Record, find_records
from comp.data.sources.sample import other_sample, sample_ids
from comp.errors import DataError, UsageError, some
from comp.files import Workspace, read_json, write_json
from comp.formats.maps import write_maps
from comp.formats.rle_table import has_classes
from comp.formats.writing import write_submission
from comp.plots.cv_report import mean_heldout
from comp.plots.ensemble_tables import render_empty, settings, share
from comp.plots.tables import count_of, is_formula
from comp.store import read_run
from comp.store.empties import differ, empty_shares, predict_mask
from comp.store.heard import open_heard
from comp.store.recipes import check_competition, find_recipe, open_members, single_recipe
from comp.store.started import git_state


def run(
    workspace: Workspace,
    competition: Competition,
    recipe_name: str | None = None,
    output: Path | None = None,
    run_name: str | None = None,
) -> Path:
    """Write a submission and its card; return the path of the CSV or zip.

    Args:
        recipe_name: an ensemble; default: the newest complete one.
        output: default: submissions/<YYYYMMDD-HHMMSS>-<name>.csv; .zip for GeoTIFF masks.
        run_name: submit this run alone, at threshold 0.5, instead of an ensemble.

    Raises:
        RunMismatchError: a member, the competition or the test images changed since the recipe was made.
        SubmissionError: the masks do not fit sample_submission.csv; nothing is written.
    """
    if recipe_name is not None and run_name is not None:
        raise UsageError("--ensemble and --run are two answers to one question; keep one")
    suffix = suffix_of(competition)
    if output is not None and (
        output.suffix == ".json" or (output.suffix == ".zip") != (suffix == ".zip")
    ):
        raise UsageError(f"--output {output}: {WRONG_SUFFIX[suffix]}")
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
    stacks = open_members(
        workspace,
        recipe,
        sorted(records),
        lambda run: test_content(workspace, competition, run, list(records.values())),
        then="" if run_name is not None else ", then `comp ensemble`",
    )
    path = output or default_path(workspace, recipe.name, suffix_of(competition))
    images = {image_id: records[image_id].image for image_id in sorted(records)}
    spelled = sample_ids(competition, root, list(images))
    own = {cell: image_id for image_id, cell in spelled.items()}
    ask = open_heard(workspace, recipe, "test", recipe.folds)
    written = write_masks(
        path, competition, {spelled[i]: image for i, image in images.items()}, root,
        lambda cell: predict_mask(recipe, stacks, own[cell], ask(own[cell])),
    )  # fmt: skip
    asked = [c for c in competition.classes if c not in written["classes_not_in_sample"]]
    if suffix == ".csv" and not has_classes(competition.submission):
        asked = list(competition.classes)
    shares = empty_shares(workspace, recipe, asked, written["empty_rows"], written["images"])
    card = make_card(workspace, recipe, written, path, ensemble=run_name is None)
    write_json(path.with_suffix(".json"), card | {"empty_masks": shares})
    print(f"submission: {workspace.relative(path)}: {what_is_in(written)}")
    print(
        render_empty(
            shares, [key for key in ("oof", "truth") if differ(shares["test"], shares[key])]
        )
    )
    if written["empty_rows"] == written["rows"]:
        print("warning: every mask is empty; look at the ensemble's thresholds and clean-up")
    if formulas := [cell for cell in own if is_formula(cell)]:
        print(
            f"warning: {count_of(len(formulas), 'id')} would be computed by a spreadsheet, so do not open the file "
            f"in one: {some(map(repr, formulas), 3)}; ids are written as they are"
        )
    if told := other_sample(competition, root):
        print(f"warning: {told}")
    print(f"  {recipe.name}: {recipe.chosen}, {settings(recipe.to_json())}")
    for member in recipe.members:
        part = share(member.weight, [asdict(m) for m in recipe.members])
        print(f"  {part:>6}  {member.run} ({member.views})")
    if missing := written.get("classes_not_in_sample"):
        print(f"  classes that the sample does not ask for: {some(missing)}")
    return path


WRONG_SUFFIX = {
    ".csv": "name a .csv (.json is the card's; a .zip holds masks: --format geotiff)",
    ".zip": "masks as GeoTIFF go into a zip; name a .zip",
}


def suffix_of(competition: Competition) -> str:
    """How the name of a submission file ends."""
    return ".zip" if competition.submission.format == "geotiff" else ".csv"


def write_masks(
    path: Path,
    competition: Competition,
    images: Mapping[str, Path],
    root: Path,
    mask_of: Callable[[str], np.ndarray],
) -> dict[str, Any]:
    """Write the masks of all test images in the competition's format; what `write_submission` returns.

    Args:
        images: image_id -> its file, in the order of the rows.
        root: of the data.
        mask_of: image_id -> its decision.
    """
    task, classes, ids = competition.task, competition.classes, list(images)
    if competition.submission.format == "geotiff":
        return write_maps(
            path, competition.submission, task, classes, ids, mask_of,
            lambda image_id: read_georeference(images[image_id]),
        )  # fmt: skip
    sample = competition.submission.sample
    return write_submission(
        path, settled_submission(competition, root), task, classes, ids, mask_of,
        lambda image_id: read_size(images[image_id]),
        None if sample is None else root / sample,
    )  # fmt: skip


def what_is_in(written: dict[str, Any]) -> str:
    """One or two lines on what was written."""
    images = count_of(written["images"], "image")
    if "unplaced" not in written:
        return f"{count_of(written['rows'], 'row')}, {images}"
    text = f"{images}, one GeoTIFF each; values: {written['values']}"
    if written["unplaced"]:
        n = len(written["unplaced"])
        text += (
            f"\nwarning: {count_of(n, 'image file')} of them {'say' if n > 1 else 'says'} nothing of a place on "
            f"the map; {'their masks are' if n > 1 else 'its mask is'} without one: {some(written['unplaced'])}"
        )
    return text


def test_content(
    workspace: Workspace, competition: Competition, run: str, records: Sequence[Record]
) -> str:
    """The hash of the test images' pixels, from the cache that the run predicted them with."""
    said = read_json(workspace.run(run) / "config.json")
    train = Train.model_validate(said["config"]["train"])
    recipe = replace(train_recipe(train), soft=False)
    return open_cache(workspace.cache, competition, records, recipe).content_hash


def heldout_of(workspace: Workspace, recipe: Recipe, ensemble: bool) -> dict[str, Any] | None:
    """The final score where images were held out for one: of the blend, or of a single run's folds."""
    if ensemble:
        found = recipe.scores.heldout
        return found and {
            "score": found[recipe.metric], "n_images": found["n_images"], "of": "the blend"
        }  # fmt: skip
    mean = mean_heldout(read_run(workspace, recipe.name).cv or {}, recipe.metric)
    return None if mean is None else {"score": mean, "of": "mean over folds"}


def default_path(workspace: Workspace, name: str, suffix: str = ".csv") -> Path:
    """submissions/<YYYYMMDD-HHMMSS>-<name>.csv (or .zip), with a number where that second has one already."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    path, number = workspace.submissions / f"{stem}{suffix}", 2
    while path.exists() or path.with_suffix(".json").exists():
        path, number = workspace.submissions / f"{stem}-{number}{suffix}", number + 1
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
        "clean_up": recipe.clean_up.to_json(),
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
        **card_counts(written),
        "foreground_px": written["foreground_px"],
        "sha256": written["sha256"],
        "scores": {},
    }


def card_counts(written: dict[str, Any]) -> dict[str, int]:
    """What the submission holds: rows of a CSV; files of a zip, and its masks by image and class."""
    if "unplaced" not in written:
        return {key: written[key] for key in ("rows", "images", "empty_rows")}
    return {
        "files": written["images"],
        "images": written["images"],
        "class_masks": written["rows"],
        "empty_class_masks": written["empty_rows"],
    }
