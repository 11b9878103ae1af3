"""Pseudo-labels: test images with the stored test probabilities of a finished run as soft truth, fold-safe.

The model of fold k learns from what the source's models of fold k say, and from nothing else. They were
trained without the truth of fold k, so none of it reaches the new model by way of the test images.
Refuses sources on other folds, data or classes, and what is not whole. `pseudo_labels` makes the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comp.blending.recipe import check_member, file_hashes, read_recipe
from comp.config import Competition, ModelConfig, Pseudo, differences
from comp.data.folds.table import FoldTable
from comp.errors import DataError, RunMismatchError, UsageError, some
from comp.files import Workspace, digest
from comp.registry import unknown
from comp.store import Run, read_run
from comp.store.heard import answer_hashes
from comp.store.members import say_folds, verify, without_metric
from comp.store.predicted import open_test_probs
from comp.store.runs import SHARED

KINDS = ("run", "ensemble")


@dataclass(frozen=True)
class PseudoMember:
    """One run in one of its views.

    Args:
        files: path below the run's folder -> sha256, of the test probabilities of every fold.
    """

    run: str
    views: str
    config_hash: str
    files: dict[str, str]


@dataclass(frozen=True)
class PseudoSource:
    """Whose test probabilities are the truth of the test images. `find_source` makes one.

    The members' probabilities count alike. The weights of an ensemble would not do: they were fitted on
    the truth of all folds, and of fold k nothing may be known where its model is trained.

    Args:
        name: of the run or the ensemble.
        kind: run or ensemble.
    """

    name: str
    kind: str
    members: tuple[PseudoMember, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """What config.json of the run that is trained says; any difference makes it another run."""
        members = {
            f"{m.run} ({m.views})": {"config_hash": m.config_hash, "files": digest(m.files)}
            for m in self.members
        }
        return {self.kind: self.name, "members": members}


def check_pseudo(config: ModelConfig, asked: bool) -> list[str]:
    """A config that says how pseudo-labels are used where nobody said whose."""
    if config.train.pseudo is None or asked:
        return []
    return ["train.pseudo: whose labels? Add --pseudo RUN (a run or an ensemble), or drop this key"]


def with_pseudo(config: ModelConfig) -> ModelConfig:
    """The config with `train.pseudo` said: as it stands, else its defaults."""
    if config.train.pseudo is not None:
        return config
    train = config.train.model_copy(update={"pseudo": Pseudo()})
    return config.model_copy(update={"train": train})


def find_source(
    workspace: Workspace,
    competition: Competition,
    asked: str,
    table: FoldTable,
    shared: dict[str, Any],
    trained: Sequence[str],
    *,
    test_ids: Sequence[str],
    test_content: str | None,
) -> PseudoSource:
    """Look the source up and check that its models of fold k never saw the truth of fold k.

    That holds when all its members were trained on this very folds file and on the same images and
    labels: then its model of fold k learnt from every fold but k, as the new model of fold k does. The
    epoch whose weights it kept may be chosen by its score on fold k, as for any out-of-fold prediction.
    A source that was itself trained with pseudo-labels is safe by the same argument, step by step.

    Args:
        asked: the name of a run or an ensemble; ``run:NAME`` or ``ensemble:NAME`` where both are there.
        shared: task and data of the run to be trained, as `plan.shared_identity` says them.
        trained: names of the runs to be trained.
        test_ids: of the test images.
        test_content: of their pixels; None where there are none.

    Raises:
        UsageError: no such source, or one of the runs to be trained.
        RunMismatchError: other folds, data or classes; folds or test probabilities that are missing.
        DataError: the competition has no test images.
    """
    if not test_ids:
        raise DataError(
            f"--pseudo {asked}: competition {competition.name!r} has no test images (data.test) to label"
        )
    kind, name = _look_up(workspace, asked)
    wanted: list[tuple[str, str]] = []
    recipe = None
    if kind == "ensemble":
        recipe = read_recipe(workspace.ensemble(name) / "recipe.json")
        wanted = [(member.run, member.views) for member in recipe.members]
    runs = {
        run: read_run(workspace, run) for run in dict.fromkeys(r for r, _ in wanted or [(name, "")])
    }
    if again := sorted(set(runs) & set(trained)):
        raise UsageError(
            f"--pseudo {asked}: {some(again)} is what would be trained; name the new run with --name"
        )
    for run in runs.values():
        _check_run(run, asked, table, shared)
    if recipe is None:
        wanted = [(name, views) for views in runs[name].folds[0]["views"]]
    members = []
    for n, (run_name, views) in enumerate(wanted):
        run = runs[run_name]
        member = PseudoMember(
            run_name, views, run.config_hash, file_hashes(run.folds, "test", views)
        )
        for fold in range(table.n_folds):
            _check_fold(run, member, fold, asked, test_ids, test_content)
        if recipe is not None:
            found = member.files | answer_hashes(run, "test", views)
            check_member(recipe.members[n], run.dir, found, "test")
        members.append(member)
    return PseudoSource(name, kind, tuple(members))


def _look_up(workspace: Workspace, asked: str) -> tuple[str, str]:
    """(kind, name) of what is asked for."""
    there = {
        "run": sorted(p.parent.name for p in workspace.runs.glob("*/config.json")),
        "ensemble": sorted(p.parent.name for p in workspace.ensembles.glob("*/recipe.json")),
    }
    kind, colon, name = asked.partition(":")
    if colon and kind in KINDS:
        if name not in there[kind]:
            raise UsageError(f"--pseudo {asked}: {unknown(name, there[kind], kind)}")
        return kind, name
    found = [kind for kind in KINDS if asked in there[kind]]
    if not found:
        known = [*there["run"], *there["ensemble"]]
        raise UsageError(
            f"--pseudo: {unknown(asked, known, 'run or ensemble')}"
            if known
            else f"--pseudo {asked}: there is no run yet; train one with `comp cv` first"
        )
    if len(found) > 1:
        raise UsageError(
            f"--pseudo {asked}: both a run and an ensemble are named so; "
            f"say run:{asked} or ensemble:{asked}"
        )
    return found[0], asked


def _check_run(run: Run, asked: str, table: FoldTable, shared: dict[str, Any]) -> None:
    """Refuse a run that is not whole, or not of these folds, classes and data."""
    head = f"--pseudo {asked}: run {run.name!r}"
    if others := {str(r["folds_hash"]) for r in run.folds.values()} - {table.hash}:
        raise RunMismatchError(
            f"{head} was trained on other folds (hash {some(sorted(others))}, now {table.hash}), so its "
            "models may have seen the truth that a new model is scored on; train it again on these folds"
        )
    if run.foreign is not None and not run.foreign["test_of_each_fold"]:
        raise RunMismatchError(
            f"{head} was joined with one test prediction for all folds, made also by models that saw the truth "
            "of fold k; join it with --test 'PATH{fold}' of each fold's models, or name another"
        )
    own = {key: dict(shared[key]) for key in SHARED}
    own["competition"].pop("metric", None)
    if found := differences(without_metric(run), own):
        raise RunMismatchError(
            f"{head} was not trained for the same task on the same data (it -> now):\n  "
            + "\n  ".join(found)
            + "\ntrain it again, or name another"
        )
    if missing := sorted(set(range(table.n_folds)) - set(run.folds)):
        raise RunMismatchError(
            f"{head} is incomplete: {say_folds(run)}, missing: {', '.join(map(str, missing))}; "
            "finish it with `comp cv`: fold k is labelled by its own model of fold k"
        )


def _check_fold(
    run: Run,
    member: PseudoMember,
    fold: int,
    asked: str,
    test_ids: Sequence[str],
    test_content: str | None,
) -> None:
    """Refuse test probabilities of one fold that are missing, damaged, or of other images."""
    folder, result = run.dir / f"fold{fold}", run.folds[fold]
    stem = f"test.{member.views}"
    if f"{stem}.npy" in result["files"]:
        verify(run, fold, result, stem)
    head = f"--pseudo {asked}: run {run.name!r}"
    open_test_probs(folder, member.views, result, test_ids, lambda: str(test_content), head)
