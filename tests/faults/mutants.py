"""Mistakes that a writer of files is easily made with; the harness must catch each of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comp.files
import comp.store.generations
import comp.store.probs

Put = Callable[[Any, str, Any], None]  # setattr, or pytest's


def put_commit(put: Put, commit: Any) -> None:
    """Put another `commit` wherever it is used; write_json finds it in comp.files."""
    for module in (comp.files, comp.store.generations, comp.store.probs):
        put(module, "commit", commit)


def direct_write(put: Put) -> None:
    """Write under the final name."""

    def commit(path: Path, content: bytes | str) -> Path:
        with comp.files.open(path, "wb") as file:  # type: ignore[attr-defined]
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        return path

    if not hasattr(comp.files, "open"):
        put(comp.files, "open", open) if put is setattr else setattr(comp.files, "open", open)
    put_commit(put, commit)


def unlink_first(put: Put) -> None:
    """Make room for the new file before it is there."""
    plain = comp.files.commit_file

    def commit_file(made: Path, path: Path) -> Path:
        path.unlink(missing_ok=True)
        return plain(made, path)

    for module in (comp.files, comp.store.probs):
        put(module, "commit_file", commit_file)


def no_fsync(put: Put) -> None:
    """Leave it to the system when data reach the disk."""
    put(os, "fsync", lambda descriptor: None)


def no_folder_fsync(put: Put) -> None:
    """Sync the file, not its name."""
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):
            plain(descriptor)

    put(os, "fsync", fsync)


def no_checksum(put: Put) -> None:
    """Believe what is read."""

    class Same:
        @staticmethod
        def sha256(data: bytes) -> Any:
            return Same()

        def hexdigest(self) -> str:
            return "0" * 64

    put(comp.store.generations, "hashlib", Same)


def said_before_synced(put: Put) -> None:
    """Say that a step is committed, then commit it."""
    from tests.faults import toy

    plain = toy.save

    def save(folder: Path, data: bytes, step: int, say: Any) -> None:
        say(f"COMMIT {step}")
        plain(folder, data, step, lambda text: None)

    put(toy, "save", save)


def newest_overwritten(put: Put) -> None:
    """Keep one generation."""
    put(comp.store.generations, "GENERATIONS", (0,))


MUTANTS: dict[str, Callable[[Put], None]] = {
    "direct write": direct_write,
    "unlink before rename": unlink_first,
    "no fsync": no_fsync,
    "no fsync of the folder": no_folder_fsync,
    "no checksum": no_checksum,
    "said before it is on disk": said_before_synced,
    "one generation": newest_overwritten,
}
