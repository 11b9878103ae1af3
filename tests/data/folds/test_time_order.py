"""Blocks along time: in order, even, whole units; nobody learns from what comes later or too near."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.data.folds.time_order import DAY, Times, divide, make_blocks, read_times
from comp.errors import FoldsError


def trained_on(fold: np.ndarray, left_out: list[list[int]], number: int) -> np.ndarray:
    return np.array(
        [f != number and number not in out for f, out in zip(fold, left_out, strict=True)]
    )


problems = st.tuples(st.integers(6, 60), st.integers(2, 4), st.integers(0, 300), st.booleans())


@given(problems, st.sampled_from([0.0, 1.0, 2.5]))
@settings(max_examples=80)
def test_models_see_only_what_they_may(problem: tuple[int, int, int, bool], purge: float) -> None:
    n, n_splits, seed, before = problem
    rng = np.random.default_rng(seed)
    times = Times(rng.integers(0, 100, n).astype(float), False)
    units = np.unique(rng.integers(0, n, n), return_inverse=True)[1]
    try:
        fold, left_out, notes = divide(times, units, n_splits, purge, before)
    except FoldsError as error:
        assert "nothing is left" in str(error) or "different times" in str(error)
        return
    assert len(notes) == n_splits
    assert set(fold.tolist()) == set(range(-1 if before else 0, n_splits))
    assert all(len(set(fold[units == u])) == 1 for u in units)
    for number in range(n_splits):
        inside, seen = times.values[fold == number], trained_on(fold, left_out, number)
        gap = np.where(
            times.values[seen] < inside.min(),
            inside.min() - times.values[seen],
            times.values[seen] - inside.max(),
        )
        assert (gap > 0).all() and (gap >= purge).all()
        if before:
            assert times.values[seen].max() < inside.min()
        kept = seen | (fold == number)
        near = (times.values > inside.min() - max(purge, 1e-9)) & (
            before | (times.values < inside.max() + max(purge, 1e-9))
        )
        assert (kept | near).all()  # nothing is left out without a reason


@given(st.integers(10, 200), st.integers(2, 6))
def test_blocks_of_different_times_are_even(n: int, n_blocks: int) -> None:
    block = make_blocks(
        np.random.default_rng(n).permutation(n).astype(float), np.arange(n), n_blocks
    )
    sizes = np.bincount(block)
    assert len(sizes) == n_blocks and sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(0, 8), min_size=4, max_size=60), st.integers(2, 4))
def test_one_time_is_in_one_block(times: list[int], n_blocks: int) -> None:
    values = np.array(times, float)
    if len(set(times)) < n_blocks:
        with pytest.raises(FoldsError, match=r"different times cannot fill \d blocks; lower"):
            make_blocks(values, np.arange(len(values)), n_blocks)
        return
    block = make_blocks(values, np.arange(len(values)), n_blocks)
    assert set(block.tolist()) == set(range(n_blocks))
    order = np.argsort(values, kind="stable")
    assert (np.diff(block[order]) >= 0).all()
    assert all(len(set(block[values == v])) == 1 for v in values)


def test_a_group_goes_by_its_first_image_and_its_late_ones_are_kept_away() -> None:
    times = Times(np.array([0.0, 1, 2, 3, 4, 5, 6, 9]), False)
    units = np.array([0, 1, 1, 2, 3, 4, 5, 1])  # the unit of times 1 and 2 has an image at 9
    fold, left_out, _ = divide(times, units, 2, 0, before=True)
    assert fold[1] == fold[2] == fold[7]
    for number in range(2):
        seen = trained_on(fold, left_out, number)
        assert times.values[seen].max() < times.values[fold == number].min()


def test_dates_are_read_and_purged_in_days() -> None:
    texts = [f"2024-02-{day:02d}" for day in range(20, 30)]
    times = read_times(texts, "here")
    assert times.dates and times.unit == DAY and np.ptp(times.values) == 9 * DAY
    _, left_out, notes = divide(times, np.arange(10), 4, 2.0, before=False)
    assert notes[1] == "fold 1: 3 images from 2024-02-22 to 2024-02-24, trained on 5, 2 purged"
    assert [i for i, out in enumerate(left_out) if 1 in out] == [1, 5]


@pytest.mark.parametrize(
    ("texts", "dates", "step"),
    [
        (["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+01:00"], True, 3600),
        (["20240101", "20240102"], True, DAY),
        (["2024-01-01 06:30", " 2024-01-01 "], True, -6.5 * 3600),
        (["2019", "2021"], False, 2),
        (["1e3", "-4"], False, -1004),
    ],
)
def test_kinds_of_time(texts: list[str], dates: bool, step: float) -> None:
    times = read_times(texts, "here")
    assert times.dates == dates and times.values[1] - times.values[0] == step


def test_times_are_said_as_people_write_them() -> None:
    times = read_times(["2024-05-31", "2024-05-31T12:30"], "here")
    assert [times.say(v) for v in times.values] == ["2024-05-31", "2024-05-31T12:30:00"]
    assert read_times(["1.50", "3"], "here").say(1.5) == "1.5"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1", "soon", "nan"], "here: 2 cells are neither number nor date: 'soon', 'nan'; expected numbers, or dates"),
        (["2024-13-01", "2024-01-01"], "here: 1 cells are neither number nor date: '2024-13-01'"),
        (["2024-01-01", "5"], "here: 1 cells are dates, the rest numbers: '2024-01-01'; expected"),
    ],
)  # fmt: skip
def test_what_is_no_time(texts: list[str], message: str) -> None:
    with pytest.raises(FoldsError) as caught:
        read_times(texts, "here")
    assert message in str(caught.value)


def test_a_purge_that_leaves_nothing_is_refused() -> None:
    times = Times(np.arange(9.0), False)
    with pytest.raises(
        FoldsError, match=r"fold 0: 3 images from 3 to 5, trained on 0, 3 purged: nothing is left"
    ):
        divide(times, np.arange(9), 2, 10, before=True)
