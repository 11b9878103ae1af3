"""How long a job still needs, and all jobs together; durations in few letters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.jobs import pace
from comp.jobs.pace import Pace, left_of_all, say_seconds


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (-3.0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86399.9, "1 d"),
        (277200, "3 d 5 h"),
    ],
)
def test_durations_in_few_letters(seconds: float | None, said: str) -> None:
    assert say_seconds(seconds) == said


def test_steps_tell_before_an_epoch_is_over_and_epochs_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    found = Pace()
    assert found.left() is None
    for step in range(1, 6):  # a step takes two seconds
        found.step("steps", step, 10, {"epoch": 1, "epochs": 3, "samples": 8 * step}, now)
        now += 2
    now -= 2
    assert found.speed() == 4.0
    assert found.left() == pytest.approx(3 * 20 - 8)
    now = 125.0
    found.end_epoch(1, 3, 25.0)  # with its validation
    assert found.left() == pytest.approx(50)
    now += 5
    assert found.left() == pytest.approx(45)
    now += 1000  # an epoch that takes longer never makes less than the others
    assert found.left() == pytest.approx(25)
    found.end_epoch(3, 3, 25.0)
    assert found.left() is None  # nothing is known of the prediction
    for image in (1, 2, 3):
        now += 1
        found.step("images", image, 10, {}, now)
    assert found.left() == pytest.approx(7)


def test_an_epoch_resumed_in_its_middle_counts_from_there() -> None:
    found = Pace()
    for n, step in enumerate((90, 91, 92)):
        found.step("steps", step, 100, {"epoch": 5, "epochs": 5, "samples": step}, 10.0 + n)
    assert found.each() == 1.0 and found.speed() == 1.0


@given(
    st.lists(st.floats(0, 1e5), max_size=6),
    st.lists(st.floats(0, 1e5), max_size=12),
    st.integers(1, 6),
)
def test_all_jobs_take_no_less_than_the_longest_and_no_more_than_one_after_another(
    running: list[float], waiting: list[float], slots: int
) -> None:
    running = running[:slots]
    left = left_of_all(running, waiting, slots)
    everything = [*running, *waiting]
    least = max([*everything, sum(everything) / slots], default=0)
    assert least - 1e-6 <= left <= sum(everything) + 1e-6
    if slots == 1:
        assert left == pytest.approx(sum(everything))
