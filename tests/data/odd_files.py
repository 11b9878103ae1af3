"""The odd inputs drawn anew: the stems of the real folder, other pixels; usage in test_odd."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

SIDE = 96


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Discs on a textured ground: image (96, 96, 3) uint8 and mask (96, 96) uint8, 0 or 255."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for row, column, radius in ((20, 22, 13), (64, 30, 17), (40, 70, 15), (10, 60, 9)):
        mask[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 255
    ground = np.stack([rows + 20, columns + 10, (rows + columns) // 2], axis=-1)
    image = (
        ground + rng.integers(0, 8, ground.shape) + (mask[..., None] > 0) * np.array([90, 60, 30])
    )
    return np.clip(image, 0, 255).astype(np.uint8), mask


def draw_odd(folder: Path) -> Path:
    """Write every stem of the real folder's table."""
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    rgb, mask = scene()
    _odd_images(images, masks, rgb, mask)
    _odd_masks(images, masks, rgb, mask)
    _broken(images, masks, rgb, mask)
    return folder


def _save(path: Path, pixels: np.ndarray, **kwargs: object) -> Path:
    Image.fromarray(pixels).save(path, **kwargs)
    return path


def _odd_images(images: Path, masks: Path, rgb: np.ndarray, mask: np.ndarray) -> None:
    grey = rgb.mean(axis=-1)
    four = np.dstack([rgb, 255 - rgb[..., :1]])
    _save(images / "00_control.png", rgb)
    tifffile.imwrite(images / "01_u16_gray.tif", (grey * 16).astype(np.uint16))
    cv2.imwrite(str(images / "02_u16_rgb.tif"), rgb[..., ::-1].astype(np.uint16) * 257)
    tifffile.imwrite(
        images / "03_four_band.tif", four, photometric="rgb", extrasamples=["unspecified"]
    )
    tifffile.imwrite(
        images / "14_four_band_minisblack.tif",
        four,
        photometric="minisblack",
        planarconfig="contig",
    )
    tifffile.imwrite(
        images / "04_five_band_u16.tif",
        np.dstack([rgb.astype(np.uint16) * 40, (grey * 30).astype(np.uint16), (grey * 50).astype(np.uint16)]),
        photometric="minisblack",
        planarconfig="contig",
    )  # fmt: skip
    _save(images / "05_rgba.png", np.dstack([rgb, np.full_like(mask, 128)]))
    _save(images / "06_gray.png", grey.astype(np.uint8))
    Image.fromarray(rgb).quantize(64).save(images / "07_gray_palette.png")
    _save(images / "08_tall_narrow.png", rgb[:, :23])
    _save(images / "09_UPPER.png", rgb).rename(images / "09_UPPER.PNG")
    _save(images / "10_città_日本.png", rgb)
    _save(images / "11 spaces (1).v2.png", rgb)
    _save(images / "12_png_named_jpg.png", rgb).rename(images / "12_png_named_jpg.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    _save(images / "13_exif_rotated.jpg", np.ascontiguousarray(rgb[:64]), exif=exif, quality=95)
    for path in list(images.iterdir()):
        part = {"08_tall_narrow": mask[:, :23], "13_exif_rotated": mask[:64]}.get(path.stem, mask)
        _save(masks / f"{path.stem}.png", np.ascontiguousarray(part))


def _odd_masks(images: Path, masks: Path, rgb: np.ndarray, mask: np.ndarray) -> None:
    on = mask > 0
    classes = on.astype(np.uint8)
    classes[:24][on[:24]] = 2
    palette = Image.fromarray(classes).convert("P")
    palette = Image.frombytes("P", palette.size, classes.tobytes())
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    seven = classes.copy()
    seven[40:50, 40:50], seven[60:70, 60:70] = 7, 255
    soft = cv2.GaussianBlur(on.astype(np.float32) * 237, (5, 5), 0).round().astype(np.uint8)
    _save(masks / "20_mask_rgb.png", np.repeat(mask[..., None], 3, 2))
    palette.save(masks / "21_mask_palette.png")
    _save(masks / "22_mask_01.png", on.astype(np.uint8))
    _save(masks / "23_mask_u16.png", on.astype(np.uint16) * 65535)
    _save(masks / "24_mask_1bit.png", on)
    _save(masks / "25_mask_soft.png", soft)
    _save(masks / "26_mask_jpg.jpg", mask, quality=60)
    _save(masks / "27_mask_empty.png", np.zeros_like(mask))
    _save(masks / "28_mask_full.png", np.full_like(mask, 255))
    _save(masks / "29_mask_class_7.png", seven)
    for path in masks.glob("2*"):
        _save(images / f"{path.stem}.png", rgb)


def _broken(images: Path, masks: Path, rgb: np.ndarray, mask: np.ndarray) -> None:
    for stem in ("40_truncated", "41_zero_byte", "42_not_an_image", "43_mask_other_size",
                 "46_duplicate_stem", "47_mask_truncated"):  # fmt: skip
        _save(images / f"{stem}.png", rgb)
        _save(masks / f"{stem}.png", mask)
    whole = (images / "40_truncated.png").read_bytes()
    (images / "40_truncated.png").write_bytes(whole[: len(whole) // 2])
    (images / "41_zero_byte.png").write_bytes(b"")
    (images / "42_not_an_image.png").write_text("<html>404 Not Found</html>\n")
    _save(masks / "43_mask_other_size.png", np.ascontiguousarray(mask[:64, :64]))
    _save(images / "44_mask_missing.png", rgb)
    _save(masks / "45_image_missing.png", mask)
    _save(images / "46_duplicate_stem.jpg", np.ascontiguousarray(rgb[::-1]))
    cut = masks / "47_mask_truncated.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    (images / "._00_control.png").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    (images / "Thumbs.db").write_bytes(struct.pack(">Q", 0xD0CF11E0A1B11AE1))
