"""Small sets laid out as real competitions were, with their names' habits; drawers as in `drawn_layouts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.drawn import rle, save
from tests.drawn_layouts import Drawn, Wanted, pair, scene


def draw_cityscapes(root: Path, names: Sequence[str]) -> Drawn:
    """leftImg8bit and gtFine, parts and cities below; three pictures an image on the masks' side."""
    found = {}
    places = ("train/aachen", "train/bremen", "val/ulm", "test/bonn")
    for n, name in enumerate((*names, *names)):
        place = places[n % 4]
        part, city = place.split("/")
        stem = f"{place}/{city}_{name}"
        image, gt = f"leftImg8bit/{stem}_leftImg8bit.png", f"gtFine/{stem}_gtFine"
        wanted, labels = pair(root, n, image, f"{gt}_labelIds.png", part)
        save(root / f"{gt}_instanceIds.png", labels.astype(np.uint16) * 26001)
        save(root / f"{gt}_color.png", np.dstack([labels * 142] * 3))
        if part != "test":
            found[f"{city}/{city}_{name}"] = wanted
    return found


def draw_loveda(root: Path, names: Sequence[str]) -> Drawn:
    """Train/Rural/images_png with masks_png, Train/Urban, Val/...; Test without masks."""
    found = {}
    n = 0
    for part, split in (("Train", "train"), ("Val", "val")):
        for area in ("Rural", "Urban"):
            for name in names:
                image, mask = (f"{part}/{area}/{k}_png/{n}{name}.png" for k in ("images", "masks"))
                found[f"{area}/{n}{name}"] = pair(root, n, image, mask, split)[0]
                n += 1
    for n in range(2):
        save(root / f"Test/Rural/images_png/t{n}.png", scene(80 + n)[0])
        save(root / f"Test/Urban/images_png/u{n}.png", scene(90 + n)[0])
    return found


def draw_isic(root: Path, names: Sequence[str]) -> Drawn:
    """x_Training_Input with x_Training_GroundTruth, names that end in _segmentation; a test part."""
    found = {}
    for n, name in enumerate(names):
        word, split = ("Validation", "val") if n % 3 == 2 else ("Training", "train")
        image = f"ISIC2018_Task1-2_{word}_Input/{name}.jpg"
        mask = f"ISIC2018_Task1_{word}_GroundTruth/{name}_segmentation.png"
        found[name] = pair(root, n, image, mask, split)[0]
    for n in range(2):
        save(root / f"ISIC2018_Task1-2_Test_Input/only_test_{n}.jpg", scene(80 + n)[0])
    return found


def draw_spacenet(root: Path, names: Sequence[str]) -> Drawn:
    """A folder an area, its name again in every file's."""
    found = {}
    for k, area in enumerate(("AOI_2_Vegas", "AOI_5_Khartoum")):
        for n, name in enumerate(names):
            place, i = f"{area}_Train", f"{area}_{name}"
            image = f"{place}/RGB-PanSharpen/RGB-PanSharpen_{i}.tif"
            found[f"{place}/{i}"] = pair(root, 9 * k + n, image, f"{place}/masks/mask_{i}.png")[0]
    return found


def draw_pets(root: Path, names: Sequence[str]) -> Drawn:
    """images/ with annotations/trimaps/; lists of ids with classes; the list of test images has masks."""
    found = {}
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for n, name in enumerate(names):
        image, mask = f"images/{name}.jpg", f"annotations/trimaps/{name}.png"
        one = pair(root, n, image, mask)[0]
        part = "test" if n % 3 == 2 else "trainval"
        lists[part].append(f"{name} 1 1 1")
        if part != "test":
            found[name] = one
    for part, lines in lists.items():
        (root / f"annotations/{part}.txt").write_text("\n".join(lines), encoding="utf-8")
    return found


def draw_gitract(root: Path, names: Sequence[str]) -> Drawn:
    """UW-Madison: ids joined from folders and the beginning of names; sizes stand at the names' ends."""
    found, lines = {}, ["id,class,segmentation"]
    for n, name in enumerate(names):
        day = f"case{123 - n % 2}_day{20 * (n % 3)}"
        image = f"train/{day.partition('_')[0]}/{day}/scans/slice_{n:04d}_28_20_1.50_1.50.png"
        pixels, labels = scene(n)
        save(root / image, pixels)
        key = f"{day}_slice_{n:04d}"
        lines += [f"{key},{k},{rle(labels) if k == 'bowel' else ''}" for k in ("bowel", "gut")]
        found[key] = Wanted((image,), ("train.csv",), "train", labels > 0)
        assert name
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    return found


