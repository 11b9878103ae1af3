"""Commands and snippets of code run in a process of their own, as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


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
