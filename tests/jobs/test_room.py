"""What jobs will write at least, and the refusal where there is no room for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from comp.config import data_root
from comp.data.cache.open import open_cache
from comp.data.sources.records import find_records
from comp.errors import DiskError
from comp.jobs import room
from comp.train.job import FoldJob
from tests.fake_runs import SIZE, make_competition, make_folds

FEW = 1000  # parameters


def make(root: Path, task: str = "binary", views: tuple[str, ...] = ("none",)) -> Any:
    """The jobs of three folds of four images each, their cache and their folds."""
    from comp.config import ModelConfig

    workspace, competition = make_competition(root, task)
    table = make_folds(workspace, competition)
    records = find_records(competition, data_root(workspace, competition)).train
    config = ModelConfig.model_validate(
        {"model": {"arch": "PlainUnet"}, "predict": {"tta": list(views)}}
    )
    jobs = [
        FoldJob(root, competition, config, "net", fold, {}, "", table.hash, "") for fold in range(3)
    ]
    return jobs, open_cache(workspace.cache, competition, records), table


@pytest.mark.parametrize(
    ("task", "views", "planes"),
    [("binary", ("none",), 1), ("binary", ("none", "hflip"), 2), ("multiclass", ("none",), 3)],
)
def test_what_a_fold_writes(task: str, views: Any, planes: int, tmp_path: Path) -> None:
    jobs, truth, table = make(tmp_path, task, views)
    need = room.job_need(jobs[0], FEW, truth, table, n_test=4)
    assert need.probs == 8 * SIZE * SIZE * planes  # four of the fold, four test images
    assert need.weights == 3 * 4 * FEW and need.checkpoints == 2 * 4 * 4 * FEW
    jobs[0].folder.mkdir(parents=True)
    (jobs[0].folder / "weights.last.safetensors").write_bytes(bytes(5000))
    (jobs[0].folder / "oof.none.npy").write_bytes(bytes(10**6))
    left = room.job_need(jobs[0], FEW, truth, table, n_test=4)
    assert (left.weights, left.probs) == (7000, 0) and left.checkpoints == need.checkpoints


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_least_that_fits(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, truth, table = make(tmp_path)
    least = 3 * (12 * FEW + 8 * SIZE * SIZE) + at_once * 32 * FEW
    asked: list[Path] = []

    def usage(free: int) -> Any:
        return lambda path: asked.append(path) or shutil._ntuple_diskusage(0, 0, free)

    folder = tmp_path / "runs" / "toy"  # not there yet
    how = (folder, jobs, {"net": FEW}, truth, table, 4, at_once)
    monkeypatch.setattr(room.shutil, "disk_usage", usage(least))
    room.check_room(*how)
    monkeypatch.setattr(room.shutil, "disk_usage", usage(least - 1))
    with pytest.raises(DiskError, match=r"3 jobs will write at least 0\.\d+ MB \(weights 0\.036"):
        room.check_room(*how)
    assert set(asked) == {tmp_path}
    room.check_room(folder, [], {}, truth, table, 4, at_once)  # nothing to do needs nothing


def test_batches_that_do_not_fit_into_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, *_ = make(tmp_path)
    train = jobs[0].config.train
    config = jobs[0].config.model_copy(update={"train": train.model_copy(update={"workers": 3})})
    with_workers = [FoldJob(**{**vars(job), "config": config}) for job in jobs]
    batch = train.batch_size * 3 * train.size[0] * train.size[1] * 4
    for at_once in (1, 2):
        need = at_once * 3 * 2 * batch
        for free in (need, need - 1):
            usage = shutil._ntuple_diskusage(0, 0, free)
            monkeypatch.setattr(room.shutil, "disk_usage", lambda path, usage=usage: usage)
            room.check_shared_memory(jobs, at_once, tmp_path)  # without workers nothing is shared
            room.check_shared_memory(with_workers, at_once, tmp_path / "absent")
            if free == need:
                room.check_shared_memory(with_workers, at_once, tmp_path)
                continue
            with pytest.raises(DiskError, match=r"train.workers=3 need .*use -o train.workers=0"):
                room.check_shared_memory(with_workers, at_once, tmp_path)


def test_sizes() -> None:
    assert room.say_bytes(1_230_000) == "1.23 MB" and room.say_bytes(4_560_000_000) == "4.56 GB"
