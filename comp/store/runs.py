"""A run's folder: results of its folds, counts, and whether they are complete.

A fold is done when its `result.json`, written last, names every file with its sha256 and they are there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from comp.errors import CompError, DataError, RunMismatchError
from comp.files import Workspace, read_json, sha256, write_json
from comp.store.probs import Probs, read_csv, write_csv

RESULT = "result.json"
PSEUDO = "pseudo"  # block of config.json of a run that was trained with pseudo-labels
PRETRAINED = "pretrained"  # block of config.json of a run that began from a local file of weights
FOREIGN = "foreign"  # block of config.json of a run that `comp join` made: no weights, no config
COUNT_COLUMNS = ("image_id", "class", "tp", "fp", "fn", "tn")
SHARED = ("competition", "data")  # blocks of config.json that members of an ensemble agree on


def write_counts(
    path: Path, ids: Sequence[str], counts: np.ndarray, classes: Sequence[str]
) -> Path:
    """Commit per-image counts (N, K, 4) int64 as one row an image and class."""
    rows = [
        (i, c, *map(int, counts[n, k])) for n, i in enumerate(ids) for k, c in enumerate(classes)
    ]
    return write_csv(path, COUNT_COLUMNS, rows)


def read_counts(path: Path, n_classes: int) -> tuple[list[str], np.ndarray]:
    """Read what `write_counts` wrote: ids, counts (N, K, 4) int64."""
    rows = read_csv(path)
    values = [[int(r["tp"]), int(r["fp"]), int(r["fn"]), int(r["tn"])] for r in rows]
    if len(rows) % n_classes:
        raise DataError(f"{path}: {len(rows)} rows are not a multiple of {n_classes} classes")
    counts = np.array(values, dtype=np.int64).reshape(-1, n_classes, 4)
    return [r["image_id"] for r in rows[::n_classes]], counts


def describe_files(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name, size, time and sha256 of files in `folder`, for `result.json`."""
    said = {}
    for name in sorted(names):
        found = (folder / name).stat()
        said[name] = {
            "sha256": sha256(folder / name),
            "bytes": found.st_size,
            "mtime_ns": found.st_mtime_ns,
        }
    return said


def what_is_wrong(file: Path, said: Mapping[str, Any], verify: bool) -> str:
    """What a file is not of what `describe_files` said of it; "" where it is whole.

    Its bytes are looked at where its time is another one, or when asked to `verify`.
    """
    try:
        found = file.stat()
    except OSError:
        return "missing"
    if not file.is_file() or found.st_size != said["bytes"]:
        return f"expected {said['bytes']} bytes, got {found.st_size}"
    as_written = found.st_mtime_ns == said.get("mtime_ns", found.st_mtime_ns)
    key = (str(file), found.st_size, found.st_mtime_ns, str(said["sha256"]))
    if not verify and (as_written or key in _LOOKED_AT):
        return ""
    if (now := sha256(file)) != said["sha256"]:
        return f"expected sha256 {said['sha256'][:16]}..., got {now[:16]}..."
    _LOOKED_AT.add(key)
    return ""


_LOOKED_AT: set[tuple[str, int, int, str]] = set()  # files copied without their times, read once


def without_nan(value: Any) -> Any:
    """`value` with None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_result(folder: Path, result: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Commit `result.json`: the statement that the fold is done."""
    whole = {**without_nan(dict(result)), "files": describe_files(folder, names)}
    write_json(folder / RESULT, whole)
    return whole


def read_result(folder: Path, verify: bool = False) -> dict[str, Any] | None:
    """The fold's result, or None when it is not done.

    Args:
        verify: compare every file's sha256; else only where size or time are not what they were.

    Raises:
        RunMismatchError: a file named in it is missing or was changed.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    result: dict[str, Any] = read_json(path)
    for name, said in result.get("files", {}).items():
        file = folder / name
        if wrong := what_is_wrong(file, said, verify):
            maker = "comp join" if result.get(FOREIGN) else "comp cv"
            raise RunMismatchError(
                f"{file}: {wrong}, as {path.name} beside it says; delete {path} to make the fold again with `{maker}`"
            )
    return result


@dataclass(frozen=True)
class Run:
    """One model's run over the folds.

    Attributes:
        config: the resolved model config.
        shared: the blocks `competition` (task, classes, ...) and `data` (channels, mask rule, hash of the
            decoded content) of config.json; {} where it has none.
        folds: fold number -> result, for the folds that are done.
        cv: cv.json, or None while incomplete.
        pseudo: the block `pseudo` of config.json: whose labels of the test images it was trained with.
        foreign: the block `foreign` of config.json: what `comp join` took in; None: it was trained here.
    """

    name: str
    dir: Path
    config: dict[str, Any]
    config_hash: str
    folds: dict[int, dict[str, Any]] = field(default_factory=dict)
    cv: dict[str, Any] | None = None
    shared: dict[str, Any] = field(default_factory=dict)
    pseudo: dict[str, Any] | None = None
    foreign: dict[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """True when every fold is done and the report was written over exactly these folds."""
        return (
            self.cv is not None
            and bool(self.cv["complete"])
            and len(self.folds) == self.cv["n_folds"]
        )

    def oof(self, fold: int, views: str) -> Probs:
        """Out-of-fold probabilities of one fold."""
        return Probs(self.dir / f"fold{fold}" / f"oof.{views}.npy")

    def heldout(self, fold: int, views: str) -> Probs:
        """One fold's model on the images held out for one final score (fold -2)."""
        return Probs(self.dir / f"fold{fold}" / f"heldout.{views}.npy")

    def test(self, fold: int, views: str) -> Probs:
        """Test probabilities of one fold's model."""
        return Probs(self.dir / f"fold{fold}" / f"test.{views}.npy")


def read_run(workspace: Workspace, name: str, forgive: bool = False) -> Run:
    """Read one run.

    Args:
        forgive: a fold whose files are missing or changed counts as not done, instead of an error.

    Raises:
        DataError: there is no such run.
        RunMismatchError: a file that a fold's result names is missing or was changed.
    """
    folder = workspace.run(name)
    meta = folder / "config.json"
    if not meta.is_file():
        known = [r.name for r in list_runs(workspace)]
        raise DataError(
            f"no run {name!r} in {workspace.runs}; there are: {', '.join(known) or 'none'}"
        )
    said = read_json(meta)
    folds: dict[int, dict[str, Any]] = {}
    for path in sorted(folder.glob("fold*")):
        number = path.name.removeprefix("fold")
        try:
            result = read_result(path) if number.isdigit() else None
        except CompError:
            if not forgive:
                raise
            result = None
        if result is not None:
            folds[int(number)] = result
    cv = None
    with contextlib.suppress(DataError):  # missing or damaged: `comp cv` writes it again
        cv = read_json(folder / "cv.json")
    shared = {key: said[key] for key in SHARED if key in said}
    return Run(
        name,
        folder,
        said["config"],
        said["config_hash"],
        folds,
        cv,
        shared,
        said.get(PSEUDO),
        said.get(FOREIGN),
    )


def list_runs(workspace: Workspace) -> list[Run]:
    """All runs of the competition, by name; a fold with damaged files counts as not done."""
    if not workspace.runs.is_dir():
        return []
    found = sorted(p.name for p in workspace.runs.iterdir() if (p / "config.json").is_file())
    return [read_run(workspace, name, forgive=True) for name in found]
