"""Every committed config loads, names only things that exist, and builds a network that answers."""

from __future__ import annotations

from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import pytest
import yaml

from comp.cli import app
from comp.config import ModelConfig, load_competition, load_model, resolved
from comp.formats.rle_table import check_layout
from comp.metrics.scores import find_metric
from comp.registry import lookup

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS = REPOSITORY / "configs"
MODELS = sorted(p.name for p in CONFIGS.glob("*.yaml") if p.name != "competition.yaml")
COMPETITIONS = sorted(p.stem for p in (CONFIGS / "competitions").glob("*.yaml"))

# model config -> the competition whose system it reproduces; the others run on any of their task
SYSTEMS = {
    "deeplab_r50.yaml": "landfill",
    "rooftop_deeplab_r50.yaml": "rooftop",
    "atrous_unet_r50.yaml": "atrous",
    "unet_densenet121.yaml": "voc21",
    "unet_plain.yaml": "buildings",
}


def load(name: str, *overrides: str) -> ModelConfig:
    return load_model(CONFIGS / name, overrides)


def task_of(name: str) -> tuple[str, int]:
    """A task that the model is made for, and its number of classes."""
    if name not in SYSTEMS:
        config = load(name)
        if "ce" in config.loss and config.model.head is None:
            return "multiclass", 5
    competition = load_competition(REPOSITORY, SYSTEMS.get(name))
    return competition.task, competition.n_classes


# --- competition files


@pytest.mark.parametrize("name", [None, *COMPETITIONS])
def test_a_competition_names_only_what_exists(name: str | None) -> None:
    from comp.data.folds.schemes import FOLD_SCHEMES

    competition = load_competition(REPOSITORY, name)
    assert competition.name == (name or "demo")
    assert find_metric(competition.metric_name).greater_is_better
    lookup(FOLD_SCHEMES, competition.folds.scheme, "fold scheme")
    if competition.data.test is not None:
        check_layout(competition.submission, competition.n_classes)
    assert competition.data.root == f"data/{competition.name}"


@pytest.mark.parametrize("model", sorted(SYSTEMS))
def test_a_system_has_its_two_files_that_name_each_other(model: str) -> None:
    competition = SYSTEMS[model]
    command = f"comp cv --competition {competition} --config {model}"
    assert command in (CONFIGS / model).read_text()
    assert command in (CONFIGS / "competitions" / f"{competition}.yaml").read_text()


def test_the_demo_that_is_installed_is_the_one_committed() -> None:
    inside = package_files("comp.demo") / "workspace"
    for name in ("competition.yaml", "demo_unet.yaml", "demo_resnet.yaml"):
        mine, theirs = (CONFIGS / name).read_text(), (inside / name).read_text(encoding="utf-8")
        assert yaml.safe_load(theirs) == yaml.safe_load(mine), f"{name}: the two copies differ"


# --- model files


@pytest.mark.parametrize("name", MODELS)
def test_a_model_config_says_nothing_wrong(name: str) -> None:
    """As committed, pretrained weights included: the check asks no network for them."""
    from comp.data.samples.augment import check_augment
    from comp.models import check_model

    config = load(name)
    assert check_model(config, *task_of(name), channels=3) == []
    assert check_augment(config.augment, (64, 64)) == []


