"""What an option is worth: named variants trained on the same folds and seeds, each beside the base.

A variant is a set of overrides of one config; every (variant, seed, fold) is a training of its own, one a
core, and every kind of weights that it leaves is a row. A row shows the validation score (mean +- standard error over
seeds x folds) and its differences from the base's last epoch, paired by seed and fold. A star marks weights
chosen on the images they are scored on: they flatter, and compare only with each other.

Usage: COMP_TEST_DATA=DIR python benchmarks/ablation.py [--variants base,ema,...] [--seeds 0,1]
       [--epochs 4] [--folds 0] [--config cpu_unet_r18] [--set NAME='key=value key=value'] [-o key=value]
       [--keep DIR]

The default takes about ten minutes on two cores. `--keep` makes the runs there, where the next call finds
those that are done. A difference is worth believing from about two of its standard errors on.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import yaml

from comp.commands import cv
from comp.config import load_competition
from comp.config.reading import parse_yaml
from comp.files import Workspace
from comp.plots.tables import text_table
from comp.store import read_run

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
CHOSEN = ("best_metric", "best_loss", "top", "soup")  # on the images they are scored on
VARIANTS: dict[str, tuple[str, ...]] = {
    "base": (),
    # the raw weights of these three are the base's, bit for bit
    "ema": ("train.ema=0.999",),
    "ema99": ("train.ema=0.99",),
    "averages": ("train.ema=0.999", "train.average_top=3", "train.soup=5"),
    "snapshots": ("schedule.name=restarts", "schedule.cycles=2", "train.snapshots=2"),
    "cosine": ("schedule.name=cosine",),
    "warmup": ("schedule.name=cosine", "schedule.warmup_epochs=0.5"),
    "poly": ("schedule.name=poly",),
    "layer_decay": ("optim.layer_decay=0.75",),
    "slow_encoder": ("optim.encoder_lr=2e-4",),
    "mixup": ("train.mix={mixup: {p: 0.5, alpha: 0.4}, until: 0.8}",),
    "cutmix": ("train.mix={cutmix: {p: 0.5, area: [0.1, 0.5]}, until: 0.8}",),
    "copy_paste": ("train.mix={copy_paste: {p: 0.5, share: 0.5}, until: 0.8}",),
    "mosaic": ("train.mix={mosaic: {p: 0.5, centre: [0.25, 0.75]}, until: 0.8}",),
    "by_loss": ("train.sampler.by=loss", "train.sampler.share=0.5"),
    "hard_pixels": ("loss.bce={weight: 0.5, top_share: 0.25}",),
    "deep": ("model.deep_supervision=0.5",),
    "presence": ("model.aux_params={weight: 0.1}",),
    "smoothing": ("loss.bce={weight: 0.5, label_smoothing: 0.05}",),
}
Scores = dict[tuple[int, int], float]  # (seed, fold) -> score


def make_workspace(root: Path, config: str, data: Path) -> Workspace:
    """A workspace on the nuclei with the config; one that is there is kept."""
    pairs = {"images": "images/{id}.png", "masks": "masks/{id}.png"}
    values = {
        "name": "ablation",
        "task": "binary",
        "classes": ["nucleus"],
        "data": {"root": str(data.resolve()), "train": [pairs], "mask_values": {0: 0, 255: 1}},
        "folds": {"scheme": "kfold", "n_splits": 5},
    }
    (root / "configs").mkdir(parents=True, exist_ok=True)
    (root / "configs" / "competition.yaml").write_text(yaml.safe_dump(values))
    for path in CONFIGS.glob("*.yaml"):  # a config may extend another
        if path.name != "competition.yaml":
            shutil.copy(path, root / "configs")
    if not (root / "configs" / f"{config}.yaml").is_file():
        raise SystemExit(f"--config {config}: no {CONFIGS / config}.yaml")
    return Workspace(root, "ablation")


def write_variant(workspace: Workspace, config: str, name: str, overrides: Sequence[str]) -> None:
    """A config file that extends `config` by overrides."""
    values: dict[str, Any] = {"extends": f"{config}.yaml"}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise SystemExit(f"{override!r}: expected key=value")
        *path, last = key.split(".")
        node = values
        for part in path:
            node = node.setdefault(part, {})
        node[last] = parse_yaml(value, override)
    text = yaml.safe_dump(values, sort_keys=False)
    (workspace.root / "configs" / f"{name}.yaml").write_text(text)


def train(
    workspace: Workspace, names: Sequence[str], folds: Sequence[int]
) -> dict[str, dict[int, dict[str, Any]]]:
    """Train every config where it is not done; the result of each of its folds."""
    competition = load_competition(workspace.root)
    with contextlib.redirect_stdout(sys.stderr):
        cv.run(workspace, competition, [f"{name}.yaml" for name in names], only=folds)
    runs = {name: read_run(workspace, name) for name in names}
    return {name: {fold: dict(run.folds[fold]) for fold in folds} for name, run in runs.items()}


def collect(
    results: Mapping[tuple[str, int], Mapping[int, Mapping[str, Any]]],
) -> dict[tuple[str, str], Scores]:
    """(variant, kind of weights) -> its scores."""
    found: dict[tuple[str, str], Scores] = {}
    for (variant, seed), folds in results.items():
        for fold, result in folds.items():
            for kind, score in result["scores"].items():
                if score is not None:
                    found.setdefault((variant, kind), {})[seed, fold] = score
    return found


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error (ddof 1); NaN of fewer than two values."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), error


def said(values: Sequence[float], form: str) -> str:
    """Mean +- standard error, the mean alone where there is no more than one value."""
    mean, error = mean_and_error(values)
    return format(mean, form) + ("" if math.isnan(error) else f" +- {error:.4f}")


def rows(found: Mapping[tuple[str, str], Scores], seconds: Mapping[str, float]) -> Iterator[Any]:
    """Rows of the table: variant, weights, n, score, difference from the base, trainings better, time."""
    base = found["base", "last"]
    for (variant, kind), scores in found.items():
        pairs = [scores[key] - base[key] for key in scores if key in base]
        difference, better = "", ""
        if (variant, kind) != ("base", "last") and pairs:
            difference = said(pairs, "+.4f")
            better = f"{sum(p > 0 for p in pairs)}/{len(pairs)}"
        star = " *" if kind in CHOSEN else ""
        cost = f"{seconds[variant]:.0f} s" if kind == "last" else ""
        yield [
            variant,
            kind + star,
            len(scores),
            said(list(scores.values()), ".4f"),
            difference,
            better,
            cost,
        ]


def chosen_variants(asked: str, further: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The variants to train, the base first.

    Raises:
        SystemExit: an unknown name, or a --set without overrides.
    """
    known = dict(VARIANTS)
    for item in further:
        name, equals, overrides = item.partition("=")
        if not equals or "=" not in overrides:
            raise SystemExit(f"--set {item!r}: expected NAME='key=value key=value'")
        known[name] = tuple(overrides.split())
        asked += f",{name}"
    names = list(dict.fromkeys(["base", *(n for n in asked.split(",") if n)]))
    if unknown := [n for n in names if n not in known]:
        raise SystemExit(f"--variants {','.join(unknown)}: expected some of {', '.join(known)}")
    return {name: known[name] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", default="base,averages,snapshots")
    parser.add_argument("--set", action="append", default=[], metavar="NAME='key=value ...'")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--folds", default="0")
    parser.add_argument("--config", default="cpu_unet_r18")
    parser.add_argument("-o", dest="overrides", action="append", default=[], metavar="key=value")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    data = os.environ.get("COMP_TEST_DATA")
    if not data:
        raise SystemExit("set COMP_TEST_DATA to the folder that holds nuclei/")
    variants = chosen_variants(args.variants, args.set)
    seeds, folds = ([int(v) for v in text.split(",")] for text in (args.seeds, args.folds))
    with contextlib.ExitStack() as stack:
        root = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workspace = make_workspace(root.resolve(), args.config, Path(data) / "nuclei")
        plain = (
            f"train.epochs={args.epochs}",
            "train.validate_every=1",
            "predict.weights=last",
            "predict.tta=[none]",
            *args.overrides,
        )
        names = {}
        for seed in seeds:  # variants take turns, so that a slow hour is everybody's
            for variant, overrides in variants.items():
                names[variant, seed] = name = f"{variant}-e{args.epochs}-s{seed}"
                every = (*plain, f"train.seed={seed}", *overrides)
                write_variant(workspace, args.config, name, every)
        done = train(workspace, list(names.values()), folds)
    results = {key: done[name] for key, name in names.items()}
    seconds = dict.fromkeys(variants, 0.0)
    for (variant, _), by_fold in results.items():
        seconds[variant] += sum(result["seconds"] for result in by_fold.values())
    metric = next(iter(results["base", seeds[0]].values()))["metric"]
    print(
        f"{args.config}, nuclei, {args.epochs} epochs, seeds {args.seeds}, folds {args.folds}: {metric}"
    )
    headers = ["variant", "weights", "n", "score", "minus base's last", "better", "time"]
    print(text_table(headers, list(rows(collect(results), seconds)), "llrrrrr"))
    print("* chosen on the images that it is scored on")


if __name__ == "__main__":
    main()
