"""The job that is disturbed: 2 models x 2 folds x 2 epochs with torch, as `comp cv` does it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from comp.files import Workspace, read_json
from comp.store import read_run
from tests.test_road import hashes, make_toy

CV = (
    *("cv", "-c", "small.yaml", "-c", "other.yaml", "--device", "cpu"),
    *("-o", "train.epochs=2", "-o", "train.batch_size=2", "-o", "predict.tta=[none]"),
)
SERIAL = (*CV, "--executor", "serial")
JOBS = ("small/fold0", "small/fold1", "other/fold0", "other/fold1")
CLOCK = ("seconds", "seconds_predict", "images_per_second")  # what differs from run to run


def make(root: Path) -> Workspace:
    """A workspace of eight drawn pictures and two models."""
    return make_toy(root)[0]


def outcome(workspace: Workspace) -> dict[str, Any]:
    """All that must be the same however often the run was disturbed."""
    found: dict[str, Any] = {}
    for name in ("small", "other"):
        run = read_run(workspace, name)
        assert run.complete and run.cv is not None, name
        found[name] = hashes(workspace, name), without_clock(run.cv)
    return found


def without_clock(value: Any) -> Any:
    """A report without what the clock says."""
    if isinstance(value, dict):
        return {k: without_clock(v) for k, v in value.items() if k not in CLOCK}
    return [without_clock(v) for v in value] if isinstance(value, list) else value


def left_over(workspace: Workspace) -> list[str]:
    """Names of temporary files and checkpoints."""
    return [p.name for p in workspace.runs.rglob("*") if ".tmp" in p.name or "checkpoint" in p.name]


def done_jobs(said: str) -> set[str]:
    """The jobs that `comp cv` called done."""
    return set(re.findall(r"^(\S+/fold\d)  done in", said, re.MULTILINE))


def begun_jobs(said: str) -> set[str]:
    """The jobs that it began."""
    return set(re.findall(r"^(\S+/fold\d)  starts on", said, re.MULTILINE))


def committed(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """How far the newest checkpoint of each job is, by its manifest."""
    found = {}
    for job in JOBS:
        notes = [read_json(p) for p in (workspace.runs / job).glob("checkpoint.*.json")]
        if notes:
            found[job] = max((n["epoch"], n["step"]) for n in notes)
    return found
