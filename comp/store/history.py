"""Every run of a competition, also those that are gone: what stands in their folders, and `history.jsonl`,
which gets a line when a run begins and when it is reported. Nothing in a folder breaks the listing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from comp.errors import CompError, DataError, StoppedError
from comp.files import Workspace, commit, lock, read_json, remove_temporaries
from comp.store.runs import RESULT, read_result, without_nan
from comp.store.started import read_started, say_time

HISTORY = "history.jsonl"
LOCK_SECONDS = 10.0
LEAVES = ("config.*", "started.json", "fold[0-9]*")  # what makes a folder one of a run
NO_PART = ("config_hash", "folds_hash")  # of config.json that are said in columns of their own
UNSET = "unset"
# What reading a file of another make may raise.
JUNK = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
Row = dict[str, Any]


def note_run(workspace: Workspace, name: str) -> None:
    """Add what is known of a run to the history, so that it is known when the run is gone.

    Trials have their study. What cannot be written is said and stops nothing.
    """
    if workspace.study is not None:
        return
    path = workspace.runs / HISTORY
    try:
        row = look_at_run(workspace.run(name)) | {"noted": time.time()}
        line = json.dumps(row, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        with lock(workspace.runs / ".history.lock", LOCK_SECONDS):
            old = path.read_bytes() if path.is_file() else b""
            end = b"" if not old or old.endswith(b"\n") else b"\n"  # after a torn line
            remove_temporaries(
                workspace.runs
            )  # of killed writers; under this lock there is no other
            commit(path, old + end + line.encode() + b"\n")
    except StoppedError:
        raise
    except (CompError, OSError, ValueError, TypeError) as error:
        print(f"{name}: not added to {workspace.relative(path)}: {error}")


def read_history(path: Path, problems: list[str]) -> dict[str, Row]:
    """The last line of each run by its id; lines that are torn or none of ours are counted in `problems`."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems.append(f"{path.name}: {error.strerror or error}")
        return {}
    rows: dict[str, Row] = {}
    bad = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            row = without_nan(json.loads(line))
            row = blank_row(str(row["id"]), str(row["name"])) | row
            check_row(row)
        except JUNK:
            bad += 1
            continue
        rows[row["id"]] = row
    if bad:
        problems.append(f"{path.name}: {bad} damaged line{'s' * (bad != 1)} left out")
    return rows


def list_history(workspace: Workspace, problems: list[str]) -> list[Row]:
    """One row a run, newest first; of those whose folder is gone the last that was noted, with `gone`.

    A run that was renamed is known by its id and is not gone.

    Args:
        problems: told what cannot be read.
    """
    noted = read_history(workspace.runs / HISTORY, problems)
    rows = []
    try:
        folders = sorted(p for p in workspace.runs.iterdir() if p.is_dir())
    except OSError:
        folders = []
    for folder in folders:
        if not any(next(folder.glob(mark), None) for mark in LEAVES):
            continue
        try:
            rows.append(look_at_run(folder))
        except (CompError, OSError, *JUNK) as error:
            said = str(error) or type(error).__name__
            id_ = str((read_started(folder) or {}).get("id", ""))
            name = name_of(folder)
            rows.append((noted.get(id_) or blank_row(id_, name)) | {"name": name, "damaged": said})
            problems.append(f"run {name}: {said}")
    there = {row["id"] for row in rows}
    rows += [row | {"gone": True} for id_, row in noted.items() if id_ not in there]
    rows.sort(key=lambda row: row["name"])
    rows.sort(key=lambda row: row["started"], reverse=True)
    return rows


def blank_row(id_: str, name: str) -> Row:
    """A run of which nothing is known."""
    return {
        "id": id_, "name": name, "started": "", "gone": False, "damaged": None, "config_hash": None,
        "identity": None, "data_hash": None, "folds_hash": None, "git": None, "host": None,
        "devices": [], "versions": {}, "metric": None, "score": None, "error": None, "n_folds": None,
        "folds": [], "seconds": None, "device_seconds": None,
    }  # fmt: skip


def check_row(row: Row) -> None:
    """Refuse a row whose values are not of the kinds that tables and sums expect.

    Raises:
        TypeError: naming the value.
    """
    texts = ("id", "name", "started", "damaged", "config_hash", "data_hash", "folds_hash", "host")
    numbers = ("score", "error", "n_folds", "seconds", "device_seconds")
    kinds: dict[str, Any] = dict.fromkeys((*texts, "metric"), str)
    kinds |= dict.fromkeys(numbers, (int, float))
    kinds |= {"identity": dict, "git": dict, "versions": dict, "devices": list, "folds": list}
    for key, kind in kinds.items():
        value = row[key]
        needed = key in ("id", "name", "started", "versions", "devices", "folds")
        if not (isinstance(value, kind) or (value is None and not needed)):
            raise TypeError(f"{key}: {value!r}")
    if row["git"] is not None and not isinstance(row["git"].get("commit"), str):
        raise TypeError(f"git: {row['git']!r}")


