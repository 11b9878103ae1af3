"""The workspace: its root, every path name in it, and the only ways to write, lock and hash a file.

Nothing else in the package joins path names of the workspace or replaces a file. A file appears under
its final name whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comp.errors import CompError, ConfigError, DataError, DiskError, LockedError, UsageError

COMPETITION_FILE = Path("configs") / "competition.yaml"
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
DEVICE_NAME = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")  # no files on Windows


def check_name(name: str, what: str) -> str:
    """Return `name` if it is safe as one folder name.

    Raises:
        UsageError: for separators, leading dots, spaces: it could leave the workspace; for names that
            some systems cannot make.
    """
    if not SAFE_NAME.fullmatch(name):
        shown = repr(name) if len(name) <= 120 else f"{name[:40]!r}... of {len(name)} letters"
        raise UsageError(
            f"{what} {shown}: use letters, digits, '.', '_', '+' and '-' only, not starting with '.', "
            "at most 100"
        )
    if DEVICE_NAME.fullmatch(name):
        raise UsageError(f"{what} {name!r}: is a device on Windows; use another")
    return name


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above `start` (default: the working directory) that is a workspace.

    Raises:
        UsageError: when no folder upward holds ``configs/competition.yaml``.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / COMPETITION_FILE).is_file():
            return folder
    raise UsageError(
        f"no workspace at or above {start}: expected {COMPETITION_FILE}; make one with "
        "`comp init DIR --data DATA`, or name one with --root"
    )


@dataclass(frozen=True)
class Workspace:
    """Every path name of one competition in one workspace.

    Args:
        root: the folder that holds ``configs/``.
        competition: the competition's name; folds, runs and ensembles live under it.
        study: a study of `comp tune`, whose trials are then the runs; None: the runs of `comp cv`.
    """

    root: Path
    competition: str
    study: str | None = None

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def folds_csv(self) -> Path:
        return self.root / "folds" / f"{self.competition}.csv"

    @property
    def folds_json(self) -> Path:
        return self.root / "folds" / f"{self.competition}.json"

    @property
    def verify_json(self) -> Path:
        """What `comp verify` last found; its contact sheet stands beside it."""
        return self.root / "folds" / f"{self.competition}.verify.json"

    @property
    def runs(self) -> Path:
        if self.study is not None:
            return self.study_folder(self.study) / "trials"
        return self.root / "runs" / self.competition

    @property
    def studies(self) -> Path:
        return self.root / "studies" / self.competition

    def study_folder(self, name: str) -> Path:
        return self.studies / check_name(name, "study name")

    def run(self, name: str) -> Path:
        return self.runs / check_name(name, "run name")

    def fold(self, name: str, fold: int) -> Path:
        return self.run(name) / f"fold{fold}"

    @property
    def ensembles(self) -> Path:
        return self.root / "ensembles" / self.competition

    def ensemble(self, name: str) -> Path:
        return self.ensembles / check_name(name, "ensemble name")

    @property
    def submissions(self) -> Path:
        return self.root / "submissions"

    @property
    def cache(self) -> Path:
        return self.root / ".cache" / self.competition

    def relative(self, path: Path) -> str:
        """`path` as the user sees it from the root; unchanged when it lies elsewhere."""
        try:
            return str(path.relative_to(self.root))
        except ValueError:
            return str(path)


def sha256(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Return a short hash (16 hex digits) of any JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def temporary(path: Path) -> Path:
    """Return an unused temporary name beside `path`, for `commit_file`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")


def commit(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path` so that a reader, a crash or a full disk sees the old file or the new.

    Raises:
        DiskError: when the disk is full or refuses the write; the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    made = temporary_or_disk_error(path)
    try:
        with open(made, "wb") as file:
            file.write(data)
    except OSError as error:
        discard(made)
        raise disk_error(path, len(data), error) from error
    return commit_file(made, path)


def commit_file(made: Path, path: Path) -> Path:
    """Move a finished temporary file of the same folder to its final name, durably."""
    try:
        with open(made, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(made, path)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        discard(made)
        raise disk_error(path, 0, error) from error
    return path


def discard(made: Path) -> None:
    """Remove a temporary file, if the disk lets us: a disk that has just refused a write may refuse this too."""
    with contextlib.suppress(OSError):
        made.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file that may be there.

    Raises:
        DiskError: the disk refuses.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"cannot remove {path}: {error.strerror or error}") from error


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left in `folder` itself; nobody may be writing there.

    Of a link the link goes, never what it leads to.
    """
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def temporary_or_disk_error(path: Path) -> Path:
    """`temporary`, with a refused folder said as a DiskError."""
    if not path.name:
        raise DiskError(f"cannot write {path}: it is a folder")
    try:
        return temporary(path)
    except OSError as error:
        raise disk_error(path, 0, error) from error


def disk_error(path: Path, n_bytes: int, error: OSError) -> CompError:
    """Say what could not be written, and why."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskError(
            f"disk full writing {path}{_room(path, n_bytes)}: free space and run again"
        )
    return DiskError(f"cannot write {path}: {error.strerror or error}")


def known_os_error(error: BaseException) -> CompError | None:
    """What the machine refused, said as the user's to mend; None: it is something else."""
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return DiskError(
            "too many open files: raise the limit (`ulimit -n 4096`) or use fewer --slots"
        )
    if error.errno == errno.ENAMETOOLONG:
        name = str(error.filename)
        return UsageError(f"too long for the name of a file: {name[:60]}... ({len(name)} letters)")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO):
        return disk_error(Path(str(error.filename or "a file")), 0, error)
    return None


def _room(path: Path, n_bytes: int) -> str:
    """What a write wanted and what there is, as far as it is known."""
    said = [f"{n_bytes / 1e6:.1f} MB are needed"] if n_bytes else []
    with contextlib.suppress(OSError):
        said.append(f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB are free")
    return f" ({', '.join(said)})" if said else ""


def write_json(path: Path, value: Any) -> Path:
    """Commit `value` as indented JSON; NaN is refused (it is not JSON)."""
    return commit(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: when it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"missing file: {path}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path} as JSON: {error}") from error


def read_text(path: Path) -> str:
    """Read a config's text; a missing or undecodable file is the user's mistake, not a bug."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def no_follow(path: str | Path, flags: int) -> int:
    """Open a file, never a link in its place; as an `opener` of `open` too."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)


@contextlib.contextmanager
def lock(path: Path, wait_seconds: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Hold a lock on the file `path` while the block runs.

    Args:
        wait_seconds: how long to retry; a killed holder's children may keep the lock a moment.
        shared: together with others that hold it shared; default: alone.

    Raises:
        LockedError: naming the holder's pid, host and start time.
        DiskError: the folder cannot be written, or its disk knows no locks.
    """
    import fcntl

    deadline = time.monotonic() + wait_seconds
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = no_follow(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(path, 0, error) from error
    try:
        while True:
            try:
                fcntl.flock(
                    descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
                )
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip()
                    raise LockedError(
                        f"{path.parent} is used by {holder or 'another process'}; wait for it, or stop it"
                    ) from None
                time.sleep(0.1)
            except OSError as error:  # some network disks know no locks
                raise disk_error(path, 0, error) from error
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(descriptor, 0)
        os.pwrite(
            descriptor, f"pid {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0
        )
        yield
    finally:
        os.close(descriptor)
