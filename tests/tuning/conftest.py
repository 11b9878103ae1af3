"""What tests of studies share: a folder where a database need not wait for a disk, studies, dead processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from comp.tuning import claims
from comp.tuning.lease import make_lease
from comp.tuning.storage import sqlite_url
from comp.tuning.study import Study
from tests.tuning.toy import NOBODY, open_toy


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one, else on disk: SQLite waits for the disk at every commit."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def opened(quick: Path) -> Iterator[Callable[..., Study]]:
    """Opens studies of the toy in one database."""
    made = []

    def open_one(name: str = "toy", **changes: Any) -> Study:
        made.append(open_toy(sqlite_url(quick / "study.db"), name, **changes))
        return made[-1]

    yield open_one
    for study in made:
        study.close()


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Study]], Study]:
    """Opens a study as a process that is dead by the time anybody looks."""

    def open_one(opened: Callable[[], Study]) -> Study:
        with monkeypatch.context() as patch:
            patch.setattr(claims, "make_lease", lambda: {**make_lease(), "pid": NOBODY})
            return opened()

    return open_one
