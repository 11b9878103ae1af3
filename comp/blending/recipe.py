"""The Recipe: everything needed to repeat a blend, as a frozen object and as JSON.

Fitted by `comp ensemble`, applied by `comp submit`. Refuses JSON that is not a whole recipe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comp import files
from comp.errors import DataError, RunMismatchError, some
from comp.masks.rules import NO_RULES, Rules, problems_of

VERSION = 1


@dataclass(frozen=True)
class Member:
    """One run in one of its views.

    Args:
        weight: integer; the member's share is weight / (sum of weights).
        oof, test: path below the run's folder -> sha256, for every file whose probabilities are used.
        score: alone, out of fold, at threshold 0.5.
    """

    run: str
    config_hash: str
    views: str
    weight: int
    oof: dict[str, str]
    test: dict[str, str]
    score: float | None = None


@dataclass(frozen=True)
class Scores:
    """The three numbers, and what the simple answers score. None: cannot be computed.

    Args:
        uniform, best_single, used: on parts that views and member were not chosen on, as cross_fitted.
        errors: gain -> [value, standard error], such as "fitted over uniform".
        singles: run -> score alone at threshold 0.5 of the view chosen on all images; runs without
            weight too.
        per_class: class -> score of what is used, as `used`.
        uniform_as_fitted, best_single_as_fitted: chosen and scored on the same images.
        heldout: {metric: value, "n_images": n} of what is used, on images held out for one final score;
            None without such images.
    """

    as_fitted: float | None
    cross_fitted: float | None
    uniform: float | None
    best_single: float | None
    used: float | None
    singles: dict[str, float | None] = field(default_factory=dict)
    errors: dict[str, tuple[float, float | None]] = field(default_factory=dict)
    per_class: dict[str, float | None] = field(default_factory=dict)
    uniform_as_fitted: float | None = None
    best_single_as_fitted: float | None = None
    heldout: dict[str, float | int] | None = None


@dataclass(frozen=True)
class Recipe:
    """A blend of runs: members, weights, thresholds, clean-up, and how it was judged.

    Args:
        folds: the folds whose models predicted the test images; their sum is part of the blend.
        thresholds: one a plane, None for multiclass.
        chosen: fitted, uniform or single.
        method: how the weights were found.
        reason: why `chosen`, in a sentence.
        created: ISO 8601, UTC.
        clean_up: what is done beyond the smallest object; in JSON only where it is something.
    """

    name: str
    competition: str
    task: str
    classes: tuple[str, ...]
    folds_hash: str
    folds: tuple[int, ...]
    metric: str
    greater_is_better: bool
    members: tuple[Member, ...]
    thresholds: tuple[float, ...] | None
    min_area_px: int
    chosen: str
    method: str
    reason: str
    scores: Scores
    n_images: int
    created: str
    version: int = VERSION
    clean_up: Rules = NO_RULES

    @property
    def weights(self) -> list[int]:
        """One integer a member."""
        return [member.weight for member in self.members]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        value = {**dataclasses.asdict(self), "clean_up": self.clean_up.to_json()}
        if not self.clean_up:
            del value["clean_up"]
        return value

    @staticmethod
    def from_json(value: Any, where: str) -> Recipe:
        """Build a recipe from JSON values.

        Raises:
            DataError: naming `where` and what is missing or wrong.
        """
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected a recipe, got {type(value).__name__}")
        if value.get("version") != VERSION:
            raise DataError(
                f"{where}: expected recipe version {VERSION}, got {value.get('version')!r}; "
                "run `comp ensemble` again"
            )
        value = dict(value)
        try:
            value["members"] = tuple(Member(**member) for member in value["members"])
            value["scores"] = Scores(
                **{
                    **value["scores"],
                    "errors": {k: (v[0], v[1]) for k, v in value["scores"]["errors"].items()},
                }
            )
            value["classes"] = tuple(value["classes"])
            value["folds"] = tuple(value["folds"])
            thresholds = value["thresholds"]
            value["thresholds"] = None if thresholds is None else tuple(thresholds)
            value["clean_up"] = Rules.from_json(value.get("clean_up", {}))
            recipe = Recipe(**value)
            _check(recipe, where)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(
                f"{where}: not a whole recipe ({error}); run `comp ensemble` again"
            ) from error
        return recipe


def _check(recipe: Recipe, where: str) -> None:
    """Refuse numbers that no blend can have, and names that lead elsewhere."""
    problems = []
    if not recipe.members:
        problems.append("no members")
    names = [recipe.name, recipe.competition, *(m.run for m in recipe.members)]
    names += [m.views for m in recipe.members]  # each is part of a file's name
    if unsafe := [name for name in names if not files.SAFE_NAME.fullmatch(name)]:
        problems.append(f"names that are none: {some(map(repr, unsafe))}")
    bad = [m.run for m in recipe.members if type(m.weight) is not int or m.weight <= 0]
    if bad:
        problems.append(f"weights must be integers above 0: {some(bad)}")
    planes = None if recipe.task == "multiclass" else len(recipe.classes)
    got = None if recipe.thresholds is None else len(recipe.thresholds)
    if got != planes:
        problems.append(f"thresholds: expected {planes}, got {got}")
    elif any(not 0 < t < 1 for t in recipe.thresholds or ()):
        problems.append(f"thresholds must lie between 0 and 1, got {list(recipe.thresholds or ())}")
    if type(recipe.min_area_px) is not int or recipe.min_area_px < 0:
        problems.append(f"min_area_px must be an integer >= 0, got {recipe.min_area_px!r}")
    problems += problems_of(recipe.clean_up, recipe.task, len(recipe.classes))
    if problems:
        raise DataError(f"{where}: {'; '.join(problems)}")


def file_hashes(results: Mapping[int, Mapping[str, Any]], kind: str, views: str) -> dict[str, str]:
    """The files of one kind of probabilities and their sha256, as the folds' result.json say.

    Args:
        results: fold -> result.json.
        kind: "oof" or "test".

    Returns:
        path below the run's folder -> sha256; nothing for what the run did not store.
    """
    names = (f"{kind}.{views}.npy", f"{kind}.{views}.csv")
    return {
        f"fold{fold}/{name}": result["files"][name]["sha256"]
        for fold, result in sorted(results.items())
        for name in names
        if name in result["files"]
    }


def write_recipe(path: Path, recipe: Recipe) -> Path:
    """Commit the recipe as JSON."""
    return files.write_json(path, recipe.to_json())


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        DataError: missing, not JSON, not whole.
    """
    return Recipe.from_json(files.read_json(path), str(path))


def check_member(member: Member, run_dir: Path, found: dict[str, str], which: str) -> None:
    """Refuse a run whose files are no longer the ones that the recipe was fitted on.

    Args:
        found: path below `run_dir` -> sha256 as it is now, for at least the files of `which`.
        which: "oof" or "test".

    Raises:
        RunMismatchError: naming the run, the file and both hashes.
    """
    for name, expected in getattr(member, which).items():
        got = found.get(name)
        if got != expected:
            now = "missing" if got is None else got[:12]
            raise RunMismatchError(
                f"run {member.run!r} changed since the ensemble was fitted: {run_dir / name}: "
                f"expected sha256 {expected[:12]}..., got {now}; run `comp ensemble` again"
            )
