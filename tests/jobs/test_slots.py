"""Slots from counts of devices: no GPU is needed to test them."""

import pytest

from comp.errors import UsageError
from comp.jobs.slots import make_slots


@pytest.mark.parametrize(
    ("device", "n_gpus", "n_cpus", "n_slots", "expected"),
    [
        ("auto", 0, 2, None, ["cpu", "cpu"]),
        ("auto", 2, 16, None, ["cuda:0", "cuda:1"]),
        ("cpu", 2, 4, 3, ["cpu"] * 3),
        ("1", 2, 4, None, ["cuda:1"]),
        ("0,1", 2, 4, 4, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
    ],
)
def test_slots(
    device: str, n_gpus: int, n_cpus: int, n_slots: int | None, expected: list[str]
) -> None:
    assert [s.device for s in make_slots(device, n_gpus, n_cpus, n_slots)] == expected


@pytest.mark.parametrize(
    ("device", "n_slots", "message"),
    [
        ("cuda", None, "no GPU here"),
        ("3", None, "no GPU 3"),
        ("gpu", None, "expected auto"),
        ("cpu", 0, "at least 1"),
    ],
)
def test_impossible_slots_are_refused(device: str, n_slots: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_slots(device, 0, 2, n_slots)
