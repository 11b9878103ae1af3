"""A drawn competition of any task, in a workspace of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from comp.config import Competition
from comp.data.sources.records import Records, find_records
from comp.files import Workspace


@dataclass
class Toy:
    """A workspace, its competition and where its pictures lie."""

    workspace: Workspace
    competition: Competition
    data: Path

    @property
    def records(self) -> Records:
        return find_records(self.competition, self.data)

    def with_folds(self, **folds: Any) -> Competition:
        """The competition with other folds."""
        return self.competition.model_copy(
            update={"folds": self.competition.folds.model_validate(folds)}
        )


def draw(folder: Path, task: str, n: int, size: tuple[int, int], n_classes: int, seed: int) -> None:
    """Write n images of noise over blobs, each with its mask; every fifth binary mask is empty."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks", "test"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(n):
        height, width = size[0] + i % 3, size[1] + i % 2
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"t{i:03d}.png"), image)
        if task == "multilabel":
            for k in range(n_classes):
                mask = (rng.random((height, width)) < 0.3).astype(np.uint8) * 255
                cv2.imwrite(str(folder / "masks" / f"t{i:03d}_c{k}.png"), mask)
            continue
        if task == "binary":
            mask = np.zeros((height, width), np.uint8)
            if i % 5:
                mask[: 2 + i % height // 2, : width // 2] = 255
        else:
            mask = rng.integers(0, 1 + i % n_classes, (height, width)).astype(np.uint8)
            mask[0, :3] = 255
        cv2.imwrite(str(folder / "masks" / f"t{i:03d}.png"), mask)
    for i in range(2):
        cv2.imwrite(str(folder / "test" / f"s{i}.png"), rng.integers(0, 256, (*size, 3), np.uint8))


@pytest.fixture
def make_toy(tmp_path: Path) -> Callable[..., Toy]:
    """`make_toy(task, n=..., size=..., folds={...}, data={...})`."""

    def make(
        task: str = "binary",
        n: int = 12,
        size: tuple[int, int] = (20, 26),
        folds: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
    ) -> Toy:
        n_classes = 1 if task == "binary" else 3
        draw(tmp_path / "data", task, n, size, n_classes, seed=n)
        masks = "masks/{id}_{class}.png" if task == "multilabel" else "masks/{id}.png"
        competition = Competition.model_validate(
            {
                "name": "toy",
                "task": task,
                "classes": [f"c{k}" for k in range(n_classes)],
                "ignore_index": 255 if task == "multiclass" else None,
                "data": {
                    "root": "data",
                    "train": [{"images": "images/{id}.png", "masks": masks}],
                    "test": "test/{id}.png",
                    **(data or {}),
                },
                "folds": folds or {},
            }
        )
        return Toy(Workspace(tmp_path, "toy"), competition, tmp_path / "data")

    return make
