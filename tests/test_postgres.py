"""The server that tests of shared studies run on: Optuna's storage works there, and outlives a restart."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.postgres import Server

pytestmark = pytest.mark.postgres

ADD = """
import optuna, sys
optuna.logging.disable_default_handler()
study = optuna.load_study(study_name="s", storage=sys.argv[1])
for i in range(5):
    study.add_trial(optuna.create_trial(value=i, user_attrs={"writer": sys.argv[2], "i": i}))
"""


def test_four_processes_write_one_study(postgres_server: Server, postgres_url: str) -> None:
    import optuna

    storage = optuna.storages.RDBStorage(postgres_url)
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", ADD, postgres_url, str(writer)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for writer in range(4)
    ]
    for process in writers:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors

    def written() -> list[tuple[int, str, int]]:
        return [(t.number, t.user_attrs["writer"], t.user_attrs["i"]) for t in study.get_trials()]

    before = written()
    assert [number for number, _, _ in before] == list(range(20))
    assert {(w, i) for _, w, i in before} == {(str(w), i) for w in range(4) for i in range(5)}

    storage.engine.dispose()  # a pooled connection would meet the restart with an error
    postgres_server.restart()
    assert written() == before


def test_a_database_is_new(postgres_url: str) -> None:
    import optuna

    assert postgres_url.startswith("postgresql+psycopg://")
    assert optuna.get_all_study_names(postgres_url) == []
