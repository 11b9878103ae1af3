"""A competition of large tif: folds and a submission by windows, nothing held whole on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from comp.blending import blend
from comp.commands import cv, ensemble, submit
from comp.config import load_competition
from comp.data.cache import bands as cache_bands
from comp.data.cache import cache as cache_module
from comp.data.cache import label_bands
from comp.data.images import tif_rows
from comp.files import Workspace, commit
from comp.predict import windows
from comp.store import Probs, probs, read_counts, read_run
from tests.drawn import draw_scene, save

COMPETITION = """
name: toy
task: binary
classes: [thing]
data:
  root: data
  train: [{images: "images/{id}.tif", masks: "masks/{id}.tif"}]
  test: test/{id}.tif
folds: {scheme: kfold, n_splits: 2}
"""
MODEL = """
model: {arch: PlainUnet, encoder_name: null, filters: 4, depth: 2, normalize: unit}
loss: {bce: 1.0}
train: {epochs: 1, batch_size: 4, size: [32, 32], precision: fp32, channels_last: false, fused: false}
predict: {tta: [none, hflip]}
"""


def make_toy(root: Path) -> Workspace:
    for i in range(5):
        image, labels = draw_scene(i, (90 + i, 110 - i))
        if i == 4:
            save(root / "data" / "test" / "t.tif", image)
            continue
        save(root / "data" / "images" / f"p{i}.tif", image)
        save(root / "data" / "masks" / f"p{i}.tif", labels * 255)
    commit(root / "configs" / "competition.yaml", COMPETITION)
    commit(root / "configs" / "whole.yaml", MODEL)
    commit(root / "configs" / "windows.yaml", "extends: whole.yaml\npredict: {window: [48, 56]}\n")
    return Workspace(root, "toy")


def test_large_images_from_tif_to_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_toy(tmp_path)
    competition = load_competition(tmp_path)
    monkeypatch.setattr(tif_rows, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(tif_rows, "BAND_BYTES", 5000)
    cv.run(workspace, competition, ["whole.yaml"], executor="serial", device="cpu")
    for module, name, value in (
        (cache_bands, "LARGE_PIXELS", 1000),
        (cache_module, "LARGE_PIXELS", 1000),
        (cache_module, "GLANCE", 30),
        (label_bands, "LARGE_PIXELS", 1000),
        (label_bands, "BAND_PIXELS", 1000),
        (probs, "LARGE_PIXELS", 1000),
        (blend, "BAND_PIXELS", 1000),
        (windows, "WHOLE_PIXELS", 64 * 64),
        (windows, "LARGE_WINDOW", (48, 56)),
    ):
        monkeypatch.setattr(module, name, value)
    cv.run(
        workspace, competition, ["whole.yaml"], name="auto", executor="serial", device="cpu"
    )  # the same config, but now its images are large
    cv.run(workspace, competition, ["windows.yaml"], executor="serial", device="cpu")
    runs = {name: read_run(workspace, name) for name in ("whole", "auto", "windows")}
    for fold in (0, 1):
        folders = {name: workspace.fold(name, fold) for name in runs}
        for views in ("none", "hflip"):
            found = {n: Probs(f / f"oof.{views}.npy") for n, f in folders.items()}
            for image_id in found["whole"].ids:
                whole, auto, asked = (found[n].read(image_id) for n in runs)
                np.testing.assert_array_equal(auto, asked)
                assert (
                    auto.shape == whole.shape == (1, 90 + int(image_id[1]), 110 - int(image_id[1]))
                )
                near = np.abs(auto.astype(int) - whole.astype(int))
                assert near.mean() < 20  # their weights are the same, the context is not
            counts = [read_counts(f / f"oof.{views}.counts.csv", 1)[1] for f in folders.values()]
            sizes = [(90 + i) * (110 - i) for i in range(4)]
            for table in counts:  # every pixel counted once
                assert set(table.sum(axis=(1, 2)).tolist()) <= set(sizes)
        assert runs["auto"].folds[fold]["views"] == runs["windows"].folds[fold]["views"]
    kept = [
        ensemble.run(workspace, competition, ["whole", "windows"], name=name)["scores"]
        for name in ("bands", "whole")
        if name == "bands" or monkeypatch.undo() is None
    ]
    assert kept[0] == kept[1]
    text = submit.run(workspace, competition, run_name="windows").read_text()
    assert text.startswith("ImageId,EncodedPixels\nt,")


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--identity", "--window", "300"]])
def test_the_benchmark_runs(repository: Path, tmp_path: Path, more: list[str]) -> None:
    command = [sys.executable, "benchmarks/large.py", "--side", "1100", "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, *more],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "limit 2048 MiB: kept" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_benchmark_of_training_runs(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/large.py", "--training", "--side", "1100"]
    done = subprocess.run(
        [*command, "--window", "512", "--folder", str(tmp_path)],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "400 of 400 hold foreground" in done.stdout
    assert "limit 2048 MiB: kept" in done.stdout
