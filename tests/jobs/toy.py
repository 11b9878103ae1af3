"""Jobs of the tests' own, importable by spawned workers."""

import ctypes
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from comp.errors import CompError, DataError, DiskError


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


class Later:
    """Begins a toy job when it is asked to, as `how` says: it, nothing, or an error."""

    run = "toys"

    def __init__(self, job: ToyJob, begun: list[int], how: str = "job") -> None:
        self.job, self.begun, self.how = job, begun, how
        self.label = f"later/{job.number}"

    def begin(self) -> ToyJob | None:
        self.begun.append(self.job.number)
        if self.how == "refused":
            raise DataError("no parameters are left")
        return None if self.how == "nothing" else self.job


class LoaderDied(CompError):
    """As a loader says it."""

    exit_code = 1
    try_again: ClassVar[dict[str, Any]] = {"again": 1, "fewer_workers": True}


@dataclass(frozen=True)
class GreedyJob(ToyJob):
    """Ends as told, "kill" or by its loader, as long as it has more than one loader process."""

    workers: int = 3

    @property
    def config(self) -> Any:
        return SimpleNamespace(train=SimpleNamespace(workers=self.workers))

    def with_fewer_workers(self) -> "GreedyJob | None":
        return replace(self, workers=self.workers // 2) if self.workers else None

    def work(self, device: str, emit: Any) -> dict[str, Any]:
        if self.workers > 1 and self.end == "loader":
            raise LoaderDied("loader worker 0 (pid 5) was killed")
        if self.workers > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"number": self.number, "workers": self.workers}
