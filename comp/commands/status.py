"""`comp status`: what is running, done, waiting and failed, read from the files that jobs keep.

It asks no process, so it works from any shell, while `comp cv` runs, after it ended and after a kill -9.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from comp.errors import CompError, UsageError
from comp.files import Workspace, read_json
from comp.jobs.pace import left_of_all, say_seconds
from comp.jobs.processes import is_alive
from comp.jobs.screen import Screen, is_live, table_lines
from comp.jobs.status import LIVING, STATUS, judge, read_status
from comp.registry import unknown

STATES = ("running", "waiting", "silent", "killed", "failed", "stopped", "not started", "done")
KEPT = (  # of what a job says
    "stage", "device", "epoch_now", "epoch", "epochs", "step", "steps", "metric", "value",
    "images_per_second", "started", "updated", "ended", "error", "note",
)  # fmt: skip
REST_SECONDS = 2.0  # between two looks of --watch


def run(
    workspace: Workspace, names: list[str] | None = None, watch: bool = False, as_json: bool = False
) -> dict[str, Any]:
    """Print the state of every job of the runs, and return it.

    Args:
        names: only these runs; default: all.
        watch: look again and again until no job runs or waits any more.

    Raises:
        UsageError: a run that is not there.
    """
    if as_json:
        found = look(workspace, names)
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return found
    screen = Screen(sys.stdout) if watch and is_live(sys.stdout) else None
    while True:
        found = look(workspace, names)
        if screen is None:
            print("\n".join(render(found)), flush=True)
        else:
            columns, rows = screen.size()
            screen.draw(fit(render(found, columns - 1), rows - 1))
        if not watch or not any(found["counts"][state] for state in LIVING):
            break
        time.sleep(REST_SECONDS if screen is not None else 5 * REST_SECONDS)
    if screen is not None:
        screen.close()
    return found


def look(workspace: Workspace, names: list[str] | None = None) -> dict[str, Any]:
    """The state of every job, by plain values: counts, jobs, seconds_left of all.

    Raises:
        UsageError: a run that is not there.
    """
    there = sorted(path.parent.name for path in workspace.runs.glob("*/config.json"))
    for name in names or ():
        if name not in there:
            raise UsageError(f"--run: {unknown(name, there, 'run')}")
    jobs = []
    for name in names or there:
        jobs += look_at_run(workspace, name)
    if not names:
        jobs += look_at_trials(workspace)
    counts = {state: sum(job["state"] == state for job in jobs) for state in STATES}
    return {
        "competition": workspace.competition,
        "at": time.time(),
        "counts": counts,
        "seconds_left": left_of(jobs),
        "jobs": jobs,
    }


def look_at_run(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """The state of each fold of a run: those of the folds file, and those that left something."""
    folds = {int(p.name[4:]) for p in workspace.run(name).glob("fold*") if p.name[4:].isdigit()}
    try:
        said_folds = read_json(workspace.folds_json)
        n_folds = int(said_folds["n_splits"]) * int(said_folds.get("n_repeats", 1))
    except (CompError, KeyError, TypeError, ValueError):
        n_folds = 0
    return [look_at_job(workspace, name, fold) for fold in sorted(folds | set(range(n_folds)))]


def look_at_trials(workspace: Workspace) -> list[dict[str, Any]]:
    """The state of each trial of every study that left its status."""
    jobs = []
    for path in sorted(workspace.studies.glob(f"*/trials/*/{STATUS}")):
        study, trial = path.parent.parent.parent.name, path.parent.name
        said = read_status(path.parent)
        if said is None:
            continue
        done = said.get("state") == "done"
        found: dict[str, Any] = {"job": f"{study}/{trial}", "run": f"study {study}"}
        found |= tell(said, judge(said, done)) | {
            "log": workspace.relative(path.parent / "log.txt")
        }
        if done:
            found |= {"value": said.get("score"), "seconds": said.get("seconds")}
        jobs.append(found)
    return jobs


def look_at_job(workspace: Workspace, name: str, fold: int) -> dict[str, Any]:
    """One job: what it said last, and whether the process that said so is still there."""
    folder = workspace.fold(name, fold)
    said = read_status(folder)
    found: dict[str, Any] = {"job": f"{name}/fold{fold}", "run": name, "fold": fold}
    result = None
    if (folder / "result.json").is_file():
        try:
            result = read_json(folder / "result.json")
        except CompError as error:
            found["error"] = str(error)
    found["state"] = judge(said, isinstance(result, dict))
    if said is not None:
        found |= tell(said, found["state"])
    if found["state"] == "done" and isinstance(result, dict):
        found.pop("error", None)
        found |= {key: result.get(key) for key in ("metric", "seconds", "epochs")}
        found["value"] = result.get("score")
    log = folder / "log.txt"
    if log.is_file():
        found["log"] = workspace.relative(log)
    return found


def tell(said: dict[str, Any], state: str) -> dict[str, Any]:
    """What a status file says of a job in this state."""
    found = {"state": state} | {key: said[key] for key in KEPT if said.get(key) is not None}
    found |= {"pid": said["process"].get("pid"), "host": said["process"].get("host")}
    if state in LIVING:
        found["alive"] = is_alive(said["process"])
    if state == "running" and said.get("left") is not None:
        found["seconds_left"] = max(0.0, round(said["left"] - (time.time() - said["updated"]), 1))
    return found


def left_of(jobs: list[dict[str, Any]]) -> float | None:
    """Seconds until no job runs or waits, by what the others of its run took; None: nobody knows."""
    running = [job for job in jobs if job["state"] == "running"]
    waiting = [job for job in jobs if job["state"] == "waiting"]
    whole: dict[str, list[float]] = {}
    for job in jobs:
        if job["state"] == "done" and job.get("seconds"):
            whole.setdefault(job["run"], []).append(float(job["seconds"]))
        elif "seconds_left" in job:
            spent = max(0.0, time.time() - job.get("started", time.time()))
            whole.setdefault(job["run"], []).append(spent + job["seconds_left"])
    every = [s for each in whole.values() for s in each]
    if not running or not every:
        return None

    def mean(run: str) -> float:
        known = whole.get(run, every)
        return sum(known) / len(known)

    lefts = []
    for job in running:
        spent = max(0.0, time.time() - job.get("started", time.time()))
        lefts.append(job.get("seconds_left", max(0.0, mean(job["run"]) - spent)))
    return round(left_of_all(lefts, [mean(job["run"]) for job in waiting], len(running)), 1)


def render(found: dict[str, Any], columns: int = 160) -> list[str]:
    """The lines a person reads."""
    jobs = found["jobs"]
    if not jobs:
        return [f"{found['competition']}: no run was begun; begin one with `comp cv --config ...`"]
    counts = ", ".join(f"{n} {state}" for state, n in found["counts"].items() if n)
    left = found["seconds_left"]
    about = f"; about {say_seconds(left)} left" if left else ""
    head = f"{found['competition']}: {len(jobs)} job{'s' * (len(jobs) != 1)}: {counts}{about}"
    rows = [cells(job) for job in jobs]
    headers = ("job", "state", "epoch", "metric", "img/s", "left", "process")
    lines = [head, *table_lines(headers, rows, columns, ("img/s", "process", "metric"))]
    for job in jobs:
        if job["state"] == "failed" and job.get("error"):
            log = f" (log: {job['log']})" if "log" in job else ""
            lines.append(f"{job['job']}: {job['error'].splitlines()[0]}{log}")
    if any(found["counts"][s] for s in ("killed", "stopped", "failed")):
        lines.append("the same command again goes on with what is not done")
    return lines


def cells(job: dict[str, Any]) -> list[str]:
    """One row of the table."""
    value, speed = job.get("value"), job.get("images_per_second")
    state = job["state"]
    running = state == "running"
    process = ""
    if state in ("running", "waiting", "silent", "killed") and "pid" in job:
        gone = {True: "alive", False: "gone", None: "not seen from here"}
        told = "gone" if state == "killed" else gone[job.get("alive")]
        process = f"pid {job['pid']} on {job['host']}, {told}"
        if state == "silent":
            process += f", last heard {say_seconds(time.time() - job['updated'])} ago"
    return [
        job["job"],
        state,
        "" if state in ("waiting", "not started") else epoch_of(job),
        "" if value is None else f"{job.get('metric') or ''} {value:.4f}".strip(),
        f"{speed:.1f}" if running and speed is not None else "",
        say_seconds(job.get("seconds_left")) if running else "",
        process,
    ]


def epoch_of(job: dict[str, Any]) -> str:
    """How far a job is, or was."""
    if job["state"] == "done":
        return f"{job['epochs']} in {say_seconds(job['seconds'])}" if job.get("seconds") else ""
    steps = f" {job['step']}/{job['steps']}" if job.get("steps") else ""
    if job.get("stage") in ("predicts", "starts"):
        return f"{job['stage']}{steps}"
    if not job.get("epochs"):
        return ""
    epoch = f"{job.get('epoch_now', job.get('epoch'))}/{job['epochs']}"
    return (
        f"{epoch} val{steps}"
        if job.get("stage") == "validates"
        else f"{epoch}{' step' * bool(steps)}{steps}"
    )


def fit(lines: list[str], rows: int) -> list[str]:
    """The first lines, and how many were left out."""
    if len(lines) <= rows:
        return lines
    return [*lines[: rows - 1], f"... and {len(lines) - rows + 1} more lines"]
