"""What the tests of faults share: one nursery a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.nursery import Nursery


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """A process that is `comp` at once."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as made:
        yield made
