"""The leak radar on real sets, with its null test: python benchmarks/leaks.py DATA...

DATA are folders with images/ and maybe test/images/. Prints what is linked, by which rule, what chance
finds (one edge reversed), and the seconds for as many drawn images as --images says. Where names tell
the picture a crop comes from (`--source REGEX`, its first group), also how many links are wrong.
"""

from __future__ import annotations

import argparse
import re
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from comp.data.images.read import read_image
from comp.data.leaks.near import find_near_duplicates
from comp.data.leaks.prints import ImagePrint, make_print
from comp.data.leaks.radar import look_for_leaks
from comp.data.leaks.seams import RESIZED, RULES, find_seams
from comp.data.sources.patterns import image_files


def real(folder: Path, source: str | None) -> None:
    """Print what the radar finds in a set."""
    train, test = image_files(folder / "images"), image_files(folder / "test" / "images")
    paths = [*train, *test]
    ids = [path.stem for path in paths]
    prints = [make_print(read_image(path, 3)) for path in paths]
    started = time.perf_counter()
    found = look_for_leaks(ids, len(train), prints, paths, {}, 5)
    seconds = time.perf_counter() - started
    print(f"\n{folder.name}: {len(train)} train and {len(test)} test images, {seconds:.1f} s")
    print("\n".join(f"  {line}" for line in [*found.told, found.summary]))
    if source is not None:
        names = [told[1] if (told := re.match(source, i)) else i for i in ids]
        wrong = sum(names[i] != names[j] for i, j in found.links)
        print(f"  links between different sources: {wrong} of {len(found.links)}")


def draw(n: int, side: int) -> list[ImagePrint]:
    """Crops, eight of each drawn picture, and as the last a mirrored copy of the first."""
    rng = np.random.default_rng(0)
    prints: list[ImagePrint] = []
    first = np.zeros(0)
    while len(prints) < n - 1:
        noise = rng.normal(0, 1, (2 * side, 4 * side, 3)).astype(np.float32)
        big = cv2.GaussianBlur(noise, (0, 0), 3)
        big = np.clip(128 + 40 * big / big.std(), 0, 255).astype(np.uint8)
        crops = [
            big[y : y + side, x : x + side] for y in (0, side) for x in range(0, 4 * side, side)
        ]
        first = first if prints else crops[0]
        prints += [make_print(crop) for crop in crops]
    return [*prints[: n - 1], make_print(first[:, ::-1])]


def timed(n: int, side: int) -> None:
    """Print seconds and peak memory for n drawn crops."""
    prints = draw(n, side)
    started = time.perf_counter()
    near = find_near_duplicates(prints)
    middle = time.perf_counter()
    seams = find_seams(prints, range(n - 1))
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{n} drawn crops of {side} x {side}: peak memory {peak:.0f} MiB")
    print(f"  near duplicates: {len(near)} (1 drawn), {middle - started:.1f} s")
    print(f"  {seams.told} ({(n - 1) // 8 * 10} drawn), {end - middle:.1f} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--source", help="regex: its first group of an id names the picture")
    parser.add_argument("--images", type=int, default=5001)
    parser.add_argument("--side", type=int, default=256)
    chosen = parser.parse_args(arguments)
    print(f"rules: {RULES}, for crops enlarged one by one {RESIZED}")
    for folder in chosen.data:
        real(folder, chosen.source)
    if chosen.images:
        timed(chosen.images, chosen.side)


if __name__ == "__main__":
    main()
