"""What every test shares: one thread a process, no network, and markers that skip by themselves."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.postgres import postgres_server, postgres_url, why_no_postgres  # noqa: F401

# Before torch or albumentations is imported, and inherited by the processes that tests start.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Property tests: no time limit an example (machines differ), the same examples every time."""
    try:
        from hypothesis import settings
    except ImportError:
        return
    settings.register_profile("comp", deadline=None, derandomize=True, print_blob=True)
    settings.load_profile("comp")


def _why_not(marker: str, asked: str) -> str | None:
    """Return why tests with this marker cannot run here, or None."""
    if marker in ("slow", "faults"):
        wanted = os.environ.get("COMP_TEST_ALL") or marker in asked
        return None if wanted else f"{marker}: set COMP_TEST_ALL=1 or ask with -m {marker}"
    if marker == "realdata":
        folder = os.environ.get("COMP_TEST_DATA")
        if not folder:
            return "COMP_TEST_DATA is not set"
        return None if Path(folder).is_dir() else f"COMP_TEST_DATA names no folder: {folder}"
    if marker == "ray":
        return None if importlib.util.find_spec("ray") else "ray is not installed"
    if marker == "postgres":
        return why_no_postgres()
    if marker == "gpu":
        import torch

        return None if torch.cuda.is_available() else "no CUDA device"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and say why."""
    asked = str(config.getoption("-m") or "")
    reasons: dict[str, str | None] = {}
    for item in items:
        for marker in ("slow", "faults", "realdata", "ray", "postgres", "gpu"):
            if item.get_closest_marker(marker) is None:
                continue
            if marker not in reasons:
                reasons[marker] = _why_not(marker, asked)
            if reasons[marker] is not None:
                item.add_marker(pytest.mark.skip(reason=reasons[marker]))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of pyproject.toml, itself a workspace. Tests read it and never write there."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; for tests marked `realdata`."""
    folder = os.environ.get("COMP_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("COMP_TEST_DATA is not set")
    return Path(folder).resolve()
