"""Small data sets in every layout that `comp init` knows, each with what it should find there.

A drawer takes a folder and names, writes pictures, and returns image_id -> `Wanted`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.drawn import draw_scene, rle, save

SIZE = (20, 28)


@dataclass(frozen=True)
class Wanted:
    """What should be found of one image: its files below the root, its part, its foreground (H, W) bool."""

    images: tuple[str, ...]
    masks: tuple[str, ...]
    split: str
    labels: np.ndarray


Drawn = dict[str, Wanted]


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) and its foreground (H, W) uint8 0/1, never empty."""
    image, labels = draw_scene(number, SIZE, seed=31)
    labels[2:5, 3 + number % 5 : 9] = 1
    return image, labels


def pair(
    root: Path, number: int, image: str, masks: str, split: str = "train"
) -> tuple[Wanted, np.ndarray]:
    """Write one picture and its mask."""
    pixels, labels = scene(number)
    save(root / image, pixels)
    save(root / masks, labels * 255)
    return Wanted((image,), (masks,), split, labels > 0), labels


def _patterned(image: str, mask: str) -> Callable[[Path, Sequence[str]], Drawn]:
    """A layout of one pattern; `{}` is the name."""

    def draw(root: Path, names: Sequence[str]) -> Drawn:
        return {
            name: pair(root, n, image.format(name), mask.format(name))[0]
            for n, name in enumerate(names)
        }

    return draw


def draw_parts(
    images: str, masks: str, splits: Sequence[str] = ("train", "val")
) -> Callable[[Path, Sequence[str]], Drawn]:
    """A layout of several parts; `{0}` is the part, `{1}` the name; a test part without masks."""

    def draw(root: Path, names: Sequence[str]) -> Drawn:
        found = {}
        for n, name in enumerate(names):
            split = splits[n % len(splits)]
            found[name] = pair(
                root, n, images.format(split, name), masks.format(split, name), split
            )[0]
        for n in range(2):
            save(root / images.format("test", f"only_test_{n}"), scene(90 + n)[0])
        return found

    return draw


def draw_objects(root: Path, names: Sequence[str]) -> Drawn:
    """`stage1_train/<id>/images/<id>.png`, one mask an object; `stage1_test/<id>/images/<id>.png`."""
    found = {}
    for n, name in enumerate(names):
        pixels, labels = scene(n)
        labels = np.maximum(labels, 0)
        labels[-3:, -4:] = 1
        labels[-5, :] = 0
        image = f"stage1_train/{name}/images/{name}.png"
        save(root / image, pixels)
        count, objects = cv2.connectedComponents(labels)
        masks = [f"stage1_train/{name}/masks/{n:02d}{k:03x}.png" for k in range(1, count)]
        for k, mask in enumerate(masks, 1):
            save(root / mask, (objects == k).astype(np.uint8) * 255)
        found[name] = Wanted((image,), tuple(masks), "train", labels > 0)
    for n in range(2):
        save(root / f"stage1_test/t{n}/images/t{n}.png", scene(90 + n)[0])
    return found


def draw_nested(image: str, mask: str) -> Callable[[Path, Sequence[str]], Drawn]:
    """The same names in every folder; `{0}` is the folder, `{1}` the name."""

    def draw(root: Path, names: Sequence[str]) -> Drawn:
        found = {}
        for k, folder in enumerate(("Tile 1", "Tile 2", "Tile 10")):
            for n, name in enumerate(names):
                made, _ = pair(
                    root, 7 * k + n, image.format(folder, name), mask.format(folder, name)
                )
                found[f"{folder}/{name}"] = made
        return found

    return draw


def draw_voc_lists(root: Path, names: Sequence[str]) -> Drawn:
    """JPEGImages, SegmentationClass, ImageSets: more images than masks, parts in lists."""
    found = {}
    for n, name in enumerate(names):
        image, mask = f"JPEGImages/{name}.png", f"SegmentationClass/{name}.png"
        found[name] = pair(root, n, image, mask, "val" if n % 3 == 1 else "train")[0]
        save(root / mask, found[name].labels.astype(np.uint8) * 15)  # a person
    for n in range(3):
        save(root / f"JPEGImages/unlabelled_{n}.png", scene(70 + n)[0])
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split in ("train", "val"):
        mine = [name for name, one in found.items() if one.split == split]
        (lists / f"{split}.txt").write_text("\n".join(mine) + "\n", encoding="utf-8")
    (lists / "trainval.txt").write_text("\n".join(found) + "\n", encoding="utf-8")
    main = root / "ImageSets" / "Main"
    main.mkdir()
    (main / "aeroplane_train.txt").write_text("\n".join(f"{name} -1" for name in found))
    return found


