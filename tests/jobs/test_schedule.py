"""The order of jobs, shares of a list, what is tried again and which device gets no more: no process, no clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.jobs.schedule import (
    Queue,
    expect,
    fill_in,
    is_device_error,
    longest_first,
    share_out,
)

DONE = {"type": "done"}
SICK = {"type": "failed", "error": "RuntimeError: CUDA error: device-side assert triggered"}
SECONDS = st.lists(st.floats(0.1, 1e6), min_size=1, max_size=40)


def failed(error: str = "image 'a' is unreadable", **more: Any) -> dict[str, Any]:
    return {"type": "failed", "error": error, **more}


def test_unknown_estimates_are_the_median_of_the_known() -> None:
    assert fill_in([3.0, None, 1.0, float("nan"), 2.0]) == [3.0, 2.0, 1.0, 2.0, 2.0]
    assert fill_in([None, 0.0]) == [1.0, 1.0]


def test_what_was_seen_of_a_group_corrects_its_others() -> None:
    seconds = expect([10.0, 10.0, 20.0], ["a", "a", "b"], {0: 40.0})
    assert seconds == pytest.approx([40.0, 40.0, 40.0])  # b: 20 times the root of 4
    assert expect([1.0, 2.0], ["a", "b"], {}) == [1.0, 2.0]


def test_the_longest_begin_first_and_equal_ones_keep_their_order() -> None:
    assert longest_first([1.0, 3.0, 3.0, 2.0]) == [1, 2, 3, 0]
    queue = Queue(["a", "b", "c", "d"], [1.0, 3.0, 3.0, 2.0], ["cpu"])
    assert [queue.take("cpu") for _ in range(5)] == [1, 2, 3, 0, None]
    plain = Queue(["a", "b", "c"], None, ["cpu"])
    assert [plain.take("cpu") for _ in range(3)] == [0, 1, 2]


def test_the_pace_of_running_jobs_changes_what_is_next() -> None:
    queue = Queue(["a", "a", "b", "b"], [10.0, 10.0, 12.0, 12.0], ["cpu"])
    assert [queue.take("cpu"), queue.take("cpu")] == [2, 3]
    queue.tell(2, {"type": "epoch", "epoch": 1, "epochs": 4}, 0.5)  # two seconds in all
    assert queue.seen == {2: 2.0}
    queue.tell(3, {"type": "epoch", "epoch": 8, "epochs": 10}, 1.0)  # went on from epoch 7
    assert queue.seen[3] == pytest.approx(3.0)
    assert queue.take("cpu") == 0


@given(SECONDS, st.integers(1, 9))
def test_shares_are_disjoint_whole_balanced_and_always_the_same(
    seconds: list[float], n: int
) -> None:
    shares = share_out(seconds, n)
    assert shares == share_out(list(seconds), n) and len(shares) == n
    assert sorted(job for share in shares for job in share) == list(range(len(seconds)))
    loads = [sum(seconds[job] for job in share) for share in shares]
    assert max(loads) - min(loads) <= max(seconds) * (1 + 1e-9)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.1, 1e4), st.integers(0, 3)),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 4),
)
def test_every_job_ends_whatever_fails(jobs: list[tuple[str, float, int]], n: int) -> None:
    devices = [f"cuda:{i}" for i in range(n)]
    queue = Queue([group for group, _, _ in jobs], [s for _, s, _ in jobs], devices)
    left = [fails for _, _, fails in jobs]
    ended: list[int] = []
    while len(ended) < len(jobs):
        busy = [(device, job) for device in devices if (job := queue.take(device)) is not None]
        if not busy:
            lost = queue.stranded()
            assert lost
            ended += lost
        for device, job in busy:
            event: dict[str, Any] = DONE
            if left[job]:
                left[job] -= 1
                event = SICK if left[job] % 2 else failed(again=1)
            if queue.end(job, device, event, 1.0) is None:
                ended.append(job)
    assert sorted(ended) == list(range(len(jobs)))
    assert not queue.waiting


def test_a_job_is_tried_again_as_often_as_its_end_says() -> None:
    queue = Queue(["a"], None, ["cpu"])
    killed = failed("killed by signal 9 SIGKILL (likely out of memory)", again=1)
    assert queue.take("cpu") == 0
    assert queue.end(0, "cpu", killed, 1.0) == f"{killed['error']}: tried once more"
    assert queue.take("cpu") == 0
    assert queue.end(0, "cpu", killed, 1.0) is None
    assert queue.take("cpu") is None
    once = Queue(["a"], None, ["cpu"])
    once.take("cpu")
    assert once.end(0, "cpu", failed(), 1.0) is None


def test_a_device_that_fails_twice_in_a_row_gets_no_more_jobs() -> None:
    queue = Queue(list("abcd"), None, ["cuda:0", "cuda:1"])
    assert queue.take("cuda:0") == 0
    assert "on another device" in str(queue.end(0, "cuda:0", SICK, 1.0))
    assert queue.take("cuda:0") == 1  # not the one that failed here, though it is the first
    assert queue.take("cuda:1") == 0
    assert queue.end(0, "cuda:1", DONE, 1.0) is None
    assert not queue.closed("cuda:0")
    assert queue.end(1, "cuda:0", SICK, 1.0) is not None
    assert queue.closed("cuda:0") and queue.take("cuda:0") is None
    assert [queue.take("cuda:1") for _ in range(3)] == [1, 2, 3]
    assert queue.stranded() == []


def test_one_success_between_two_device_errors_acquits_the_device() -> None:
    queue = Queue(list("abc"), None, ["cuda:0"])
    for end in (SICK, DONE, SICK):
        job = queue.take("cuda:0")
        assert job is not None and queue.end(job, "cuda:0", end, 1.0) is None
    assert not queue.closed("cuda:0")


def test_jobs_without_a_device_are_stranded() -> None:
    queue = Queue(list("abc"), None, ["cuda:0"])
    for _ in range(2):
        job = queue.take("cuda:0")
        assert job is not None and queue.end(job, "cuda:0", SICK, 1.0) is None
    assert queue.stranded() == [2] and queue.waiting == []


def test_device_errors_are_those_of_gpus_and_not_lack_of_memory() -> None:
    assert is_device_error(SICK, "cuda:0") and not is_device_error(SICK, "cpu")
    assert not is_device_error(failed("CUDA error: out of memory"), "cuda:0")
    assert not is_device_error(failed("image 'a' is unreadable"), "cuda:0")
