"""Jobs that stop moving in their first attempt, importable by spawned workers."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comp.progress import beat


@dataclass(frozen=True)
class HangingJob:
    """Beats nine times; at the third it hangs in the way it is told, in its first attempt or always."""

    folder: Path
    how: str
    hang_seconds: int = 2

    @property
    def label(self) -> str:
        return f"toy/{self.folder.name}"

    def work(self, device: str, emit: Any) -> dict[str, Any]:
        tries = self.folder / "tries"
        attempt = len(tries.read_text()) + 1 if tries.is_file() else 1
        tries.write_text("x" * attempt)
        for step in range(1, 10):
            if step == 4 and (attempt == 1 or self.how == "always"):
                self.hang()
            time.sleep(0.6 if step == 3 else 0.01)
            beat("steps", step, 9, epoch=1, epochs=1, samples=step)
        return {"attempt": attempt, "score": 1.0, "seconds": 0.1}

    def hang(self) -> None:
        if self.how == "loader":  # a process below it that sleeps for ever
            child = subprocess.Popen(["sleep", "1000"])
            (self.folder / "child").write_text(str(child.pid))
            child.wait()
        elif self.how == "gil":
            while True:  # holds the lock of the interpreter; a signal ends one sleep
                ctypes.PyDLL(None).sleep(1000)
        elif self.how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.how == "always":
            time.sleep(1000)
