"""The ensemble's kernels and searches against what people write: both sides in one process, in turn, one thread.

    S1  the score at all 256 thresholds, over a numpy loop of 100 and over segmentation_models_pytorch.metrics
    S2  exact scores of weight vectors, over np.tensordot on all pixels
    S3  a whole search with preparation, over 300 TPE trials of the plain objective (median of five seeds)
    all a submission of 30 members: blend, threshold, clean-up, run lengths, CSV

Members are drawn: a field of blurred noise is the truth where it is high, and a member is that field with
shared and own blurred noise. `--runs ROOT` does S3 with the trained runs of a workspace too. Goals: S1 100 and
500 times, S2 5,000 a second and 60 times, S3 within 1e-4 in 1/20 of the time, all 8 times.

Usage: OMP_NUM_THREADS=1 python benchmarks/ensemble.py [--only s1 s2 s3 all] [--runs ROOT] [--seeds 5] [--trials 300]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.ndimage import gaussian_filter

from comp.blending.blend import Source, blend_mask
from comp.blending.methods import coordinate
from comp.blending.objective import Objective, half, near
from comp.blending.pool import make_pool
from comp.config import Submission
from comp.formats.writing import write_submission
from comp.metrics.counts import count_levels
from comp.metrics.scores import score_counts

METRIC = "dice_image_mean"


def draw(n_members: int, n_images: int = 100, side: int = 256, seed: int = 0) -> Any:
    """(M, N, H, W) uint8 members and (N, H, W) uint8 truth; single Dice about 0.90, blend about 0.94."""
    rng = np.random.default_rng(seed)

    def noise(sigma: float) -> np.ndarray:
        field = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), sigma)
        return np.asarray(field / field.std())

    labels = np.zeros((n_images, side, side), np.uint8)
    probs = np.zeros((n_members, n_images, side, side), np.uint8)
    own = rng.uniform(0.10, 0.22, n_members)  # how wrong each member is by itself
    gain, shift = rng.uniform(8, 20, n_members), rng.normal(0, 0.04, n_members)
    for i in range(n_images):
        field = noise(9) - 1.0
        labels[i] = field > 0
        shared = 0.06 * noise(4)
        for m in range(n_members):
            logit = gain[m] * (field + shared + own[m] * noise(3) + shift[m])
            probs[m, i] = np.rint(255 / (1 + np.exp(-logit)))
    return probs, labels


def as_source(probs: np.ndarray, labels: np.ndarray) -> Source:
    return Source(
        "binary", 1, 255, len(labels), len(probs),
        lambda image, column: probs[column, image][None], lambda image: labels[image],
    )  # fmt: skip


def interleaved(calls: dict[str, Callable[[], Any]], times: dict[str, int]) -> dict[str, float]:
    """Fastest CPU seconds of each, taken in turn."""
    best = {name: float("inf") for name in calls}
    for turn in range(max(times.values())):
        for name, call in calls.items():
            if turn < times[name]:
                began = time.process_time()
                call()
                best[name] = min(best[name], time.process_time() - began)
    return best


def dice_of(mask: np.ndarray, truth: np.ndarray) -> float:
    """Mean Dice of images (N, H, W), the way a notebook writes it."""
    hit = (mask & truth).sum(axis=(1, 2))
    whole = mask.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))
    return float(np.where(whole == 0, 1.0, 2 * hit / np.maximum(whole, 1)).mean())


def s1(n_images: int) -> None:
    """All thresholds."""
    import segmentation_models_pytorch as smp
    import torch

    torch.set_num_threads(1)
    probs, labels = draw(1, n_images)
    q, p, truth = probs[0], probs[0] / np.float32(255), labels == 1
    values = [(v - 0.5) / 255 for v in np.linspace(1, 255, 100).round().astype(int)]
    tensors = torch.from_numpy(p)[:, None], torch.from_numpy(labels.astype(np.int64))[:, None]
    found: dict[str, list[float]] = {}

    def numpy_loop() -> None:
        found["numpy"] = [dice_of(p > t, truth) for t in values]

    def smp_loop() -> None:
        scores = []
        for t in values[:5]:
            counts = smp.metrics.get_stats(*tensors, mode="binary", threshold=t)
            scores.append(float(smp.metrics.f1_score(*counts, reduction="micro-imagewise")))
        found["smp"] = scores

    def ours() -> None:
        counts = np.stack([count_levels(a, b) for a, b in zip(q, labels, strict=True)])
        found["ours"] = [score_counts(METRIC, counts[:, v : v + 1]) for v in range(256)]

    ours()  # numba compiles
    calls = {"ours": ours, "numpy": numpy_loop, "smp": smp_loop}
    took = interleaved(calls, {"ours": 20, "numpy": 2, "smp": 2})
    for v, score in zip(np.linspace(1, 255, 100).round().astype(int), found["numpy"], strict=True):
        assert abs(found["ours"][v] - score) < 1e-12
    took["smp"] *= len(values) / 5
    print(
        f"S1 {n_images} images 256^2, all thresholds: ours {took['ours'] * 1e3:.1f} ms; 100 thresholds: numpy "
        f"{took['numpy'] * 1e3:.0f} ms ({took['numpy'] / took['ours']:.0f}x, goal 100), smp "
        f"{took['smp'] * 1e3:.0f} ms ({took['smp'] / took['ours']:.0f}x, goal 500)",
        flush=True,
    )


def plain_objective(probs: np.ndarray, labels: np.ndarray) -> Callable[[Any], float]:
    """What a notebook scores: float32 blend of all pixels, cut at one half."""
    p, truth = probs.reshape(len(probs), -1) / np.float32(255), labels == 1

    def score(weights: Any) -> float:
        weights = np.asarray(weights, np.float32)
        blend = np.tensordot(weights / weights.sum(), p, axes=1)
        return dice_of((blend >= 0.5).reshape(labels.shape), truth)

    return score


def s2(n_members: int, n_images: int) -> None:
    """Weight vectors a second."""
    probs, labels = draw(n_members, n_images)
    plain = plain_objective(probs, labels)
    began = time.process_time()
    pool = make_pool(as_source(probs, labels)).narrow(thresholds=(0.5,))
    prepared = time.process_time() - began
    rng = np.random.default_rng(1)
    found: dict[str, np.ndarray] = {}
    many = 256
    sets = {
        "hundredths": rng.multinomial(100, [1 / n_members] * n_members, many) * 10,
        "thousandths": rng.multinomial(1000, [1 / n_members] * n_members, many),
    }

    def ours(name: str) -> Callable[[], None]:
        def call() -> None:
            counts = pool.counts_of(sets[name], (0.5,))
            found[name] = np.array([score_counts(METRIC, c) for c in counts])

        return call

    def tensordot() -> None:
        found["plain"] = np.array([plain(w) for w in sets["hundredths"][:4]])

    calls = {"tensordot": tensordot, **{name: ours(name) for name in sets}}
    for name in sets:
        calls[name]()
    took = interleaved(calls, {"tensordot": 3, "hundredths": 12, "thousandths": 12})
    assert np.abs(found["plain"] - found["hundredths"][:4]).max() < 1e-4  # float ties
    share = pool.pixels[0].truth.size / labels.size
    each = took["tensordot"] / 4
    print(
        f"S2 {n_members} members x {labels.size / 1e6:.2f} Mpx ({share:.1%} disputed, prepared in "
        f"{prepared * 1e3:.0f} ms): tensordot {1 / each:.0f}/s; "
        + "; ".join(
            f"{name} {many / took[name]:,.0f}/s ({each * many / took[name]:.0f}x)" for name in sets
        )
        + " (goal at 6 members: 5,000/s, 60x)",
        flush=True,
    )


def tpe(score: Callable[[Any], float], n_members: int, seed: int, trials: int) -> float:
    """Best score of so many trials over free weights, as notebooks do it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(
        lambda trial: score([trial.suggest_float(f"w{m}", 0, 1) for m in range(n_members)]),
        n_trials=trials,
    )
    return float(study.best_value)


