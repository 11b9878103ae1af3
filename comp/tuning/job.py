"""One trial as a job: a config on the folds of the study, one after another, in one process. It crosses processes.

Every fold keeps its own checkpoints, so that a trial that was killed goes on from its step. The parent
prunes by leaving a file in the trial's folder; the job looks for it after every epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comp.errors import CompError
from comp.files import lock, read_json, write_json
from comp.progress import one_of
from comp.store import read_csv, read_result
from comp.store.generations import remove_generations
from comp.train.job import Emit, FoldJob

LOCK_SECONDS = 5.0  # for another process that is still at this trial
STOP = "stop.json"  # in a trial's folder: why it is to end early


@dataclass(frozen=True)
class Limits:
    """What a trial may cost; None: no limit.

    Args:
        seconds: of training, over all its folds.
        peak_bytes: of memory, of its process on a CPU and of the device on a GPU.
    """

    seconds: float | None = None
    peak_bytes: int | None = None

    def over(self, seconds: float, peak_bytes: int | None) -> dict[str, float]:
        """Each cost that is above its limit -> by how much."""
        found: dict[str, float] = {}
        if self.seconds is not None and seconds > self.seconds:
            found["seconds"] = round(seconds - self.seconds, 3)
        if self.peak_bytes is not None and (peak_bytes or 0) > self.peak_bytes:
            found["peak_bytes"] = float((peak_bytes or 0) - self.peak_bytes)
        return found

    def say(self, over: dict[str, float]) -> str:
        """The limits that were passed, in words."""
        said = {"seconds": f"{self.seconds or 0:g} s of training"}
        said["peak_bytes"] = f"{(self.peak_bytes or 0) / 2**30:.3g} GiB of memory"
        return " and ".join(said[name] for name in over)


class _EndedEarlyError(Exception):
    """A trial that is pruned, or over a limit."""

    def __init__(self, state: str, why: str, over: dict[str, float] | None = None) -> None:
        super().__init__(why)
        self.state, self.why, self.over = state, why, over or {}


@dataclass(frozen=True)
class TrialJob:
    """Train the folds of a trial in their order and return its score.

    Args:
        folds: at least one, of one run in a study's workspace.
        index: of the trial in its study.
        limits: what it may cost.
    """

    folds: tuple[FoldJob, ...]
    index: int
    limits: Limits = Limits()

    @property
    def run(self) -> str:
        """Trials of a study take about equally long."""
        return "trials"

    @property
    def label(self) -> str:
        """How logs name the job."""
        return self.folds[0].run

    @property
    def folder(self) -> Path:
        return self.folds[0].workspace.run(self.folds[0].run)

    @property
    def competition(self) -> Any:
        return self.folds[0].competition

    @property
    def hang_seconds(self) -> int | None:
        return self.folds[0].hang_seconds

    def work(self, device: str, emit: Emit) -> dict[str, Any]:
        """Do the job in this process and return its result.

        Returns:
            state: complete, pruned or over; scores by fold; score: their mean; seconds and peak_bytes;
            text: its end in words.

        Raises:
            CompError: a fold has no finite score, or could not be trained.
        """
        from comp.models.gpus import reset_peak

        reset_peak(device)
        with lock(self.folder / ".lock", LOCK_SECONDS):
            return self._work(device, emit)

    def with_fewer_workers(self) -> TrialJob | None:
        """This trial with half as many loader processes, which gives the same results; None: it has none."""
        fewer = [fold.with_fewer_workers() for fold in self.folds]
        whole = tuple(fold for fold in fewer if fold is not None)
        return replace(self, folds=whole) if len(whole) == len(self.folds) else None

    def _work(self, device: str, emit: Emit) -> dict[str, Any]:
        said = _Listener(self, device, emit)
        scores: dict[int, float] = {}
        try:
            for position, job in enumerate(self.folds):
                said.begin(position)
                with one_of(position, len(self.folds)):
                    result = job.work(device, said)
                score = result["score"]
                if score is None or not math.isfinite(score):
                    raise CompError(
                        f"{job.label}: {job.competition.metric_name} is not a number ({score})"
                    )
                scores[job.fold] = score
                said.end(result)
            state, why, over = "complete", None, {}
        except _EndedEarlyError as early:
            remove_generations(self.folds[said.position].folder)
            state, why, over = early.state, early.why, early.over
        value = sum(scores.values()) / len(scores) if state == "complete" else said.value
        metric = self.competition.metric_name
        shown = "no score" if value is None else f"{metric} {value:.4f}"
        return {
            "state": state,
            "score": value,
            "scores": scores,
            "why": why,
            "over": over,
            "seconds": said.seconds,
            "peak_bytes": said.peak_bytes,
            "n_parameters": said.n_parameters,
            "text": f"{state} in {said.seconds:.0f} s: {shown}" + (f" ({why})" if why else ""),
        }

    def stop(self, why: str) -> None:
        """Have the job end after its epoch; to be called by the parent."""
        write_json(self.folder / STOP, {"why": why})


class _Listener:
    """Hands the events of folds on as those of a trial, and ends the trial where it is to end early."""

    def __init__(self, trial: TrialJob, device: str, emit: Emit) -> None:
        self.trial, self.emit, self.device = trial, emit, device
        self.position = 0
        self.before = self.within = 0.0  # seconds of the folds that are over; of this one
        self.value: float | None = None  # the last that was said
        self.peak_bytes: int | None = None
        self.n_parameters: int | None = None

    @property
    def seconds(self) -> float:
        return round(self.before + self.within, 3)

    def begin(self, position: int) -> None:
        """Begin a fold; one that is done says its values again."""
        self.position, self.within = position, 0.0
        folder = self.trial.folds[position].folder
        folder.mkdir(exist_ok=True)  # in the trial's, which is there since the parent made the job
        if read_result(folder) is not None:
            for row in read_csv(folder / "history.csv"):
                self.take({k: float(v) for k, v in row.items() if v != ""})

    def end(self, result: dict[str, Any]) -> None:
        self.before, self.within = self.before + result["seconds"], 0.0
        self.n_parameters = result["n_parameters"]

    def __call__(self, event: dict[str, Any]) -> None:
        if event["type"] == "past":
            self.take(event)
            return
        if event["type"] == "epoch":
            epochs, n = event["epochs"], len(self.trial.folds)
            place = {"epoch": self.position * epochs + event["epoch"], "epochs": n * epochs}
            self.emit({**event, **place})
            self.take(event)
            return
        self.emit(event)

    def take(self, row: dict[str, Any]) -> None:
        """Take an epoch of this fold.

        Raises:
            _EndedEarlyError: the trial is to end.
        """
        job = self.trial.folds[self.position]
        metric = job.competition.metric_name
        kinds = ("ema", "val") if job.config.predict.weights == "ema" else ("val",)
        seen = [row[k] for kind in kinds if (k := f"{kind}_{metric}") in row]
        self.within += row.get("seconds", 0.0)
        if seen and math.isfinite(seen[0]):
            self.value = float(seen[0])
            said = {"fold": job.fold, "position": self.position, "epoch": int(row["epoch"])}
            self.emit({"type": "value", **said, "value": self.value})
        self.peak_bytes = self.memory()
        if over := self.trial.limits.over(self.seconds, self.peak_bytes):
            why = f"over the limit of {self.trial.limits.say(over)}"
            raise _EndedEarlyError("over", why, over)
        stop = self.trial.folder / STOP
        if stop.is_file():
            raise _EndedEarlyError("pruned", str(read_json(stop)["why"]))

    def memory(self) -> int | None:
        """Most memory so far."""
        from comp.models.gpus import peak

        return peak(self.device)
