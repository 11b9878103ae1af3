"""COCO JSON, or JSON lines of polygons: images, categories and segmentations, checked, kept small, drawn
as planes when asked for.

Boxes alone are no truth here. Files larger than a stated limit are refused before they are read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp.config import IGNORE
from comp.data.sources.coco_shapes import Part, counts_part, polygon_parts
from comp.data.sources.manifest import leaves_root
from comp.data.sources.patterns import is_image_name
from comp.data.sources.polygon_lines import looks_like_lines, read_lines
from comp.errors import DataError, some
from comp.masks.rle import runs_of

TURNED = "exchange them in the JSON if only they are wrong; turn the picture back if it was turned"
FAR = 0.1  # of an image's side: outlines end a little outside, not more
MAX_JSON_BYTES = 1 << 30  # 1 GiB: COCO's own train set is 0.45


@dataclass(frozen=True)
class Annotation:
    """One object.

    Args:
        category: position in the table's `categories`.
        crowd: a region of many objects, not outlined one by one.
        polygons: (N, 2) float64 each; none where there are counts.
        counts: ((height, width), numbers or packed text).
        rings: the polygons are outlines and holes of one another (even-odd); else their union counts.
    """

    category: int
    crowd: bool
    polygons: tuple[np.ndarray, ...]
    counts: tuple[tuple[int, int], tuple[int, ...] | str] | None
    rings: bool = False


@dataclass(frozen=True)
class CocoImage:
    """One image as the JSON names it; size 0: not said."""

    file_name: str
    height: int
    width: int
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class CocoTable:
    """A checked COCO JSON.

    Args:
        categories: names, in the order of their ids.
        images: file_name -> image.
        by_stem: images are named without their extension.
    """

    source: str
    categories: tuple[str, ...]
    images: dict[str, CocoImage]
    by_stem: bool = False

    def planes(self, file_name: str | None, height: int, width: int) -> np.ndarray:
        """Draw one image.

        Args:
            file_name: None: an image of which the JSON says nothing; all empty.

        Returns:
            (P, H, W) uint8 in {0, 1, 255}, P categories; 255 where only a crowd is marked.

        Raises:
            DataError: another size than the image file's, or a segmentation that cannot be drawn.
        """
        planes = np.zeros((len(self.categories), height, width), np.uint8)
        if file_name is None:
            return planes
        image = self.images[file_name]
        if image.height and (image.height, image.width) != (height, width):
            swapped = (image.width, image.height) == (height, width)
            raise DataError(
                f"{self.source}: {file_name!r} is {image.height} x {image.width} (height x width)"
                f" there, but the image file is {height} x {width}: "
                + (
                    TURNED
                    if swapped
                    else "put the file there that was outlined, or correct the JSON"
                )
            )
        for number, one in enumerate(sorted(image.annotations, key=lambda a: not a.crowd)):
            plane, value = planes[one.category], IGNORE if one.crowd else 1
            try:
                for top, left, inside in _drawn(one, height, width):
                    box = plane[top : top + inside.shape[0], left : left + inside.shape[1]]
                    np.copyto(box, value, where=inside)
            except ValueError as error:
                raise DataError(
                    f"{self.source}: {file_name!r}, annotation {number + 1} of the image: {error}"
                ) from error
        return planes

    def far_outside(self, sizes: Mapping[str, tuple[int, int]]) -> str | None:
        """Say how many outlines have corners far outside their image, where they are cut off.

        Args:
            sizes: file_name -> (height, width) of the image file.
        """
        n, n_all, where = 0, 0, dict[str, str]()
        for name, (height, width) in sizes.items():
            side = np.array([width, height])
            for one in self.images[name].annotations:
                for points in one.polygons:
                    n_all += 1
                    with np.errstate(invalid="ignore"):
                        beyond = np.maximum(-points, points - side).max(axis=0) > FAR * side
                    if beyond.any():
                        n += 1
                        x, y = points[np.abs(points).max(axis=1).argmax()]
                        where.setdefault(name, f"{name} (a corner at x {x:.6g}, y {y:.6g})")
        if not n:
            return None
        return (
            f"{self.source}: {n} of {n_all} polygons, in {len(where)} image{'s' * (len(where) > 1)}, have"
            f" corners more than {FAR:.0%} of the image's side outside it, which are cut off:"
            f" {some(where.values(), 3)};"
            " were they drawn on images of another size, or are x and y exchanged?"
        )

    def objects(self, file_name: str, category: int, height: int, width: int) -> list[np.ndarray]:
        """The pixels of each object of a category, crowds aside: runs (R, 2) int64 along the rows.

        Raises:
            DataError: a segmentation that cannot be drawn.
        """
        found = []
        for one in self.images[file_name].annotations:
            if one.category != category or one.crowd:
                continue
            plane = np.zeros((height, width), np.uint8)
            try:
                for top, left, inside in _drawn(one, height, width):
                    plane[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
            except ValueError as error:
                raise DataError(f"{self.source}: {file_name!r}: {error}") from error
            found.append(runs_of(plane, "row"))
        return found


def _drawn(one: Annotation, height: int, width: int) -> Iterator[Part]:
    """Boxes (top, left, bool pixels) that together are the object."""
    if one.rings:
        yield from polygon_parts(one.polygons[0], height, width, *one.polygons[1:])
        return
    if one.counts is None:
        for points in one.polygons:
            yield from polygon_parts(points, height, width)
        return
    (high, wide), counts = one.counts
    if (high, wide) != (height, width):
        raise ValueError(f"counts for {high} x {wide}, the image is {height} x {width}")
    yield from counts_part(counts, height, width)


def looks_like_coco(path: Path) -> bool:
    """True for a JSON file in which the keys of COCO stand (it is not parsed), or JSON lines of polygons."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return False
        if _is_lines(path):
            return looks_like_lines(path)
        data = path.read_bytes()
    except OSError:
        return False
    return b'"images"' in data and b'"annotations"' in data and b'"categories"' in data