def draw_csv(prefix: str = "") -> Callable[[Path, Sequence[str]], Drawn]:
    """`pairs.csv`: image, mask, split; folders that say nothing."""

    def draw(root: Path, names: Sequence[str]) -> Drawn:
        found, lines = {}, ["image_path,mask_path,split"]
        for n, name in enumerate(names):
            image, mask = f"a/{n % 2}/{name}.png", f"b/{n * 17:05d}.png"
            split = "val" if n % 4 == 2 else "train"
            found[name] = pair(root, n, image, mask, split)[0]
            lines.append(f'"{prefix}{image}","{prefix}{mask}",{split}')
        (root / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return found

    return draw


def draw_text(root: Path, names: Sequence[str]) -> Drawn:
    """`train.txt`, `val.txt`: two paths a line, made on another machine."""
    found = {}
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for n, name in enumerate(names):
        image, mask = f"a/{name}.png", f"b/{n * 17:05d}.png"
        split = "val" if n % 4 == 2 else "train"
        found[name] = pair(root, n, image, mask, split)[0]
        lines[split].append(f"/SegNet/Set/{image} /SegNet/Set/{mask}")
    for split, mine in lines.items():
        (root / f"{split}.txt").write_text("\n".join(mine) + "\n", encoding="utf-8")
    return found


def draw_rle(kind: str) -> Callable[[Path, Sequence[str]], Drawn]:
    """`train_images/`, `train.csv`, no masks.

    Args:
        kind: image (ids are file names), object, class_column or class_in_id (two classes; the labels
            wanted are those of the first).
    """

    def draw(root: Path, names: Sequence[str]) -> Drawn:
        found = {}
        columns = {"class_column": "ImageId,ClassId,EncodedPixels"}.get(
            kind, "ImageId,EncodedPixels"
        )
        lines = [columns]
        for n, name in enumerate(names):
            pixels, labels = scene(n)
            image = f"train_images/{name}.png"
            save(root / image, pixels)
            key = f"{name}.png" if kind in ("image", "class_in_id") else name
            if kind == "image":
                lines.append(f'"{key}",{rle(labels)}')
            elif kind == "object":
                count, objects = cv2.connectedComponents(labels)
                lines += [f'"{key}",{rle(objects == k)}' for k in range(1, count)]
            else:
                other = labels[::-1] & (labels == 0)
                spell = '"{0}",{1},{2}' if kind == "class_column" else '"{0}_{1}",{2}'
                lines += [
                    spell.format(key, w, rle(m)) for w, m in (("Fish", labels), ("Sugar", other))
                ]
            found[key] = Wanted((image,), ("train.csv",), "train", labels > 0)
        (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return found

    return draw


def draw_coco(root: Path, names: Sequence[str]) -> Drawn:
    """`annotations/instances_{train,val}.json` with `{train,val}/x.png`: polygons, counts and a crowd."""
    found = {}
    parts: dict[str, dict[str, list[object]]] = {}
    for n, name in enumerate(names):
        split = "val" if n % 3 == 2 else "train"
        image = f"{split}/{name}.png"
        pixels, _ = scene(n)
        save(root / image, pixels)
        labels = np.zeros(SIZE, bool)
        labels[3:9, 4:15] = True
        labels[12:17, 2:6] = True
        whole = parts.setdefault(split, {"images": [], "annotations": []})
        height, width = SIZE
        whole["images"].append(
            {"id": n, "file_name": f"{name}.png", "height": height, "width": width}
        )
        whole["annotations"].append(
            {"id": 10 * n, "image_id": n, "category_id": 3, "iscrowd": 0,
             "segmentation": [[4, 3, 15, 3, 15, 9, 4, 9]]}
        )  # fmt: skip
        second = np.zeros(SIZE, np.uint8)
        second[12:17, 2:6] = 1
        flat = second.T.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
        counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
        whole["annotations"].append(
            {"id": 10 * n + 1, "image_id": n, "category_id": 3, "iscrowd": 0,
             "segmentation": {"size": list(SIZE), "counts": counts}}
        )  # fmt: skip
        found[name] = Wanted((image,), (f"annotations/instances_{split}.json",), split, labels)
    (root / "annotations").mkdir()
    for split, whole in parts.items():
        text = json.dumps({**whole, "categories": [{"id": 3, "name": "cell"}]})
        (root / f"annotations/instances_{split}.json").write_text(text)
    return found


def draw_bands(image: str, mask: str) -> Callable[[Path, Sequence[str]], Drawn]:
    """One tif a band; `{0}` is the name, `{1}` the band."""

    def draw(root: Path, names: Sequence[str]) -> Drawn:
        found = {}
        for n, name in enumerate(names):
            pixels, labels = scene(n)
            files = []
            for k, band in enumerate(("B02", "B03", "B8A", "B11")):
                files.append(image.format(name, band))
                save(root / files[-1], pixels[..., k % 3] // (k + 1))
            save(root / mask.format(name), labels * 255)
            found[name] = Wanted(tuple(files), (mask.format(name),), "train", labels > 0)
        return found

    return draw


# layout that init should name -> variants
TREES: dict[str, tuple[str, Callable[[Path, Sequence[str]], Drawn]]] = {
    "images_masks": ("images_masks", _patterned("images/{}.png", "masks/{}.png")),
    "prefix_two": ("images_masks", _patterned("images/img_{}.png", "masks/mask_{}.png")),
    "doubled": ("doubled", _patterned("images/images/{}.png", "label/label/{}_label.png")),
    "suffix": ("one_folder", _patterned("all/{}.png", "all/{}_label.png")),
    "suffix_both": ("one_folder", _patterned("all/{}_image.jpg", "all/{}_mask.png")),
    "prefix": ("one_folder", _patterned("img_{}.png", "mask_{}.png")),
    "jpg_png": ("one_folder", _patterned("all/{}.jpg", "all/{}.png")),
    "unknown_folders": ("two_folders", _patterned("scans/{}.png", "outlines/{}_mask.png")),
    "carvana": ("twins", _patterned("train/{}.png", "train_masks/{}_mask.png")),
    "camvid": ("twins", draw_parts("{0}/{1}.png", "{0}annot/{1}.png")),
    "parts": ("parts", draw_parts("images/{0}/{1}.png", "masks/{0}/{1}.png")),
    "train_val": ("train_val", draw_parts("{0}/images/{1}.png", "{0}/masks/{1}.png")),
    "objects": ("folder_an_image", draw_objects),
    "folder_flat": ("folder_an_image", _patterned("set/{0}/image.png", "set/{0}/mask.png")),
    "folder_named": ("folder_an_image", _patterned("set/{0}/{0}.png", "set/{0}/{0}_mask.png")),
    "nested": ("nested", draw_nested("{0}/images/{1}.jpg", "{0}/masks/{1}.png")),
    "nested_suffix": ("nested", draw_nested("mri/{0}/{1}.tif", "mri/{0}/{1}_mask.tif")),
    "nested_parts": ("parts", draw_nested("images/{0}/{1}.png", "masks/{0}/{1}.png")),
    "voc_lists": ("voc", draw_voc_lists),
    "csv": ("csv_paths", draw_csv()),
    "csv_foreign": ("csv_paths", draw_csv("/kaggle/input/set/")),
    "text": ("text_lists", draw_text),
    "rle_image": ("rle_table", draw_rle("image")),
    "rle_object": ("rle_table", draw_rle("object")),
    "rle_class_column": ("rle_table", draw_rle("class_column")),
    "rle_class_in_id": ("rle_table", draw_rle("class_in_id")),
    "coco": ("coco", draw_coco),
    "bands": ("bands", draw_bands("tiles/{0}_{1}.tif", "masks/{0}.png")),
    "band_folders": ("bands", draw_bands("features/{0}/{1}.tif", "labels/{0}.png")),
}
