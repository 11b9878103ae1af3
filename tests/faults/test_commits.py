"""No kill and no power cut, at any point, loses what was said to be on the disk; mistakes are caught."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comp.errors import CompError
from comp.store import read_result
from comp.store.generations import GENERATIONS, read_generation
from tests.faults import toy
from tests.faults.disk import Left, Log, Op, after_faults
from tests.faults.mutants import MUTANTS

GOLDEN = toy.states()


def run_watched(folder: Path, mutant: Callable[[Any], None] | None = None) -> list[Op]:
    """The operations of a whole run, by right code or by a mutant."""
    log = Log(folder)
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        log.watch(patch)
        if mutant is not None:
            mutant(patch.setattr)
        toy.work(folder, log.say)
    return log.ops


def committed(ops: list[Op]) -> dict[str, set[bytes]]:
    """Final name -> everything that a whole run ever put under it."""
    last: dict[str, bytes] = {}
    found: dict[str, set[bytes]] = {}
    for op in ops:
        if op.kind == "write":
            last[op.name] = op.data
        elif op.kind == "rename":
            found.setdefault(op.other, set()).add(last[op.name])
    return found


def unset_times(data: bytes) -> bytes:
    """result.json tells the times of files, which differ from run to run."""
    return b"\n".join(line for line in data.split(b"\n") if b"mtime_ns" not in line)


def faults_of(left: Left, folder: Path, whole: dict[str, set[bytes]]) -> list[str]:
    """What is wrong with what a fault left; nothing: it was survived."""
    found = []
    for name, data in left.files.items():
        if not name.endswith(".tmp"):
            known = {unset_times(d) for d in whole.get(name, set())}
            if unset_times(data) not in known:
                found.append(f"{name}: {len(data)} bytes that are no whole file")
    left.put(folder)
    acked = [int(text.split()[1]) for text in left.said if text.startswith("COMMIT")]
    done = any(text.startswith("DONE") for text in left.said)
    try:
        result = read_result(folder, verify=True)
        if done and result is None:
            found.append("it was done and has no result")
        if acked and toy.progress(folder) < acked[-1]:
            found.append(f"progress.json says {toy.progress(folder)}, {acked[-1]} was committed")
        if result is None:
            got = read_generation(folder, lambda text: None)
            step = 0 if got is None else got[1].epochs * toy.PER_EPOCH + got[1].step
            if step < (acked[-1] if acked else 0):
                found.append(f"step {step} is left, {acked[-1]} was committed")
            if got is not None and got[0] != GOLDEN[step]:
                found.append(f"step {step} has other bytes than it had")
    except CompError as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def flipped(folder: Path) -> list[str]:
    """A bit of the newest checkpoint flips: what is wrong with what is read then."""
    ops: list[Op] = []
    with pytest.MonkeyPatch.context() as patch:

        def killed(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(toy, "ProbsWriter", killed)  # after the last step
        with pytest.raises(KeyboardInterrupt):
            toy.work(folder, lambda text: ops.append(Op("say", text)))
    newest = max(
        (
            folder / f"checkpoint.{g}.pt"
            for g in GENERATIONS
            if (folder / f"checkpoint.{g}.pt").exists()
        ),
        key=lambda p: p.stat().st_mtime_ns,
    )
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    said: list[str] = []
    try:
        got = read_generation(folder, said.append)
    except CompError as error:
        return [str(error)]
    assert got is not None
    step = got[1].epochs * toy.PER_EPOCH + got[1].step
    if got[0] != GOLDEN[step]:
        return [f"step {step} has other bytes than it had"]
    return [] if said and "corrupt" in said[0] else ["nothing was said"]


def check_all(root: Path, mutant: Callable[[Any], None] | None) -> tuple[int, list[str]]:
    """Every fault at every point; returns how many there were and what was wrong."""
    whole = committed(run_watched(root / "right"))
    ops = run_watched(root / "run", mutant)
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # what is judged needs no disk
        if mutant is not None:
            mutant(patch.setattr)
        number = 0
        for number, left in enumerate(after_faults(ops), 1):
            found += [
                f"{left.fault}: {text}" for text in faults_of(left, root / f"{number}", whole)
            ]
        found += [f"bit flip: {text}" for text in flipped(root / "flip")]
    return number, found


def test_every_kill_and_power_cut_is_survived(tmp_path: Path) -> None:
    number, found = check_all(tmp_path, None)
    assert not found, found[:5]
    assert number > 200
    print(f"{number} states, 0 failures")


CAUGHT = {  # mutant -> a fault that shows it, and what it leaves
    "direct write": ("kill in", "bytes that are no whole file"),
    "unlink before rename": ("kill after", "missing file"),
    "no fsync": ("power cut", "0 bytes that are no whole file"),
    "no fsync of the folder": ("power cut", "was committed"),
    "no checksum": ("bit flip", "other bytes than it had"),
    "said before it is on disk": ("kill after", "was committed"),
    "one generation": ("kill after", "was committed"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str, tmp_path: Path) -> None:
    number, found = check_all(tmp_path, MUTANTS[mutant])
    fault, text = CAUGHT[mutant]
    caught = [line for line in found if line.startswith(fault) and text in line]
    print(f"{mutant}: {len(found)} failures in {number} states; {caught[:1]}")
    assert caught


def test_after_any_kill_the_same_command_ends_the_same(tmp_path: Path) -> None:
    golden: list[str] = []
    toy.work(tmp_path / "golden", golden.append)
    ops = run_watched(tmp_path / "run")
    lefts = [left for left in after_faults(ops) if left.fault.startswith("kill")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        for number, left in enumerate(lefts[::3]):
            folder = tmp_path / f"{number}"
            left.put(folder)
            said: list[str] = []
            toy.work(folder, said.append)
            assert said[-1] == golden[-1], left.fault
            names = {p.name for p in folder.iterdir()}
            assert names == {"oof.none.npy", "oof.none.csv", "result.json", "progress.json"}
            toy.work(folder, said.append)  # done: again the same
            assert said[-2:] == [golden[-1]] * 2


def test_the_toy_starts_fast_and_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; import tests.faults.toy; "
        "assert not {'torch', 'pandas', 'numba'} & set(sys.modules), 'heavy'"
    )
    began = time.monotonic()
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
    assert time.monotonic() - began < 5
    assert hashlib.sha256(GOLDEN[toy.STEPS]).hexdigest()