def s3(name: str, probs: np.ndarray, labels: np.ndarray, seeds: int, trials: int) -> None:
    """A whole search, from stored probabilities on."""
    plain = plain_objective(probs, labels)
    ours, times, theirs = [], [], []

    def fit(n_images: int) -> tuple[Objective, tuple[int, ...]]:
        source = as_source(probs[:, :n_images], labels[:n_images])
        objective = Objective(make_pool(source), METRIC)
        return objective, coordinate(near(objective, half(objective)), half(objective))

    fit(2)  # numba compiles
    for seed in range(seeds):
        began = time.process_time()
        objective, weights = fit(len(labels))
        ours.append(time.process_time() - began)
        began = time.process_time()
        theirs.append(tpe(plain, len(probs), seed, trials))
        times.append(time.process_time() - began)
    score = objective.at(weights, half(objective))
    uniform = plain(np.ones(len(probs)))
    median, took, theirs_s = (statistics.median(v) for v in (theirs, ours, times))
    print(
        f"S3 {name}: uniform {uniform:.5f}, TPE-{trials} {median:.5f} ({min(theirs):.5f} to {max(theirs):.5f}) in "
        f"{theirs_s:.1f} s; ours {score:.5f} ({score - median:+.5f}, goal -0.00010) in {took:.2f} s: "
        f"1/{theirs_s / took:.0f} (goal 1/20)",
        flush=True,
    )


