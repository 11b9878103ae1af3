"""The scan: every file looked at, in any number of threads; what is broken is listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from comp.data.checks import scan as scanning
from comp.data.checks.scan import scan


def test_what_is_there_is_counted(make_toy: Callable[..., Any]) -> None:
    toy = make_toy(n=12)
    flat = np.full((20, 26, 3), 9, np.uint8)
    cv2.imwrite(str(toy.data / "images/t000.png"), flat)
    cv2.imwrite(str(toy.data / "images/t006.png"), flat)
    steps: list[tuple[int, int]] = []
    found = scan(toy.records.train, toy.competition, lambda a, b: steps.append((a, b)), 3)
    assert steps == [(k, 12) for k in range(1, 13)]
    assert [seen.record.image_id for seen in found.seen] == [f"t{k:03d}" for k in range(12)]
    assert found.n_masks == 12 and found.n_empty == 3 and found.n_ignored == 0
    assert found.stored == {"uint8 x 3": 12} and found.problems == []
    assert [record.image_id for record in found.constant()] == ["t000", "t006"]
    assert found.duplicates() == []  # two blank tiles tell nothing
    traits, there = found.traits()
    assert traits.shape[0] == 12 and there == list(range(12))


@pytest.mark.parametrize("n_threads", [1, 4])
def test_threads_change_nothing(make_toy: Callable[..., Any], n_threads: int) -> None:
    toy = make_toy(task="multiclass", n=8)
    found = scan(toy.records.train, toy.competition, n_threads=n_threads)
    assert found.counts == [sum(s.counts[0][k] for s in found.seen if s.counts) for k in range(3)]
    assert found.n_ignored == 24 and found.n_empty == 0


def test_broken_files_are_listed_and_the_rest_goes_on(make_toy: Callable[..., Any]) -> None:
    toy = make_toy(n=6)
    (toy.data / "images/t001.png").write_bytes(b"")
    (toy.data / "masks/t002.png").write_bytes(b"no picture")
    (toy.data / "masks/t001.png").write_bytes(b"no picture")
    found = scan(toy.records.train, toy.competition)
    assert [line.rpartition("/")[2].partition(":")[0] for line in found.problems] == [
        "t001.png", "t001.png", "t002.png",
    ]  # fmt: skip
    assert found.n_masks == 4 and sum(found.sizes.values()) == 5
    assert [print_ is None for print_ in found.prints()] == [False, True] + [False] * 4
    assert found.traits()[1] == [0, 2, 3, 4, 5]


def test_large_images_are_opened_one_at_a_time(
    make_toy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = make_toy(n=8)
    at_once: list[int] = []
    inside = [0]
    look = scanning._look_at

    def counted(record: Any, competition: Any) -> Any:
        inside[0] += 1
        at_once.append(inside[0])
        seen = look(record, competition)
        inside[0] -= 1
        return seen

    monkeypatch.setattr(scanning, "LARGE", 1)
    monkeypatch.setattr(scanning, "_look_at", counted)
    assert len(scan(toy.records.train, toy.competition, n_threads=4).seen) == 8
    assert max(at_once) == 1
