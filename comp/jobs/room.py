"""Whether the disk has room for what the jobs will write, asked before the first of them begins.

Counted is what must be there at the same time at least, so that nothing is refused that would have fitted:
weights and probabilities of every fold, and the checkpoints of the folds that are trained at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from comp.data.cache.cache import Cache
from comp.data.folds.table import HELD_OUT, FoldTable
from comp.errors import DiskError
from comp.store.probs import STORE_DTYPES
from comp.train.job import FoldJob

WEIGHTS = 3  # files of weights that every fold leaves: best metric, best loss, last
STATE = 4  # times the weights in a checkpoint: they, two best ones, the optimizer's means
GENERATIONS = 2
FLOAT = 4  # bytes
AHEAD = (
    2  # batches that each loader process makes before they are asked for (torch's prefetch_factor)
)


@dataclass(frozen=True)
class Need:
    """Bytes of one job."""

    weights: int
    probs: int
    checkpoints: int


def job_need(job: FoldJob, parameters: int, truth: Cache, table: FoldTable, n_test: int) -> Need:
    """What one fold will hold, less what is there already.

    Args:
        parameters: of its network; 0: nothing is trained any more.
        truth: the native cache of the training images.
        n_test: test images, taken as large as those of the fold.
    """
    scored = table.validation(job.fold)
    pixels = sum(_area(truth, i) for i in scored)
    tested = pixels / max(1, len(scored)) * n_test
    held = sum(_area(truth, i) for i in table.validation(HELD_OUT))
    competition, predict = job.competition, job.config.predict
    planes = 1 if competition.task == "binary" else competition.n_classes
    itemsize = np.dtype(STORE_DTYPES[predict.store][0]).itemsize
    each = planes * itemsize * len(predict.tta)
    weights = parameters * FLOAT
    return Need(
        max(0, WEIGHTS * weights - _there(job.folder, "weights.*")),
        max(0, round((pixels + tested + held) * each) - _there(job.folder, "*.npy")),
        max(0, STATE * GENERATIONS * weights - _there(job.folder, "checkpoint.*.pt")),
    )


def check_room(
    folder: Path,
    jobs: Sequence[FoldJob],
    parameters: Mapping[str, int],
    truth: Cache,
    table: FoldTable,
    n_test: int,
    at_once: int,
) -> None:
    """Refuse to begin where the disk will be full before the end.

    Args:
        folder: of the runs.
        jobs: those to do.
        parameters: of each run's network, by name; a run that is not there only predicts.
        at_once: jobs that run at the same time.

    Raises:
        DiskError: how much is needed, for what, and how much there is.
    """
    needs = [job_need(job, parameters.get(job.run, 0), truth, table, n_test) for job in jobs]
    weights, probs = sum(n.weights for n in needs), sum(n.probs for n in needs)
    checkpoints = sum(sorted((n.checkpoints for n in needs), reverse=True)[:at_once])
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free, need = shutil.disk_usage(there).free, weights + probs + checkpoints
    if need > free:
        n = len(jobs)
        raise DiskError(
            f"the disk will be full: {n} job{'s' * (n != 1)} will write at least {say_bytes(need)} (weights "
            f"{say_bytes(weights)}, probabilities {say_bytes(probs)}, checkpoints {say_bytes(checkpoints)}), "
            f"and {there} has {say_bytes(free)} free: free space and run again, or store less "
            "(predict.tta, predict.store)"
        )


def say_bytes(n: int) -> str:
    """A size in MB or GB of three digits."""
    return f"{n / 1e9:.3g} GB" if n >= 1e9 else f"{n / 1e6:.3g} MB"


def _area(truth: Cache, index: int) -> int:
    height, width = truth.original_size(index)
    return height * width


def _there(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def check_shared_memory(
    jobs: Sequence[FoldJob], at_once: int, shared: Path = Path("/dev/shm")
) -> None:
    """Refuse loader processes whose batches do not fit into shared memory: they would hang, or end with a bus error.

    Raises:
        DiskError: how much they need and how much there is.
    """
    if not shared.is_dir():  # another system, another way
        return
    each = sorted((shared_bytes(job) for job in jobs), reverse=True)
    need, free = sum(each[:at_once]), shutil.disk_usage(shared).free
    if need > free:
        workers = max(job.config.train.workers for job in jobs)
        raise DiskError(
            f"shared memory will be full: the batches of train.workers={workers} need {say_bytes(need)}, "
            f"and {shared} has {say_bytes(free)} free: use -o train.workers=0, or make it larger "
            "(`docker run --shm-size=8g`)"
        )


def shared_bytes(job: FoldJob) -> int:
    """Images of the batches that the loader processes of a job make ahead, as float32."""
    train = job.config.train
    height, width = train.size
    batch = train.batch_size * job.competition.data.channels * height * width * FLOAT
    return train.workers * AHEAD * batch
