"""Side-by-side pictures of every task, with and without truth; samples with ragged rows; sizes that differ."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from comp.plots.paint import ERROR_COLOURS
from comp.plots.pictures import CELL, GAP, STRIP, Case, fit, plot_cases, plot_samples, shorten

CLASSES = {
    "binary": ["roof"],
    "multiclass": ["land", "water", "road"],
    "multilabel": ["fish", "sugar"],
}


def labels_of(task: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = (2, *shape) if task == "multilabel" else shape
    return rng.integers(0, 3 if task == "multiclass" else 2, size, dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    drawn = cv2.imread(str(path))
    assert drawn is not None
    return np.asarray(drawn)[:, :, ::-1]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_cases_of_every_task_and_type(tmp_path: Path, task: str, dtype: type) -> None:
    shape = (24, 32)
    image = (np.random.default_rng(0).random((*shape, 4)) * 200).astype(dtype)
    cases = [
        Case("first", image, labels_of(task, shape, 1), labels_of(task, shape, 2), 0.5),
        Case("no truth", image[:, :, :1], None, labels_of(task, shape, 3)),
    ]
    path = plot_cases(
        cases, tmp_path / "cases.png", task=task, classes=CLASSES[task], heading="worst"
    )
    assert path is not None
    drawn = read(path)
    assert drawn.shape[1] == 4 * (CELL + GAP) + GAP and drawn.shape[0] > 2 * CELL


def test_the_panels_show_what_they_should(tmp_path: Path) -> None:
    image = np.full((8, 8, 3), 200, np.uint8)
    truth, mask = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    truth[:4], mask[:, :4] = 1, 1
    path = plot_cases(
        [Case("x", image, truth, mask, 1 / 3)], tmp_path / "c.png", task="binary", classes=["roof"]
    )
    assert path is not None
    drawn = read(path)
    top = 26 + STRIP

    def pixel(column: int, x: float, y: float) -> list[int]:
        at = drawn[top + int(y * CELL), GAP + column * (CELL + GAP) + int(x * CELL)]
        return [int(part) for part in at]

    assert pixel(0, 0.1, 0.9) == [200, 200, 200]
    assert (pixel(1, 0.9, 0.1), pixel(1, 0.1, 0.9)) == ([255] * 3, [0] * 3)
    assert (pixel(2, 0.9, 0.1), pixel(2, 0.1, 0.9)) == ([0] * 3, [255] * 3)
    assert pixel(3, 0.9, 0.1) == list(ERROR_COLOURS["false negative"])
    assert pixel(3, 0.1, 0.9) == list(ERROR_COLOURS["false positive"])


def test_no_cases_no_file(tmp_path: Path) -> None:
    assert plot_cases([], tmp_path / "c.png", task="binary", classes=["roof"]) is None
    assert plot_samples([], tmp_path / "s.png", task="binary", classes=["roof"]) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["labels", "mask"])
def test_sizes_that_differ_are_refused(tmp_path: Path, what: str) -> None:
    right, wrong = np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)
    case = Case(
        "tile_1", np.zeros((8, 8, 3), np.uint8), wrong if what == "labels" else right, wrong
    )
    with pytest.raises(
        ValueError, match=rf"tile_1: labels \(8, 9\) on an image of \(8, 8\)|tile_1: {what}"
    ):
        plot_cases([case], tmp_path / "c.png", task="binary", classes=["roof"])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_samples_with_ragged_rows(tmp_path: Path, task: str) -> None:
    def pair(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.random.default_rng(seed).random((*shape, 3)).astype(np.float32)
        return image, labels_of(task, shape, seed)

    samples = [
        ("one", *pair((40, 30), 1), [pair((16, 16), n) for n in range(3)]),
        ("two with a very long name " * 12, *pair((300, 600), 2), []),
    ]
    path = plot_samples(samples, tmp_path / "s.png", task=task, classes=CLASSES[task])
    assert path is not None and read(path).shape[1] == 4 * (CELL + GAP) + GAP


def test_many_classes_have_a_key_of_several_lines(tmp_path: Path) -> None:
    labels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 40
    case = Case("x", np.zeros((8, 8, 3), np.uint8), labels, labels, 1.0)
    heights = []
    for n, name in enumerate(("a", "a rather long class name")):
        names = [f"{name} {k}" for k in range(40)]
        path = plot_cases([case], tmp_path / f"{n}.png", task="multiclass", classes=names)
        assert path is not None
        heights.append(read(path).shape[0])
    assert heights[1] > heights[0]


@pytest.mark.parametrize("shape", [(1, 1), (4, 256), (1000, 30), (256, 256), (3000, 2000)])
def test_fit_keeps_the_shape(shape: tuple[int, int]) -> None:
    panel = fit(np.zeros((*shape, 3), np.uint8))
    dark = np.argwhere(panel[:, :, 0] == 0)
    size = dark.max(axis=0) - dark.min(axis=0) + 1
    assert panel.shape == (CELL, CELL, 3) and max(size) == CELL
    wanted = np.maximum(np.array(shape) * CELL / max(shape), 1)
    assert np.abs(size - wanted).max() <= 1
    assert (fit(None) == 238).all()


def test_shorten_keeps_both_ends() -> None:
    assert shorten("short", 100) == "short"
    cut = shorten("a" * 50 + "z" * 50, 140)
    assert len(cut) == 20 and cut.startswith("aaa") and cut.endswith("zzz") and "..." in cut
