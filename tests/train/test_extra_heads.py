"""A fold trained with deep supervision and an auxiliary classifier: what it stores, says and keeps to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.commands import cv, ensemble
from comp.errors import JobsFailedError, StoppedError
from comp.store import read_counts, read_csv, read_run
from comp.store.presence import presence_file, read_presence
from comp.train import loop as loop_module
from tests.test_road import hashes, make_toy

HEADS = [
    "model={arch: Unet, encoder_name: resnet18, encoder_depth: 3, decoder_channels: [16, 8, 8],"
    " deep_supervision: 0.5, aux_params: {weight: 0.3, dropout: 0.1}}",
    "train.epochs=2",
    "train.batch_size=2",
]


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("binary", ["train.mode=resize"]),
        ("multiclass", ["train.mode=crop", "predict.window=[32, 32]"]),
    ],
)
def test_answers_are_stored_for_every_view_and_image(
    task: str, more: list[str], tmp_path: Path
) -> None:
    workspace, competition = make_toy(tmp_path, task)
    cv.run(workspace, competition, ["small.yaml"], [*HEADS, *more], executor="serial", device="cpu")
    run = read_run(workspace, "small")
    n_classes = competition.n_classes
    for fold, result in run.folds.items():
        folder = run.dir / f"fold{fold}"
        for views in ("none", "hflip"):
            for kind in ("oof", "test"):
                path = presence_file(folder, kind, views)
                assert path.name in result["files"]
                said = read_presence(path, n_classes)
                assert said.presence.shape == (len(said.ids), n_classes)
                assert ((said.presence >= 0) & (said.presence <= 1)).all() and said.presence.any()
            ids, _ = read_counts(folder / f"oof.{views}.counts.csv", n_classes)
            said = read_presence(presence_file(folder, "oof", views), n_classes)
            assert list(said.ids) == ids
            stored = run.oof(fold, views)
            for n, image_id in enumerate(ids):  # the peak is that of the map as it is stored
                top = stored.read(image_id).max(axis=(1, 2)) / 255
                assert np.allclose(said.peak[n], top, atol=1 / 255)
        history = read_csv(folder / "history.csv")
        assert {"train_deep_supervision", "train_presence"} <= set(history[0])
    assert run.cv is not None
    assert set(run.cv["presence"]) == {"auc", "peak_auc", "share"}
    assert "## Which images have the class at all" in (run.dir / "cv.md").read_text()
    ensemble.run(workspace, competition, ["small"], "uniform")  # what the run left is whole


def test_resumed_after_an_epoch_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"executor": "serial", "device": "cpu", "only": [0]}
    whole, competition = make_toy(tmp_path / "whole")
    cv.run(whole, competition, ["small.yaml"], HEADS, **options)
    broken, competition = make_toy(tmp_path / "broken")
    plain = loop_module.run_epoch

    def stops(loop: Any, *more: Any) -> Any:
        if len(loop.history) == 1:
            raise StoppedError("stopped by SIGTERM", 15)
        return plain(loop, *more)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "run_epoch", stops)
        with pytest.raises(JobsFailedError):
            cv.run(broken, competition, ["small.yaml"], HEADS, **options)
    cv.run(broken, competition, ["small.yaml"], HEADS, **options)
    assert hashes(whole, "small") == hashes(broken, "small")


def test_a_run_without_a_classifier_stores_and_says_nothing(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    cv.run(
        workspace,
        competition,
        ["small.yaml"],
        ["train.epochs=1"],
        executor="serial",
        device="cpu",
    )
    run = read_run(workspace, "small")
    assert run.cv is not None and "presence" not in run.cv
    assert not list(run.dir.rglob("*.presence.csv"))