@pytest.mark.parametrize("name", MODELS)
def test_a_model_config_builds_and_answers(name: str) -> None:
    import torch

    from comp.models import build_loss, build_model, build_optimizer, build_schedule, make_target

    torch.manual_seed(0)
    config = load(name, "model.encoder_weights=null")
    task, n_classes = task_of(name)
    segmenter = build_model(config.model, task=task, n_classes=n_classes, channels=3)
    side = max(64, segmenter.stride)
    labels = torch.zeros(2, side, side, dtype=torch.uint8)
    labels[:, : side // 2] = 1
    logits = segmenter.eval()(segmenter.normalize(torch.rand(2, 3, side, side)))
    probs = segmenter.logits_to_probs(logits)
    assert probs.shape == (2, n_classes, side, side)
    assert bool(((probs >= 0) & (probs <= 1)).all())

    loss = build_loss(config.loss, task=task, head=segmenter.head, n_classes=n_classes)
    total, terms = loss(logits, make_target(labels, task, n_classes))
    total.backward()
    assert set(terms) == set(config.loss) and bool(torch.isfinite(total))
    optimizer = build_optimizer(config.optim, segmenter, fused=False)
    build_schedule(config.schedule, optimizer, epochs=config.train.epochs, steps_per_epoch=4)
    optimizer.step()


@pytest.mark.parametrize("name", MODELS)
def test_the_header_says_what_and_how(name: str) -> None:
    lines = (CONFIGS / name).read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    said = "\n".join(lines[:end])
    parent = load_raw(name).get("extends")
    assert f"--config {name}" in said or parent, f"{name}: no command in its header"
    order = ["extends", *ModelConfig.model_fields]
    keys = list(load_raw(name))
    assert keys == sorted(keys, key=order.index), f"{name}: sections out of the order they run in"


def load_raw(name: str) -> dict[str, Any]:
    from comp.config import parse_yaml

    return dict(parse_yaml((CONFIGS / name).read_text(), name))


def test_every_command_and_config_that_is_written_down_exists() -> None:
    import re

    from typer.main import get_command

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    files = [*CONFIGS.rglob("*.yaml"), REPOSITORY / "README.md"]
    for path in files:
        text = path.read_text(encoding="utf-8")
        asked = set(re.findall(r"^#?[ ]*comp ([a-z]+)", text, flags=re.MULTILINE))
        asked |= set(re.findall(r"(?:&& |`)comp ([a-z]+)", text))
        assert asked <= known, f"{path.name}: no such command: {sorted(asked - known)}"
        named = set(re.findall(r"--config ([a-z0-9_]+\.yaml)", text))
        assert named <= set(MODELS), f"{path.name}: no such config: {sorted(named - set(MODELS))}"
        named = set(re.findall(r"--competition ([a-z0-9_]+)", text))
        assert named <= set(COMPETITIONS), f"{path.name}: no such competition"


# --- what the systems' table asks, held in the files


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "deeplab_r50.yaml",
            {
                "model.arch": "DeepLabV3Plus",
                "model.encoder_name": "resnet50",
                "model.encoder_weights": "imagenet",
                "model.head": "sigmoid",
                "model.normalize": "unit",
                "loss": {"bce": {"weight": 1.0}},
                "optim.name": "Adam",
                "optim.lr": 1e-4,
                "train.batch_size": 4,
                "train.epochs": 25,
                "train.size": [512, 512],
            },
        ),
        (
            "rooftop_deeplab_r50.yaml",
            {
                "model.arch": "DeepLabV3Plus",
                "model.head": "softmax",
                "loss": {"ce": {"weight": 0.6}, "dice": {"weight": 0.4}},
                "optim.name": "AdamW",
                "optim.lr": 1e-3,
                "optim.weight_decay": 1e-4,
                "schedule.name": "plateau",
                "schedule.monitor": "loss",
                "schedule.factor": 0.5,
                "schedule.patience": 5,
                "schedule.min_lr": 1e-6,
                "train.clip_grad_norm": 1.0,
                "train.early_stop.patience": 10,
                "train.batch_size": 32,
                "train.epochs": 50,
                "train.size": [256, 256],
            },
        ),
        (
            "atrous_unet_r50.yaml",
            {
                "model.arch": "AtrousUnet",
                "model.encoder_name": "resnet50",
                "model.decoder_channels": [1024, 512, 256, 64],
                "model.rates": [1, 6, 12, 18],
                "model.kernels": [1, 3, 3, 3],
                "optim.name": "Adam",
                "optim.lr": 1e-4,
                "train.batch_size": 8,
                "train.epochs": 25,
                "train.size": [512, 512],
            },
        ),
        (
            "unet_densenet121.yaml",
            {
                "model.encoder_name": "densenet121",
                "model.freeze_encoder": True,
                "model.decoder_channels": [256, 128, 64, 32, 32],
                "model.skips": [4, 3],
                "loss": {"ce": {"weight": 1.0}},
                "optim.name": "Adam",
                "optim.lr": 1e-3,
                "schedule.monitor": "metric",
                "schedule.factor": 0.1,
                "schedule.patience": 5,
                "schedule.min_lr": 1e-4,
                "train.early_stop": {"patience": 10, "monitor": "loss"},
                "train.tensorboard": True,
                "train.epochs": 5,
                "train.size": [256, 256],
                "predict.weights": "best_loss",
            },
        ),
        (
            "unet_plain.yaml",
            {
                "model.arch": "PlainUnet",
                "model.encoder_name": None,
                "loss": {"jaccard": {"weight": 1.0}},
                "train.size": [256, 256],
            },
        ),
    ],
)
def test_a_system_is_as_its_table_says(name: str, values: dict[str, Any]) -> None:
    config = resolved(load(name))
    for key, expected in values.items():
        found: Any = config
        for part in key.split("."):
            found = found[part]
        assert found == expected, f"{name}: {key}"


def test_the_systems_competitions_are_as_their_table_says() -> None:
    landfill, rooftop, voc21, buildings = (
        load_competition(REPOSITORY, name) for name in ("landfill", "rooftop", "voc21", "buildings")
    )
    assert [pairs.split for pairs in landfill.data.train] == ["train", "val"]
    assert landfill.folds.scheme == "predefined" and landfill.metric == "iou_with_background"
    assert (rooftop.folds.scheme, rooftop.folds.val_share, rooftop.folds.test_share) == (
        "split",
        0.05,
        0.05,
    )
    assert (voc21.n_classes, voc21.ignore_index) == (21, 255)
    assert buildings.folds.scheme == "heldout" and str(buildings.folds.heldout).endswith(".json")
    assert buildings.submission.sample == "sample_submission.csv"


# --- from a shell


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for source in [*CONFIGS.glob("*.yaml"), *(CONFIGS / "competitions").glob("*.yaml")]:
        target = tmp_path / source.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    return tmp_path


def call(*arguments: str) -> tuple[int, str]:
    """Run the command line in this process: (exit code, what it said)."""
    from typer.testing import CliRunner

    from comp.errors import CompError

    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, CompError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("name", COMPETITIONS)
def test_absent_data_is_exit_3_naming_the_folder(name: str, workspace: Path) -> None:
    code, said = call("folds", "--root", str(workspace), "--competition", name)
    assert code == 3
    assert str(workspace / "data" / name) in said and "data.root" in said


def test_a_wrong_config_is_exit_2_with_everything_wrong_in_it(workspace: Path) -> None:
    code, said = call(
        *("cv", "--root", str(workspace), "--competition", "landfill", "-c", "deeplab_r50.yaml"),
        *("-o", "train.epoch=3", "-o", "optim.lr=fast"),
    )
    assert code == 2
    assert "train.epoch: unknown key; did you mean 'epochs'?" in said and "optim.lr" in said
    code, said = call("cv", "--root", str(workspace), "-c", "deeplab_r5.yaml")
    assert code == 2 and "did you mean 'deeplab_r50.yaml'" in said
