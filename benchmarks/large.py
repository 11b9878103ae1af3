"""What a large tif costs: memory and seconds of reading, predicting by windows and writing its run lengths.

Draws a tif of SIDE x SIDE pixels (RGB, tiles, deflate) into a temporary folder; then a process of its own
reads it into a cache, predicts it (a small convolution on one thread), stores the probabilities and writes
the run-length code of both pixel orders; another one blends what is stored into a checked submission, as
`comp submit` does. Printed: peak resident memory of the process after each step, pages of mapped files
included.

With --training the whole road instead: two such images with their masks and one to predict, through
`comp init, verify, folds, cv, ensemble, submit`, each a process of its own, with its seconds and its peak;
before that, random crops of which half must hold foreground, a second.

Usage: OMP_NUM_THREADS=1 python benchmarks/large.py [--side 20000] [--window 1024] [--identity | --training]
    [--folder DIR]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import tifffile

TILE = 512
LIMIT_MIB = 2048


def draw_tif(path: Path, side: int, seed: int = 0, mask: Path | None = None) -> None:
    """Discs of many sizes on a slope, a little noise; written tile by tile.

    Args:
        mask: where the discs are written, 0 and 255.
    """
    if mask is not None:
        write_tif(mask, (255 * m for _, m in draw_tiles(side, seed)), (side, side))
    write_tif(path, (tile for tile, _ in draw_tiles(side, seed)), (side, side, 3))


def write_tif(path: Path, tiles: Iterator[np.ndarray], shape: tuple[int, ...]) -> None:
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(
        path,
        tiles,
        shape=shape,
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb" if len(shape) == 3 else "minisblack",
        compression="zlib",
        compressionargs={"level": 1},
    )


def draw_tiles(side: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tiles of the picture (512, 512, 3), and where their discs are, uint8 0 and 1."""
    rng = np.random.default_rng(seed)
    n = -(-side // TILE)
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32)
    noise = rng.integers(0, 4, (TILE, TILE, 3), np.uint8)

    for number in range(n * n):
        row, column = divmod(number, n)
        tile, disc = noise + np.uint8(40 + 40 * row // n), np.zeros((TILE, TILE), bool)
        for _ in range(6 * int(seed == 0 or number % 5 == 0)):
            cy, cx, radius = rng.uniform((0, 0, 4), (TILE, TILE, 90)).tolist()
            disc |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        tile[disc] = np.uint8(160 + 60 * column // n)
        yield tile, disc.astype(np.uint8)


def peak_mib() -> int:
    """Most memory that this process had resident at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def step(name: str, started: float) -> float:
    """Print one step's line and return the time it ended."""
    now = time.monotonic()
    print(f"{name:<44} {now - started:8.1f} s   peak {peak_mib():6d} MiB", flush=True)
    return now


def road(folder: Path, side: int, window: int, identity: bool) -> None:
    """The road of one test image, in a process of its own."""
    import torch
    from torch import nn

    from comp.config import Competition, Predict, Train, check
    from comp.data.cache.open import open_cache
    from comp.data.sources.records import Record
    from comp.masks.decide import decide
    from comp.masks.stream import RunStream
    from comp.models.compute import Compute
    from comp.models.segmenter import Segmenter
    from comp.predict import predict_bands
    from comp.store import Probs, ProbsWriter, quantise

    class Same(Segmenter):
        def logits_to_probs(self, logits: torch.Tensor) -> torch.Tensor:
            return logits.float()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    at = step("imported", time.monotonic())
    values = {
        "name": "large", "task": "multilabel" if identity else "binary",
        "classes": ["r", "g", "b"] if identity else ["disc"],
        "data": {"root": str(folder), "train": [{"images": "{id}.tif"}]},
    }  # fmt: skip
    competition = check(Competition, values, "benchmark")
    record = Record("large", folder / "large.tif", (), "test")
    cache = open_cache(folder / "cache", competition, [record])
    at = step("tif read into the cache", at)

    unit = {"mean": (0.0,), "std": (1.0,), "head": "sigmoid", "task": competition.task}
    if identity:
        model: Segmenter = Same(nn.Identity(), **unit)
    else:
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
        with torch.no_grad():  # bright is a disc
            net[0].weight.fill_(1 / 27)
            net[2].weight.fill_(4 / 72)
            net[0].bias.zero_()
            net[2].bias.fill_(-2.0)
        model = Segmenter(net, **unit)
    settings = (
        Train(size=(512, 512), batch_size=1),
        Predict(window=(window, window)),
        "none",
        Compute("cpu", "fp32", False, False, 1),
        torch.device("cpu"),
    )
    worst = 0.0
    with ProbsWriter(folder / "test.none") as writer:
        for band in predict_bands(model, cache, [0], *settings):
            writer.append_rows("large", band.row, quantise(band.probs), side)
            if identity:
                for plane in range(3):
                    seen = cache.rows(0, band.rows.start, band.rows.stop)[..., plane]
                    far = np.abs(band.probs[plane] - seen / np.float32(255)).max()
                    worst = max(worst, float(far))
        writer.commit()
    at = step(f"predicted by windows of {window}, stored", at)
    if identity:
        print(f"an identity model returns its input to {worst:.1e}")
        assert worst < 1e-6

    probs = Probs(folder / "test.none.npy")
    for order in ("row", "column"):
        stream = RunStream(side, side, "row" if order == "row" else "column")
        for top in range(0, side, 512):
            rows = probs.read_rows("large", top, min(side, top + 512))
            stream.add(decide(rows[:1], "binary"))
        text = stream.text()
        assert int(stream.runs()[:, 1].sum()) == sum(
            int((probs.read_rows("large", top, min(side, top + 512))[0] >= 128).sum())
            for top in range(0, side, 512)
        )
        (folder / f"rle.{order}.txt").write_text(text)
        at = step(f"run lengths, {order} by {order}: {len(text) / 1e6:.1f} MB", at)
    said(peak_mib())


def said(peak: int) -> None:
    """The verdict on one process."""
    print(f"peak {peak} MiB; limit {LIMIT_MIB} MiB: {'kept' if peak < LIMIT_MIB else 'BROKEN'}")
    if peak >= LIMIT_MIB:
        raise SystemExit(1)


def submission(folder: Path, side: int) -> None:
    """Stored probabilities to a submission, in a process of its own: it needs no torch."""
    from comp.config import Submission
    from comp.formats.writing import write_submission
    from comp.masks.rules import NO_RULES
    from comp.store import Probs
    from comp.store.empties import predict_mask

    at = step("imported", time.monotonic())
    recipe: Any = SimpleNamespace(
        task="binary", thresholds=(0.5,), min_area_px=0, clean_up=NO_RULES
    )
    members = [(1, Probs(folder / "test.none.npy")), (2, Probs(folder / "test.none.npy"))]
    found = write_submission(
        folder / "submission.csv",
        Submission(),
        "binary",
        ("disc",),
        ["large"],
        lambda image_id: predict_mask(recipe, members, image_id),
        {"large": (side, side)},
    )
    step(f"two members blended, checked CSV: {found['bytes'] / 1e6:.1f} MB", at)
    text = (folder / "rle.column.txt").read_text()
    assert (folder / "submission.csv").read_text().endswith(f"\nlarge,{text}\n")
    said(peak_mib())


MODEL = """
model: {arch: PlainUnet, encoder_name: null, filters: 2, depth: 1, normalize: dataset}
loss: {bce: 1.0}
train: {epochs: 1, batch_size: 4, size: [256, 256], sampler: {positive_share: 0.5, samples: 64}}
predict: {tta: [none], window: [WINDOW, WINDOW]}
"""


def training(folder: Path, side: int, window: int) -> None:
    """The road of a competition of such images, a process a command."""
    data, space = folder / "data", folder / "space"
    data.mkdir()
    started = time.monotonic()
    for seed in (1, 2):
        draw_tif(data / "images" / f"m{seed}.tif", side, seed, data / "masks" / f"m{seed}.tif")
    draw_tif(data / "test" / "t.tif", side, 3)
    print(f"drew 3 of {side} x {side} x 3 and 2 masks, {time.monotonic() - started:.1f} s")
    root = ["--root", str(space)]
    commands = [
        ["init", str(space), "--data", str(data)],
        ["verify", *root],
        ["folds", *root],
        [],
        ["cv", *root, "--config", "tiny.yaml", "--executor", "serial", "--device", "cpu"],
        ["ensemble", *root],
        ["submit", *root],
    ]
    worst = 0
    for command in commands:
        began = time.monotonic()
        if command:
            run = [sys.executable, "-m", "comp", *command]
            child = subprocess.Popen(run, stdout=subprocess.DEVNULL)
        else:
            run = [sys.executable, __file__, "--crops", str(space)]
            child = subprocess.Popen(run)
        _, status, used = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(run)}: exit {os.waitstatus_to_exitcode(status)}")
        name = f"comp {command[0]}" if command else "crops"
        seconds, peak = time.monotonic() - began, used.ru_maxrss >> 10
        print(f"{name:<44} {seconds:8.1f} s   peak {peak:6d} MiB", flush=True)
        worst = max(worst, peak)
        if command and command[0] == "init":
            text = MODEL.replace("WINDOW", str(window))
            (space / "configs" / "tiny.yaml").write_text(text)
    said(worst)


def crops(space: Path, n: int = 400) -> None:
    """How many crops a second a large image gives, with and without foreground for certain."""
    from comp.config import Train, data_root, load_competition
    from comp.data.cache.open import open_cache
    from comp.data.samples.augment import build_augment
    from comp.data.samples.train import TrainSamples
    from comp.data.sources.records import find_records
    from comp.files import Workspace

    competition = load_competition(space)
    workspace = Workspace(space, competition.name)
    records = find_records(competition, data_root(workspace, competition))
    cache = open_cache(workspace.cache, competition, records.train)
    train = Train(size=(256, 256), batch_size=4)
    samples = TrainSamples(cache, [0, 1], train, build_augment([]), 0, "binary", 1)
    began = time.monotonic()
    samples[(0, 0, 0)]
    print(f"    the first crop around foreground: {time.monotonic() - began:.2f} s")
    for what, key in (("anywhere", ()), ("with foreground", (0,))):
        began = time.monotonic()
        held = sum(bool((samples[(1, i, *key)]["labels"] == 1).any()) for i in range(n))
        each = (time.monotonic() - began) / n
        print(f"    crops {what}: {1e3 * each:.2f} ms each, {held} of {n} hold foreground")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=20000, help="pixels, height and width")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument(
        "--identity", action="store_true", help="a model that returns its input; compare with it"
    )
    parser.add_argument("--folder", type=Path, help="where to draw; default: a temporary folder")
    parser.add_argument("--training", action="store_true", help="the road of a competition")
    parser.add_argument("--crops", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.crops is not None:
        crops(options.crops)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="large-") as made:
        folder = Path(made)
        if options.training:
            training(folder, options.side, options.window)
            return
        started = time.monotonic()
        draw_tif(folder / "large.tif", options.side)
        megabytes = (folder / "large.tif").stat().st_size / 1e6
        print(f"drew {options.side} x {options.side} x 3, {megabytes:.0f} MB, "
              f"{time.monotonic() - started:.1f} s")  # fmt: skip
        size = folder, options.side
        roads: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (road, (*size, options.window, options.identity))
        ]
        if not options.identity:
            roads.append((submission, size))
        for target, arguments in roads:
            child = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
            child.start()
            child.join()
            if child.exitcode:
                raise SystemExit(child.exitcode)


if __name__ == "__main__":
    main()
