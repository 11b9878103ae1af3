"""The demo competition on disk: train and test tiles, masks, RLE table, sample submission, and the answer
key, which no competition file names. Refuses to draw over a folder that it did not make.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from comp.demo.scene import SIZE
from comp.demo.tile import draw_tile
from comp.errors import DataError
from comp.files import commit, lock, read_json, write_json
from comp.masks.rle import encode

VERSION = 1  # raise it whenever one pixel or one name changes: folders drawn before are drawn again
STAMP = "demo.json"
TRAIN = ("houses",) * 26 + ("blocks",) * 12 + ("farm",) * 12 + ("open",) * 10
TEST = ("houses",) * 9 + ("blocks",) * 4 + ("farm",) * 4 + ("open",) * 3
N_PUBLIC = 8  # of the test tiles


def key_path(root: Path) -> Path:
    """Where the answer key of a drawn competition lies."""
    return root / "solution.csv"


def ensure_demo(root: Path, seed: int = 0) -> bool:
    """Draw the demo competition unless this version of it is there already.

    Returns:
        True when it was drawn now.

    Raises:
        DataError: when `root` holds files that `comp` did not draw.
    """
    if _is_whole(root, seed):
        return False
    with lock(root.parent / f".{root.name}.lock", wait_seconds=120):
        if _is_whole(root, seed):  # another process drew it while this one waited
            return False
        draw_demo(root, seed)
    return True


def draw_demo(root: Path, seed: int = 0) -> None:
    """Draw the whole competition into `root`: the same pixels and tables for the same seed, everywhere.

    Writes images/<id>.png (SIZE x SIZE RGB) and masks/<id>.png (0 or 255) of 60 train tiles, ten of them
    without any roof; test/images/<id>.png of 20; train.csv, sample_submission.csv and solution.csv
    (1-based, column-major run lengths; the key with Height, Width and Usage). The stamp comes last.

    Raises:
        DataError: when `root` holds files that `comp` did not draw.
    """
    _make_room(root)
    write_json(root / STAMP, {"version": VERSION, "seed": seed, "complete": False})
    order = np.random.Generator(np.random.PCG64([seed, VERSION]))
    pixels = hashlib.sha256()
    train: list[tuple[str, str]] = []
    test: list[tuple[str, str]] = []
    kinds = [*_shuffled(TRAIN, order), *_shuffled(TEST, order)]
    for number, kind in enumerate(kinds):
        image_id = f"tile_{number + 1:03d}"
        image, roof = draw_tile(kind, np.random.Generator(np.random.PCG64([seed, VERSION, number])))
        pixels.update(image.tobytes() + roof.tobytes())
        is_train = number < len(TRAIN)
        folder = root if is_train else root / "test"
        _write_png(folder / "images" / f"{image_id}.png", image[:, :, ::-1])
        if is_train:
            _write_png(folder / "masks" / f"{image_id}.png", roof * np.uint8(255))
        (train if is_train else test).append((image_id, encode(roof)))
    public = set(order.permutation(len(test))[:N_PUBLIC].tolist())
    _write_table(
        root / "train.csv", ["ImageId,EncodedPixels", *(f"{i},{code}" for i, code in train)]
    )
    _write_table(
        root / "sample_submission.csv", ["ImageId,EncodedPixels", *(f"{i}," for i, _ in test)]
    )
    _write_table(
        key_path(root),
        [
            "ImageId,EncodedPixels,Height,Width,Usage",
            *(
                f"{i},{code},{SIZE},{SIZE},{'Public' if n in public else 'Private'}"
                for n, (i, code) in enumerate(test)
            ),
        ],
    )
    stamp = {
        "version": VERSION,
        "seed": seed,
        "complete": True,
        "pixels_sha256": pixels.hexdigest(),
    }
    write_json(root / STAMP, stamp)


def _shuffled(kinds: tuple[str, ...], order: np.random.Generator) -> list[str]:
    return [kinds[place] for place in order.permutation(len(kinds))]


def _is_whole(root: Path, seed: int) -> bool:
    """True when this version and seed was drawn to the end and no file has gone since."""
    if not (root / STAMP).is_file():
        return False
    try:
        stamp = read_json(root / STAMP)
    except DataError:
        return False
    wanted = {"version": VERSION, "seed": seed, "complete": True}
    if not isinstance(stamp, dict) or any(stamp.get(key) != value for key, value in wanted.items()):
        return False
    tables = ("train.csv", "sample_submission.csv", key_path(root).name)
    counts = {"images": len(TRAIN), "masks": len(TRAIN), "test/images": len(TEST)}
    return all((root / table).is_file() for table in tables) and all(
        len(list((root / folder).glob("tile_*.png"))) == count for folder, count in counts.items()
    )


def _make_room(root: Path) -> None:
    """Remove what an earlier version drew; refuse a folder with other things in it."""
    if not root.exists():
        return
    if not root.is_dir():
        raise DataError(
            f"cannot draw the demo competition: {root} is a file, expected a folder or nothing"
        )
    if any(root.iterdir()) and not (root / STAMP).is_file():
        raise DataError(
            f"cannot draw the demo competition in {root}: it holds files that comp did not draw (no {STAMP}); "
            "name an empty or a new folder"
        )
    for folder in ("images", "masks", "test/images"):
        for old in (root / folder).glob("tile_*.png"):
            old.unlink()


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    import cv2

    done, png = cv2.imencode(".png", np.ascontiguousarray(pixels))
    assert done, f"OpenCV did not encode {path}"
    commit(path, png.tobytes())


def _write_table(path: Path, lines: list[str]) -> None:
    commit(path, "\n".join(lines) + "\n")
