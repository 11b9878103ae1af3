"""`comp`, started often: one process imports everything once, and forks a child that is `comp` for each start.

A child is the real command in a process group of its own, without pictures (drawing takes longer than
training here), with a checkpoint after each step, and with a fault if one is asked for:

    WHEN CALL GLOB COUNT WHAT     such as  before replace oof.*.npy 1 KILL

WHEN: before or after. CALL: replace (the final name counts), unlink, fsync, open (to write). COUNT: which of
the calls on a name of that kind, by shell rules; 0: each. A temporary file counts as what it will be. WHAT:
KILL, SEGV, the name of an errno, or FILL: `runs/ballast` takes what is left of the disk. Or the one word
CLOCK: the clock jumps by a day, forth and back, whenever it is asked.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


class Start:
    """A `comp` that runs, or has ended.

    Attributes:
        code: its exit code, or minus the signal that ended it; once `end` has returned.
    """

    def __init__(self, nursery: Nursery, pid: int, said: Path) -> None:
        self.nursery, self.pid, self._said = nursery, pid, said
        self.code: int | None = None

    @property
    def said(self) -> str:
        """What it has printed so far, both streams."""
        return self._said.read_text(errors="replace")

    def until(self, words: str, seconds: float = 100.0) -> None:
        """Wait until it has printed these words, or has ended."""
        deadline = time.monotonic() + seconds
        while words not in self.said and Path(f"/proc/{self.pid}").exists():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.005)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the whole group, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        if self.code is None:
            self.code = int(self.nursery.answer())
        return self.code


class Nursery:
    """The process that forks; a context manager. One start at a time."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch, self.count = scratch, 0
        self.last: Start | None = None
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            cwd=scratch,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the nursery died"
        return line

    def begin(self, cwd: Path, *arguments: str, fault: str = "") -> Start:
        """Start `comp` with these arguments in the folder `cwd`."""
        if self.last is not None:
            self.last.kill()
            self.last.end()
        self.count += 1
        said = self.scratch / f"said{self.count}.txt"
        said.touch()
        asked = {"cwd": str(cwd), "argv": arguments, "fault": fault, "said": str(said)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        self.last = Start(self, int(self.answer()), said)
        return self.last

    def run(self, cwd: Path, *arguments: str, fault: str = "") -> Start:
        """Start it and wait for its end."""
        start = self.begin(cwd, *arguments, fault=fault)
        start.end()
        return start


def put_fault(text: str) -> None:
    """Make this process suffer the fault."""
    if not text:
        return
    if text == "CLOCK":
        plain, days = time.time, itertools.cycle((0, 1, -1))
        time.time = lambda: plain() + 86400 * next(days)
        return
    when, call, pattern, count, what = text.split()
    seen = [0]

    def hit(name: str) -> bool:
        if not fnmatch.fnmatch(name, pattern):
            return False
        seen[0] += 1
        return int(count) in (0, seen[0])

    def act() -> None:
        if what in ("KILL", "SEGV"):
            os.kill(os.getpid(), getattr(signal, f"SIG{what}"))
        if what == "FILL":
            return fill(Path("runs/ballast"))
        number = getattr(errno, what)
        raise OSError(number, os.strerror(number))

    def around(plain: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        def called(*args: Any, **named: Any) -> Any:
            now = hit(name_of(*args))
            if now and when == "before":
                act()
            found = plain(*args, **named)
            if now and when == "after":
                act()
            return found

        return called

    def opened(event: str, args: tuple[Any, ...]) -> None:
        path, _, flags = args if event == "open" else ("", "", 0)
        if isinstance(path, str) and flags & (os.O_WRONLY | os.O_RDWR) and hit(final_name(path)):
            act()

    if call == "open":
        sys.addaudithook(opened)
    elif call == "replace":
        os.replace = around(os.replace, lambda made, path: Path(path).name)
    elif call == "unlink":
        os.unlink = around(os.unlink, lambda path, **_: Path(path).name)
    elif call == "fsync":
        link = "/proc/self/fd/{}"
        os.fsync = around(os.fsync, lambda fd: final_name(os.readlink(link.format(fd))))
    else:
        raise ValueError(text)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        for size in (65536, 1024, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size) == size:
                    pass


def final_name(path: str) -> str:
    """The name that a file will have: ``.oof.none.npy.12.34.tmp`` is to be ``oof.none.npy``."""
    name = Path(path).name
    return name[1:].rsplit(".", 3)[0] if name[0] == "." and name.endswith(".tmp") else name


def grow(asked: dict[str, Any]) -> int:
    """Be `comp` in this forked process; the exit code."""
    os.setsid()
    os.chdir(asked["cwd"])
    said = os.open(asked["said"], os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(ours, theirs)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = ["comp", *asked["argv"]]
    put_fault(asked["fault"])
    from comp import cli

    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def prepare(imports: Sequence[str]) -> None:
    """Import what every start needs, without beginning a thread."""
    import importlib

    for name in imports:
        importlib.import_module(name)
    import comp.commands.cv
    import comp.reports
    import comp.train.loop

    comp.train.loop.CHECKPOINT_SECONDS = 0.0
    for module, name in (
        (comp.commands.cv, "draw_samples"),
        (comp.reports, "plot_learning_curves"),
        (comp.reports, "write_cases"),
    ):
        setattr(module, name, lambda *_: None)


def main() -> None:
    prepare(["torch", "cv2", "comp.cli", "comp.commands.submit", "comp.train.outputs"])
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = grow(asked)
            finally:
                os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main()