def read_coco(path: Path) -> CocoTable:
    """Read and check a COCO JSON, or JSON lines of polygons where the name ends with .jsonl.

    Raises:
        DataError: missing, larger than `MAX_JSON_BYTES`, no JSON, no COCO, file names that leave the
            data's root, ids that repeat or lead nowhere, objects with a box but no segmentation.
    """
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise DataError(
                f"{path}: {size / 2**20:.0f} MiB of JSON, more than {MAX_JSON_BYTES >> 20};"
                " divide it by images"
            )
        whole = None if _is_lines(path) else json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"missing file: {path}") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        told = "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise DataError(f"{path}: cannot be read as JSON: {told}") from error
    if _is_lines(path):
        try:
            return _table_of_lines(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not JSON lines of polygons as expected: {error}") from error
    try:
        return _table(path, whole)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else str(error)[:500]
        raise DataError(f"{path}: not COCO as expected: {told}") from error


def _is_lines(path: Path) -> bool:
    return path.name.lower().endswith((".jsonl", ".ndjson"))


def _table_of_lines(path: Path) -> CocoTable:
    """JSON lines of polygons; the categories are sorted by name."""
    lines = read_lines(path)
    names = tuple(sorted({name for line in lines for name, _ in line.objects}))
    place = {name: k for k, name in enumerate(names)}
    images: dict[str, CocoImage] = {}
    for line in lines:
        name = line.name.removeprefix("./")
        if leaves_root(name):
            raise ValueError(f"image {name!r} leaves the data's root")
        if name in images:
            raise ValueError(f"image {name!r} stands there twice")
        objects = tuple(Annotation(place[k], False, rings, None, True) for k, rings in line.objects)
        images[name] = CocoImage(name, line.height, line.width, objects)
    by_stem = not any(is_image_name(name) for name in images)
    return CocoTable(path.name, names or ("object",), images, by_stem)


def _table(path: Path, whole: Any) -> CocoTable:
    for key in ("images", "annotations", "categories"):
        held = whole.get(key) if isinstance(whole, dict) else None
        if not isinstance(held, list) or not all(isinstance(one, dict) for one in held):
            raise ValueError(
                "expected an object with the lists images, annotations, categories of objects"
                f" (no list {key!r})"
            )
    categories = sorted(whole["categories"], key=lambda c: int(c["id"]))
    place = {c["id"]: k for k, c in enumerate(categories)}
    names = tuple(str(c["name"]) for c in categories)
    if twice := [*_repeated(c["id"] for c in categories), *_repeated(names)]:
        raise ValueError(
            f"category {twice[0]!r} stands there twice: keep one entry of it in categories, and set"
            " the category_id of the annotations to that one's"
        )
    found: dict[Any, list[Annotation]] = {image["id"]: [] for image in whole["images"]}
    if twice := _repeated(image["id"] for image in whole["images"]):
        files = [str(i.get("file_name")) for i in whole["images"] if i["id"] == twice[0]]
        raise ValueError(
            f"image id {twice[0]!r} stands there twice ({some(files)}): give each image an id of its own,"
            " and its annotations that image_id; take out an entry that is there twice"
        )
    for number, one in enumerate(whole["annotations"], 1):
        where = f"annotation {number} (id {one.get('id')})"
        if one["image_id"] not in found:
            raise ValueError(
                f"{where}: image_id {one['image_id']!r} is no image's id: add the image to images, or take"
                " the annotation out"
            )
        if one["category_id"] not in place:
            raise ValueError(
                f"{where}: category_id {one['category_id']!r} is no category's id"
                f" ({some(place, 12) or 'none are there'}): add it to categories, or take the annotation out"
            )
        found[one["image_id"]].append(_annotation(one, place[one["category_id"]], where))
    images: dict[str, CocoImage] = {}
    for image in whole["images"]:
        name = str(image["file_name"]).removeprefix("./")
        if leaves_root(name):
            raise ValueError(f"file_name {name!r} leaves the data's root")
        if name in images:
            raise ValueError(
                f"file_name {name!r} stands there twice: join the two entries of images, and set the"
                " image_id of their annotations to the one that stays"
            )
        high, wide = int(image.get("height") or 0), int(image.get("width") or 0)
        images[name] = CocoImage(name, high, wide, tuple(found[image["id"]]))
    return CocoTable(path.name, names, images)


def _repeated(keys: Iterable[Any]) -> list[Any]:
    return [key for key, n in Counter(keys).items() if n > 1]


def _annotation(one: dict[str, Any], category: int, where: str) -> Annotation:
    said = one.get("segmentation")
    crowd = bool(one.get("iscrowd", 0))
    if isinstance(said, dict):
        high, wide = (int(n) for n in said["size"])
        counts = said["counts"]
        if not isinstance(counts, str | list):
            raise ValueError(f"{where}: counts that are neither numbers nor text")
        kept = counts if isinstance(counts, str) else tuple(counts)
        return Annotation(category, crowd, (), ((high, wide), kept))
    if isinstance(said, str) and said:
        raise ValueError(
            f"{where}: a segmentation that is text; expected polygons [[x, y, ...], ...], or, for packed"
            ' counts, {"size": [height, width], "counts": the text}'
        )
    if not isinstance(said, list) or not said:
        raise ValueError(f"{where}: no segmentation (a box alone says nothing of pixels)")
    polygons = []
    for corners in said if isinstance(said[0], list) else [said]:
        try:
            flat = np.array(corners, np.float64)
        except (TypeError, ValueError):
            flat = None
        if flat is None or (flat.ndim > 1 and flat.size):
            raise ValueError(
                f"{where}: corners that are no plain list of numbers; expected a segmentation"
                " [[x, y, x, y, ...], ...], one list a polygon and no list within it"
            )
        if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2:
            raise ValueError(f"{where}: a polygon needs x, y of 3 corners or more")
        polygons.append(flat.reshape(-1, 2))
    return Annotation(category, crowd, tuple(polygons), None)
