"""What a run was started with: when, where, from which commit, on which versions. Words beside the run: no part
of what it is, so none of it makes it another run.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from comp import __version__
from comp.errors import CompError
from comp.files import read_json, write_json

STARTED = "started.json"
PACKAGES = ("torch", "segmentation-models-pytorch", "timm", "albumentations", "numpy")
GIT_SECONDS = 5.0


def write_started(folder: Path, root: Path, device_names: Sequence[str]) -> dict[str, Any]:
    """Commit started.json of a run; one that is taken over keeps its id.

    Args:
        root: of the workspace, whose commit is told; of comp's own folder where that has none.
        device_names: as the devices of this machine call themselves.
    """
    before = read_started(folder) or {}
    said = {
        "id": before.get("id") or uuid.uuid4().hex[:16],
        "time": say_time(time.time()),
        "git": code_state(root),
        "host": socket.gethostname(),
        "devices": list(device_names),
        "versions": versions(),
    }
    write_json(folder / STARTED, said)
    return said


def say_time(seconds: float) -> str:
    """``2026-11-20T21:57:24.123Z``: the order of these texts is the order in time."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def read_started(folder: Path) -> dict[str, Any] | None:
    """What `write_started` wrote; None where nothing whole is there."""
    try:
        said = read_json(folder / STARTED)
    except CompError:
        return None
    whole = isinstance(said, dict) and all(isinstance(said.get(k), str) for k in ("id", "time"))
    return said if whole else None


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Python, comp and what its results depend on, as installed."""
    found = {"python": platform.python_version(), "comp": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@lru_cache(maxsize=64)
def code_state(root: Path) -> dict[str, Any] | None:
    """`git_state` of the workspace, else of comp's own folder; asked once, as the code is read once."""
    return git_state(root) or git_state(Path(__file__).resolve().parent.parent)


def git_state(root: Path) -> dict[str, Any] | None:
    """Commit of the workspace and whether files differ from it; None outside a repository or without git."""
    environment = {key: v for key, v in os.environ.items() if not key.startswith("GIT_")}

    def ask(*arguments: str) -> str:
        # The monitor that a repository's own config may name is a program: it is not started.
        command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(root)]
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
            env=environment,
        ).stdout

    try:
        commit = ask("rev-parse", "HEAD").strip()
        changed = bool(ask("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": changed}
