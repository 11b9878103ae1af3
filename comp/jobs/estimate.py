"""How long each job will take, roughly: a measured step times the steps that are left, and its predictions.

Only ratios matter: they say which job begins first, and how a list is cut into shares.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comp.config import Competition, ModelConfig
from comp.data.cache.cache import Cache
from comp.data.folds.table import FoldTable
from comp.errors import CompError, some
from comp.files import Workspace, read_json, write_json
from comp.jobs.pace import say_seconds
from comp.jobs.plan import PlannedRun
from comp.jobs.schedule import fill_in
from comp.jobs.shares import Share
from comp.store import read_result
from comp.train.job import FoldJob

FORWARD = 1 / 3  # of a training step's seconds, for as many pixels
VIEWS = {"none": 1, "hflip": 2, "flips": 4, "d4": 8}
STEP_FILE = "step.json"  # of a run: the seconds of a step that all shares of its folds are cut by


@dataclass(frozen=True)
class Work:
    """What a fold has to do, in training steps."""

    epoch: float  # steps of an epoch, with its share of a validation
    epochs: int
    predict: float  # after the last epoch

    def steps(self, epochs_done: int = 0, trained: bool = False) -> float:
        """Steps that are left after so many epochs; `trained`: only test images are predicted again."""
        left = 0 if trained else max(0, self.epochs - epochs_done)
        return self.epoch * left + self.predict


def fold_work(config: ModelConfig, truth: Cache, table: FoldTable, fold: int, n_test: int) -> Work:
    """Count the steps of one fold.

    Args:
        truth: the native cache of the training images.
        n_test: test images, taken as large as the training images.
    """
    from comp.data.samples.train import crops_of

    train = config.train
    window = train.size[0] * train.size[1]
    batch = window * train.batch_size

    def pixels(i: int) -> int:
        height, width = truth.original_size(i)
        return window if train.mode == "resize" else height * width

    learned, scored = table.training(fold), table.validation(fold)
    samples = sum(crops_of(train, truth.original_size(i)) for i in learned)
    seen = sum(map(pixels, scored))
    tests = n_test * seen / max(1, len(scored))
    views = sum(VIEWS.get(name, 1) for name in config.predict.tta) * len(config.predict.scales)
    return Work(
        math.ceil(samples / train.batch_size) + FORWARD * seen / batch / train.validate_every,
        train.epochs,
        FORWARD * views * (seen + tests) / batch,
    )


def training_steps(config: ModelConfig, truth: Cache, table: FoldTable) -> int:
    """Batches that the training of one fold learns from, in the fold that has fewest."""
    from comp.data.samples.train import crops_of

    train, sampler = config.train, config.train.sampler
    crops = [crops_of(train, truth.original_size(i)) for i in range(len(truth))]
    samples = min(sum(crops[i] for i in table.training(k)) for k in range(table.n_folds))
    if sampler is not None and sampler.samples is not None:
        samples = sampler.samples
    return train.epochs * (samples // train.batch_size)


def epochs_done(job: FoldJob) -> int:
    """Epochs in the newest checkpoint of a job, as its manifest says."""
    done = [0]
    for path in job.folder.glob("checkpoint.*.json"):
        with contextlib.suppress(CompError, KeyError, TypeError, ValueError):
            done.append(int(read_json(path)["epoch"]))
    return max(done)


def estimate_jobs(
    jobs: Sequence[FoldJob],
    works: Sequence[Work],
    steps: Mapping[str, float | None],
    finished: Mapping[str, float],
) -> list[float | None]:
    """Seconds that each job has left.

    Args:
        steps: run -> seconds of a step, measured; runs that are not there: not known.
        finished: run -> seconds of a step by its finished folds, which is the better of the two.

    Returns:
        None where nothing is known of the run.
    """
    found: list[float | None] = []
    for job, work in zip(jobs, works, strict=True):
        each = finished.get(job.run) or steps.get(job.run)
        trained = (job.folder / "result.json").is_file()
        found.append(None if each is None else each * work.steps(epochs_done(job), trained))
    return found


def finished_steps(done: Sequence[FoldJob], works: Sequence[Work]) -> dict[str, float]:
    """Seconds of a step of each run by its finished folds: all that they took over all their steps."""
    seconds: dict[str, float] = {}
    counted: dict[str, float] = {}
    for job, work in zip(done, works, strict=True):
        result = None
        with contextlib.suppress(CompError):
            result = read_result(job.folder)
        if result is not None and result.get("seconds", 0) > 0:
            epochs = int(result.get("epochs", work.epochs))
            seconds[job.run] = seconds.get(job.run, 0.0) + result["seconds"]
            counted[job.run] = counted.get(job.run, 0.0) + work.steps(work.epochs - epochs)
    return {run: seconds[run] / counted[run] for run in seconds if counted[run] > 0}


def measure_steps(
    workspace: Workspace, competition: Competition, runs: Sequence[PlannedRun]
) -> dict[str, float | None]:
    """Seconds of a training step of each run: as the probe measured it before, or measured now."""
    from comp.models.compute import Compute
    from comp.models.probe import step_seconds

    return {
        run.name: step_seconds(
            run.config,
            Compute(**run.compute),
            workspace.cache / "probe.json",
            task=competition.task,
            n_classes=competition.n_classes,
            channels=competition.data.channels,
            root=workspace.root,
        )
        for run in runs
    }


def agreed_steps(
    workspace: Workspace, competition: Competition, runs: Sequence[PlannedRun]
) -> dict[str, float | None]:
    """`measure_steps`, but whoever measures first says it for all: shares on other machines must be cut alike.

    To be called by one process at a time.
    """
    agreed: dict[str, float | None] = {}
    for run in runs:
        path = workspace.run(run.name) / STEP_FILE
        said = None
        with contextlib.suppress(CompError):
            said = read_json(path) if path.is_file() else None
        if not isinstance(said, dict) or said.get("config_hash") != run.hash:
            said = {
                "config_hash": run.hash,
                "seconds": measure_steps(workspace, competition, [run])[run.name],
            }
            write_json(path, said)
        agreed[run.name] = said["seconds"]
    return agreed


class Costs:
    """What the jobs of some runs cost: to cut them into shares, and to begin with the longest.

    Args:
        truth: the native cache of the training images.
        n_test: test images.
    """

    def __init__(
        self,
        workspace: Workspace,
        competition: Competition,
        runs: Sequence[PlannedRun],
        truth: Cache,
        table: FoldTable,
        n_test: int,
    ) -> None:
        self.workspace, self.competition = workspace, competition
        self.runs = {run.name: run for run in runs}
        self.truth, self.table, self.n_test = truth, table, n_test
        self.agreed: dict[str, float | None] = {}

    def works(self, jobs: Sequence[FoldJob]) -> list[Work]:
        """What each job has to do, from its first epoch."""
        return [fold_work(j.config, self.truth, self.table, j.fold, self.n_test) for j in jobs]

    def cut(self, jobs: Sequence[FoldJob], wanted: Sequence[int], share: Share) -> list[FoldJob]:
        """The jobs of a share; what is done already does not change how the list is cut.

        To be called by one process at a time.
        """
        chosen = [job for job in jobs if job.fold in wanted]
        self.agreed = dict.fromkeys(self.runs, 1.0)
        if len(self.runs) > 1:
            self.agreed = agreed_steps(self.workspace, self.competition, list(self.runs.values()))
        whole = [
            None if (each := self.agreed[job.run]) is None else each * work.steps()
            for job, work in zip(chosen, self.works(chosen), strict=True)
        ]
        return share.cut(chosen, fill_in(whole))

    def left(
        self, todo: Sequence[FoldJob], done: Sequence[FoldJob], n_slots: int
    ) -> list[float | None]:
        """Seconds that each job has left; a step is measured only where it decides what begins first."""
        finished = finished_steps(done, self.works(done))
        names = list(dict.fromkeys(job.run for job in todo))
        steps: dict[str, float | None] = dict(self.agreed)
        decides = len(names) > 1 and n_slots > 1 and len(todo) > 1
        unknown = [self.runs[n] for n in names if n not in finished and n not in steps]
        if decides:
            steps |= measure_steps(self.workspace, self.competition, unknown)
        elif len(names) == 1:
            steps.setdefault(names[0], 1.0)
        found = estimate_jobs(todo, self.works(todo), steps, finished)
        if decides:
            print(say_order(todo, found))
        return found


def say_order(jobs: Sequence[FoldJob], seconds: Sequence[float | None]) -> str:
    """One line: what a fold of each run takes by the estimate, the longest first."""
    longest: dict[str, float] = {}
    for job, each in zip(jobs, seconds, strict=True):
        if each is not None:
            longest[job.run] = max(longest.get(job.run, 0.0), each)
    order = sorted(longest, key=lambda run: -longest[run])
    said = [f"{run} {say_seconds(max(1.0, longest[run]))} a fold" for run in order]
    return f"estimate: {some(said)}; the longest begin first"
