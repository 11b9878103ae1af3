"""What a large tif costs: memory and seconds of reading, predicting by windows and writing its run lengths.

Draws a tif of SIDE x SIDE pixels (RGB, tiles, deflate) into a temporary folder; then a process of its own
reads it into a cache, predicts it (a small convolution on one thread), stores the probabilities and writes
the run-length code of both pixel orders; another one blends what is stored into a checked submission, as
`comp submit` does. Printed: peak resident memory of the process after each step, pages of mapped files
included.

Usage: OMP_NUM_THREADS=1 python benchmarks/large.py [--side 20000] [--window 1024] [--identity] [--folder DIR]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
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


def draw_tif(path: Path, side: int) -> None:
    """Discs of many sizes on a slope, a little noise; written tile by tile."""
    rng = np.random.default_rng(0)
    n = -(-side // TILE)
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32)
    noise = rng.integers(0, 4, (TILE, TILE, 3), np.uint8)

    def tiles() -> Iterator[np.ndarray]:
        for number in range(n * n):
            row, column = divmod(number, n)
            tile = noise + np.uint8(40 + 40 * row // n)
            for _ in range(6):
                cy, cx, radius = rng.uniform((0, 0, 4), (TILE, TILE, 90)).tolist()
                inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
                tile[inside] = np.uint8(160 + 60 * column // n)
            yield tile

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="zlib",
        compressionargs={"level": 1},
    )


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
    from comp.store import Probs
    from comp.store.empties import predict_mask

    at = step("imported", time.monotonic())
    recipe: Any = SimpleNamespace(task="binary", thresholds=(0.5,), min_area_px=0)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=20000, help="pixels, height and width")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument(
        "--identity", action="store_true", help="a model that returns its input; compare with it"
    )
    parser.add_argument("--folder", type=Path, help="where to draw; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="large-") as made:
        folder = Path(made)
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
