"""How many masks of a submission are empty, beside the same blend out of fold and the truth: a sign of trouble.

The blend itself is decided here too, one image at a time, so that both are made by the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comp.blending.blend import common_full, make_mask, to_grid
from comp.blending.recipe import Recipe
from comp.errors import CompError
from comp.files import Workspace
from comp.store.heard import open_heard
from comp.store.probs import Probs
from comp.store.runs import read_counts, read_run

N_JUDGED = 1000  # images that a submission's share of empty masks is compared with
# empty: masks without a pixel; of: masks; repeats: how often each image is among them, if more than once
Share = dict[str, int]


def predict_mask(
    recipe: Recipe,
    stacks: Sequence[tuple[int, Probs]],
    image_id: str,
    presence: np.ndarray | None = None,
) -> np.ndarray:
    """The mask of one test image: one integer sum over members and folds, decided once.

    A large image is summed and decided in bands of rows: of its probabilities none is held whole.

    Args:
        presence: (K,), what auxiliary classifiers say; needed where the recipe's rules ask for it.
    """
    full = common_full(probs.dtype for _, probs in stacks)

    def read(rows: slice) -> list[np.ndarray]:
        return [to_grid(p.read_rows(image_id, rows.start, rows.stop), full) for _, p in stacks]

    return make_mask(
        read, stacks[0][1].shape(image_id), [w for w, _ in stacks],
        recipe.task, full, recipe.thresholds, recipe.min_area_px, recipe.clean_up, presence,
    )  # fmt: skip


def empty_shares(
    workspace: Workspace, recipe: Recipe, asked: Sequence[str], n_empty: int, n_images: int
) -> dict[str, Share | None]:
    """Count the empty masks of a submission, of the same blend out of fold, and of the truth there.

    Out of fold at most `N_JUDGED` predictions are blended, spread evenly over the ids; with repeated folds
    an image counts once a repeat, as everywhere.

    Args:
        asked: the classes that the submission holds.
        n_empty: masks of the submission that are empty, of one an image and class asked for.
        n_images: of the submission.

    Returns:
        test, oof, truth -> {"empty": n, "of": n}; None where the files are not there any more.
    """
    kept = [k for k, name in enumerate(recipe.classes) if name in asked]
    shares: dict[str, Share | None] = {
        "test": {"empty": n_empty, "of": n_images * len(kept)},
        "oof": None,
        "truth": None,
    }
    try:
        runs = {m.run: read_run(workspace, m.run) for m in recipe.members}
        stacks = {
            fold: [(m.weight, runs[m.run].oof(fold, m.views)) for m in recipe.members]
            for fold in recipe.folds
        }
        first = recipe.members[0]
        truth: dict[tuple[str, int], np.ndarray] = {}
        for fold in recipe.folds:
            path = workspace.fold(first.run, fold) / f"oof.{first.views}.counts.csv"
            ids, counts = read_counts(path, len(recipe.classes))
            truth |= {(i, fold): c[:, 0] + c[:, 2] == 0 for i, c in zip(ids, counts, strict=True)}
        step = max(1, -(-len(truth) // N_JUDGED))
        judged = sorted(truth)[::step]
        ask = {fold: open_heard(workspace, recipe, "oof", [fold]) for fold in recipe.folds}
        masks = (predict_mask(recipe, stacks[k], i, ask[k](i)) for i, k in judged)
        empty = np.array([are_empty(mask, recipe) for mask in masks])
    except (CompError, OSError, KeyError, ValueError):  # damaged; a submission needs none of them
        return shares
    n_ids = len({i for i, _ in judged})
    said = {"of": len(judged) * len(kept)}
    said |= {} if n_ids == len(judged) else {"repeats": -(-len(judged) // n_ids)}
    shares["oof"] = {"empty": int(empty[:, kept].sum()), **said}
    shares["truth"] = {"empty": int(sum(truth[key][kept].sum() for key in judged)), **said}
    return shares


def are_empty(mask: np.ndarray, recipe: Recipe) -> list[bool]:
    """Which classes a mask as `blend_mask` returns it does not hold."""
    if recipe.task == "multilabel":
        return [not plane.any() for plane in mask]
    if recipe.task == "binary":
        return [not mask.any()]
    return [not (mask == k).any() for k in range(len(recipe.classes))]


def differ(one: Share | None, other: Share | None) -> bool:
    """True when two shares are more than 10 points and three standard errors apart.

    Repeats of an image are no further images: the error is that of the images once.
    """
    if one is None or other is None or not one["of"] or not other["of"]:
        return False
    both = (one["empty"] + other["empty"]) / (one["of"] + other["of"])
    apart = sum(share.get("repeats", 1) / share["of"] for share in (one, other))
    error = np.sqrt(both * (1 - both) * apart)
    gap = abs(one["empty"] / one["of"] - other["empty"] / other["of"])
    return bool(gap > 0.1 and gap > 3 * error)
