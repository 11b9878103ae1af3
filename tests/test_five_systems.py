"""The five systems that `configs/` reproduces, each trained for real on a small drawn set in its own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from comp.commands import cv, ensemble, score, submit
from comp.config import load_competition
from comp.files import Workspace, commit
from comp.store import read_csv, read_run
from tests import drawn

REPOSITORY = Path(__file__).resolve().parent.parent
TOY = (
    "model.encoder_weights=null",
    "train.size=[64, 64]",
    "train.epochs=2",
    "train.batch_size=4",
    "train.precision=fp32",
    "train.channels_last=false",
    "optim.lr=1e-3",
)
SYSTEMS: dict[str, tuple[str, Callable[..., Path], dict[str, int], tuple[str, ...]]] = {
    "landfill": ("deeplab_r50.yaml", drawn.draw_landfill, {"n": 6}, TOY),
    "rooftop": ("rooftop_deeplab_r50.yaml", drawn.draw_rooftop, {"n": 20}, TOY),
    "atrous": ("atrous_unet_r50.yaml", drawn.draw_atrous, {"n": 5}, TOY),
    "voc21": ("unet_densenet121.yaml", drawn.draw_voc21, {"n": 10}, TOY),
    "buildings": ("unet_plain.yaml", drawn.draw_plain, {"n": 8}, TOY[1:]),
}


def make_workspace(root: Path, name: str) -> Workspace:
    """The committed competition file and model config, beside drawn data."""
    config, draw, how_many, _ = SYSTEMS[name]
    for part in (
        f"configs/competitions/{name}.yaml",
        f"configs/{config}",
        "configs/competition.yaml",
    ):
        commit(root / part, (REPOSITORY / part).read_bytes())
    draw(root / "data" / name, **how_many)
    return Workspace(root, name)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_system_trains_in_its_own_layout(name: str, tmp_path: Path) -> None:
    config, _, _, overrides = SYSTEMS[name]
    workspace = make_workspace(tmp_path, name)
    competition = load_competition(tmp_path, name)
    reports = cv.run(workspace, competition, [config], overrides, executor="serial", device="cpu")
    report = reports[Path(config).stem]
    assert report["complete"] and 0 <= report["pooled"] <= 1
    run = read_run(workspace, Path(config).stem)
    for fold, result in run.folds.items():
        rows = read_csv(run.dir / f"fold{fold}" / "history.csv")
        assert len(rows) == 2 and float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
        for term in run.config["loss"]:  # each term apart, for train and validation
            assert f"train_{term}" in rows[0] and f"val_{term}" in rows[0]
        assert {
            "weights.best_metric.safetensors",
            "weights.best_loss.safetensors",
            "weights.last.safetensors",
        } <= set(result["files"])
    if name in ("landfill", "rooftop", "atrous"):
        assert {"pixel_accuracy", "iou_with_background"} <= set(report["pooled_scores"])
    if name == "rooftop":
        assert report["folds"][0]["heldout"]["none"]["iou_with_background"] is not None
    if name == "voc21":
        assert len(report["per_class"]) == 21
        assert list((run.dir / "fold0" / "tensorboard").glob("events*"))
    if name == "buildings":
        ensemble.run(workspace, competition, None, "alone")
        path = submit.run(workspace, competition)
        key = tmp_path / "data" / name / "solution.csv"
        found = score.run(
            path, key, competition, score.image_sizes(workspace, competition), [], None
        )
        assert 0 <= found["scores"]["all"]["iou_dataset"] <= 1
