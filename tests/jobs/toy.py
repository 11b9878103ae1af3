"""Jobs of the tests' own, importable by spawned workers."""

import ctypes
import os
import signal
import time
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

    def tried(self) -> bool:
        """Whether this is not the job's first attempt."""
        mark = self.folder / "tried"
        if mark.exists():
            return True
        mark.write_text(str(os.getpid()))
        return False

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
        if self.end == "segv":
            ctypes.string_at(0)
        if self.end == "exit":
            os._exit(7)
        if self.end == "once" and not self.tried():
            os.kill(os.getpid(), signal.SIGKILL)
        if self.end == "sick" and device == "cuda:1":
            raise RuntimeError("CUDA error: device-side assert triggered")
        if self.end == "slow" and not self.tried():
            time.sleep(60)
        return {
            "number": self.number,
            "pid": os.getpid(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        }
