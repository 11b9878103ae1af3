"""The leak radar on real sets, with its null test: python benchmarks/leaks.py DATA...

DATA are folders with images/ and maybe test/images/. Prints what is linked, by which rule, what chance
finds (one edge reversed, one image mirrored), drawn tiles that overlap, and the seconds for as many drawn
images as --images says. Where names tell the picture a crop comes from (`--source REGEX`, its first
group), also how many links join two of them: wrong ones, or pictures that show one place.
"""

from __future__ import annotations

import argparse
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from comp.data.images.read import read_image
from comp.data.leaks.marks import find_marks
from comp.data.leaks.near import find_near_duplicates
from comp.data.leaks.overlaps import find_overlaps
from comp.data.leaks.prints import ImagePrint, make_print
from comp.data.leaks.radar import look_for_leaks
from comp.data.leaks.seams import RESIZED, RULES, find_seams
from comp.data.leaks.unions import Unions
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
        crossing = Counter(
            tuple(sorted((names[i], names[j]))) for i, j in found.links if names[i] != names[j]
        )
        n = sum(crossing.values())
        print(
            f"  links between different sources: {n} of {len(found.links)}: {crossing.most_common(9)}"
        )


def cut(stride: int, quality: int | None) -> None:
    """Print how many pairs of drawn tiles of 128 px that share pixels the overlaps join."""
    prints, at = [], []
    for picture in range(6):
        big = _drawn(np.random.default_rng(picture), 512, 512)
        for y, x in product(range(0, 385, stride), repeat=2):
            tile = np.ascontiguousarray(big[y : y + 128, x : x + 128])
            if quality is not None:
                code = cv2.imencode(".jpg", tile, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                tile = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
            prints.append(make_print(tile))
            at.append((picture, y, x))
    found = find_overlaps(prints)
    unions = Unions(len(prints))
    for link in found.links:
        unions.join(link.i, link.j)
    root, place = unions.labels(), np.array(at)
    i, j = np.triu_indices(len(prints), 1)
    share = (place[i, 0] == place[j, 0]) & (np.abs(place[i, 1:] - place[j, 1:]) < 128).all(axis=1)
    joined = root[i] == root[j]
    wrong = joined & (place[i, 0] != place[j, 0])
    kind = "exact" if quality is None else f"JPEG q{quality}"
    print(
        f"  stride {stride:>2}, {kind:<8} {len(prints):>4} tiles, {share.sum():>5} pairs share pixels,"
        f" {(share & joined).sum():>5} in one group, {wrong.sum()} wrong; null {found.n_null}"
    )


def _drawn(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: smooth noise of three sizes."""
    noise = rng.normal(0, 1, (height, width, 3)).astype(np.float32)
    smooth = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (1, 3, 9))
    return np.clip(128 + 40 * smooth / np.std(smooth), 0, 255).astype(np.uint8)


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
    overlaps = find_overlaps(prints, range(n - 1))
    last = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{n} drawn crops of {side} x {side}: peak memory {peak:.0f} MiB")
    print(f"  near duplicates: {len(near)} (1 drawn), {middle - started:.1f} s")
    print(f"  {seams.told} ({(n - 1) // 8 * 10} drawn), {end - middle:.1f} s")
    print(f"  {overlaps.told} (0 drawn), {last - end:.1f} s")
    tile = _drawn(np.random.default_rng(0), side, side)
    code = cv2.imencode(".png", tile)[1]
    seconds = [_seconds(lambda: cv2.imdecode(code, cv2.IMREAD_COLOR)),
               _seconds(lambda: make_print(tile)), _seconds(lambda: find_marks(tile))]  # fmt: skip
    print(
        f"  an image: PNG decoded in {seconds[0] * 1e3:.1f} ms, its print {seconds[1] * 1e3:.1f} ms,"
        f" of which marks {seconds[2] * 1e3:.1f} ms"
    )


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(9):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


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
    print("\ndrawn tiles of 128 px that overlap:")
    for stride, quality in product((32, 64, 96), (None, 90)):
        cut(stride, quality)
    if chosen.images:
        timed(chosen.images, chosen.side)


if __name__ == "__main__":
    main()
