"""Jobs of the tests' own, importable by spawned workers."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comp.errors import DataError, DiskError


@dataclass(frozen=True)
class ToyJob:
    """Returns its number, or ends in the way it is told."""

    folder: Path
    number: int
    end: str = "done"

    @property
    def label(self) -> str:
        return f"toy/{self.number}"

    def work(self, device: str, emit: Any) -> dict[str, Any]:
        print(f"job {self.number} runs on {device}")
        emit({"type": "note", "text": f"note {self.number}"})
        if self.end == "data":
            raise DataError("image 'a' is unreadable")
        if self.end == "disk":
            raise DiskError("disk full writing x")
        if self.end == "bug":
            raise ZeroDivisionError("one over nothing")
        if self.end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.end == "exit":
            os._exit(7)
        return {
            "number": self.number,
            "pid": os.getpid(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        }
