"""Commands and snippets of code run in a process of their own, as a user runs them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

IGNORED = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)  # what whoever starts the tests may ignore


def run_comp(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `comp` with these arguments in the folder `cwd`; whatever it returns is looked at by the caller."""
    command = [sys.executable, "-m", "comp", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def run_python(code: str, cwd: Path = REPOSITORY) -> str:
    """Run code in a fresh interpreter and return what it printed; it must not fail."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def nothing_ignored() -> Iterator[None]:
    """Let this process and those that it starts heed what it was started to ignore, as by `nohup`."""
    before = {
        n: signal.signal(n, signal.SIG_DFL)
        for n in IGNORED
        if signal.getsignal(n) == signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
