"""What a run does to its folder, written down, and what a kill or a power cut at any point leaves of it.

The run is watched by patches of `open`, `os.fsync`, `os.replace` and `os.unlink`. A kill leaves all that was
done, the file being written in part. A power cut leaves of each file what was synced, and of the folder any
state between its last sync and now, in order.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import comp.files
import comp.store.probs


class Op(NamedTuple):
    """kind: make, write, sync, sync folder, rename, unlink, say."""

    kind: str
    name: str = ""
    other: str = ""
    data: bytes = b""


@dataclass
class Log:
    """The operations of a run in a folder, in order."""

    folder: Path
    ops: list[Op] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.ops.append(Op("say", text))

    def _name(self, path: Any) -> str | None:
        """The name in the folder; None for what lies elsewhere."""
        path = Path(os.fspath(path))
        return path.name if path.parent == self.folder else None

    def watch(self, patch: Any) -> None:
        """Write down what is done from here on."""
        plain_fsync, plain_replace, plain_unlink = os.fsync, os.replace, os.unlink

        def opened(path: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            file = builtins.open(path, mode, *more, **named)  # noqa: SIM115 - given back
            name = self._name(path)
            if name is None or mode[0] not in "wa":
                return file
            self.ops.append(Op("make", name))
            return Watched(file, name, self)

        def fsync(descriptor: int) -> None:
            plain_fsync(descriptor)
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if path == str(self.folder):
                self.ops.append(Op("sync folder"))
            elif (name := self._name(path)) is not None:
                self.ops.append(Op("sync", name))

        def replace(source: Any, target: Any) -> None:
            plain_replace(source, target)
            self.ops.append(Op("rename", self._name(source) or "", self._name(target) or ""))

        def unlink(path: Any, **more: Any) -> None:
            plain_unlink(path, **more)
            if (name := self._name(path)) is not None:
                self.ops.append(Op("unlink", name))

        for module in (comp.files, comp.store.probs):
            patch.setattr(module, "open", opened, raising=False)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "replace", replace)
        patch.setattr(os, "unlink", unlink)


class Watched:
    """A file that writes down each write, with all that the file holds then."""

    def __init__(self, file: Any, name: str, log: Log) -> None:
        self.file, self.name, self.log = file, name, log

    def write(self, data: Any) -> int:
        done: int = self.file.write(data)
        self.file.flush()
        path = Path(self.file.name)
        self.log.ops.append(Op("write", self.name, data=path.read_bytes()))
        return done

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@dataclass
class Left:
    """What a fault leaves: name -> bytes, and what had been said before it."""

    fault: str
    files: dict[str, bytes]
    said: list[str]

    def put(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name, data in self.files.items():
            (folder / name).write_bytes(data)


def after_faults(ops: list[Op]) -> Iterator[Left]:
    """Every state that a kill or a power cut before, in or after each operation leaves."""
    now: dict[str, int] = {}  # the folder: name -> file
    since_sync: list[dict[str, int]] = [{}]  # the folder as a power cut may find it
    data: dict[int, bytes] = {}
    synced: dict[int, bytes] = {}
    said: list[str] = []
    for number, op in enumerate(ops):
        if op.kind == "write" and op.name in now:  # killed in the middle of it
            half = len(op.data) // 2
            torn = data | {now[op.name]: op.data[:half]}
            yield Left(f"kill in {number} {op.kind} {op.name}", whole(now, torn), list(said))
        if op.kind == "make":
            now = {**now, op.name: len(data)}
            data[len(data)] = b""
        elif op.kind == "write":
            data[now[op.name]] = op.data
        elif op.kind == "sync":
            synced[now[op.name]] = data[now[op.name]]
        elif op.kind == "rename":
            now = {n: f for n, f in now.items() if n != op.name} | {op.other: now[op.name]}
        elif op.kind == "unlink":
            now = {n: f for n, f in now.items() if n != op.name}
        elif op.kind == "say":
            said.append(op.name)
        since_sync = [now] if op.kind == "sync folder" else [*since_sync, now]
        where = f"{number} {op.kind} {op.name}"
        yield Left(f"kill after {where}", whole(now, data), list(said))
        for n, folder in enumerate(unlike(since_sync)):
            yield Left(f"power cut after {where}, folder {n}", whole(folder, synced), list(said))


def whole(folder: dict[str, int], data: dict[int, bytes]) -> dict[str, bytes]:
    """The files of a folder; empty where no byte was kept."""
    return {name: data.get(file, b"") for name, file in folder.items()}


def unlike(folders: list[dict[str, int]]) -> list[dict[str, int]]:
    """Each of them once."""
    found: list[dict[str, int]] = []
    for folder in folders:
        if folder not in found:
            found.append(folder)
    return found
