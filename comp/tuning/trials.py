"""The trials of a study while they run: begun when a slot is free, pruned by what they say, told to the study.

All of this is in the parent, the only process that writes the study.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from comp.errors import CompError, DiskError, LockedError, StoppedError
from comp.tuning.job import STOP, TrialJob
from comp.tuning.study import Asked, Study

OnEvent = Callable[[Any, dict[str, Any]], None]
PASSING = (DiskError, LockedError, StoppedError)  # no fault of a trial's parameters
ATTEMPTS = 3  # at a trial that was cut short by what is no fault of its parameters
FAILED_IN_A_ROW = 5  # then no more are begun: it is not the parameters


@dataclass
class Trials:
    """Makes the next trial, and takes what trials say.

    Args:
        make_job: the job of a trial that was asked for; a CompError is how that trial fails.
        show: is told every event that is not only for the study.
        n_trials: of the whole study, whoever runs them.
        deadline: of `time.monotonic`; none begins later.
    """

    study: Study
    make_job: Callable[[Asked], TrialJob]
    show: OnEvent
    n_trials: int
    deadline: float | None = None
    objectives: tuple[str, ...] = ("score",)
    running: dict[str, Asked] = field(default_factory=dict)  # by the label of their jobs
    pruned: dict[str, str] = field(default_factory=dict)
    timed_out: bool = False
    refused: CompError | None = None  # by the disk or the storage: none begins any more
    failed: list[str] = field(default_factory=list)  # in a row

    @property
    def is_over(self) -> bool:
        """Whether no trial may begin any more, however many are left."""
        return self.timed_out or self.refused is not None or len(self.failed) >= FAILED_IN_A_ROW

    def waiting(self) -> list[NextTrial]:
        """As many deferred jobs as there may be trials left."""
        return [NextTrial(self) for _ in range(self.n_trials)]

    def next(self) -> TrialJob | None:
        """The job of the next trial; None: there are enough, or none may begin any more."""
        if self.is_over:
            return None
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.timed_out = True
            return None
        while True:
            try:
                asked = self.study.next(self.n_trials)
            except StoppedError:
                raise
            except CompError as error:
                self.refused = error
                raise
            if asked is None:
                return None
            if asked.stop is None:
                break
            self.study.tell(asked, None, "PRUNED", why=asked.stop)  # known before it was cut short
        try:
            job = self.make_job(asked)
        except StoppedError:
            self.study.release(asked, "stopped")
            raise
        except CompError as error:
            if isinstance(error, DiskError):
                self.refused = error
            self.cut_short(asked, str(error), isinstance(error, PASSING))
            raise
        (job.folder / STOP).unlink(missing_ok=True)  # an earlier attempt's: decided anew
        self.running[job.label] = asked
        return job

    def __call__(self, job: Any, event: dict[str, Any]) -> None:
        """Take one event of one trial; None for a job: time passes."""
        kind = event["type"]
        if job is None:
            self.study.beat()
            return
        asked = self.running.get(job.label)
        if asked is None:  # none was left, or none could be made
            if kind == "failed":
                self.show(job, event)
            return
        if kind == "value":
            if job.label not in self.pruned:
                why = self.study.report(asked, event["fold"], event["epoch"], event["value"])
                if why is not None:
                    self.pruned[job.label] = why
                    job.stop(why)
            return
        if kind == "done":
            self.end(job, asked, event["result"])
        elif kind == "failed":
            self.fail(job, asked, event)
        self.show(job, event)

    def end(self, job: TrialJob, asked: Asked, result: dict[str, Any]) -> None:
        """Tell the study how a trial ended."""
        del self.running[job.label]
        self.failed.clear()
        said = {key: result[key] for key in ("seconds", "peak_bytes", "n_parameters", "scores")}
        said["scores"] = {str(fold): score for fold, score in result["scores"].items()}
        why = self.pruned.pop(job.label, None)  # by its parent, even if it got to its end meanwhile
        if result["state"] == "over":
            said |= {"over": result["over"], "why": result["why"]}
            refused = self.study.tell(asked, None, "PRUNED", **said)
        elif why is not None:
            refused = self.study.tell(asked, None, "PRUNED", why=why, **said)
        else:
            values = [result[name] for name in self.objectives]
            refused = self.study.tell(asked, values, "COMPLETE", **said)
        if refused is not None:
            self.show(job, {"type": "note", "text": refused})

    def fail(self, job: TrialJob, asked: Asked, event: dict[str, Any]) -> None:
        """A trial that failed, or was stopped to go on later."""
        del self.running[job.label]
        self.pruned.pop(job.label, None)
        kind, error = event.get("error_class"), str(event["error"])
        # "again": killed or hung, and tried twice; that may be no fault of the trial either
        passing = kind in {each.__name__ for each in PASSING} or bool(event.get("again"))
        if kind == DiskError.__name__:
            self.refused = DiskError(f"trial {asked.index}: {error}")
        self.cut_short(asked, error, passing)

    def cut_short(self, asked: Asked, error: str, passing: bool) -> None:
        """Have a trial tried again by whoever comes next, where it may end otherwise then; else it has failed."""
        if passing and asked.attempt < ATTEMPTS:
            self.study.release(asked, error)
            return
        self.study.tell(asked, None, "FAIL", error=error)
        self.failed.append(f"trial {asked.index}: {error}")

    def give_back(self) -> None:
        """Have what was running tried again, by whoever comes next: this process ends."""
        for asked in self.running.values():
            self.study.release(asked, "stopped")
        self.running.clear()


@dataclass(frozen=True)
class NextTrial:
    """Stands in the list of jobs for a trial that is not asked for yet."""

    trials: Trials

    @property
    def label(self) -> str:
        return "next trial"

    @property
    def run(self) -> str:
        return "trials"

    def begin(self) -> TrialJob | None:
        return self.trials.next()
