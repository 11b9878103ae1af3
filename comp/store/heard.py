"""What auxiliary classifiers say of images, as a blend asks for it: out of fold, and for a recipe's submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from comp.blending.blend import mean_presence
from comp.blending.recipe import Recipe
from comp.errors import DataError, RunMismatchError
from comp.files import Workspace, sha256
from comp.store.presence import presence_file, read_presence
from comp.store.runs import Run

Answers = dict[str, np.ndarray]  # image_id -> (K,) float32 in [0, 1]


def read_answers(run: Run, fold: int, kind: str, views: str, n_classes: int) -> Answers | None:
    """One fold's answers; None where it has no classifier.

    Args:
        kind: oof, heldout or test.

    Raises:
        DataError: the file is not the one that the fold's result names.
    """
    path = presence_file(run.dir / f"fold{fold}", kind, views)
    entry = run.folds[fold]["files"].get(path.name)
    if entry is None:
        return None
    if not path.is_file() or sha256(path) != entry["sha256"]:
        raise DataError(f"{path} is not the file that its result.json names: run `comp cv` again")
    return _answers(path, n_classes)


def _answers(path: Path, n_classes: int) -> Answers:
    said = read_presence(path, n_classes)
    return dict(zip(said.ids, said.presence, strict=True))


def answer_hashes(run: Run, kind: str, views: str) -> dict[str, str]:
    """Path below the run's folder -> sha256 of its folds' answers; nothing where it has no classifier."""
    found = {}
    for fold, result in sorted(run.folds.items()):
        name = presence_file(Path(), kind, views).name
        if name in result["files"]:
            found[f"fold{fold}/{name}"] = result["files"][name]["sha256"]
    return found


def open_heard(
    workspace: Workspace, recipe: Recipe, kind: str, folds: Sequence[int]
) -> Callable[[str], np.ndarray | None]:
    """What a recipe's members say together of an image, over some folds: None where no rule asks for it.

    Args:
        kind: oof or test.

    Raises:
        RunMismatchError: a member that spoke when the recipe was fitted does not any more.
    """
    if not recipe.clean_up.presence:
        return lambda image_id: None
    heard: list[tuple[int, Answers]] = []
    for member in recipe.members:
        spoke = presence_file(Path(), "oof", member.views).name
        if not any(name.endswith(f"/{spoke}") for name in member.oof):
            continue
        for fold in folds:
            path = presence_file(workspace.fold(member.run, fold), kind, member.views)
            if not path.is_file():
                raise RunMismatchError(
                    f"run {member.run!r}: {path} is missing, and the ensemble's clean-up asks its auxiliary "
                    "classifier; run its `comp cv` again, then `comp ensemble`"
                )
            heard.append((member.weight, _answers(path, len(recipe.classes))))

    def ask(image_id: str) -> np.ndarray | None:
        missing = [answers for _, answers in heard if image_id not in answers]
        if missing:
            raise DataError(
                f"image {image_id!r}: an auxiliary classifier's table has no row of it; run `comp cv` again"
            )
        return mean_presence((weight, answers[image_id]) for weight, answers in heard)

    return ask
