"""Estimates: a measured step times the steps that are left; what is measured, kept and agreed on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comp.config import ModelConfig
from comp.files import Workspace, write_json
from comp.jobs import estimate
from comp.jobs.estimate import (
    Costs,
    Work,
    agreed_steps,
    epochs_done,
    estimate_jobs,
    finished_steps,
    fold_work,
    training_steps,
)
from comp.jobs.plan import PlannedRun
from comp.jobs.shares import Share


def job(folder: Path, run: str = "net", fold: int = 0, **train: Any) -> Any:
    config = ModelConfig.model_validate({"train": {"epochs": 4, **train}})
    return SimpleNamespace(run=run, fold=fold, folder=folder / run / f"fold{fold}", config=config)


def truth(size: tuple[int, int]) -> Any:
    return SimpleNamespace(original_size=lambda i: size)


TABLE: Any = SimpleNamespace(
    training=lambda fold: list(range(10)), validation=lambda fold: list(range(4))
)


def test_the_steps_of_a_fold_are_counted() -> None:
    config = ModelConfig.model_validate(
        {"train": {"epochs": 4, "batch_size": 2, "size": [64, 64]}, "predict": {"tta": ["hflip"]}}
    )
    work = fold_work(config, truth((128, 128)), TABLE, 0, 6)
    # 4 images of 4 windows each are 8 batches to look at; 10 of them twice to predict
    assert work.epoch == pytest.approx(5 + 8 / 3)
    assert work.predict == pytest.approx(2 * 20 / 3)
    assert work.steps() == pytest.approx(4 * work.epoch + work.predict)
    assert work.steps(3) == pytest.approx(work.epoch + work.predict)
    assert work.steps(trained=True) == work.steps(9) == work.predict
    resized = config.model_copy(
        update={"train": config.train.model_copy(update={"mode": "resize"})}
    )
    assert fold_work(resized, truth((128, 128)), TABLE, 0, 0).epoch == pytest.approx(5 + 2 / 3)


class Drawn(list[tuple[int, int]]):
    """A cache that knows the size of each image."""

    def original_size(self, i: int) -> tuple[int, int]:
        return self[i]


def test_a_training_is_as_long_as_in_the_fold_that_has_fewest_batches() -> None:
    def counted(**train: Any) -> int:
        values = {"epochs": 4, "batch_size": 2, "size": [64, 64], "crops_per_image": "auto"}
        config = ModelConfig.model_validate({"train": {**values, **train}})
        return training_steps(config, images, table)

    images: Any = Drawn([(64, 64)] * 3 + [(128, 128)])  # the last one gives two samples
    without: Any = {0: [0, 1, 3], 1: [0, 1, 2], 2: [1, 2, 3]}
    table: Any = SimpleNamespace(training=without.get, n_folds=3)
    assert counted() == 4  # three samples are one batch: the rest of an epoch is left out
    assert counted(batch_size=1) == 12
    assert counted(batch_size=4) == 0  # no whole batch, so not the shape that is measured
    assert counted(sampler={"samples": 9}) == 16


def test_jobs_that_resume_count_what_is_left(tmp_path: Path) -> None:
    begun, fresh, predicted = (job(tmp_path, fold=n) for n in range(3))
    assert epochs_done(begun) == 0
    write_json(begun.folder / "checkpoint.0.json", {"epoch": 3, "sha256": "x"})
    write_json(begun.folder / "checkpoint.1.json", {"epoch": 2, "sha256": "x"})
    (begun.folder / "checkpoint.2.json").write_text("{")
    assert epochs_done(begun) == 3
    write_json(predicted.folder / "result.json", {})
    jobs, works = [begun, fresh, predicted], [Work(10.0, 4, 5.0)] * 3
    assert estimate_jobs(jobs, works, {"net": 0.1}, {}) == pytest.approx([1.5, 4.5, 0.5])
    assert estimate_jobs(jobs, works, {"net": 0.1}, {"net": 1.0})[1] == pytest.approx(45.0)
    assert estimate_jobs(jobs, works, {"net": None}, {}) == [None] * 3


def test_finished_folds_say_what_a_step_takes(tmp_path: Path) -> None:
    done, damaged = job(tmp_path), job(tmp_path, fold=1)
    write_json(done.folder / "result.json", {"seconds": 50.0, "epochs": 2})  # stopped early
    damaged.folder.mkdir(parents=True)
    (damaged.folder / "result.json").write_text("{")
    works = [Work(10.0, 4, 5.0)] * 2
    assert finished_steps([done, damaged], works) == {"net": pytest.approx(2.0)}


def planned(name: str, epochs: int = 4) -> PlannedRun:
    config = ModelConfig.model_validate({"train": {"epochs": epochs}})
    return PlannedRun(name, config, {"device_type": "cpu"}, {"folds_hash": "f"})


def test_shares_are_cut_by_what_the_first_one_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, asked = Workspace(tmp_path, "toy"), []
    seconds = {"a": 1.0, "b": 3.0}

    def measure(workspace: Any, competition: Any, runs: list[PlannedRun]) -> dict[str, float]:
        asked.extend(run.name for run in runs)
        return {run.name: seconds[run.name] for run in runs}

    monkeypatch.setattr(estimate, "measure_steps", measure)
    runs = [planned("a"), planned("b")]
    jobs = [job(tmp_path, run, fold) for run in "ab" for fold in range(3)]

    def cut(n: int) -> list[tuple[str, int]]:
        costs = Costs(workspace, None, runs, truth((64, 64)), TABLE, 0)  # type: ignore[arg-type]
        return [(j.run, j.fold) for j in costs.cut(jobs, [0, 1], Share(n, 2))]

    first = cut(1)
    seconds |= {"a": 9.0, "b": 0.1}  # another machine would measure something else
    assert asked == ["a", "b"]
    assert sorted(first + cut(2)) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [run for run, _ in first] == ["a", "b"] and asked == ["a", "b"]
    changed = [replace(runs[0], compute={"device_type": "cuda"}), runs[1]]
    assert agreed_steps(workspace, None, changed) == {"a": 9.0, "b": 3.0}  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_slots", "measured"), [(1, []), (2, ["b"])])
def test_a_step_is_measured_only_where_it_decides(
    n_slots: int,
    measured: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def measure(workspace: Any, competition: Any, runs: list[PlannedRun]) -> dict[str, float]:
        asked.extend(run.name for run in runs)
        return {run.name: 100.0 for run in runs}

    monkeypatch.setattr(estimate, "measure_steps", measure)
    runs = [planned("a"), planned("b")]
    done, todo = job(tmp_path, "a"), [job(tmp_path, run, 1) for run in "ab"]
    write_json(done.folder / "result.json", {"seconds": 50.0, "epochs": 4})
    costs = Costs(Workspace(tmp_path, "toy"), None, runs, truth((64, 64)), TABLE, 0)  # type: ignore[arg-type]
    found = costs.left(todo, [done], n_slots)
    assert found[0] == pytest.approx(50.0) and asked == measured
    assert (found[1] is None) == (n_slots == 1)
    said = capsys.readouterr().out
    assert said.startswith("estimate: b ") == bool(measured)
    assert ("a 50 s a fold; the longest begin first" in said) == bool(measured)
