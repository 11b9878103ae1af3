"""What a job is told is what it does; fewer loader processes make it no other job."""

from __future__ import annotations

from pathlib import Path

from comp.config import Competition, ModelConfig
from comp.train.job import FoldJob


def test_fewer_loader_processes_are_no_other_job(tmp_path: Path) -> None:
    competition = Competition.model_construct(name="toy")
    config = ModelConfig.model_validate({"train": {"workers": 5}})
    job = FoldJob(tmp_path, competition, config, "small", 0, {}, "hash", "folds", "test")
    counts = []
    while job is not None:
        counts.append(job.config.train.workers)
        assert (job.config_hash, job.label) == ("hash", "small/fold0")
        assert job.config.train == config.train.model_copy(update={"workers": counts[-1]})
        job = job.with_fewer_workers()  # type: ignore[assignment]
    assert counts == [5, 2, 1, 0] and config.train.workers == 5