def look_at_run(folder: Path) -> Row:
    """What a run's folder says. Folds that are not whole count as not done, and are named in `damaged`.

    `started` of a run without started.json is the time of its config.json. `seconds` are those of finished
    folds, `device_seconds` also of begun ones; a slot is one device: a GPU, or a core.

    Raises:
        DataError: no config.json, or one that is none.
    """
    said = without_nan(read_json(folder / "config.json"))
    if not isinstance(said, dict) or not isinstance(said.get("config"), dict):
        raise DataError(f"{folder / 'config.json'} is not a run's")
    started = read_started(folder) or {}
    done, spent, damaged = look_at_folds(folder)
    scores = [float(r["score"]) for r in done.values() if _is_number(r.get("score"))]
    n = len(scores)
    name, born = name_of(folder), (folder / "config.json").stat().st_mtime
    row = blank_row(started.get("id") or f"{name}:{said.get('config_hash')}", name) | {
        "started": started.get("time") or say_time(born),
        "damaged": "; ".join(damaged) or None,
        "config_hash": said.get("config_hash"),
        "identity": {key: value for key, value in said.items() if key not in NO_PART},
        "data_hash": (said.get("data") or {}).get("content"),
        "folds_hash": said.get("folds_hash") or next(
            (r["folds_hash"] for r in done.values() if r.get("folds_hash")), None
        ),
        "git": started.get("git"),
        "host": started.get("host"),
        "devices": started.get("devices") or [],
        "versions": started.get("versions") or {},
        "metric": next((r["metric"] for r in done.values() if r.get("metric")), None)
        or (said.get("competition") or {}).get("metric"),
        "score": float(np.mean(scores)) if scores else None,
        "error": float(np.std(scores, ddof=1)) / math.sqrt(n) if n > 1 else None,
        "n_folds": number_of_folds(folder),
        "folds": sorted(done),
        "seconds": spent[0] if done else None,
        "device_seconds": sum(spent) if sum(spent) else None,
    }  # fmt: skip
    check_row(row)
    return row


def name_of(folder: Path) -> str:
    """A folder's name as text that can be written, whatever its bytes are."""
    return folder.name.encode("utf-8", "backslashreplace").decode()


def look_at_folds(folder: Path) -> tuple[dict[int, Row], tuple[float, float], list[str]]:
    """Results of the finished folds; seconds of these, and of those only begun; what is not whole."""
    done: dict[int, Row] = {}
    seconds = begun = 0.0
    damaged = []
    for path in folder.glob("fold*"):
        number = path.name.removeprefix("fold")
        if not (number.isascii() and number.isdigit() and len(number) < 9):
            continue
        try:
            result = read_result(path)
            if result is not None and not isinstance(result, dict):
                raise DataError(f"{path / RESULT} is not a fold's")
        except (CompError, *JUNK) as error:
            damaged.append(f"{path.name}: {error}")
            continue
        if result is not None:
            done[int(number)] = result
            seconds += _number(result.get("seconds"))
            continue
        try:
            status = read_json(path / "status.json")
            begun += max(0.0, _number(status.get("updated")) - _number(status.get("started")))
        except (CompError, *JUNK):
            continue
    return done, (seconds, begun), sorted(damaged)


def number_of_folds(folder: Path) -> int | None:
    """How many folds the run has when it is complete, as its last report said; None: it has none yet."""
    try:
        cv = read_json(folder / "cv.json")
    except (CompError, *JUNK):
        return None
    n = cv.get("n_folds") if isinstance(cv, dict) else None
    return n if isinstance(n, int) and n > 0 else None


def add_changes(rows: Sequence[Row]) -> None:
    """Give each row its `parent` and its `changes` to it, as ``{"key", "from", "to"}`` in order of keys.

    The parent of a run is the one of those started before it that differs from it in the fewest values of
    what makes a run: config, way of computing, task, data, folds; of several the latest.

    Args:
        rows: newest first; both are None for the first run and where nothing is known of a run.
    """
    flat = [None if row["identity"] is None else flatten_run(row) for row in rows]
    for n, row in enumerate(rows):
        mine, row["parent"], row["changes"] = flat[n], None, None
        best: tuple[int, int] | None = None
        for m in range(n + 1, len(rows)):
            other = flat[m]
            if mine is None or other is None:
                continue
            far = len({key for key, _ in mine.items() ^ other.items()})
            if best is None or far < best[0]:
                best = far, m
        if best is None or mine is None:
            continue
        parent = flat[best[1]] or {}
        row["parent"] = rows[best[1]]["name"]
        row["changes"] = [
            {"key": key, "from": parent.get(key, UNSET), "to": mine.get(key, UNSET)}
            for key in sorted(mine.keys() | parent.keys())
            if parent.get(key, UNSET) != mine.get(key, UNSET)
        ]


def flatten_run(row: Row) -> dict[str, str]:
    """What makes a run, as ``optim.lr -> "0.001"``; the model's config without its name before it."""
    identity = row["identity"]
    rest = {key: value for key, value in identity.items() if key != "config"}
    return flatten({**rest, **(identity.get("config") or {}), "folds": row["folds_hash"]})


def flatten(value: Any, key: str = "") -> dict[str, str]:
    """Values by their dotted key, as text; items of a list that hold more than a value by their number.

    What is empty has no key.
    """
    parts: dict[str, Any] | None = None
    if isinstance(value, dict):
        parts = value
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        parts = {str(number): item for number, item in enumerate(value)}
    if value in ({}, []):
        return {}
    if parts is None:
        return {key: value if isinstance(value, str) else json.dumps(value)}
    found: dict[str, str] = {}
    for name, item in parts.items():
        found |= flatten(item, f"{key}.{name}" if key else str(name))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> float:
    return float(value) if _is_number(value) else 0.0
