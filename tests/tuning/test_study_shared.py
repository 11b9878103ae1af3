"""A study under several processes, and under processes that are killed: SQLite, and PostgreSQL where there is one."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comp.tuning.storage import sqlite_url
from tests.processes import REPOSITORY
from tests.tuning.toy import open_toy, run_trial, table

N = 12
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(quick: Path) -> Start:
    """Starts a parent: start(url, n, pruner, kill, seconds)."""

    def one(url: str, n: int, *more: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.tuning.toy", url, quick, n, *more]
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return one


def end(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    return text


def straight(folder: Path, pruner: str) -> list[tuple[Any, ...]]:
    """The table of a study that nothing interrupted."""
    (folder / "straight").mkdir()
    study = open_toy(sqlite_url(folder / "straight" / "study.db"), pruner=pruner)
    while (asked := study.next(N)) is not None:
        run_trial(study, asked, folder / "straight")
    found = table(study)
    study.close()
    return found


def check_shared(url: str, start: Start) -> None:
    """Four parents, 100 trials: every index once, every number once, nothing left RUNNING."""
    parents = [start(url, 100) for _ in range(4)]
    told = [end(parent) for parent in parents]
    study = open_toy(url)
    rows, trials = study.rows(), study._table.trials()
    study.close()
    assert [row.index for row in rows] == list(range(100))
    assert sorted(trial.number for trial in trials) == list(range(100))  # no second attempt
    assert {row.state for row in rows} <= {"COMPLETE", "PRUNED"}
    drawn = [tuple(row.params.items()) for row in rows]
    assert len(set(drawn)) == 100
    counts = [int(text.split()[-1]) for text in told]
    assert sum(counts) == 100
    assert min(counts) > 0  # they did work at the same time


def check_killed(url: str, start: Start, folder: Path, pruner: str, kills: list[int]) -> None:
    """Killed at these statements, one start after another: the table of the last is the straight one."""
    n_killed = 0
    for kill in kills:
        parent = start(url, N, pruner, kill)
        parent.communicate(timeout=300)
        n_killed += parent.returncode == -9
        assert parent.returncode in (0, -9)
    end(start(url, N, pruner))
    study = open_toy(url, pruner=pruner)
    found, trials = table(study), study._table.trials()
    study.close()
    assert found == straight(folder, pruner)
    assert not [trial for trial in trials if trial.state.name == "RUNNING"]
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert n_killed >= 2


@pytest.mark.slow
def test_four_parents_share_a_study(start: Start, quick: Path) -> None:
    check_shared(sqlite_url(quick / "study.db"), start)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(4))
def test_killed_in_the_middle_of_a_write_at_several_starts(
    start: Start, quick: Path, seed: int
) -> None:
    numbers = random.Random(seed)
    kills = [numbers.randrange(1, 500) for _ in range(3)]
    pruner = ("median", "hyperband", "none")[seed % 3]
    check_killed(sqlite_url(quick / "study.db"), start, quick, pruner, kills)


@pytest.mark.faults
def test_killed_at_any_moment_beside_another_that_goes_on(start: Start, quick: Path) -> None:
    """What the killed one ran is run by the one that lives; nothing is RUNNING for ever."""
    url = sqlite_url(quick / "study.db")
    survivor = start(url, 30, "median", 0, 0.01)
    numbers = random.Random(5)
    for _ in range(4):
        victim = start(url, 30, "median", 0, 0.05)
        time.sleep(1.0 + numbers.random())
        victim.kill()
        victim.communicate()
    end(survivor)
    end(start(url, 30))
    study = open_toy(url)
    assert [row.index for row in study.rows()] == list(range(30))
    assert {row.state for row in study.rows()} <= {"COMPLETE", "PRUNED"}
    for trial in study._table.trials():
        assert trial.state.name != "RUNNING"
    study.close()


@pytest.mark.postgres
def test_a_study_outlives_its_server(postgres_server: Any, postgres_url: str) -> None:
    study = open_toy(postgres_url)
    for _ in range(2):
        asked = study.next(9)
        assert asked is not None
        postgres_server.restart()
        assert study.report(asked, 1, 1, 0.5) is None
        postgres_server.restart()
        assert study.tell(asked, [0.5], "COMPLETE") is None
        postgres_server.restart()
    assert [(row.index, row.attempts, row.value) for row in study.rows()] == [
        (0, 1, 0.5),
        (1, 1, 0.5),
    ]
    study.close()


@pytest.mark.slow
@pytest.mark.postgres
def test_four_parents_share_a_study_on_postgresql(start: Start, postgres_url: str) -> None:
    check_shared(postgres_url, start)


@pytest.mark.faults
@pytest.mark.postgres
@pytest.mark.parametrize("seed", range(2))
def test_killed_in_the_middle_of_a_write_on_postgresql(
    start: Start, quick: Path, postgres_url: str, seed: int
) -> None:
    numbers = random.Random(seed)
    kills = [numbers.randrange(1, 400) for _ in range(3)]
    check_killed(postgres_url, start, quick, ("median", "hyperband")[seed % 2], kills)
