"""From configs and folds to run directories and a list of jobs; all that is wrong is said before any work.

A run directory is one model on one set of folds, computed one way. Made by anything else, it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from comp.config import Competition, ModelConfig, differences, resolved
from comp.data.samples.pseudo import PseudoSource
from comp.errors import CompError, RunMismatchError, some
from comp.files import Workspace, commit, digest, read_json, remove, write_json
from comp.store import read_result
from comp.store.history import note_run
from comp.store.runs import FOREIGN, PRETRAINED, PSEUDO, RESULT
from comp.store.started import cpu_name, write_started
from comp.train.job import FoldJob

IDENTITY = ("task", "classes", "ignore_index", "metric")  # of the competition
DATA_IDENTITY = ("channels", "mask_values", "mask_threshold")  # of its data section
MAY_BE = (PSEUDO, PRETRAINED)  # blocks of config.json that not every run has


@dataclass(frozen=True)
class PlannedRun:
    """One model over the folds.

    Args:
        shared: what all runs of this competition must agree on, from `shared_identity`.
        pseudo: whose labels of the test images it is trained with; None: without.
        pretrained: file of pretrained weights -> hash of its content, from `pretrained_identity`.
    """

    name: str
    config: ModelConfig
    compute: dict[str, Any]
    shared: dict[str, Any]
    pseudo: PseudoSource | None = None
    pretrained: dict[str, str] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What config.json says; any difference makes it another run."""
        said = {"config": resolved(self.config), "compute": self.compute, **self.shared}
        if self.pseudo is not None:
            said[PSEUDO] = self.pseudo.identity
        return said if self.pretrained is None else said | {PRETRAINED: self.pretrained}

    @property
    def hash(self) -> str:
        return digest(self.identity)


def shared_identity(competition: Competition, folds_hash: str, content_hash: str) -> dict[str, Any]:
    """Task, data and folds as a run's identity holds them.

    Args:
        content_hash: of pixels and labels as decoded (`Cache.content_hash`).
    """
    whole = resolved(competition)
    return {
        "competition": {key: whole[key] for key in IDENTITY},
        "data": {**{key: whole["data"][key] for key in DATA_IDENTITY}, "content": content_hash},
        "folds_hash": folds_hash,
    }


def pretrained_identity(
    workspace: Workspace, name: str, config: ModelConfig
) -> dict[str, str] | None:
    """The local file that the encoder begins from, and a hash of its content; None: there is none.

    A file that is gone is taken as the run's config.json says it was: a fold that has begun needs it no
    more. So is what a run says that was begun before this was part of a run: nothing.
    """
    from comp.models.weights import hash_weights, local_file

    said = begun(workspace, name)
    same = said is not None and said.get("config") == resolved(config)
    kept: dict[str, str] | None = said.get(PRETRAINED) if said is not None and same else None
    if same and kept is None:
        return None
    found = local_file(config.model, workspace.root)
    if found is None:
        return kept
    path = found.relative_to(workspace.root) if found.is_relative_to(workspace.root) else found
    return {str(path): hash_weights(found)}


def begun(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """config.json of a run that was begun, or None."""
    path = workspace.run(name) / "config.json"
    return read_json(path) if path.is_file() else None


def prepare_run(workspace: Workspace, run: PlannedRun, take_over: bool = True) -> None:
    """Make the run's directory, or check that the one there is the same run.

    A run of another config in which no fold was ever finished is taken over, and that is printed.

    Args:
        take_over: False: others are at this run, so another config is refused.

    Raises:
        RunMismatchError: naming each value that differs.
    """
    folder = workspace.run(run.name)
    wanted = run.identity
    path = folder / "config.json"
    if path.is_file():
        said = read_json(path)
        if FOREIGN in said:
            raise RunMismatchError(
                f"{workspace.relative(folder)} holds predictions that `comp join` took in: there is nothing to "
                "train; use --name for a new run"
            )
        found = differences({k: said[k] for k in (*wanted, *MAY_BE) if k in said}, wanted)
        if not found:
            return
        # Weights without a result: a fold that was done and predicts changed test images again.
        finished = any(folder.glob(f"fold*/{RESULT}")) or any(folder.glob("fold*/weights.*"))
        if finished or not take_over:
            raise RunMismatchError(
                f"{workspace.relative(folder)} was made by something else:\n  "
                + "\n  ".join(found)
                + "\nuse --name for a new run, or delete that folder"
            )
        discard_attempts(folder)
        print(
            f"{run.name}: no fold was finished, so its new config is taken over and checkpoints of the "
            f"old one are discarded; what changed: {some(found)}"
        )
    text = yaml.safe_dump(wanted["config"], sort_keys=False, allow_unicode=True)
    commit(folder / "config.yaml", f"# resolved config of run {run.name}\n{text}")
    write_started(folder, workspace.root, device_names(run.compute["device_type"]))
    write_json(path, {**wanted, "config_hash": run.hash})
    note_run(workspace, run.name)


def device_names(device_type: str) -> list[str]:
    """What the devices of this machine call themselves, each kind once."""
    if device_type != "cuda":
        return [cpu_name()]
    from comp.models.gpus import gpu_names

    return gpu_names()


def discard_attempts(folder: Path) -> None:
    """Remove what unfinished folds and the pictures of an old config left in a run's folder."""
    for pattern in ("fold*/checkpoint.*", "fold*/pseudo.*", "samples.png", "cv.json", "cv.md"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def plan_jobs(
    workspace: Workspace,
    competition: Competition,
    runs: Sequence[PlannedRun],
    folds: Sequence[int],
    test_ids: Sequence[str],
    test_content: str | None = None,
    choose: Callable[[list[FoldJob]], list[FoldJob]] | None = None,
) -> tuple[list[FoldJob], list[FoldJob]]:
    """Return (jobs to do, jobs already done), folds of one run together.

    A fold whose files are damaged is made again; one that predicted other test images predicts again.

    Args:
        test_content: of the test images' pixels; None: there are none.
        choose: which of all jobs are ours; the files of the others are not looked at. None: all.
    """
    todo: list[FoldJob] = []
    done: list[FoldJob] = []
    jobs = []
    for run in runs:
        for fold in folds:
            job = FoldJob(
                workspace.root,
                competition,
                run.config,
                run.name,
                fold,
                run.compute,
                config_hash=run.hash,
                folds_hash=run.shared["folds_hash"],
                test_hash=digest(list(test_ids)),
                pseudo=run.pseudo,
                test_content=test_content,
                pretrained=run.pretrained,
                study=workspace.study,
            )
            jobs.append(job)
    for job in jobs if choose is None else choose(jobs):
        try:
            result = read_result(job.folder, verify=True)
        except CompError:
            remove(job.folder / RESULT)
            result = None
        (done if job.left_to_do(result) is None else todo).append(job)
    return todo, done