def draw_carvana(root: Path, names: Sequence[str]) -> Drawn:
    """Masks named x_mask.gif, as here png; the sample submission spells whole file names."""
    found = {}
    for n, name in enumerate(names):
        found[name] = pair(root, n, f"train/{name}.jpg", f"train_masks/{name}_mask.png")[0]
    tests = [f"only_test_{n}.jpg" for n in range(3)]
    for n, name in enumerate(tests):
        save(root / "test" / name, scene(80 + n)[0])
    (root / "sample_submission.csv").write_text("\n".join(["img,rle_mask", *(f"{t},1 1" for t in tests)]))  # fmt: skip
    return found


def draw_cloud38(root: Path, names: Sequence[str]) -> Drawn:
    """38-Cloud_training/train_red/red_x.TIF, ..., train_gt/gt_x.TIF; 38-Cloud_test/test_red/red_x.TIF."""
    found = {}
    for n, name in enumerate((*names, "t1", "t2")):
        test = n >= len(names)
        pixels, labels = scene(n)
        place = "38-Cloud_test/test" if test else "38-Cloud_training/train"
        files = [f"{place}_{band}/{band}_patch_{name}.TIF" for band in ("red", "green", "nir")]
        for k, file in enumerate(files):
            save(root / file, pixels[..., k])
        if not test:
            mask = f"{place}_gt/gt_patch_{name}.TIF"
            save(root / mask, labels * 255)
            found[f"patch_{name}"] = Wanted(tuple(files), (mask,), "train", labels > 0)
    return found


def draw_bands(image: str, mask: str, keep_part: bool) -> Callable[[Path, Sequence[str]], Drawn]:
    """Parts of one folder a band; `{0}` is the part, `{1}` the band, `{2}` the name.

    Args:
        keep_part: names begin with their part, so that ids do; else ids repeat in the parts.
    """

    def draw(root: Path, names: Sequence[str]) -> Drawn:
        found = {}
        for k, part in enumerate(("train", "val", "test")):
            for n, name in enumerate(names[: (9, 3, 2)[k]]):
                pixels, labels = scene(9 * k + n)
                files = [image.format(part, band, name) for band in ("B02", "B03", "B08")]
                for c, file in enumerate(files):
                    save(root / file, pixels[..., c])
                if part != "test":
                    path = mask.format(part, "", name)
                    save(root / path, labels * 255)
                    i = f"{part}_{name}" if keep_part else f"{part}/{name}"
                    found[i] = Wanted(tuple(files), (path,), part, labels > 0)
        return found

    return draw


# name -> (layout that init should name, drawer, pattern of the test images)
COMPETITIONS: dict[str, tuple[str, Callable[[Path, Sequence[str]], Drawn], str | None]] = {
    "cityscapes": ("parts", draw_cityscapes, "leftImg8bit/test/{dir}/{id}_leftImg8bit.png"),
    "loveda": ("twins", draw_loveda, "Test/{dir}/images_png/{id}.png"),
    "isic": ("two_folders", draw_isic, "ISIC2018_Task1-2_Test_Input/{id}.jpg"),
    "spacenet": ("two_folders", draw_spacenet, None),
    "pets": ("two_folders", draw_pets, None),
    "gitract": ("rle_table", draw_gitract, None),
    "carvana": ("twins", draw_carvana, "test/{id}"),
    "cloud38": ("bands", draw_cloud38, "38-Cloud_test/test_{band}/{band}_{id}.TIF"),
    "band_parts": (
        "bands",
        draw_bands("{0}_{1}/{0}_{2}_{1}.tif", "{0}_masks/{0}_{2}_mask.tif", True),
        "test_{band}/{id}_{band}.tif",
    ),
    "band_parts_repeat": (
        "bands",
        draw_bands("{0}_{1}/{0}_{1}_{2}.tif", "{0}_gt/{0}_gt_{2}.tif", False),
        "test_{band}/test_{band}_{id}.tif",
    ),
    "band_parts_below": (
        "bands",
        draw_bands("{0}/{1}/{0}_{2}.tif", "{0}/labels/{0}_{2}.tif", True),
        "test/{band}/{id}.tif",
    ),
}
