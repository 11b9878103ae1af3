"""The executor `ray`: real tasks on a Ray of this machine, also of two nodes, and what is lost with a node."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comp.errors import UsageError
from comp.jobs.cluster import Room, make_room
from comp.jobs.executors import run_ray
from comp.jobs.slots import Slot
from tests.jobs.toy import ToyJob
from tests.jobs.toy_hanging import HangingJob

SLOTS = [Slot(0, "cpu"), Slot(1, "cpu")]


@pytest.mark.parametrize(
    ("gpu", "resources", "n_slots", "room"),
    [
        (False, {"CPU": 8.0}, None, Room(8, 1.0, 0.0)),
        (False, {"CPU": 8.0}, 2, Room(2, 1.0, 0.0)),
        (True, {"CPU": 8.0, "GPU": 2.0}, None, Room(2, 0.0, 1.0)),
        (True, {"CPU": 8.0, "GPU": 2.0}, 4, Room(4, 0.0, 0.5)),
        (True, {"CPU": 8.0, "GPU": 2.0}, 1, Room(1, 0.0, 1.0)),
    ],
)
def test_room_is_counted_in_gpus_or_cores(
    gpu: bool, resources: dict[str, float], n_slots: int | None, room: Room
) -> None:
    assert make_room(gpu, resources, n_slots) == room


def test_a_device_that_the_cluster_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="the cluster has no GPU; use --device cpu"):
        make_room(True, {"CPU": 4.0}, None)


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install \"comp\[ray\]\""):
        run_ray([], SLOTS, lambda job, event: None)


@pytest.mark.ray
def test_jobs_end_on_a_ray_that_is_started_here(tmp_path: Path) -> None:
    said: dict[str, list[str]] = {}

    def on_event(job: Any, event: dict[str, Any]) -> None:
        said.setdefault(job.label, []).append(event.get("text", event["type"]))

    ends = ["done", "data", "bug", "kill", "once"]
    todo = [ToyJob(tmp_path / f"job{n}", n, end) for n, end in enumerate(ends)]
    found = run_ray(todo, SLOTS, on_event)
    assert [e["type"] for e in found] == ["done", "failed", "failed", "failed", "done"]
    assert found[1]["error"] == "image 'a' is unreadable"
    assert found[2]["error"] == "ZeroDivisionError: one over nothing"
    assert "its Ray worker died" in found[3]["error"]
    assert found[0]["result"]["threads"] == "1"
    assert said["toy/0"] == ["start", "note 0", "done"]
    assert any("tried once more" in text for text in said["toy/4"])
    assert "job 0 runs on cpu" in (tmp_path / "job0" / "log.txt").read_text()


@pytest.fixture
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A head that takes no jobs, and a node of two cores: (cluster, node)."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield cluster, cluster.add_node(num_cpus=2)
    finally:
        if ray.is_initialized():
            ray.shutdown()
        cluster.shutdown()


@pytest.mark.ray
def test_a_worker_and_a_node_that_are_killed_lose_nothing(
    tmp_path: Path, two_nodes: tuple[Any, Any]
) -> None:
    cluster, node = two_nodes
    todo = [ToyJob(tmp_path / f"job{n}", n, "slow") for n in range(2)]
    todo += [ToyJob(tmp_path / "job2", 2, "done")]

    lost = threading.Event()
    said: list[str] = []

    def break_things() -> None:
        marks = [job.folder / "tried" for job in todo[:2]]
        while not all(mark.is_file() and mark.read_text() for mark in marks):
            time.sleep(0.1)
        os.kill(int(marks[0].read_text()), signal.SIGKILL)
        time.sleep(1)
        cluster.remove_node(node, allow_graceful=False)
        lost.set()

    def on_event(job: Any, event: dict[str, Any]) -> None:
        said.append(event.get("text", event["type"]))
        if lost.is_set() and len(cluster.worker_nodes) == 0:  # in the main thread, as Ray wants it
            cluster.add_node(num_cpus=2)

    breaker = threading.Thread(target=break_things, daemon=True)
    breaker.start()
    found = run_ray(todo, SLOTS, on_event, address=cluster.address)
    breaker.join(60)
    assert [e["type"] for e in found] == ["done"] * 3, said
    assert [e["result"]["number"] for e in found] == [0, 1, 2]
    assert sum("tried once more" in text for text in said) >= 2


@pytest.mark.ray
@pytest.mark.parametrize("how", ["loader", "gil", "stopped"])
def test_a_hung_task_is_killed_and_goes_on(how: str, tmp_path: Path) -> None:
    said: list[str] = []
    job = HangingJob(tmp_path / "hung", how)
    found = run_ray([job], SLOTS[:1], lambda job, e: said.append(e.get("text", e["type"])))
    assert found[0]["type"] == "done" and found[0]["result"]["attempt"] == 2, said
    assert any("no progress for" in text and "tried once more" in text for text in said)
    if how != "stopped":  # a stopped process writes nothing
        assert "most recent call first" in (job.folder / "log.txt").read_text()


@pytest.mark.ray
def test_a_task_that_hangs_again_has_failed(tmp_path: Path) -> None:
    job = HangingJob(tmp_path / "hung", "always")
    found = run_ray([job], SLOTS[:1], lambda job, event: None)
    assert found[0]["type"] == "failed" and "killed as hung" in found[0]["error"]
