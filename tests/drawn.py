"""Small data sets drawn for tests, each in the folders of a system that `comp` must run.

Deterministic, tiny, and learnable: bright shapes on a dark, noisy ground; some pictures have none.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

ROOT_SEED = 20


def draw_scene(
    index: int,
    size: int | tuple[int, int],
    n_kinds: int = 1,
    seed: int = ROOT_SEED,
    empty: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw picture number `index`.

    Returns:
        image (H, W, 3) uint8 RGB and labels (H, W) uint8: 0 ground, 1..n_kinds shapes. Each kind has
        its own colour; kinds alternate between rectangles and discs.
    """
    height, width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng([seed, index])
    ground = rng.integers(30, 70, 3)
    image = np.broadcast_to(ground, (height, width, 3)).astype(np.float32).copy()
    image += np.linspace(0, rng.uniform(-15, 15), width, dtype=np.float32)[None, :, None]
    labels = np.zeros((height, width), np.uint8)
    for _ in range(0 if empty else int(rng.integers(2, 5))):
        kind = int(rng.integers(1, n_kinds + 1))
        reach = max(3, int(min(height, width) * rng.uniform(0.1, 0.22)))
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
        shape = np.zeros_like(labels)
        if kind % 2:
            cv2.rectangle(shape, (x - reach, y - reach // 2), (x + reach, y + reach // 2), 1, -1)
        else:
            cv2.circle(shape, (x, y), reach, 1, -1)
        labels[shape > 0] = kind
        image[shape > 0] = _colour(kind)
    image += rng.normal(0, 8, image.shape)
    return image.clip(0, 255).astype(np.uint8), labels


def _colour(kind: int) -> tuple[int, int, int]:
    """A bright colour of its own for each kind."""
    return 120 + kind * 61 % 130, 110 + kind * 97 % 140, 100 + kind * 37 % 150


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels by the file's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, pixels)
    elif path.suffix == ".jpg":
        Image.fromarray(pixels).save(path, quality=95)
    else:
        Image.fromarray(pixels).save(path)
    return path


def draw_landfill(root: Path, n: int = 8, size: int = 64) -> Path:
    """`dataset/{train,val}/{images/*.jpg, masks/*.png}`, masks 0/255; n to train, n // 3 + 1 val."""
    for i in range(n + n // 3 + 1):
        folder = root / "dataset" / ("train" if i < n else "val")
        image, labels = draw_scene(i, size, seed=21)
        save(folder / "images" / f"site_{i:03d}.jpg", image)
        save(folder / "masks" / f"site_{i:03d}.png", labels * 255)
    return root


def draw_rooftop(root: Path, n: int = 20, size: int = 64) -> Path:
    """`images/images/x.tif` and `label/label/x_label.tif`, masks 0/255."""
    for i in range(n):
        image, labels = draw_scene(i, size, seed=22, empty=i % 7 == 3)
        save(root / "images" / "images" / f"tile_{i:03d}.tif", image)
        save(root / "label" / "label" / f"tile_{i:03d}_label.tif", labels * 255)
    return root


def draw_atrous(root: Path, n: int = 8, size: int = 64) -> Path:
    """`images/x.jpg` and `masks/x.png`, masks 0/255."""
    for i in range(n):
        image, labels = draw_scene(i, size, seed=23)
        save(root / "images" / f"picture{i}.jpg", image)
        save(root / "masks" / f"picture{i}.png", labels * 255)
    return root


def draw_voc21(root: Path, n: int = 12, size: int = 64, palette: bool = True) -> Path:
    """`JPEGImages/x.jpg` and `SegmentationClass/x.png`: 20 kinds, 255 along their borders.

    Args:
        palette: colour-mapped masks as in the archive; otherwise plain grey index masks.
    """
    colours = np.random.default_rng(24).integers(0, 256, (256, 3), np.uint8)
    for i in range(n):
        image, labels = draw_scene(i, (size, size + 16), n_kinds=20, seed=24)
        if i < 20:  # every class occurs when n >= 20
            labels[:6, :6], image[:6, :6] = i + 1, _colour(i + 1)
        edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
        labels = np.where(edge, 255, labels).astype(np.uint8)
        save(root / "JPEGImages" / f"2007_{i:06d}.jpg", image)
        mask = Image.fromarray(labels)
        if palette:
            mask.putpalette(colours.tobytes())
        path = root / "SegmentationClass" / f"2007_{i:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask.save(path)
    return root


def draw_plain(root: Path, n: int = 12, size: int = 64, n_test: int = 4) -> Path:
    """`train/images/img_<n>.tif`, `train/masks/mask_<n>.tif`, `test/test_image_<n>.tif`, masks 0/255.

    Beside them `validation_ids.json`, a list of every fourth number, `sample_submission.csv`, and
    the answer key `solution.csv`.
    """
    for i in range(1, n + 1):
        image, labels = draw_scene(i, size, seed=25)
        save(root / "train" / "images" / f"img_{i}.tif", image)
        save(root / "train" / "masks" / f"mask_{i}.tif", labels * 255)
    keys = []
    for i in range(n + 1, n + n_test + 1):
        image, labels = draw_scene(i, size, seed=25)
        save(root / "test" / f"test_image_{i}.tif", image)
        keys.append((str(i), rle(labels), size, size))
    (root / "validation_ids.json").write_text(json.dumps([str(i) for i in range(4, n + 1, 4)]))
    _table(
        root / "sample_submission.csv", ["ImageId", "EncodedPixels"], [(k[0], "1 1") for k in keys]
    )
    _table(root / "solution.csv", ["ImageId", "EncodedPixels", "Height", "Width"], keys)
    return root


def draw_kaggle(
    root: Path,
    n: int = 12,
    task: str = "binary",
    size: tuple[int, int] = (48, 64),
    n_test: int = 4,
    rows: str | None = None,
) -> Path:
    """`images/ masks/ train.csv test/images/ sample_submission.csv solution.csv`, column-major codes.

    Args:
        task: "binary" (masks 0/255, one row an image; every sixth picture is empty) or "multiclass"
            (masks 0..2 and 255 = ignore in a corner, one row an image and class, `classes.csv`,
            `train_meta.csv` with a `Source` of four pictures each).
        rows: "object" writes `train.csv` with one row a touching region (binary).
    """
    train_rows: list[tuple[object, ...]] = []
    key: list[tuple[object, ...]] = []
    n_kinds = 1 if task == "binary" else 2
    for i in range(n + n_test):
        test = i >= n
        name = f"{'t' if test else 'p'}_{i:03d}"
        image, labels = draw_scene(i, size, n_kinds=n_kinds, seed=26, empty=i % 6 == 5)
        if task == "multiclass" and i % 3 == 0:
            labels[:4, :4] = 255
        save(root / ("test/images" if test else "images") / f"{name}.png", image)
        if not test:
            save(root / "masks" / f"{name}.png", labels * 255 if task == "binary" else labels)
        mine = _rows(name, labels, task, rows if not test else None)
        if test:
            key += [(*row, *size) for row in mine]
        else:
            train_rows += mine
    columns = ["ImageId", "EncodedPixels"]
    if task == "multiclass":
        columns = ["ImageId", "ClassId", "EncodedPixels"]
        classes = [(0, "ground"), (1, "roof"), (2, "tree"), (255, "ignore")]
        _table(root / "classes.csv", ["ClassId", "Name"], classes)
        meta = [(f"p_{i:03d}", f"photo_{i // 4}", f"area_{i // 8}") for i in range(n)]
        _table(root / "train_meta.csv", ["ImageId", "Source", "Area"], meta)
    _table(root / "train.csv", columns, train_rows)
    _table(root / "solution.csv", [*columns, "Height", "Width"], key)
    blank = "1 1" if task == "binary" else ""
    _table(
        root / "sample_submission.csv", columns, [(*row[: len(columns) - 1], blank) for row in key]
    )
    return root


def _rows(name: str, labels: np.ndarray, task: str, rows: str | None) -> list[tuple[object, ...]]:
    if task == "multiclass":
        return [(name, k, rle(labels == k)) for k in range(3)]
    if rows == "object":
        n, objects = cv2.connectedComponents(labels, connectivity=8)
        return [(name, rle(objects == k)) for k in range(1, n)] or [(name, "")]
    return [(name, rle(labels))]


def rle(mask: np.ndarray) -> str:
    """Column-major, 1-based `start length` pairs, written apart from the package on purpose."""
    flat = np.concatenate([[0], (np.asarray(mask) > 0).T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{a + 1} {b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))


def _table(path: Path, columns: list[str], rows: list[tuple[object, ...]]) -> None:
    lines = [",".join(columns), *(",".join(str(cell) for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