def trained(root: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Out-of-fold predictions of a workspace's runs, of the images that have the commonest size."""
    from comp.commands import ensemble
    from comp.config import data_root
    from comp.config.loading import load_competition
    from comp.data.cache.cache import Recipe as Reading
    from comp.data.cache.open import open_cache
    from comp.data.folds.table import read_folds
    from comp.data.sources.records import find_records
    from comp.files import Workspace
    from comp.store.members import select_runs

    competition = load_competition(root)
    workspace = Workspace(root, competition.name)
    columns, _ = ensemble.open_columns(select_runs(workspace, None)[0], None)
    records = find_records(competition, data_root(workspace, competition))
    images = ensemble.check_images(columns, read_folds(workspace, records))
    truth = open_cache(workspace.cache, competition, records.train, Reading())
    source = ensemble.make_source(competition, columns, images, truth)
    shapes = [source.labels(i).shape for i in range(source.n_images)]
    common = max(set(shapes), key=shapes.count)
    rows = [i for i, shape in enumerate(shapes) if shape == common and len(shape) == 2]
    probs = np.stack([
        np.stack([source.planes(i, c)[0] for i in rows]) for c in range(source.n_columns)
    ])  # fmt: skip
    return (
        f"{len(rows)} images of {competition.name}",
        probs,
        np.stack([source.labels(i) for i in rows]),
    )


def kaggle_rle(mask: np.ndarray) -> str:
    """The snippet of the notebooks."""
    pixels = np.concatenate([[0], mask.T.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


def submission(n_members: int = 30, n_images: int = 60, min_area: int = 30) -> None:
    """Blend to CSV."""
    import cv2
    import pandas as pd

    cv2.setNumThreads(1)
    probs, labels = draw(n_members, n_images)
    weights = [int(w) for w in np.random.default_rng(2).integers(1, 60, n_members)]
    folder = Path(tempfile.mkdtemp(prefix="comp-benchmark-"))
    ids = [f"image{i:04d}" for i in range(n_images)]
    number = {image_id: i for i, image_id in enumerate(ids)}

    def naive() -> None:  # what the notebooks of Severstal and Clouds 2019 do
        blend = sum(w * p.astype(np.float32) / 255 for w, p in zip(weights, probs, strict=True))
        blend /= sum(weights)
        rows = []
        for i in range(n_images):
            n, part = cv2.connectedComponents((blend[i] > 0.5).astype(np.uint8))
            mask = np.zeros(part.shape, np.uint8)
            for c in range(1, n):
                one = part == c
                if one.sum() >= min_area:
                    mask[one] = 1
            rows.append({"id": ids[i], "rle": kaggle_rle(mask)})
        pd.DataFrame(rows).to_csv(folder / "naive.csv", index=False)

    def ours() -> None:
        write_submission(
            folder / "ours.csv", Submission(id_column="id", rle_column="rle"), "binary", ["a"], ids,
            lambda image_id: blend_mask(
                probs[:, number[image_id]][:, None], weights, "binary", 255, (0.5,), min_area
            ),
            lambda image_id: labels.shape[1:],
        )  # fmt: skip

    ours()
    took = interleaved({"naive": naive, "ours": ours}, {"naive": 5, "ours": 15})
    a, b = (
        pd.read_csv(folder / f"{name}.csv", keep_default_na=False) for name in ("naive", "ours")
    )
    same = (a["rle"] == b["rle"]).mean()
    print(
        f"all {n_members} members, {n_images} images 256^2 to a checked CSV: naive {took['naive'] * 1e3:.0f} ms, ours "
        f"{took['ours'] * 1e3:.0f} ms: {took['naive'] / took['ours']:.1f}x (goal 8); {same:.0%} of the rows alike "
        "(a float32 mean flips ties)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=["s1", "s2", "s3", "all"])
    parser.add_argument("--runs", type=Path, help="a workspace with trained runs, for S3")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    asked = options.only or ["s1", "s2", "s3", "all"]
    print(
        f"numpy {np.__version__}, python {sys.version.split()[0]}, one thread, CPU seconds",
        flush=True,
    )
    if "s1" in asked:
        s1(options.images)
    for n_members in (6, 12) if "s2" in asked else ():
        s2(n_members, options.images)
    for n_members in (6, 12) if "s3" in asked else ():
        s3(f"{n_members} members", *draw(n_members, options.images), options.seeds, options.trials)
    if options.runs is not None:
        name, probs, labels = trained(options.runs)
        s3(f"{len(probs)} trained, {name}", probs, labels, options.seeds, options.trials)
    if "all" in asked:
        submission()


if __name__ == "__main__":
    main()
