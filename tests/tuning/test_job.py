"""A trial as a job: what it says of every epoch, also of those of an earlier attempt, and how it ends early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from comp.config import data_root
from comp.config.reading import read_layers
from comp.data.cache.cache import Recipe
from comp.data.cache.open import open_cache
from comp.data.folds.split import ensure_folds
from comp.data.sources.records import find_records
from comp.errors import CompError
from comp.files import read_json
from comp.jobs.plan import shared_identity
from comp.tuning.job import Limits, TrialJob
from comp.tuning.making import Maker
from comp.tuning.space import read_space
from tests.test_road import make_toy

EPOCHS = 3


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    root = tmp_path_factory.mktemp("tuned")
    workspace, competition = make_toy(root)
    layers = read_layers(root / "configs" / "small.yaml", [f"train.epochs={EPOCHS}"])
    records = find_records(competition, data_root(workspace, competition))
    truth = open_cache(workspace.cache, competition, records.train, Recipe())
    table = ensure_folds(workspace, competition, records, truth)
    yield Maker(
        replace(workspace, study="toy"),
        competition,
        layers,
        read_space(layers, None, competition, root),
        replace(records, test=()),
        shared_identity(competition, table.hash, truth.content_hash),
        [1, 0],
        Limits(),
        "cpu",
        1,
    )


def work(job: TrialJob, until: int | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Do the job here; the result and what it said. `until`: die when so many epochs were said."""
    said: list[dict[str, Any]] = []

    def emit(event: dict[str, Any]) -> None:
        said.append(event)
        if until is not None and sum(e["type"] == "epoch" for e in said) == until:
            raise KeyboardInterrupt

    return job.work("cpu", emit), said


def values(said: list[dict[str, Any]]) -> list[tuple[int, int, float]]:
    return [(e["fold"], e["epoch"], e["value"]) for e in said if e["type"] == "value"]


def test_every_epoch_of_every_fold_has_a_value_and_the_score_is_their_bests_mean(
    maker: Maker,
) -> None:
    result, said = work(maker.make(0, {}))
    found = values(said)
    assert [each[:2] for each in found] == [(f, e) for f in (1, 0) for e in range(1, EPOCHS + 1)]
    best = {fold: max(v for f, _, v in found if f == fold) for fold in (0, 1)}
    assert result["scores"] == best
    assert result["score"] == pytest.approx((best[0] + best[1]) / 2)
    assert result["state"] == "complete" and result["seconds"] > 0
    epochs = [(e["epoch"], e["epochs"]) for e in said if e["type"] == "epoch"]
    assert epochs == [(n, 2 * EPOCHS) for n in range(1, 2 * EPOCHS + 1)]
    folder = maker.workspace.study_folder("toy") / "trials" / "trial0" / "fold0"
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"history.csv", "result.json"}  # a score, and nothing to predict with

    again, repeated = work(maker.make(0, {}))
    assert values(repeated) == found and again["scores"] == result["scores"]
    assert not [e for e in repeated if e["type"] == "epoch"]


def test_a_trial_that_was_cut_short_goes_on_and_says_all_its_values(maker: Maker) -> None:
    golden, said = work(maker.make(1, {"optim.lr": 0.02}))
    job = maker.make(2, {"optim.lr": 0.02})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comp.train.loop.CHECKPOINT_SECONDS", 0.0)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                work(job, until=2)
    result, rest = work(job)
    new = [e for e in rest if e["type"] == "epoch"]
    assert len(new) < 2 * EPOCHS  # it went on
    assert values(rest) == values(said)
    assert result["scores"] == golden["scores"]


def test_what_the_parent_left_in_its_folder_ends_it_after_the_epoch(maker: Maker) -> None:
    job = maker.make(3, {"optim.lr": 0.03})
    said: list[dict[str, Any]] = []

    def emit(event: dict[str, Any]) -> None:
        said.append(event)
        if event["type"] == "value" and event["epoch"] == 2:
            job.stop("worse than the median")

    result = job.work("cpu", emit)
    assert result["state"] == "pruned" and result["why"] == "worse than the median"
    assert len(values(said)) == 2 and result["scores"] == {}
    assert result["score"] == values(said)[-1][2]
    assert not list(job.folder.glob("fold*/checkpoint.*"))


def test_a_trial_over_its_limit_ends(maker: Maker) -> None:
    dear = replace(maker, limits=Limits(seconds=1e-6))
    result, said = work(dear.make(4, {"optim.lr": 0.04}))
    assert result["state"] == "over" and result["over"]["seconds"] > 0
    assert result["why"] == "over the limit of 1e-06 s of training" and len(values(said)) == 1
    large = replace(maker, limits=Limits(peak_bytes=2**20))
    result, _ = work(large.make(5, {"optim.lr": 0.04}))
    assert result["why"] == "over the limit of 0.000977 GiB of memory"
    assert result["peak_bytes"] - 2**20 == result["over"]["peak_bytes"] > 0


def test_parameters_that_make_no_config_are_refused(maker: Maker) -> None:
    with pytest.raises(CompError, match="not in the search space"):
        maker.make(6, {"optim.weight_decay": 1.0})


def test_running_again_takes_another_seed_and_leaves_the_trial(maker: Maker) -> None:
    job = maker.confirm(0, {}, seed=7, turn=1, folds=[0])
    assert job.label == "trial0-again1" and [f.fold for f in job.folds] == [0]
    assert job.folds[0].config.train.seed == 7
    said = read_json(job.folder / "config.json")
    assert said["config"]["train"]["seed"] == 7
