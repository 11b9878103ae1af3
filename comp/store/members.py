"""The members of an ensemble as the store knows them: complete runs of one task, on the same data and folds.

A difference is named and refused, as is a file that is not what its fold's result says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comp.config import Competition, differences
from comp.errors import RunMismatchError, UsageError, some
from comp.files import Workspace, sha256
from comp.store.runs import SHARED, Run, list_runs, read_run


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
    """``unet (2 of 5 folds done, missing 2, 3, 4)``."""
    if run.cv is None:
        return f"{run.name} ({len(run.folds)} folds done)"
    total = run.cv["n_folds"]
    missing = some([fold for fold in range(total) if fold not in run.folds])
    return f"{run.name} ({len(run.folds)} of {total} folds done, missing {missing})"


def check_alike(runs: Sequence[Run], competition: Competition) -> None:
    """Refuse runs that differ from the competition or from each other in task, data or folds."""
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
        check_shared(first, one)


def check_shared(first: Run, one: Run) -> None:
    """Refuse two runs whose config.json name another task or other data; only the metric may differ."""
    found = differences(without_metric(first), without_metric(one))
    if found:
        raise RunMismatchError(
            f"runs {first.name!r} and {one.name!r} were not trained for the same task on the same data "
            f"({first.name} -> {one.name}):\n  "
            + "\n  ".join(found)
            + "\nname members that share them with --member, or train again"
        )


def without_metric(run: Run) -> dict[str, Any]:
    """What the run shares with others, but for the metric: it decides which weights are kept, not what they predict."""
    blocks = {key: dict(run.shared.get(key) or {}) for key in SHARED}
    blocks["competition"].pop("metric", None)
    return blocks


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
