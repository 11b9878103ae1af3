"""Connected parts from runs against labelling every pixel: time, interleaved, and peak memory.

Small parts removed and objects listed, as `comp` does it and with an image of OpenCV's labels and plain
numpy, on masks of several kinds and sizes; both must give the same answer. Above 1: runs are faster. Then a mask
of SIDE x SIDE pixels with 50,000 discs, each way in a process of its own: peak resident memory, with the mask.

Usage: OMP_NUM_THREADS=1 python benchmarks/parts.py [--side 20000] [--no-large]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from scipy import ndimage

from comp.masks.cleanup import remove_small
from comp.masks.components import objects
from comp.masks.rle import flatten

AREA = 20
Call = Callable[[np.ndarray], Any]


def remove_by_pixels(mask: np.ndarray, area: int = AREA) -> np.ndarray:
    """Small parts removed by an image of labels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    keep = stats[:, 4] >= area
    keep[0] = False
    return keep[labels].astype(np.uint8)


def objects_by_pixels(mask: np.ndarray) -> list[np.ndarray]:
    """The runs of each part, down the columns, from an image of labels."""
    _, labels = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)
    flat = flatten(labels, "column")
    heads = np.flatnonzero(np.diff(flat, prepend=0))
    ends = np.append(heads[1:], flat.size)
    runs = np.stack([heads, ends - heads], axis=1)[flat[heads] > 0]
    of = flat[runs[:, 0]]
    cuts = np.flatnonzero(np.diff(np.sort(of))) + 1
    tables = np.split(runs[np.argsort(of, kind="stable")], cuts) if len(runs) else []
    return sorted(tables, key=lambda table: int(table[0, 0]))


def draw(kind: str, side: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "full":
        return np.ones((side, side), np.uint8)
    if kind == "noise":
        return (rng.random((side, side)) < 0.5).astype(np.uint8)
    share, sigma = {"blobs": (0.3, 6), "sparse": (0.02, 4)}[kind]
    field = ndimage.gaussian_filter(rng.random((side, side), dtype=np.float32), sigma)
    return (field > np.quantile(field, 1 - share)).astype(np.uint8)


def remove(mask: np.ndarray) -> np.ndarray:
    return remove_small(mask, "binary", AREA)


def ratio(plain: Call, ours: Call, mask: np.ndarray, times: int) -> float:
    """Fastest of `plain` over fastest of `ours`, taken in turn."""
    plain(mask), ours(mask)
    best = [float("inf"), float("inf")]
    for _ in range(times):
        for which, call in enumerate((plain, ours)):
            started = time.perf_counter()
            call(mask)
            best[which] = min(best[which], time.perf_counter() - started)
    return best[0] / best[1]


def draw_discs(side: int) -> np.ndarray:
    """50,000 discs that do not touch, at 20,000 pixels."""
    rng = np.random.default_rng(0)
    mask = np.empty((side, side), np.uint8)
    mask[:] = 0  # not np.zeros, whose untouched pages take no memory
    y, x = np.mgrid[-44:45, -44:45]
    cells = side // 89
    for number in range(min(50_000, cells**2)):
        row, column = number // cells * 89, number % cells * 89
        disc = x**2 + y**2 <= int(rng.integers(2, 36)) ** 2
        mask[row : row + 89, column : column + 89] = disc
    return mask


def measure(way: str, side: int) -> None:
    """One way on the large mask, in this process."""
    mask = draw_discs(side)
    small = np.eye(64, dtype=np.uint8)
    remove_small(small, "binary", 4), objects(small)  # numba compiles
    started = time.perf_counter()
    if way == "remove, pixels":
        remove_by_pixels(mask, 300)
    elif way == "remove, runs":
        remove_small(mask, "binary", 300, out=mask)
    else:
        assert len(objects(mask)) > 0
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{way:<16} {seconds:6.1f} s   peak {peak >> 10:5d} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--no-large", action="store_true", help="only the ratios")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{'side':>5}  {'mask':<8}{'remove':>8}{'objects':>9}   (pixels / runs, time)")
    for side in (64, 256, 1024, 4096):
        for kind in ("blobs", "sparse", "noise", "full"):
            mask, times = draw(kind, side), max(3, min(50, 20_000_000 // side**2))
            assert (remove_by_pixels(mask) == remove(mask)).all()
            theirs, ours = objects_by_pixels(mask), objects(mask)
            assert len(theirs) == len(ours)
            assert all((a == b).all() for a, b in zip(theirs, ours, strict=True))
            removed = ratio(remove_by_pixels, remove, mask, times)
            listed = ratio(objects_by_pixels, objects, mask, max(times // 3, 1))
            print(f"{side:>5}  {kind:<8}{removed:>8.2f}{listed:>9.2f}", flush=True)
    if options.no_large:
        return
    print(
        f"a mask of {options.side} x {options.side} ({options.side**2 >> 20} MiB) with 50,000 discs:"
    )
    for way in ("remove, pixels", "remove, runs", "objects, runs"):
        child = multiprocessing.get_context("spawn").Process(
            target=measure, args=(way, options.side)
        )
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(child.exitcode)


if __name__ == "__main__":
    main()
